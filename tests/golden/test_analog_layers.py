"""The fast path of analog layers against the cell-by-cell reference."""

from dataclasses import replace
from math import sqrt

import pytest
import torch
from torch import nn
from torch.nn import functional

from golden.analog.convolution import AnalogConv2d
from golden.analog.linear import AnalogLinear
from golden.analog.mapping import Mapping, Scaling
from golden.analog.reference import reference_output, reference_sums
from golden.arrays import BitSlicing, DifferentialPair, DummyColumn, OffsetColumn
from golden.chip import PRESETS
from golden.devices import IdealDevice, PhaseChangeMemory

TINY = PRESETS["tiny"]
CHIP = replace(TINY, name="test", array=replace(TINY.array, rows=32, row_granule=32),
               converter=replace(TINY.converter, bits=8))


class Watcher:
    """Keeps copies of what the converters get."""

    def __init__(self):
        self.sums = []

    def inputs(self, values):
        pass

    def outputs(self, number, values):
        self.sums.append(values.clone())


def prepared(kind, module, inputs, mapping, seed=3, time=86400.0):
    layer = kind("layer", module, mapping)
    output_range = 20.0 if mapping.bit_serial else 800.0
    layer.input_range = inputs.abs().max().item()
    layer.output_ranges = [output_range * (1 + s) for s in range(len(layer.encoded.slices))]
    layer.signed_inputs = bool((inputs < 0).any())
    layer.program(seed)
    layer.set_time(time)
    return layer


@torch.no_grad()
def fast_sums(layer, inputs):
    watcher = layer.observer = Watcher()
    output = layer.normalise(layer.raw(inputs))
    layer.observer = None
    return [flat(sums) for sums in watcher.sums], flat(output)


def flat(values):
    """[images, positions, outputs] of a layer's output."""
    if values.dim() == 4:
        return values.flatten(2).transpose(1, 2).double()
    return values.reshape(len(values), -1, values.shape[-1]).double()


CONVOLUTIONS = {
    "plain": (nn.Conv2d(5, 4, 3, padding=1), (2, 5, 4, 5)),
    "strided": (nn.Conv2d(4, 3, 3, stride=2, padding=1, bias=False), (2, 4, 5, 5)),
    "groups": (nn.Conv2d(8, 4, 3, groups=2, dilation=2, padding=2), (1, 8, 4, 4)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4), (2, 4, 4, 4)),
    "window larger than the array": (nn.Conv2d(2, 2, 7, padding=3), (1, 2, 4, 4)),
}


@pytest.mark.parametrize("name, encoding, slicing, serial", [
    *((name, DifferentialPair(), None, False) for name in CONVOLUTIONS),
    *(("groups", encoding, slicing, serial)
      for encoding in (DifferentialPair(), OffsetColumn(0.05), DummyColumn(0.02))
      for slicing, serial in ((None, True), (BitSlicing(2), False), (BitSlicing(4), True),
                              (BitSlicing(1, 5), True))),
    ("plain", DifferentialPair(), BitSlicing(2), True)])
def test_convolution_without_read_noise(name, encoding, slicing, serial):
    torch.manual_seed(1)
    module, shape = CONVOLUTIONS[name]
    inputs = torch.randn(shape) if name != "strided" else torch.rand(shape)
    device = PhaseChangeMemory(read_noise=False)
    layer = prepared(AnalogConv2d, module, inputs, Mapping(CHIP, device, encoding, slicing, serial))
    check_equal(layer, inputs)


@pytest.mark.parametrize("shape", [(3, 70), (2, 4, 70)])
@pytest.mark.parametrize("encoding", [DifferentialPair(0.1), OffsetColumn(), DummyColumn()])
@pytest.mark.parametrize("slicing, serial", [(None, False), (BitSlicing(2), True)])
def test_linear_without_read_noise(shape, encoding, slicing, serial):
    torch.manual_seed(2)
    inputs = torch.randn(shape)
    layer = prepared(AnalogLinear, nn.Linear(70, 6), inputs,
                     Mapping(CHIP, PhaseChangeMemory(read_noise=False), encoding, slicing, serial))
    assert len(layer.tiles) == 3
    check_equal(layer, inputs)


