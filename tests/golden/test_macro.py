"""The charge-domain macro: effective weights, thresholds, noise and the search."""

from dataclasses import fields, replace
from math import sqrt

import numpy as np
import pytest

from golden.chip import Accumulator, Chip, PRESETS, preset
from golden.compensation import calibrate
from golden.conversion import convert
from golden.draws import Kind, normal
from golden.macro import GRID_BITS, Macro
from golden.physics import BOLTZMANN, MacroPhysics

GRID = 1 << GRID_BITS
IDEAL = MacroPhysics.ideal()


def random_weights(chip: Chip, seed: int = 0) -> np.ndarray:
    shape = (chip.tiles, chip.array.rows, chip.array.columns)
    weights = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    weights[0, 0, :4] = -128, 127, -1, 0
    return weights


def macro(physics: MacroPhysics = IDEAL, chip: str = "tiny", seed: int = 1) -> Macro:
    return Macro(preset(chip), physics, random_weights(preset(chip)), seed)


# Physics

def test_ideal_differs_from_default_only_in_deviations():
    """No default is zero, and `ideal` zeroes all but the three that are sizes."""
    default = MacroPhysics()
    sizes = {"unit_capacitor", "supply", "sampling_capacitor"}
    for field in fields(MacroPhysics):
        assert getattr(default, field.name) != 0
        expected = getattr(default, field.name) if field.name in sizes else 0
        assert getattr(IDEAL, field.name) == expected


def test_noise_is_kt_over_c():
    physics, array = MacroPhysics(), preset("default").array
    assert physics.product_unit(array) == 1.2 / (144 * 2**14)
    # 144 rows x 8 bits x 2 fF = 2.304 pF at 300 K.
    assert physics.hold_noise(array) == pytest.approx(sqrt(BOLTZMANN * 300 / 2.304e-12))
    assert physics.conversion_noise() == pytest.approx(
        sqrt(BOLTZMANN * 300 / 1e-12 + 5e-5**2))
    assert IDEAL.hold_noise(array) == IDEAL.conversion_noise() == 0


@pytest.mark.parametrize("name", [field.name for field in fields(MacroPhysics)])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), True, "1"])
def test_physics_refuses(name, value):
    if name in ("second_order", "third_order") and value == -1.0:
        assert getattr(MacroPhysics(**{name: value}), name) == value
        return
    with pytest.raises(ValueError, match=f"MacroPhysics.{name} must be finite.* not {value!r}"):
        MacroPhysics(**{name: value})


# Effective weights

@pytest.mark.parametrize("chip", PRESETS)
def test_ideal_weights_are_exact(chip):
    ideal = macro(chip=chip)
    assert ideal.exact and ideal.hold_sigma == ideal.conversion_sigma == 0
    assert (ideal.effective == ideal.weights * float(GRID)).all()


def test_effective_weight_is_the_sum_over_its_capacitors():
    physics = replace(IDEAL, mismatch_sigma=0.02, gain_loss=0.1, gain_loss_spread=0.03)
    rough = macro(physics, seed=77)
    assert not rough.exact
    for tile, row, column in ((0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 0, 3), (1, 15, 7)):
        weight = int(rough.weights[tile, row, column])
        rows = np.arange(rough.weights.shape[1])
        units = [1 + 0.02 * normal(77, Kind.MISMATCH, tile, rows, column, bit)
                 for bit in range(8)]
        total = sum((-128 if bit == 7 else 1 << bit) * unit[row] / unit.mean()
                    for bit, unit in enumerate(units) if weight >> bit & 1)
        gain = 1 - (0.1 + 0.03 * float(normal(77, Kind.COLUMN_GAIN, tile, column)))
        assert abs(rough.effective[tile, row, column] - total * gain * GRID) <= 0.51
    assert (rough.effective == np.rint(rough.effective)).all()


def test_the_seed_is_the_specimen():
    physics = replace(IDEAL, mismatch_sigma=0.02)
    assert (macro(physics, seed=3).effective == macro(physics, seed=3).effective).all()
    assert (macro(physics, seed=3).effective != macro(physics, seed=4).effective).any()


def test_mismatch_does_not_depend_on_other_weights():
    """A capacitor stays the same capacitor when other weights are written."""
    physics = replace(IDEAL, mismatch_sigma=0.02)
    first, chip = macro(physics), preset("tiny")
    changed = first.weights.copy()
    changed[:, 1:] = 5
    second = Macro(chip, physics, changed, 1)
    assert (first.effective[:, 0] == second.effective[:, 0]).all()


