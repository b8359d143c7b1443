"""Calibration: an offset found, a drift made good, and what gives no gain."""

from dataclasses import replace

import numpy as np
import pytest

from golden.calibration import drift_gain, scaled
from golden.chip import GAIN_FRACTION_BITS, preset
from golden.chip.descriptor import Measure
from golden.execute import execute
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.program import Calibration, Convolution, Program, ProgramError, Transfer, Window

CHIP = preset("tiny")
ONE = 1 << GAIN_FRACTION_BITS
REFERENCE = 3000
#: Words of the activation buffer: pixels of the image, then the calibration vector.
PIXELS, VECTOR = 9, 4


def network(*calibrations: Calibration) -> Program:
    """A 3x3 image through a dense linear layer; behind the image the vector that calibrates."""
    rng = np.random.default_rng(5)
    weights = rng.integers(-128, 128, (2, 16, 8)).astype(np.int8)
    coefficients = rng.integers(-7, 8, (1, 2, 8, 4)).astype(np.int8)
    layer = Convolution(
        "layer", Window(1, 1, 1, 1), 0, 20, 4, 1, 4, 1, 4, False, True, 6, REFERENCE, coefficients,
        np.full(4, 40), np.zeros(4, np.int64), np.full(4, 8), np.zeros(4, bool))
    return Program(
        CHIP, weights, np.zeros((2, 64), np.int64),
        (Transfer("load", True, 0, PIXELS + VECTOR), *calibrations, layer,
         Transfer("store", False, 20, 1)), (1, PIXELS + VECTOR, 4), 1.0, 1.0, 4)


def calibration(measure: Measure, **changes: object) -> Calibration:
    columns = 1 if measure is Measure.OFFSET else 8
    return replace(Calibration("calibrate", measure, PIXELS, VECTOR, columns, 6, REFERENCE, 4),
                   **changes)


def images(count: int = 64) -> np.ndarray:
    """Random images, all with the same vector behind them, large in magnitude."""
    rng = np.random.default_rng(8)
    made = rng.integers(-128, 128, (count, 1, PIXELS + VECTOR, 4)).astype(np.int8)
    made[:, :, PIXELS:] = rng.choice([-120, 120], (1, VECTOR, 4))
    return made


def run(program: Program, physics: MacroPhysics, drift: tuple[float, ...] | None = None):
    return execute(program, Macro(CHIP, physics, program.weights, 3, drift), images(), seed=1,
                   trace=True)


def error(outputs: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(outputs.astype(int) - wanted).mean())


@pytest.mark.parametrize("drift", [(0.61, 0.67), (0.9, 1.2)])
def test_a_drifted_network_is_restored(drift):
    """The reference is measured on the fresh arrays, the gain on the drifted ones."""
    quiet = MacroPhysics(comparator_offset=0)
    fresh = run(network(calibration(Measure.REFERENCE)), quiet)
    references = fresh.settings.gain_references
    assert (references > 0).all()
    stale = run(network(), quiet, drift)
    program = replace(network(calibration(Measure.GAIN)), gain_references=references[0])
    restored = run(program, quiet, drift)
    gains = restored.settings.gains / ONE
    assert np.allclose(gains, 1 / np.array(drift), rtol=0.03)
    assert error(restored.outputs, fresh.outputs) < 0.35 * error(stale.outputs, fresh.outputs)


def test_the_offset_is_found():
    """An offset of some codes is measured, and subtracted from what follows."""
    unit = MacroPhysics().product_unit(CHIP.array)
    rough = replace(MacroPhysics.ideal(), comparator_offset=4 * REFERENCE * unit)
    exact = run(network(), MacroPhysics.ideal())
    wrong = run(network(), rough)
    right = run(network(calibration(Measure.OFFSET)), rough)
    macro = Macro(CHIP, rough, network().weights, 3)
    for tile in range(2):
        # The threshold of code 0 stands half a step below zero, and the offset higher.
        moved = macro.thresholds(tile, 6, REFERENCE)[32] / (REFERENCE << 16) + 0.5
        assert (np.abs(right.settings.offsets[:, tile] + moved) <= 0.5).all()
        assert abs(moved) > 1
    assert error(right.outputs, exact.outputs) < 0.3 * error(wrong.outputs, exact.outputs)


def test_gains_by_hand():
    references = np.array([100, 100, 100, 3, 0, 400, 399])
    sums = np.array([100, 200, 0, 2, 50, 100, 100])
    expected = [ONE, ONE // 2, 77, 3 * ONE // 2, 77, 77, 65372]
    gains, none = drift_gain(references, sums, np.full(7, 77))
    assert gains.tolist() == expected
    assert none.tolist() == [gain == 77 for gain in expected]


def test_scaling_by_hand():
    limit = 1 << (CHIP.accumulator_bits - 1)
    sums = np.array([0, 1, -1, 3, -3, limit - 1, -limit])
    for gain, expected in ((ONE, sums.tolist()), (ONE // 2, [0, 1, 0, 2, -1, limit // 2,
                                                             -limit // 2]),
                           (2 * ONE, [0, 2, -2, 6, -6, limit - 1, -limit])):
        values, saturated = scaled(sums, np.int64(gain), CHIP)
        assert values.tolist() == expected
        assert saturated.tolist() == [False] * 5 + [gain > ONE] * 2


@pytest.mark.parametrize("changes, message", [
    ({"words": 0}, "words must be 1 to 4, not 0"), ({"words": 5}, "words must be 1 to 4, not 5"),
    ({"columns": 9}, "columns must be 1 to 8, not 9"),
    ({"averaging": 8}, "averaging must be 0 to 7, not 8"),
    ({"resolution": 7}, "resolution must be 4 to 6, not 7"),
    ({"reference": 0}, "reference must be 1 to"),
    ({"measure": Measure.OFFSET}, "columns must be 1 where the offset is measured, not 8"),
])
def test_calibration_refused(changes, message):
    with pytest.raises(ProgramError, match=f"layer 'calibrate': {message}"):
        network(replace(calibration(Measure.GAIN), **changes))


def test_settings_made_after_their_use_are_refused():
    program = network()
    late = (*program.layers[:2], calibration(Measure.GAIN), program.layers[2])
    with pytest.raises(ProgramError, match="sets the gain only after a layer has used it"):
        replace(program, layers=late)
    with pytest.raises(ProgramError, match="sets the reference only after"):
        network(calibration(Measure.GAIN), calibration(Measure.REFERENCE))


@pytest.mark.parametrize("changes, message", [
    ({"gains": np.array([0, 1 << 16])}, "program gains must be 0 to 65535, not 65536"),
    ({"offsets": np.array([0, 32])}, "program offsets must be -32 to 31, not 32"),
    ({"gain_references": np.array([1])}, r"program gain_references must have shape \(2,\)"),
])
def test_settings_refused(changes, message):
    with pytest.raises(ProgramError, match=message):
        replace(network(), **changes)


def test_settings_are_saved_and_loaded(tmp_path):
    settings = {"offsets": np.array([-3, 4]), "gains": np.array([ONE, 20000]),
                "gain_references": np.array([7, 300])}
    made = replace(network(calibration(Measure.GAIN)), **settings)
    made.save(tmp_path / "p")
    loaded = Program.load(tmp_path / "p", CHIP)
    assert loaded.layers[1] == made.layers[1]
    for name, values in settings.items():
        assert np.array_equal(getattr(loaded, name), values)


def test_impossible_drift_is_refused():
    with pytest.raises(ValueError, match="drift must be 2 factors between 0 and 4"):
        Macro(CHIP, MacroPhysics(), network().weights, 3, (1.0,))
