"""Integer constants: the largest shift that fits, exact arithmetic, and errors."""

import numpy as np
import pytest
import torch
from torch import nn

from golden.chip import Requantizer
from golden.graph import Add, Pool, evaluate, float_operator, import_graph
from golden.quantise import (
    activation_scales, eight_bit_operator, elementwise, quantise_images, requantization,
)

LIMITS = Requantizer()


def _one(value):
    return torch.tensor([value], dtype=torch.float64)


def _fits(gain, bias, shift):
    return round(gain * 2.0**shift) < 1 << 16 and abs(round(bias * 2.0**shift)) < 1 << 31


@pytest.mark.parametrize("gain, bias", [
    (0.0, 0.0), (1.0, 0.0), (65535.0, 0.0), (65535.49, 0.0), (32767.75, 0.0), (1e-12, 0.0),
    (0.5, 127.0), (0.01, -128.0), (1e-9, 1e9), (1.0, 2.0**31 - 1), (1.0, -(2.0**31 - 1)),
    (0.9999999, 3.0)])
def test_shift_is_the_largest_that_fits(gain, bias):
    found = requantization(_one(gain), _one(bias), LIMITS)
    shift = int(found.shift[0])
    assert _fits(gain, bias, shift)
    assert shift == 31 or not _fits(gain, bias, shift + 1)
    assert int(found.multiplier[0]) == round(gain * 2.0**shift)
    assert int(found.bias[0]) == round(bias * 2.0**shift)


@pytest.mark.parametrize("gain, bias", [(65536.0, 0.0), (1.0, 2.0**31), (-1.0, 0.0),
                                        (float("nan"), 0.0), (1.0, float("inf"))])
def test_what_does_not_fit_is_refused(gain, bias):
    with pytest.raises(ValueError):
        requantization(_one(gain), _one(bias), LIMITS)


def test_requantization_is_the_contract_s_formula():
    random = np.random.default_rng(2)
    gain = torch.from_numpy(10.0 ** random.uniform(-6, 2, 50))
    bias = torch.from_numpy(random.uniform(-300, 300, 50))
    found = requantization(gain, bias, LIMITS)
    sums = torch.from_numpy(random.integers(-10**5, 10**5, (3, 50, 2, 1)))
    for relu in (False, True):
        result = found.apply(sums, relu)
        for index in np.ndindex(3, 50, 2, 1):
            k = index[1]
            m, b, s = (int(v[k]) for v in (found.multiplier, found.bias, found.shift))
            value = (int(sums[index]) * m + b + (1 << s >> 1)) >> s
            value = min(max(value, -128), 127)
            assert int(result[index]) == (max(value, 0) if relu else value)


def test_images_are_rounded_and_clipped():
    images = torch.tensor([[[[0.0, 0.26], [-0.26, 100.0]], [[-100.0, 0.24], [1.0, -1.0]]]])
    codes = quantise_images(images, 0.5)
    assert codes.dtype == torch.int8 and codes.shape == (1, 2, 2, 2)
    assert codes[0, :, :, 0].tolist() == [[0, 1], [-1, 127]]
    assert codes[0, :, :, 1].tolist() == [[-127, 0], [2, -2]]


def test_add_and_pools_round_as_the_real_numbers_do():
    """One step at most between integers and real arithmetic (one rounding each)."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(-128, 128, (2, 4, 6, 6), generator=generator)
    other = torch.randint(-128, 128, (2, 2, 12, 12), generator=generator)
    scales = {"a": 0.3, "b": 0.01, "sum": 0.45, "mean": 0.2, "top": 0.3}
    add = Add("sum", ("a", "b"), (4, 6, 6), second_stride=2, second_offset=1, relu=True)
    mean = Pool("mean", ("a",), (4, 3, 3), maximum=False, kernel=(2, 3), stride=2, pad_left=1)
    top = Pool("top", ("a",), (4, 3, 3), maximum=True, kernel=(3, 3), stride=2, pad_left=1,
               pad_top=1)
    for node, operands in ((add, (images, other)), (mean, (images,)), (top, (images,))):
        found = elementwise(node, operands, scales, LIMITS)
        real = float_operator(node, *(o * scales[n] for o, n in
                                      zip(operands, node.inputs, strict=True)))
        low = 0 if node.relu else -128
        expected = (real / scales[node.name]).clamp(low, 127)
        assert float((found - expected).abs().max()) <= 0.501
    assert torch.equal(elementwise(top, (images,), scales, LIMITS).double(),
                       float_operator(top, images.double()))


def test_eight_bit_network_is_near_the_float_network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(),
                          nn.MaxPool2d(2), nn.Conv2d(12, 8, 3, stride=2), nn.ReLU(),
                          nn.Flatten(), nn.Linear(8, 6)).eval()
    graph = import_graph(model, (8, 8, 3))
    images = torch.randn(64, 3, 8, 8)
    scales = activation_scales(graph, images)
    assert scales["3"] == scales["0"]  # a maximum pool keeps its operand's scale
    codes = quantise_images(
        images, scales[graph.input.name]).permute(0, 3, 1, 2).long()
    with torch.no_grad():
        found = evaluate(graph, codes, eight_bit_operator(graph, scales, LIMITS)).flatten(1)
        real = model(images)
    error = found * scales[graph.output.name] - real
    assert float(error.square().mean() / real.var()) < 0.01
    assert int(found.abs().max()) > 60  # the eight bits are used