@pytest.mark.parametrize("weights", [
    np.zeros((2, 16, 8)), np.zeros((2, 16, 4), np.int8), np.zeros((16, 8), np.int8), [[0]]],
    ids=["float", "columns", "no tiles", "list"])
def test_weights_refused(weights):
    with pytest.raises(ValueError, match=r"weights must be an int8 array of shape \(2, 16, 8\)"):
        Macro(preset("tiny"), IDEAL, weights, 1)


@pytest.mark.parametrize("seed", [-1, 1 << 64, 1.0, None])
def test_seed_refused(seed):
    with pytest.raises(ValueError, match="seed must be an integer from 0"):
        Macro(preset("tiny"), IDEAL, random_weights(preset("tiny")), seed)


def test_sums_beyond_float64_are_refused():
    with pytest.raises(ValueError, match="beyond the 4.5e\\+15 that float64 adds exactly"):
        macro(replace(IDEAL, gain_loss=1e9))


# Thresholds and the search

@pytest.mark.parametrize("resolution", [4, 5, 6])
@pytest.mark.parametrize("reference", [1, 2, 777, (1 << preset("tiny").reference_bits) - 1])
def test_ideal_thresholds(resolution, reference):
    thresholds = macro().thresholds(0, resolution, reference)
    codes = range(1 - (1 << resolution - 1), 1 << resolution - 1)
    assert thresholds[0] == -np.inf
    assert thresholds[1:].tolist() == [(2 * code - 1) * reference * 2**15 for code in codes]


def test_threshold_deviations():
    """Offset shifts all thresholds of a tile; the bend is a cubic of the level."""
    physics = replace(IDEAL, comparator_offset=0.01, second_order=0.02, third_order=-0.03)
    rough = macro(physics, seed=8)
    for tile in (0, 1):
        offset = round(0.01 * float(normal(8, Kind.OFFSET, tile))
                       / physics.product_unit(rough.chip.array) * GRID)
        thresholds = rough.thresholds(tile, 6, 1000)
        for code in (-31, -1, 0, 1, 31):
            level = (code - 0.5) / 32
            expected = (level + 0.02 * level**2 - 0.03 * level**3) * 32000 * GRID + offset
            assert abs(thresholds[code + 32] - expected) <= 0.51


@pytest.mark.parametrize("arguments, message", [
    ((2, 6, 1), "tile must be 0 to 1, not 2"), ((-1, 6, 1), "tile must be"),
    ((0, 3, 1), "resolution must be 4 to 6, not 3"), ((0, 7, 1), "resolution must be"),
    ((0, 6, 0), "reference must be 1 to 524287, not 0"),
    ((0, 6, 1 << 19), "reference must be")])
def test_thresholds_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        macro().thresholds(*arguments)


def test_thresholds_beyond_float64_are_refused():
    chip = preset("large")
    wide = replace(chip, tiles=1, array=replace(chip.array, rows=1024, columns=1024),
                   accumulator=Accumulator(2, 32, 64, 16))
    weights = np.zeros((1, 1024, 1024), np.int8)
    with pytest.raises(ValueError, match="thresholds beyond"):
        Macro(wide, IDEAL, weights, 0).thresholds(0, 10, (1 << wide.reference_bits) - 1)


def scalar_search(value: float, thresholds: np.ndarray) -> int:
    half = len(thresholds) // 2
    code = 0 if value >= thresholds[half] else -half
    bit = half >> 1
    while bit:
        if value >= thresholds[half + code + bit]:
            code += bit
        bit >>= 1
    return code


@pytest.mark.parametrize("physics", [
    IDEAL, replace(IDEAL, comparator_offset=0.1),
    replace(IDEAL, second_order=0.1, third_order=0.1), replace(IDEAL, third_order=-3.0)],
    ids=["uniform", "shifted", "bent", "folded"])
@pytest.mark.parametrize("resolution", [4, 6])
@pytest.mark.parametrize("reference", [1, 3, 1000, 500_000])
def test_search(physics, resolution, reference):
    """On, one below and one above each threshold, at the ends, and in between."""
    thresholds = macro(physics).thresholds(0, resolution, reference)
    finite = thresholds[1:]
    values = np.concatenate([
        finite - 1, finite, finite + 1, [0.0, -1.0, 2.0**51, -2.0**51],
        np.rint(np.random.default_rng(0).normal(0, 2 * abs(finite[-1]), 300))])
    codes = convert(values.reshape(2, -1) if values.size % 2 == 0 else values[None], thresholds)
    assert codes.dtype == np.int16
    assert codes.reshape(-1).tolist() == [scalar_search(v, thresholds) for v in values]
    assert codes.min() == -(1 << resolution - 1) and codes.max() == (1 << resolution - 1) - 1