@pytest.mark.parametrize("encoding", [DifferentialPair(0.1), OffsetColumn(), DummyColumn()])
@pytest.mark.parametrize("slicing, serial", [(None, False), (BitSlicing(4), True)])
def test_a_single_read_is_taken_for_every_product(encoding, slicing, serial):
    torch.manual_seed(2)
    inputs = torch.randn(2, 4, 70)
    layer = prepared(AnalogLinear, nn.Linear(70, 6), inputs,
                     Mapping(CHIP, PhaseChangeMemory(), encoding, slicing, serial,
                             single_read=True))
    assert all(weights.variance is None and weights.shared is None for weights in layer.weights)
    check_equal(layer, inputs)


def check_equal(layer, inputs):
    generator = torch.Generator().manual_seed(0)
    expected = reference_sums(layer, inputs, generator)
    sums, output = fast_sums(layer, inputs)
    assert len(sums) == len(expected) > 0
    for fast, slow in zip(sums, expected, strict=True):
        assert fast.shape == slow.shape
        assert torch.allclose(fast, slow, atol=1e-4, rtol=1e-5)
    near = sum(((slow - slow.floor() - 0.5).abs() < 1e-4 + 1e-5 * slow.abs()).sum()
               for slow in expected)
    codes = sum((fast.round() != slow.round()).sum()
                for fast, slow in zip(sums, expected, strict=True))
    assert codes <= near
    if near == 0:
        assert torch.allclose(output, reference_output(layer, inputs, generator), atol=1e-4)


@pytest.mark.parametrize("encoding", [DifferentialPair(), OffsetColumn(), DummyColumn()])
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_integers_are_exact(encoding, bits):
    """Ideal cells, steps of one: every code is the integer sum, and so is the output."""
    torch.manual_seed(3)
    module = nn.Conv2d(3, 4, 3, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.randint(-127, 128, module.weight.shape))
        module.weight[:, 0, 0, 0] = 127
    inputs = torch.randint(-127, 128, (2, 3, 5, 5)).float()
    inputs[0, 0, 0, 0] = 127
    chip = replace(CHIP, converter=replace(CHIP.converter, bits=10, correction_bits=6))
    layer = prepared(AnalogConv2d, module, inputs,
                     Mapping(chip, IdealDevice(), encoding, BitSlicing(bits), True))
    layer.output_ranges = [511.0] * len(layer.encoded.slices)
    layer.fold(layer.ideal_moments())
    with torch.no_grad():
        exact = nn.functional.conv2d(inputs.double(), module.weight.double())
    assert torch.equal(layer(inputs).double().round(), exact)
    assert torch.allclose(layer(inputs).double(), exact, atol=0.02, rtol=0)


@pytest.mark.parametrize("kind, module, inputs", [
    (AnalogConv2d, nn.Conv2d(3, 4, 3, padding=1, bias=False), torch.rand(1, 3, 2, 2)),
    (AnalogConv2d, nn.Conv2d(4, 4, 3, padding=1, groups=2, bias=False), torch.rand(1, 4, 2, 2)),
    (AnalogLinear, nn.Linear(20, 5, bias=False), torch.randn(1, 20))])
@pytest.mark.parametrize("encoding, serial", [(DifferentialPair(), False),
                                              (OffsetColumn(0.1), True)])
def test_read_noise_has_the_cells_mean_and_variance(kind, module, inputs, encoding, serial):
    """Many reads: the fast path against moments, the slow path against the same moments."""
    mapping = Mapping(CHIP, PhaseChangeMemory(), encoding, None, serial)
    layer = prepared(kind, module, inputs, mapping)
    count = 2000
    layer.begin(0)
    fast, _ = fast_sums(layer, inputs.expand(count, *inputs.shape[1:]))
    slow = [reference_sums(layer, inputs, torch.Generator().manual_seed(i)) for i in range(60)]
    for number, sample in enumerate(fast):
        reads = torch.cat([sums[number] for sums in slow])
        assert_same_moments(sample, reads)


def assert_same_moments(first, second):
    """Means within 4.5 standard errors, variances within 6 (summed kurtosis is near normal's)."""
    scale = first.var(0) / len(first) + second.var(0) / len(second)
    assert ((first.mean(0) - second.mean(0)).abs() <= 4.5 * scale.sqrt() + 1e-5).all()
    ratio = ((first.var(0) + 1e-12) / (second.var(0) + 1e-12)).log()
    assert (ratio.abs() <= 6 * sqrt(2 / len(first) + 2 / len(second))).all()


