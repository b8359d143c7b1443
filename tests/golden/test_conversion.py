"""The converter's table against a plain search."""

import numpy as np
import pytest

from golden.conversion import convert


def _stepwise(value, thresholds):
    """Code of one value, bit by bit from the sign on."""
    half = thresholds.size // 2
    index = half if value >= thresholds[half] else 0
    step = half >> 1
    while step:
        index += step * (value >= thresholds[index + step])
        step >>= 1
    return index - half


def _rising(random, size, spread):
    steps = random.integers(1, spread, size)
    return np.concatenate([[-np.inf], np.cumsum(steps[1:])]) - steps.sum() // 2


@pytest.mark.parametrize("spread", [3, 1000, 1 << 40])
@pytest.mark.parametrize("size", [16, 256, 1024])
def test_codes_are_those_of_the_search(size, spread):
    random = np.random.default_rng(size)
    thresholds = _rising(random, size, spread)
    near = thresholds[1:, None] + [-1.0, 0.0, 1.0]
    wild = np.rint(random.uniform(-2, 2, 500) * thresholds[-1])
    far = [-(2.0**52), 2.0**52]
    values = np.concatenate([near.ravel(), wild, far])
    assert convert(values, thresholds).tolist() == [_stepwise(v, thresholds) for v in values]


def test_a_table_that_falls_is_followed_step_by_step():
    random = np.random.default_rng(0)
    thresholds = _rising(random, 16, 5)
    thresholds[[5, 6]] = thresholds[[6, 5]]
    values = np.arange(thresholds[1] - 2, thresholds[-1] + 3)
    assert convert(values, thresholds).tolist() == [_stepwise(v, thresholds) for v in values]


def test_a_step_that_dwarfs_the_others_needs_no_large_table():
    thresholds = np.array([-np.inf, *range(7), 1e12, *(1e12 + np.arange(1, 8))])
    values = np.array([-1.0, 0.0, 6.0, 7.0, 1e12 - 1, 1e12, 1e12 + 9])
    assert convert(values, thresholds).tolist() == [_stepwise(v, thresholds) for v in values]
