"""Registers and memory windows behind the AXI4-Lite port, built from their specification."""

from dataclasses import fields

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from golden.chip import Chip, Phases, bits_for
from golden.chip.descriptor import DESCRIPTOR_WORDS
from golden.chip.registers import (
    ADDRESS_BITS, WAITS, Bits, Register, Window, registers, tenant_prefix, windows,
)

from .arithmetic import modulo
from .calibration import measured_layout, settings_layout
from .gating import stages
from .tenants import each_tenant, tenant_windows

__all__ = ["RegisterFile"]

#: Registers that never change: their fields' reset value is what they read.
_CONSTANTS = ("id", "version", "configuration", "tenants")
_PHASES = tuple(field.name for field in fields(Phases))
#: Memories that every tile has one of; the others are the chip's.
_PER_TILE = ("coefficients", "weights", "corrections", "levels")
#: Registers whose values are joined in one clock of a read.
_READ_GROUP = 8


class RegisterFile(Component):
    """The register map of `golden.chip.registers`, and the write side of its memory windows.

    What software sees beyond the meaning of each field there:

    * Writes to read-only fields and to bits without a field change nothing, and are no error.
    * `start` while the tenant's program runs changes nothing. `start` together with `abort` only
      aborts. A start that takes effect clears the tenant's status.done, .error and .cause and,
      unless it comes with `keep`, its counters.
    * A write to a counter of a tenant that is busy changes nothing, and is no error.
    * An event that sets a flag wins over a write, in the same clock, that clears it.
    * A write to what a running program may be using is an error, and nothing is written or
      staged: descriptors and constants in the window of a tenant that is busy, any memory of a
      tile that one has.
    * A read of a memory, and any access outside registers and memories, is an error.
    * The words of an entry that come before its last wait in one staging register that all
      memories share: write an entry's words in a row, lowest first.
    * Counters wrap at 2**32.

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    write_valid, write_address, write_data : in; write_error : out
        A write; byte address, a multiple of four.
    read_valid, read_address : in; read_data, read_error : out
        A read.
    start, abort : out
        Pulses, a bit per tenant. The scheduler raises `busy` in the clock after `start`.
    windows : out
        What each tenant may use (rtl.tenants).
    host_timeout : out
        Of each tenant: longest wait for its host, in clocks; 0 waits for ever.
    phase_reset, phase_drive, phase_share, phase_hold, phase_clear, phase_add, phase_gap : out
        Phase lengths in clocks, at least 1: a register that holds 0 gives 1.
    comparator_timeout : out
        Longest wait for the comparator, in clocks; 0 waits for ever.
    memory_index, memory_data : out
        Entry of a memory and its data, all its words, lowest in the lowest bits.
    program_write, constants_write : out
        Pulse: write that entry of the program, of the requantizer constants.
    settings : out
        Of each tile (rtl.calibration).
    measured, saturated : in
        Of each tile: what a calibration has measured; pulse: its drift gain saturated.
    coefficients_write, weights_write, corrections_write, levels_write : out
        The same for the memories of each tile, one bit per tile.
    busy, layer : in
        Of each tenant: a program runs; the descriptor being run, or at fault.
    ended, failed, failed_cause : in
        Pulses of each tenant: the program ended; it was stopped, for the cause in that clock.
    active : in
        A bit per tenant: the tiles work for it, which is busy.
    conversions, early_stops : in
        How many conversions, early stops, there are in this clock.
    converting, product, contest : in
        The first tile in use converts; a product begins; some tiles convert and others do not.
    waiting : in
        Of each tenant: a bit per entry of `golden.chip.registers.WAITS`, at most one set, and none
        unless it is busy.
    irq : out
        Interrupt, a level.

    Latency
    -------
    Data and errors are those of the access `ANSWER_CLOCKS` before. A register has its new value
    2 clocks after the write, a counter 4, `start` and `abort` leave then; memory writes leave 3
    clocks after.
    `irq` follows its flag, and a counter the clock that it counts, by a clock more.
    """

    #: Clocks from an access to its answer.
    ANSWER_CLOCKS = 3

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self._windows = windows(chip)
        entry_words = max(window.entry_words for window in self._windows)
        tenants = chip.tenants
        super().__init__({
            "write_valid": In(1), "write_address": In(ADDRESS_BITS), "write_data": In(32),
            "write_error": Out(1),
            "read_valid": In(1), "read_address": In(ADDRESS_BITS), "read_data": Out(32),
            "read_error": Out(1),
            "start": Out(tenants), "abort": Out(tenants),
            "windows": Out(each_tenant(chip, tenant_windows(chip))),
            "host_timeout": Out(each_tenant(chip, 24)),
            **{f"phase_{name}": Out(Phases.BITS) for name in _PHASES},
            "comparator_timeout": Out(16),
            "settings": Out(data.ArrayLayout(settings_layout(chip), chip.tiles)),
            "measured": In(data.ArrayLayout(measured_layout(chip), chip.tiles)),
            "saturated": In(chip.tiles),
            "memory_index": Out(20), "memory_data": Out(32 * entry_words),
            "program_write": Out(1), "constants_write": Out(1),
            **{f"{name}_write": Out(chip.tiles) for name in _PER_TILE},
            "busy": In(tenants), "layer": In(each_tenant(chip, 12)),
            "ended": In(tenants), "failed": In(tenants),
            "failed_cause": In(each_tenant(chip, 4)),
            "active": In(tenants),
            "conversions": In(bits_for(chip.tiles)), "early_stops": In(bits_for(chip.tiles)),
            "converting": In(1), "product": In(1), "contest": In(1),
            "waiting": In(each_tenant(chip, len(WAITS))),
            "irq": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        specification = registers(self.chip)
        storage = {(register.name, bits.name): self._storage(register, bits)
                   for register in specification for bits in register.bits}
        running = Signal(self.chip.tenants)      # `busy` follows `start` by a clock
        m.d.comb += running.eq(self.busy | self.start)

        # Accesses in three steps: whose address it is; what that makes of it; the answer. What
        # takes part in a step moves in it alone, and in the clock after, where pulses end.
        writing = stages(m, self.write_valid, self.ANSWER_CLOCKS)
        writes = {register.name: self._add_write(m, register, storage, writing)
                  for register in specification}
        written = [*writes.values(), *self._add_windows(m, storage, running, writing)]
        refused = Signal()
        with m.If(writing[1]):
            m.d.sync += refused.eq(~Cat(*written).any())
        m.d.sync += self.write_error.eq(writing[2] & refused)
        self._add_reads(m, specification, storage)

        irq = []
        for tenant in range(self.chip.tenants):
            irq.append(self._add_tenant(m, tenant, storage, running[tenant], writes))
        m.d.sync += self.irq.eq(Cat(*irq).any())
        for name in _PHASES:
            length = storage[f"phase_{name}", "clocks"]
            m.d.comb += getattr(self, f"phase_{name}").eq(Mux(length == 0, 1, length))
        m.d.comb += self.comparator_timeout.eq(storage["comparator_timeout", "clocks"])
        for tile in range(self.chip.tiles):
            self._add_tile(m, tile, storage)
        return m

    def _storage(self, register: Register, bits: Bits) -> Value:
        """What holds a field: an input, a constant, or a register; a pulse for W1S."""
        for tenant in range(self.chip.tenants):
            if register.name == f"{tenant_prefix(tenant)}status":
                if bits.name == "busy":
                    return self.busy[tenant]
                if bits.name == "layer":
                    return Value.cast(self.layer[tenant])
        if register.name in _CONSTANTS:
            return Const(bits.reset, bits.width)
        return Signal(bits.width, init=bits.reset, name=f"{register.name}_{bits.name}")

    def _add_write(self, m: Module, register: Register,
                   storage: dict[tuple[str, str], Value], writing: list[Value]) -> Value:
        """Fields of one register; whether it takes the write of the clock before."""
        write = Signal(name=f"write_{register.name}")
        with m.If(writing[0] | writing[1]):
            m.d.sync += write.eq(self.write_valid & (self.write_address == register.offset))
        for bits in register.bits:
            held = storage[register.name, bits.name]
            value = self.write_data[bits.low:bits.low + bits.width]
            if bits.access == "RW":
                with m.If(write):
                    m.d.sync += held.eq(value)
            elif bits.access == "W1C":
                with m.If(write):
                    m.d.sync += held.eq(held & ~value)
            elif bits.access == "W1S":
                m.d.comb += held.eq(value & write.replicate(bits.width))
        return write

    def _add_reads(self, m: Module, specification: tuple[Register, ...],
                   storage: dict[tuple[str, str], Value]) -> None:
        hits, groups = [], []
        reading = stages(m, self.read_valid, 2)
        for start in range(0, len(specification), _READ_GROUP):
            joined = Const(0, 32)
            for register in specification[start:start + _READ_GROUP]:
                hit = Signal(name=f"read_{register.name}")
                with m.If(reading[0]):
                    m.d.sync += hit.eq(self.read_address == register.offset)
                hits.append(hit)
                value = Signal(32, name=f"value_{register.name}")
                for bits in register.bits:
                    if bits.access != "W1S":
                        m.d.comb += value[bits.low:bits.low + bits.width].eq(
                            storage[register.name, bits.name])
                joined = joined | value & hit.replicate(32)
            group = Signal(32, name=f"read_group{len(groups)}")
            with m.If(reading[1]):
                m.d.sync += group.eq(joined)
            groups.append(group)
        total = groups[0]
        for group in groups[1:]:
            total = total | group
        missed = Signal()
        with m.If(reading[1]):
            m.d.sync += missed.eq(~Cat(*hits).any())
        with m.If(reading[2]):
            m.d.sync += self.read_data.eq(total)
        m.d.sync += self.read_error.eq(reading[2] & missed)

    def _add_tenant(self, m: Module, tenant: int, storage: dict[tuple[str, str], Value],
                    running: Value, writes: dict[str, Value]) -> Value:
        """Pulses, windows, flags and counters of a tenant; whether it asks for an interrupt.

        Later assignments win: a start clears, an event sets.
        """
        prefix = tenant_prefix(tenant)

        def field(register: str, name: str = "value") -> Value:
            return storage[f"{prefix}{register}", name]

        start, abort, keep = (field("control", name) for name in ("start", "abort", "keep"))
        view, clear = self.windows[tenant], Signal(name=f"{prefix}clear")
        starting = start & ~abort & ~running
        m.d.sync += [self.start[tenant].eq(starting), clear.eq(starting & ~keep),
                     self.abort[tenant].eq(abort)]
        m.d.comb += [
            view.program_base.eq(field("program_window", "base")),
            view.program_length.eq(field("program_window", "length")),
            *(getattr(view, name).eq(field(name)) for name in (
                "activation_base", "activation_words", "constants_base", "constant_entries",
                "coefficients_base", "coefficient_words", "tiles")),
            self.host_timeout[tenant].eq(field("host_timeout")),
        ]

        done, error, cause = (field("status", name) for name in ("done", "error", "cause"))
        active = self.active[tenant]
        increments: dict[str, Value] = {
            "cycles": self.busy[tenant],
            "conversions": Mux(active, self.conversions, 0),
            "early_stops": Mux(active, self.early_stops, 0),
            "converting": active & self.converting, "products": active & self.product,
            "contests": active & self.contest,
            **{name: Value.cast(self.waiting[tenant])[i] for i, name in enumerate(WAITS)},
        }
        # There is nothing to count unless the tenant is busy; else a counter may be written: it
        # is cleared, and what was written added a clock later, which saves a choice before each
        # bit of every counter.
        counting = Cat(*stages(m, self.busy[tenant], 1)).any()
        idle = ~counting & ~self.start[tenant]
        written = Signal(32, name=f"{prefix}counter_written")
        chosen = [Signal(name=f"{prefix}{name}_chosen") for name in increments]
        m.d.sync += written.eq(self.write_data & Cat(*chosen).any().replicate(32))
        for (name, amount), cleared in zip(increments.items(), chosen, strict=True):
            counter = field(name)
            counted = Signal.like(amount, name=f"{prefix}{name}_counted")
            adding = Signal(name=f"{prefix}{name}_adding")
            m.d.sync += [cleared.eq(writes[f"{prefix}{name}"] & idle), adding.eq(cleared)]
            with m.If(counting):
                m.d.sync += counted.eq(amount)
            with m.If(counting | adding):
                m.d.sync += counter.eq(modulo(counter + (written | counted), 32))
            with m.If(clear | cleared):
                m.d.sync += counter.eq(0)
        with m.If(self.start[tenant]):
            m.d.sync += [done.eq(0), error.eq(0), cause.eq(0)]
        with m.If(self.ended[tenant]):
            m.d.sync += done.eq(1)
        with m.If(self.failed[tenant]):
            m.d.sync += [error.eq(1), cause.eq(self.failed_cause[tenant])]
        return (done & field("interrupt", "done")) | (error & field("interrupt", "error"))

    def _add_tile(self, m: Module, tile: int, storage: dict[tuple[str, str], Value]) -> None:
        """Settings of a tile; what it measures wins over a write in the same clock."""
        settings, measured = self.settings[tile], self.measured[tile]
        offset = storage[f"converter{tile}", "offset"]
        gain, reference = (storage[f"{name}{tile}", "value"] for name in ("gain",
                                                                          "gain_reference"))
        m.d.comb += [
            settings.levels.eq(storage[f"converter{tile}", "levels"]),
            settings.offset.eq(offset), settings.gain.eq(gain),
            settings.gain_reference.eq(reference),
        ]
        for valid, setting, value in ((measured.offset_valid, offset, measured.offset),
                                      (measured.gain_valid, gain, measured.gain),
                                      (measured.reference_valid, reference,
                                       measured.gain_reference)):
            with m.If(valid):
                m.d.sync += setting.eq(value)
        for event, flag in ((measured.failed, "calibration"), (self.saturated[tile], "gain")):
            with m.If(event):
                m.d.sync += storage[f"tile_flags{tile}", flag].eq(1)

    def _add_windows(self, m: Module, storage: dict[tuple[str, str], Value],
                     running: Value, writing: list[Value]) -> list[Value]:
        """The memories' windows; whether each takes the write of the clock before."""
        words = max(window.entry_words for window in self._windows)
        staged = Signal(32 * (words - 1))
        pulses = {"program": self.program_write, "constants": self.constants_write}
        for name in _PER_TILE:
            pulses |= {f"{name}{tile}": getattr(self, f"{name}_write")[tile]
                       for tile in range(self.chip.tiles)}
        used = Signal(self.chip.tiles)          # tiles of tenants that are busy
        tiles = Const(0, self.chip.tiles)
        for tenant in range(self.chip.tenants):
            mask = storage[f"{tenant_prefix(tenant)}tiles", "value"]
            tiles = tiles | mask & running[tenant].replicate(self.chip.tiles)
        m.d.sync += used.eq(tiles)
        taken: list[Value] = []
        kinds: dict[tuple[int, int], list[Value]] = {}     # writes, by words per entry, index bits
        for window in self._windows:
            # An entry takes a power of two of words, the window a power of two of entries.
            word_bits = (window.entry_words - 1).bit_length()
            index_bits = (window.entries - 1).bit_length()
            base = 2 + word_bits + index_bits
            word = self.write_address[2:2 + word_bits]
            index = self.write_address[2 + word_bits:base]
            hit, write, last = (Signal(name=f"{part}_{window.name}")
                                for part in ("hit", "write", "end"))
            with m.If(writing[0] | writing[1]):
                m.d.sync += hit.eq(self.write_valid
                                   & (self.write_address[base:] == window.offset >> base)
                                   & (index < window.entries) & (word < window.entry_words))
            if window.name[-1].isdigit():
                free = ~used[int(window.name.lstrip("abcdefghijklmnopqrstuvwxyz"))]
            else:
                free = ~self._in_use(m, window, index, storage, running)
            m.d.comb += [write.eq(hit & free), last.eq(word == window.entry_words - 1)]
            taken.append(write)
            act, pulse = Signal(name=f"act_{window.name}"), pulses[window.name]
            with m.If(writing[1] | writing[2]):
                m.d.sync += act.eq(write)
            with m.If(writing[2] | writing[3]):
                m.d.sync += pulse.eq(act & last)
            kinds.setdefault((window.entry_words, index_bits), []).append(write)
            if window.entry_words > 1:
                with m.If(act & ~last):
                    m.d.sync += staged.word_select(word, 32).eq(self.write_data)
        # One of the kinds at most is being written: their numbers are joined without a choice.
        number, value = Const(0, 20), Const(0, len(self.memory_data))
        for (entry_words, index_bits), writes in kinds.items():
            first = 2 + (entry_words - 1).bit_length()
            acting = Signal(name=f"acting_{entry_words}_{index_bits}")
            with m.If(writing[1] | writing[2]):
                m.d.sync += acting.eq(Cat(*writes).any())
            whole = Cat(staged[:32 * (entry_words - 1)], self.write_data)
            number = number | self.write_address[first:first + index_bits] \
                & acting.replicate(index_bits)
            value = value | whole & acting.replicate(len(whole))
        with m.If(writing[2]):
            m.d.sync += [self.memory_index.eq(number), self.memory_data.eq(value)]
        return taken

    def _in_use(self, m: Module, window: Window, index: Value,
                storage: dict[tuple[str, str], Value], running: Value) -> Value:
        """Whether entry ``index`` of a shared memory is in the window of a busy tenant."""
        program = window.name == "program"
        unit = index[(DESCRIPTOR_WORDS - 1).bit_length():] if program else index
        inside = []
        for tenant in range(self.chip.tenants):
            prefix = tenant_prefix(tenant)
            base, length = (
                (storage[f"{prefix}program_window", part] for part in ("base", "length"))
                if program else
                (storage[f"{prefix}{part}", "value"] for part in ("constants_base",
                                                                  "constant_entries")))
            # The address waits at the bus, and nothing else of this changes while it does. Where
            # the window ends is known a clock after it was written, long before the next access.
            end = Signal(max(len(base), len(length)) + 1, name=f"{prefix}{window.name}_end")
            m.d.sync += end.eq(base + length)
            hit = Signal(name=f"{prefix}{window.name}_used")
            with m.If(self.write_valid):
                m.d.sync += hit.eq(running[tenant] & (unit >= base) & (unit < end))
            inside.append(hit)
        return Cat(*inside).any()