def test_reference_columns_make_the_noise_of_outputs_correlated():
    """A shared column's noise is one draw for all outputs, in the fast path as in the slow."""
    inputs = torch.ones(1, 30)
    module = nn.Linear(30, 2, bias=False)
    with torch.no_grad():
        module.weight.fill_(-1)  # data cells off: all conductance is the reference's
    layer = prepared(AnalogLinear, module, inputs,
                     Mapping(CHIP, PhaseChangeMemory(programming_error=False), OffsetColumn()))
    sums, _ = fast_sums(layer, inputs.expand(2000, 30))
    assert torch.corrcoef(sums[0][:, 0].T)[0, 1] > 0.999


@pytest.mark.parametrize("kind, module, shape", [
    (AnalogConv2d, nn.Conv2d(3, 4, 3), (6, 3, 5, 5)), (AnalogLinear, nn.Linear(20, 5), (6, 3, 20))])
def test_noise_belongs_to_the_image(kind, module, shape):
    inputs = torch.randn(shape)
    layer = prepared(kind, module, inputs, Mapping(CHIP, PhaseChangeMemory()))
    with torch.no_grad():
        layer.begin(0)
        whole = layer(inputs)
        parts = []
        for first, last in ((0, 1), (1, 4), (4, 6)):
            layer.begin(first)
            parts.append(layer(inputs[first:last]))
        layer.begin(0)
        layer(inputs)
        again = layer(inputs)
    assert torch.allclose(whole, torch.cat(parts), atol=1e-5)
    assert not torch.allclose(whole, again, atol=1e-3)


@pytest.mark.parametrize("scaling, scales", [
    (Scaling.COLUMN, [1.0, 0.5, 0.25, 1.0]), (Scaling.LAYER, [1.0] * 4)])
def test_the_largest_weight_takes_the_whole_conductance(scaling, scales):
    module = nn.Linear(3, 4, bias=False)
    module.weight.data = torch.tensor([[1, 0.5, 0], [0.25, -0.5, 0], [0, 0, -0.25], [0, 0, 0]])
    layer = AnalogLinear("a", module, Mapping(CHIP, IdealDevice(), scaling=scaling))
    positive, negative = layer.encoded.slices[0].parts
    stored = (positive.fractions - negative.fractions).double()
    assert layer.scale.tolist() == scales
    assert torch.equal(stored * layer.scale[:, None], module.weight.double())


@pytest.mark.parametrize("scaling", Scaling)
@pytest.mark.parametrize("encoding", [DifferentialPair(), OffsetColumn(), DummyColumn()])
def test_small_columns_are_as_good_as_large_ones_only_if_they_have_a_scale(scaling, encoding):
    torch.manual_seed(9)
    module, inputs = nn.Conv2d(4, 3, 3), torch.rand(2, 4, 6, 6)
    module.weight.data *= torch.tensor([1.0, 0.1, 0.001])[:, None, None, None]
    layer = prepared(AnalogConv2d, module, inputs,
                     Mapping(CHIP, PhaseChangeMemory(), encoding, scaling=scaling), time=25.0)
    with torch.no_grad():
        exact = functional.conv2d(inputs, module.weight)
        wrong = (layer(inputs) - module.bias[:, None, None] - exact).std((0, 2, 3))
    share = wrong / exact.std((0, 2, 3))
    if scaling is Scaling.COLUMN:
        assert share.max() < 2 * share.min()
    else:
        assert share[2] > 100 * share[0]


def test_rows_at_once():
    module = nn.Linear(32, 2)
    assert len(AnalogLinear("a", module, Mapping(CHIP, IdealDevice())).tiles) == 1
    assert len(AnalogLinear("a", module, Mapping(CHIP, IdealDevice(), active_rows=4)).tiles) == 8


@pytest.mark.parametrize("field, value", [
    ("active_rows", 0), ("active_rows", 33), ("bit_serial", 1), ("device", "pcm"),
    ("encoding", None), ("slicing", 2), ("wires", 5.0), ("chip", None), ("scaling", "column")])
def test_bad_mapping_is_named(field, value):
    with pytest.raises(ValueError, match=field):
        replace(Mapping(CHIP, IdealDevice()), **{field: value})
