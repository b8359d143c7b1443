"""Addressed deviates of the analog networks."""

from math import cos, radians, sin, sqrt

import numpy as np
import pytest
import torch

from golden.analog.normal import key_of, lattice, normal

CPU = torch.device("cpu")


def splitmix64(state: int) -> int:
    mask = (1 << 64) - 1
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
    return state ^ (state >> 31)


def test_words_are_those_of_splitmix64():
    key, points = key_of("words"), torch.view_as_real(lattice(CPU))
    drawn = normal(key, 3, 2, 16, CPU)
    for image in range(2):
        for word in range(2):
            counter = (3 + image) * 2 + word
            value = splitmix64((key + counter * 0x9E3779B97F4A7C15) % (1 << 64))
            expected = [points[(value >> (16 * i)) & 0xFFFF].tolist() for i in range(4)]
            assert drawn[image, 8 * word:8 * word + 8].view(4, 2).tolist() == expected


def test_known_word_of_splitmix64():
    """First output of splitmix64 seeded with 0 (published reference value)."""
    assert splitmix64(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF


@pytest.mark.parametrize("each", [1, 3, 4, 1000, 40001])
def test_batch_size_does_not_change_a_draw(each):
    key = key_of(1, "layer", 2)
    whole = normal(key, 0, 7, each, CPU)
    parts = torch.cat([normal(key, first, count, each, CPU)
                       for first, count in ((0, 1), (1, 4), (5, 2))])
    assert whole.shape == (7, each) and torch.equal(whole, parts)


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 117])
def test_every_projection_of_the_lattice_is_normal(angle):
    """Coordinates, and sums and differences of the two deviates that a point gives."""
    x, y = torch.view_as_real(lattice(CPU)).double().numpy().T
    projected = np.sort(x * cos(radians(angle)) + y * sin(radians(angle)))
    n = len(projected)
    exact = torch.special.ndtr(torch.from_numpy(projected)).numpy()
    steps = np.arange(n + 1) / n
    assert max(abs(exact - steps[1:]).max(), abs(exact - steps[:-1]).max()) < 4.3e-4
    assert abs(projected.mean()) < 1e-7 and abs((projected ** 2).mean() - 1) < 1e-6
    assert abs((projected ** 4).mean() - 3) < 3e-3


def test_moments_and_tails():
    n = 4_000_000
    sample = normal(key_of("moments"), 0, 1, n, CPU).double().numpy().ravel()
    assert abs(sample.mean()) < 3.3 / sqrt(n)
    assert abs(sample.var() - 1) < 3.3 * sqrt(2 / n)
    assert abs((sample ** 3).mean()) < 3.3 * sqrt(15 / n) + 1e-3
    assert abs((sample ** 4).mean() - 3) < 3.3 * sqrt(96 / n) + 3e-3
    for z, tail in ((1, 0.158655), (2, 0.0227501), (3, 0.00134990)):
        assert abs((sample > z).mean() - tail) < 3.3 * sqrt(tail / n) + 3.5e-4


def test_keys_neighbours_and_numbers_are_uncorrelated():
    n = 1_000_000
    first, second = (normal(key_of("a", i), 0, 1, n, CPU).numpy().ravel() for i in (0, 1))
    for left, right in ((first, second), (first[1:], first[:-1]), (first[8:], first[:-8])):
        assert abs(np.corrcoef(left, right)[0, 1]) < 4 / sqrt(n)


def test_keys_tell_types_and_borders_apart():
    keys = {key_of(1, 2), key_of(12), key_of("1", 2), key_of(2, 1), key_of("12")}
    assert len(keys) == 5 and all(0 <= key < 1 << 63 for key in keys)
