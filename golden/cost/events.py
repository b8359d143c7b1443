"""What happens in a layer, counted, and the energy of it by block."""

from dataclasses import dataclass, fields

from ..chip import ACTIVATIONS_PER_WORD, WORD_BITS, Chip
from .cuts import Cut
from .parameters import EnergyParameters
from .timing import CutTiming, Mode

__all__ = ["ENERGY_BLOCKS", "Events", "cut_events", "energy_by_block"]

#: Blocks of the energy table, in the order of the signal path.
ENERGY_BLOCKS = ("write", "array", "adder", "converter", "accumulator", "requantizer",
                 "elementwise", "digital", "memory", "external", "idle")


@dataclass(frozen=True)
class Events:
    """Counts of one image.

    ``cell_products`` are cells (weights of 8 bits) charged in a product; ``comparisons`` those of
    all conversions; ``codes_multiplied`` codes times a coefficient each; ``tile_clocks`` clocks
    of powered tiles; ``write_energy`` pJ spent in write pulses and their verification.
    """

    cell_products: int = 0
    row_codes: int = 0
    conversions: int = 0
    comparisons: int = 0
    codes_added: int = 0
    codes_multiplied: int = 0
    outputs: int = 0
    operands: int = 0
    digital_macs: int = 0
    memory_bits: int = 0
    external_bits: int = 0
    tile_clocks: int = 0
    write_energy: float = 0.0

    def __add__(self, other: "Events") -> "Events":
        return Events(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def times(self, count: int) -> "Events":
        """The same, ``count`` times."""
        return Events(*(getattr(self, f.name) * count for f in fields(self)))


def cut_events(chip: Chip, cut: Cut, made: CutTiming) -> Events:
    """Events of one run of ``cut`` on ``chip``.

    Every tile charges all its columns in every product, used or not; rows that a chunk does not
    fill hold zeros and take no charge.
    """
    positions, timing = cut.window.positions, made.timing
    rows = cut.window_words * ACTIVATIONS_PER_WORD * positions
    streamed = made.mode is Mode.STREAM
    coefficients = made.coefficient_words * chip.accumulator.word_bits * chip.tiles
    buffer = (cut.window_words + -(-cut.kernels // ACTIVATIONS_PER_WORD)) * WORD_BITS
    return Events(
        cell_products=rows * chip.array.columns * chip.tiles,
        row_codes=rows * chip.tiles,
        conversions=timing.conversions,
        comparisons=sum(timing.converting),
        codes_added=0 if streamed else timing.conversions,
        codes_multiplied=timing.conversions * cut.kernels if streamed else 0,
        outputs=cut.kernels * positions,
        memory_bits=(coefficients + buffer) * positions,
        tile_clocks=timing.clocks * chip.tiles)


def energy_by_block(events: Events, energy: EnergyParameters) -> dict[str, float]:
    """pJ of each of `ENERGY_BLOCKS`."""
    idle_per_clock = energy.idle * 1e3 / energy.clock  # mW / MHz = nJ, in pJ
    return {
        "write": events.write_energy,
        "array": events.cell_products * energy.array + events.row_codes * energy.latch,
        "adder": events.conversions * energy.adder,
        "converter": events.comparisons * energy.converter,
        "accumulator": (events.codes_added * energy.accumulate
                        + events.codes_multiplied * energy.multiply),
        "requantizer": events.outputs * energy.requantize,
        "elementwise": events.operands * energy.elementwise,
        "digital": events.digital_macs * energy.digital,
        "memory": events.memory_bits * energy.memory,
        "external": events.external_bits * energy.external,
        "idle": events.tile_clocks * idle_per_clock,
    }
