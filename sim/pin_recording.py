"""Pins of a tile's macro, clock by clock, in the scenes that docs/integration.md shows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from amaranth.sim import Simulator

from golden.chip import Chip, Converter, Phases, preset
from golden.chip.descriptor import DESCRIPTOR_WORDS, Opcode, encode
from rtl.tile import Tile

__all__ = ["CHIP", "PINS", "SCENES", "Scene", "record"]

#: The `tiny` preset with codes of eight bits, at which sampling is hidden behind conversion.
CHIP: Chip = replace(preset("tiny"), converter=Converter(bits=8, correction_bits=4))

#: Pins that are recorded, in the order in which they are drawn.
PINS = ("load_enable", "load_bank", "load_clear", "load_row", "bank", "row_enable", "product",
        "reset", "drive", "share", "hold", "select", "conversion", "side", "clear", "add",
        "convert", "convert_side", "trial", "comparator", "decided")

_PRODUCTS = 2
_COLUMNS = 3


@dataclass(frozen=True)
class Scene:
    """What is shown of two products, three columns each, in stream mode at eight bits.

    Parameters
    ----------
    name, title
        Of the file, and what it shows.
    first, clocks
        The part of the recording that is drawn.
    pins
        Which of `PINS` are drawn.
    undecided
        For each decision, in order, the clocks in which `decided` stays low; none after the last.
    """

    name: str
    title: str
    first: int
    clocks: int
    pins: tuple[str, ...] = PINS
    undecided: tuple[int, ...] = ()


_CONVERSION_PINS = PINS[PINS.index("select"):]
#: The scenes of docs/integration.md.
SCENES = (
    Scene("product", "Phases of two products: the second is prepared and held while the first's "
          "columns are converted", 0, 82),
    Scene("conversion", "Back-to-back conversions: one decision per clock, sampling hidden", 19, 34,
          _CONVERSION_PINS),
    Scene("undecided", "A comparator that needs three clocks more for one decision", 24, 16,
          _CONVERSION_PINS, (0, 0, 3)),
)

#: Codes that the comparator's answers lead to, one per conversion.
_CODES = (11, -20, 5, 127, -128, 0)


class _Comparator:
    """Answers each trial so that the conversions end in `_CODES`."""

    def __init__(self, resolution: int, undecided: Sequence[int]) -> None:
        self._resolution = resolution
        self._waits = list(undecided)
        self._decision = 0
        self._waited = 0

    def answer(self, convert: int, trial: int) -> tuple[int, int]:
        """(comparator, decided) for this clock's pins."""
        if not convert:
            return 0, 1
        wait = self._waits[self._decision] if self._decision < len(self._waits) else 0
        if self._waited < wait:
            self._waited += 1
            return 0, 0
        code = _CODES[self._decision // self._resolution]
        self._decision += 1
        self._waited = 0
        return int(code >= trial), 1


def _descriptor(resolution: int) -> tuple[int, ...]:
    return encode(
        Opcode.CONVOLVE, relu=0, stream=1, resolution=resolution, averaging=0, source=0,
        destination=0,
        in_width=_PRODUCTS, in_height=1, out_width=_PRODUCTS, out_height=1, kernel_width=1,
        kernel_height=1, stride=1, pad_left=0, pad_top=0, source_pixel_words=2,
        destination_pixel_words=1, block_words=2, blocks=1, chunk_words=2, chunks=1,
        row_groups=1, group_granules=2, kernels=1, columns=_COLUMNS, constants=0,
        coefficients=0, reference=1 << 10)


def record(undecided: Sequence[int] = (), clocks: int = 100) -> dict[str, list[int]]:
    """Value of each of `PINS` in each of ``clocks`` clocks, from the start of a convolution.

    The chip is `CHIP`. Answers of the comparator stand in the clock in which they are due.
    ``undecided`` as in `Scene`.
    """
    resolution = CHIP.converter.bits
    tile = Tile(CHIP)
    pins: dict[str, list[int]] = {name: [] for name in PINS}
    comparator = _Comparator(resolution, undecided)
    # Loads as the row loader makes them: two words each, a chunk as soon as there is a bank.
    loads = {2: (0, 0), 3: (0, 1), 4: (1, 0), 5: (1, 1)}

    async def testbench(context: Any) -> None:
        words = _descriptor(resolution)
        for i in range(DESCRIPTOR_WORDS):
            context.set(tile.descriptor[i], words[i])
        for name in Phases.__dataclass_fields__:
            context.set(tile.lengths[name], getattr(CHIP.phases, name))
        # The descriptor stands a clock before the start, as the scheduler's does.
        await context.tick()
        for clock in range(clocks):
            context.set(tile.start, clock == 0)
            bank, word = loads.get(clock, (0, 0))
            here = clock in loads
            context.set(tile.load_enable, here)
            context.set(tile.load_bank, bank)
            context.set(tile.load_clear, here and word == 0)
            context.set(tile.load_row, word)
            context.set(tile.chunk_begin, clock + 1 in loads and loads[clock + 1][1] == 0)
            context.set(tile.chunk_loaded, here and word == 1)
            context.set(tile.chunk_final, here and word == 1)
            macro = tile.macro
            answer, decided = comparator.answer(context.get(macro.convert),
                                                context.get(macro.trial))
            context.set(macro.comparator, answer)
            context.set(macro.decided, decided)
            for name in PINS:
                pins[name].append(context.get(getattr(macro, name)))
            await context.tick()

    simulator = Simulator(tile)
    simulator.add_clock(1e-6)
    simulator.add_testbench(testbench)
    simulator.run()
    return pins
