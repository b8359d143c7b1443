"""Quality of the addressed draws, and their exact definition."""

import numpy as np
import pytest
from scipy import stats

from golden.draws import LARGEST_NORMAL, TABLE_BITS, Kind, address_hash, normal, table

WORD = (1 << 64) - 1


def scalar_hash(seed: int, *words: int) -> int:
    """The docstring's definition in plain integers."""
    state = 0
    for word in (seed, *words):
        x = ((state ^ word) + 0x9E3779B97F4A7C15) & WORD
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & WORD
        x = (x ^ x >> 27) * 0x94D049BB133111EB & WORD
        state = x ^ x >> 31
    return state


@pytest.mark.parametrize("seed", [0, 1, WORD])
@pytest.mark.parametrize("address", [(), (0,), (3, 0, 7), (2**62, 5, 2**32 - 1, 63)])
def test_hash_is_as_documented(seed, address):
    for kind in Kind:
        assert int(address_hash(seed, kind, *address)) == scalar_hash(seed, kind, *address)


def test_hash_starts_as_published_splitmix64():
    """Check values of splitmix64: first output for seeds 0 and 1234567."""
    assert scalar_hash(0) == 0xE220A8397B1DCDAF
    assert scalar_hash(1234567) == 6457827717110365317


def test_broadcasting_does_not_change_a_draw():
    image, product, column = np.arange(3)[:, None, None], np.arange(5)[:, None], np.arange(4)
    block = normal(9, Kind.HOLD, image, 2, product, column)
    assert block.shape == (3, 5, 4)
    for i in range(3):
        for p in range(5):
            for c in range(4):
                assert block[i, p, c] == normal(9, Kind.HOLD, i, 2, p, c)


def test_every_word_of_the_address_counts():
    base = int(address_hash(4, Kind.HOLD, 1, 2, 3, 4))
    others = [address_hash(5, Kind.HOLD, 1, 2, 3, 4),
              address_hash(4, Kind.CONVERSION, 1, 2, 3, 4),
              address_hash(4, Kind.HOLD, 2, 1, 3, 4), address_hash(4, Kind.HOLD, 1, 2, 4, 3),
              address_hash(4, Kind.HOLD, 1, 2, 3), address_hash(4, Kind.HOLD, 1, 2, 3, 4, 0)]
    assert len({base, *map(int, others)}) == 1 + len(others)


def test_table_is_antisymmetric_and_matches_scipy():
    entries = table()
    assert entries.shape == (1 << TABLE_BITS,)
    assert (entries == -entries[::-1]).all()
    assert (np.diff(entries) > 0).all()
    expected = stats.norm.ppf((np.arange(1 << TABLE_BITS) + 0.5) / (1 << TABLE_BITS))
    np.testing.assert_allclose(entries * np.sqrt(2), expected, rtol=1e-9, atol=1e-12)
    assert 2 * entries[-1] <= LARGEST_NORMAL
    with pytest.raises(ValueError, match="read-only"):
        entries[0] = 0


@pytest.fixture(scope="module")
def grid() -> np.ndarray:
    """Deviates of neighbouring addresses: products down, columns across."""
    return normal(2024, Kind.HOLD, 0, 0, np.arange(4000)[:, None], np.arange(250))


def test_moments(grid):
    """Within four standard errors of a million normal deviates."""
    error = 1 / np.sqrt(grid.size)
    assert abs(grid.mean()) < 4 * error
    assert abs(grid.var() - 1) < 4 * np.sqrt(2) * error
    assert abs((grid**3).mean()) < 4 * np.sqrt(15) * error
    assert abs((grid**4).mean() - 3) < 4 * np.sqrt(96) * error


def test_kolmogorov_smirnov(grid):
    assert stats.kstest(grid.reshape(-1)[:200_000], "norm").pvalue > 1e-3


def test_neighbours_are_uncorrelated(grid):
    error = 1 / np.sqrt(grid.size)
    for left, right in ((grid[1:], grid[:-1]), (grid[:, 1:], grid[:, :-1]),
                        (grid[1:, 1:], grid[:-1, :-1]), (grid[1:, :-1], grid[:-1, 1:])):
        assert abs((left * right).mean()) < 4 * error
        assert abs(((left**2 - 1) * (right**2 - 1)).mean()) < 8 * error


def test_rows_and_columns_have_no_common_share(grid):
    for axis, count in ((0, grid.shape[0]), (1, grid.shape[1])):
        means = grid.mean(axis=axis) * np.sqrt(count)
        assert stats.kstest(means, "norm").pvalue > 1e-3


def test_seeds_kinds_and_images_are_uncorrelated():
    address = np.arange(200_000)
    base = normal(1, Kind.CONVERSION, 0, 0, address, 0)
    for other in (normal(2, Kind.CONVERSION, 0, 0, address, 0),
                  normal(1, Kind.HOLD, 0, 0, address, 0),
                  normal(1, Kind.CONVERSION, 1, 0, address, 0),
                  normal(1, Kind.CONVERSION, 0, 1, address, 0)):
        assert abs((base * other).mean()) < 4 / np.sqrt(address.size)


def test_hash_fields_are_uniform():
    """Chi-square of each byte over consecutive addresses."""
    hashed = address_hash(3, Kind.CONVERSION, np.arange(1 << 16), 0, 0)
    for byte in range(8):
        counts = np.bincount((hashed >> np.uint64(8 * byte) & np.uint64(0xFF)).astype(int),
                             minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_seed_out_of_range(seed):
    with pytest.raises(ValueError, match=f"seed must be 0 to .* not {seed}"):
        normal(seed, Kind.OFFSET, 0)
