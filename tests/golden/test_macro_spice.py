"""The charge-sharing macro against an ngspice transient of its capacitor network."""

from dataclasses import replace
import shutil

import numpy as np
import pytest

from golden.arrays.spice import run_ngspice
from golden.chip import PRESETS
from golden.draws import Kind, normal
from golden.macro import GRID_BITS, Macro
from golden.physics import MacroPhysics

pytestmark = pytest.mark.skipif(shutil.which("ngspice") is None, reason="ngspice is missing")

CHIP = replace(PRESETS["tiny"], name="test", tiles=1)
PHYSICS = MacroPhysics(temperature=0, comparator_noise=0, comparator_offset=0)
ROWS, BITS = CHIP.array.rows, CHIP.array.weight_bits
SEED = 5


def capacitors(column: int) -> np.ndarray:
    """Unit capacitors of a column, F, [rows, bits]: what the macro's seed draws."""
    deviate = normal(SEED, Kind.MISMATCH, 0, np.arange(ROWS)[:, None], column, np.arange(BITS))
    return PHYSICS.unit_capacitor * 1e-15 * (1 + PHYSICS.mismatch_sigma * deviate)


def transient(codes: np.ndarray, weights: np.ndarray, column: int) -> str:
    """Reset, drive, share, hold and binary-weighted sum of one column; switches are resistors.

    Phases of 10 ns: drive charges every unit capacitor to activation times weight bit; share joins
    the units of each bit with that bit line's parasitic; the held, buffered bit lines charge
    capacitors of binary ratio, the sign bit's with opposite polarity, which are then joined.
    """
    units = capacitors(column)
    loss = PHYSICS.gain_loss + PHYSICS.gain_loss_spread * float(
        normal(SEED, Kind.COLUMN_GAIN, 0, column))
    lines = ["macro", ".model sw sw(vt=0.5 vh=0.1 ron=3k roff=1e14)"]
    for phase, start in (("drive", 1), ("share", 12), ("hold", 23), ("join", 34)):
        lines.append(f"V{phase} {phase} 0 pwl(0 0 {start}n 0 {start + 1}n 1 {start + 9}n 1 "
                     f"{start + 10}n 0)")
    for row, code in enumerate(codes):
        lines.append(f"Va{row} a{row} 0 {PHYSICS.supply * code / 128:.15g}")
        for bit in range(BITS):
            source = f"a{row}" if weights[row] >> bit & 1 else "0"
            lines += [f"C{row}_{bit} u{row}_{bit} 0 {units[row, bit]:.15g} ic=0",
                      f"Sd{row}_{bit} {source} u{row}_{bit} drive 0 sw",
                      f"Ss{row}_{bit} u{row}_{bit} l{bit} share 0 sw"]
    for bit in range(BITS):
        parasitic = ROWS * PHYSICS.unit_capacitor * 1e-15 * loss / (1 - loss)
        sign = -1 if bit == BITS - 1 else 1
        lines += [f"Cp{bit} l{bit} 0 {parasitic:.15g} ic=0", f"E{bit} e{bit} 0 l{bit} 0 {sign}",
                  f"Sh{bit} e{bit} h{bit} hold 0 sw",
                  f"Ch{bit} h{bit} 0 {2 ** bit * 1e-15:.15g} ic=0",
                  f"Sj{bit} h{bit} out join 0 sw"]
    return "\n".join([*lines, "Cout out 0 1e-18 ic=0",
                      ".options reltol=1e-4 vntol=1e-8 abstol=1e-15 chgtol=1e-19 gmin=1e-16",
                      ".save v(out)", ".tran 0.1n 44n uic", ".end", ""])


@pytest.mark.parametrize("column", [0, 5])
def test_sums_agree_to_a_tenth_of_a_step(column):
    random = np.random.default_rng(column)
    weights = random.integers(-128, 128, (1, ROWS, CHIP.array.columns), dtype=np.int8)
    macro = Macro(CHIP, PHYSICS, weights, SEED)
    # Eight bits over three standard deviations of a random sum.
    step = 3 * np.sqrt(ROWS) * 74 ** 2 / 128
    for codes in (random.integers(-128, 128, ROWS), np.full(ROWS, 127)):
        value = codes @ macro.effective[0, :, column] / 2 ** GRID_BITS
        out = run_ngspice(transient(codes, weights[0, :, column].astype(int), column))["v(out)"]
        volts_per_product = PHYSICS.supply / (128 * ROWS * (2 ** BITS - 1))
        assert abs(out[-1] / volts_per_product - value) < 0.1 * step
        assert abs(value) > step
