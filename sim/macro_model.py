"""One tile's analog macro at its pins, around golden's model of it."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from golden.chip import ACTIVATIONS_PER_WORD, LEVEL_FRACTION_BITS, Phases
from golden.macro import Macro

from .pin_rules import PinRules
from .products import ProductRange, find_range, layer_thresholds, total_products

__all__ = ["MacroModel"]


def _bits(value: int, count: int) -> NDArray[np.bool_]:
    return np.array([value >> i & 1 for i in range(count)], bool)


class MacroModel:
    """What the chip writes, drives and converts on one tile, clock by clock.

    Holds the weights and row latches that come through the pins, and answers the comparator from
    golden's effective weights, noise and thresholds. `PinViolation` for a broken rule.

    Parameters
    ----------
    macro
        Golden's macros of the chip.
    tile
        Which of them.
    ranges
        Products of the program's convolutions (sim.products): which thresholds apply.
    seed
        Seed of the run's noise.
    lengths
        Phase lengths that the chip is programmed with.
    levels
        Reference tables that it is programmed with (golden.program.Program).
    """

    def __init__(self, macro: Macro, tile: int, ranges: tuple[ProductRange, ...], seed: int,
                 lengths: Phases, levels: NDArray[np.int64] | None = None) -> None:
        array = macro.chip.array
        self.macro, self.tile, self.ranges, self.seed = macro, tile, ranges, seed
        self.rules = PinRules(tile, lengths, array.polarity)
        self.weights = np.zeros((array.rows, array.columns), np.int8)
        self.written = np.zeros((array.rows, array.columns), bool)
        self.latches = np.zeros((2, array.rows), np.int8)
        self.image = 0
        self._thresholds = layer_thresholds(ranges, macro, levels)[:, tile]
        self._levels = None if levels is None else levels[tile]
        self._driven = np.zeros(array.rows)
        self._held = np.zeros(array.columns)
        # Per side: value on the capacitor, product and conversion number.
        self._samples: list[tuple[float, int, int]] = [(0.0, 0, 0), (0.0, 0, 0)]

    def start_image(self, image: int) -> None:
        """A program starts on image number ``image``; the weights must be the macro's."""
        wrong = np.argwhere(~self.written | (self.weights != self.macro.weights[self.tile]))
        if wrong.size:
            row, column = wrong[0]
            self.rules.fail("write_data", f"the weight of row {row}, column {column} is not the "
                                          "program's, or was never written")
        self.image = image
        self.rules.restart()

    def clock(self, time: int, pins: Mapping[str, int]) -> bool | None:
        """One clock, pins as they stand after its rising edge: the comparator's answer.

        None where the comparator is not asked.
        """
        events = self.rules.clock(time, pins)
        if "reset" in events and pins["product"] >= total_products(self.ranges):
            self.rules.fail("product", "beyond the program's last product")
        if "drive" in events:
            granule = self.macro.chip.array.row_granule
            enabled = np.repeat(_bits(pins["row_enable"], self.macro.chip.array.granules), granule)
            self._driven = np.where(enabled, self.latches[pins["bank"]], 0).astype(np.float64)
        if "hold" in events:
            self._held = self._columns()
        if "add" in events:
            self._sample(pins)
        if pins["write_enable"]:
            self._write(pins)
        if pins["load_enable"]:
            self._load(pins)
        return self._compare(pins) if pins["convert"] else None

    def _columns(self) -> NDArray[np.float64]:
        """Held columns, on the analog grid; float64 [columns]."""
        sums = self._driven @ self.macro.effective[self.tile]
        if self.macro.hold_sigma:
            sums += self.macro.hold_noise(self.seed, self.image, self.tile, self.rules.held,
                                          np.arange(sums.size))
        return sums

    def _sample(self, pins: Mapping[str, int]) -> None:
        columns = self.macro.chip.array.columns
        select, negate = _bits(pins["select"], columns), _bits(pins["negate"], columns)
        value = float((self._held * select * np.where(negate, -1, 1)).sum())
        held = self.rules.held
        assert held is not None
        self._samples[pins["side"]] = value, held, pins["conversion"]

    def _write(self, pins: Mapping[str, int]) -> None:
        rows, columns = self.weights.shape
        row, column = pins["write_row"], 4 * pins["write_group"]
        if row >= rows:
            self.rules.fail("write_row", "no such row")
        if column >= columns:
            self.rules.fail("write_group", "no such columns")
        if self.rules.driven is not None:
            self.rules.fail("write_enable", "a weight is written while the array is driven")
        where = row, slice(column, column + 4)
        self.weights[where] = np.array([pins["write_data"]], "<u4").view(np.int8)
        self.written[where] = True

    def _load(self, pins: Mapping[str, int]) -> None:
        row = ACTIVATIONS_PER_WORD * pins["load_row"]
        latches = self.latches[pins["load_bank"]]
        if row >= latches.size:
            self.rules.fail("load_row", "no such rows")
        if pins["load_clear"]:
            latches[:] = 0
        latches[row:row + ACTIVATIONS_PER_WORD] = np.array([pins["load_codes"]],
                                                           "<u4").view(np.int8)

    def _compare(self, pins: Mapping[str, int]) -> bool:
        value, product, conversion = self._samples[pins["convert_side"]]
        layer = find_range(self.ranges, product)
        expected = self.ranges[layer]
        if pins["reference"] != expected.reference:
            self.rules.fail("reference", f"is {pins['reference']}, the layer's is "
                                         f"{expected.reference}")
        half = 1 << (expected.resolution - 1)
        if not -half < pins["trial"] < half:
            self.rules.fail("trial", f"{pins['trial']} is no trial code of the layer's "
                                     "resolution")
        level = pins["trial"] << LEVEL_FRACTION_BITS
        if self._levels is not None:
            level = self._levels[pins["trial"] & (len(self._levels) - 1)]
        if pins["level"] != level:
            self.rules.fail("level", f"is {pins['level']}, that of trial {pins['trial']} is "
                                     f"{level}")
        if self.macro.conversion_sigma:
            value += float(self.macro.conversion_noise(self.seed, self.image, self.tile, product,
                                                       conversion))
        return bool(value >= self._thresholds[layer, pins["trial"] + half])
