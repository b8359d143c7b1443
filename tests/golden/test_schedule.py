"""Early stops, against every code."""

import numpy as np
import pytest

from golden.chip import preset
from golden.program import Convolution, Window
from golden.schedule import early_stops

CHIP = preset("tiny")


def _layer(coefficients, multiplier, bias, shift, relu=True, stream=False):
    kernels = coefficients.shape[3]
    numbers = [np.asarray(v, np.int64) for v in (multiplier, bias, shift)]
    return Convolution("layer", Window(1, 1, 1, 1), 0, 0, 1, 1, 1, 1, 1, relu, stream, 6, 1,
                       coefficients, *numbers, np.zeros(kernels, bool))


def _output(code, m, bias, s):
    return max(0, min(127, (code * m + bias + (1 << s >> 1)) >> s))


def test_stops_exactly_where_every_negative_code_gives_zero():
    random = np.random.default_rng(7)
    kernels = 8
    both = set()
    for _ in range(200):
        shift = random.integers(0, 12, kernels)
        multiplier = random.integers(0, 1 << random.integers(1, 12), kernels)
        bias = np.where(random.random(kernels) < 0.5, multiplier + (1 << shift) // 2
                        + random.integers(-2, 3, kernels),
                        random.integers(-2000, 2000, kernels))
        coefficients = np.zeros((1, 2, 8, kernels), np.int8)
        for kernel in range(kernels):
            coefficients[0, random.integers(2), random.integers(8), kernel] = 1
        layer = _layer(coefficients, multiplier, bias, shift)
        for kernel, stops in enumerate(early_stops(layer, CHIP)):
            constants = int(multiplier[kernel]), int(bias[kernel]), int(shift[kernel])
            zero = all(_output(code, *constants) == 0 for code in range(-32, 0))
            assert stops == zero
            both.add(bool(stops))
    assert both == {False, True}


def _single(value=1, tiles=1, columns=1, chunks=1):
    coefficients = np.zeros((chunks, 2, 8, 1), np.int8)
    coefficients[:, :tiles, :columns] = value
    return coefficients


@pytest.mark.parametrize("coefficients, changes, allowed", [
    (_single(), {}, True),
    (_single(value=-1), {}, True),          # opposite polarity: still one plane
    (_single(columns=3), {}, True),
    (_single(value=2), {}, False),          # plane 1
    (_single(value=3), {}, False),          # two planes
    (_single(tiles=2), {}, False),
    (_single(chunks=2), {}, False),
    (_single(value=0), {}, False),          # no conversion to stop
    (_single(), {"relu": False}, False),
    (_single(), {"stream": True}, False),
])
def test_stops_need_one_conversion_and_relu(coefficients, changes, allowed):
    layer = _layer(coefficients, [1], [0], [1], **changes)
    assert early_stops(layer, CHIP).tolist() == [allowed]