def test_folded_table_needs_the_search():
    """The non-monotone case above is not answered by counting thresholds."""
    thresholds = macro(replace(IDEAL, third_order=-3.0)).thresholds(0, 6, 1000)
    values = np.linspace(-4e9, 4e9, 1000).round()
    counted = (values[:, None] >= thresholds[1:]).sum(axis=1) - 32
    assert (convert(values, thresholds) != counted).any()


# Noise

def test_noise_is_the_rounded_deviate():
    rough = macro(MacroPhysics())
    column, product = np.arange(8), np.arange(3)[:, None]
    found = rough.hold_noise(6, 2, 1, product, column)
    assert found.shape == (3, 8)
    assert (found == np.rint(normal(6, Kind.HOLD, 2, 1, product, column)
                             * rough.hold_sigma)).all()
    found = rough.conversion_noise(6, 2, 1, product, column)
    assert (found == np.rint(normal(6, Kind.CONVERSION, 2, 1, product, column)
                             * rough.conversion_sigma)).all()
    assert not macro().hold_noise(6, 2, 1, product, column).any()
    assert not macro().conversion_noise(6, 2, 1, product, column).any()


def test_default_noise_is_a_real_but_survivable_effect():
    """A merge of eight columns on the default chip: 0.1 to 1.5 steps at references in use."""
    rough = macro(MacroPhysics(), "default")
    total = sqrt(8 * rough.hold_sigma**2 + rough.conversion_sigma**2) / GRID
    assert 0.1 < total / 2000 and total / 200 < 1.5


# Compensation

@pytest.mark.parametrize("chip", ["tiny", "default"])
@pytest.mark.parametrize("reference", [1, 1000, 200_000])
def test_an_ideal_macro_needs_no_correction(chip, reference):
    bits = preset(chip).converter.bits
    corrections = calibrate(macro(chip=chip), bits, reference, seed=0)
    assert corrections.dtype == np.int64
    assert corrections.shape == (preset(chip).tiles, 1 << bits)
    assert not corrections.any()


def test_compensation_removes_static_error():
    """Bent, shifted and noisy: what is left is the rounding to whole steps."""
    chip, reference = preset("default"), 1000
    physics = MacroPhysics(comparator_offset=1e-3, second_order=0.02, third_order=-0.03)
    rough = macro(physics, "default")
    corrections = calibrate(rough, 8, reference, seed=4)
    limit = 1 << chip.converter.correction_bits - 1
    assert -limit <= corrections.min() < corrections.max() < limit
    value = np.linspace(-100, 100, 4001) * reference * GRID
    for tile in range(chip.tiles):
        code = convert(np.rint(value * (1 - physics.gain_loss)),
                       rough.thresholds(tile, 8, reference))
        error = code - value / (reference * GRID)
        left = error + corrections[tile, code % 256]
        assert np.sqrt((error**2).mean()) > 0.8
        assert np.sqrt((left**2).mean()) < 0.5
        assert np.abs(left).max() < 1.5


def test_corrections_saturate_and_fill_only_the_codes_of_the_resolution():
    """Shifted by more than the table can say; four-bit codes at their place modulo 2**6."""
    rough = macro(replace(IDEAL, comparator_offset=1.0))
    corrections = calibrate(rough, 4, 4000, seed=0)
    assert not corrections[:, 8:-8].any()
    assert set(np.unique(corrections[:, [*range(8), *range(-8, 0)]])) <= set(range(-8, 8))
    assert np.abs(corrections).max() >= 7


def test_thresholds_follow_the_levels():
    """Levels are sixteenths of codes: doubled, thresholds are those of twice the code."""
    size = 1 << 6
    code = (np.arange(size) + size // 2) % size - size // 2
    straight, double = np.tile(code * 16, (2, 1)), np.tile(np.clip(code * 32, -512, 511), (2, 1))
    plain = macro().thresholds(0, 6, 1000)
    assert np.array_equal(macro().thresholds(0, 6, 1000, straight), plain)
    found = macro().thresholds(0, 6, 1000, double)
    # Codes -15 to 15 stand for -30 to 30, entries 2 to 62 of every second.
    assert np.array_equal(found[17:48], plain[2:63:2])
    rough = macro(MacroPhysics(second_order=0.1, third_order=-0.1))
    assert np.array_equal(rough.thresholds(1, 6, 1000, double)[17:48],
                          rough.thresholds(1, 6, 1000)[2:63:2])
