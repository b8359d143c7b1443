"""The digital twin of a macro: its ideal arithmetic in logic, behind the same pins."""

from dataclasses import replace

from amaranth.hdl import Array, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component

from golden.chip import (
    ACTIVATION_BITS, ACTIVATIONS_PER_WORD, LEVEL_FRACTION_BITS, Chip, Phases, signed_bits_for,
)

from .arithmetic import modulo
from .delay import delayed
from .messages import macro_signature

__all__ = ["MacroTwin", "twin_phases"]

#: Columns summed in the first of the adder's two clocks.
_FIRST_SUM = 8


def twin_phases(chip: Chip) -> Phases:
    """The chip's phase lengths, `drive` lengthened until a `MacroTwin` has read every row.

    ValueError for a chip with more rows than the longest phases leave time for.
    """
    drive = max(chip.phases.drive, chip.array.row_words - chip.phases.gap)
    longest = (1 << Phases.BITS) - 1
    if drive > longest:
        raise ValueError(f"Array.rows must be at most "
                         f"{ACTIVATIONS_PER_WORD * (longest + chip.phases.gap)} for a twin, "
                         f"not {chip.array.rows!r}")
    return replace(chip.phases, drive=drive)


class MacroTwin(Component):
    """A tile's analog macro without deviations, as synthesizable logic.

    It keeps to the phases on the pins (docs/architecture.md): a product is computed from `drive`
    on, four rows of every column per clock, moved to the held sums by `hold`; the selected ones
    are added in `add`; the comparator answers in the clock of its strobe, and always decides.

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    Those of `rtl.messages.macro_signature`, seen from the macro.

    Latency
    -------
    Row word k is read k clocks after `drive` closes, so `drive` and its gap must last
    ``chip.array.row_words`` clocks or more: `twin_phases`. The other phases may be as short as
    one clock.
    """

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        super().__init__({name: member.flip()
                          for name, member in macro_signature(chip).members.items()})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word, reading = self._sequence(m)
        sums = self._products(m, word, reading)
        values = self._samples(m, sums)
        threshold = Signal(signed(self.chip.converter.level_bits + 1 + self.chip.reference_bits))
        value = Array(values)[self.convert_side]
        m.d.comb += [
            # A level is in fractions of a code: threshold(level) = (level - 1/2) * reference.
            threshold.eq((self.level - (1 << (LEVEL_FRACTION_BITS - 1))) * self.reference),
            self.comparator.eq((value << LEVEL_FRACTION_BITS) >= threshold),
        ]
        # A register, low in reset: Yosys writes no legal Verilog for a converter that is told by a
        # constant.
        m.d.sync += self.decided.eq(1)
        return m

    def _sequence(self, m: Module) -> tuple[Signal, Signal]:
        """The row word to read, and whether to: all, once, from the first clock of `drive` on."""
        words = self.chip.array.row_words
        word, reading = Signal(range(words)), Signal()
        started, busy = Signal(), Signal()
        m.d.sync += started.eq(self.drive)
        m.d.comb += reading.eq(busy | (self.drive & ~started))
        with m.If(reading):
            m.d.sync += [word.eq(Mux(word == words - 1, 0, word + 1)),
                         busy.eq(word != words - 1)]
        return word, reading

    def _codes(self, m: Module, word: Signal) -> Value:
        """Row codes of ``word``, the clock after; zero where nothing was loaded."""
        words = self.chip.array.row_words
        latches = Memory(shape=unsigned(32), depth=2 * words, init=[])
        m.submodules.latches = latches
        read, write = latches.read_port(), latches.write_port()
        loaded = Signal(2 * words)
        written = Signal(2 * words)
        bank = Signal(2 * words)
        m.d.comb += [
            write.en.eq(self.load_enable), write.data.eq(self.load_codes),
            write.addr.eq(self.load_row + Mux(self.load_bank, words, 0)),
            read.en.eq(1), read.addr.eq(word + Mux(self.bank, words, 0)),
            written.eq(1 << write.addr),
            bank.eq(Mux(self.load_bank, ((1 << words) - 1) << words, (1 << words) - 1)),
        ]
        with m.If(self.load_enable):
            m.d.sync += loaded.eq(Mux(self.load_clear, loaded & ~bank, loaded) | written)
        granule_words = self.chip.array.row_granule // ACTIVATIONS_PER_WORD
        enabled = Array(self.row_enable[i // granule_words] for i in range(words))[word]
        used = Signal()
        m.d.sync += used.eq(loaded.bit_select(read.addr, 1) & enabled)
        return Mux(used, read.data, 0)

    def _products(self, m: Module, word: Signal, reading: Signal) -> list[Signal]:
        """Held sum of every column."""
        array = self.chip.array
        bits = ACTIVATION_BITS + array.weight_bits
        row_bits = array.columns * array.weight_bits
        weights = Memory(shape=unsigned(ACTIVATIONS_PER_WORD * row_bits), depth=array.row_words,
                         init=[])
        m.submodules.weights = weights
        read, write = weights.read_port(), weights.write_port(granularity=32)
        lane = modulo(self.write_row, (ACTIVATIONS_PER_WORD - 1).bit_length())
        groups = array.columns // 4
        m.d.comb += [
            read.en.eq(1), read.addr.eq(word),
            write.addr.eq(self.write_row // ACTIVATIONS_PER_WORD),
            write.data.eq(self.write_data.replicate(ACTIVATIONS_PER_WORD * groups)),
            write.en.eq(Mux(self.write_enable, 1 << (lane * groups + self.write_group), 0)),
        ]
        codes = self._codes(m, word)
        present, multiplied = delayed(m, reading, 1), delayed(m, reading, 2)
        limit = array.product_limit
        sum_bits = signed_bits_for(-limit, limit)
        held = []
        for column in range(array.columns):
            terms = []
            for row in range(ACTIVATIONS_PER_WORD):
                low = row * row_bits + column * array.weight_bits
                term = Signal(signed(bits), name=f"term{column}_{row}")
                code = codes[row * ACTIVATION_BITS:(row + 1) * ACTIVATION_BITS].as_signed()
                with m.If(present):
                    m.d.sync += term.eq(code * read.data[low:low + array.weight_bits].as_signed())
                terms.append(term)
            total = Signal(signed(sum_bits), name=f"total{column}")
            kept = Signal(signed(sum_bits), name=f"held{column}")
            with m.If(self.reset):
                m.d.sync += total.eq(0)
            with m.Elif(multiplied):
                m.d.sync += total.eq(modulo(total + sum(terms), sum_bits).as_signed())
            with m.If(self.hold):
                m.d.sync += kept.eq(total)
            held.append(kept)
        return held

    def _samples(self, m: Module, held: list[Signal]) -> list[Signal]:
        """The two sampling capacitors' values."""
        limit = self.chip.array.product_limit * self.chip.array.columns
        sum_bits = signed_bits_for(-limit, limit)
        partial = []
        for first in range(0, len(held), _FIRST_SUM):
            part = Signal(signed(sum_bits), name=f"partial{first}")
            chosen = [Mux(self.select[c], Mux(self.negate[c], -held[c], held[c]), 0)
                      for c in range(first, min(first + _FIRST_SUM, len(held)))]
            m.d.sync += part.eq(modulo(sum(chosen), sum_bits).as_signed())
            partial.append(part)
        adding = delayed(m, self.add, 1)
        values = [Signal(signed(sum_bits), name=f"sample{side}") for side in range(2)]
        for side, value in enumerate(values):
            with m.If((self.side == side) & self.clear):
                m.d.sync += value.eq(0)
            with m.Elif((self.side == side) & adding):
                m.d.sync += value.eq(modulo(sum(partial), sum_bits).as_signed())
        return values
