"""The chip: tiles, scheduler, buffer and buses, joined."""

from amaranth.hdl import Cat, ClockDomain, Module, ResetInserter, Signal, Value, signed
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out, Signature

from golden.chip import ACTIVATION_BITS, WORD_BITS, Chip, Phases, bits_for
from golden.chip.registers import ADDRESS_BITS

from .axi_lite import AxiLiteSignature, AxiLiteSubordinate
from .collector import POSITION_BITS, Collector
from .elementwise import ElementwiseUnit
from .loader import RowLoader
from .messages import macro_signature, trace_signature
from .register_file import RegisterFile
from .scheduler import TileScheduler
from .tile import Tile
from .transfer import TransferUnit
from .window import WindowGenerator

__all__ = ["ChipTop", "chip_signature"]


def chip_signature(chip: Chip) -> Signature:
    """Members of a `ChipTop`."""
    axi = AxiLiteSignature(ADDRESS_BITS).flip().members
    return Signature({
        "aclk": In(1), "aresetn": In(1), "irq": Out(1),
        **{f"s_axi_{name}": member for name, member in axi.items()},
        "s_axis_tvalid": In(1), "s_axis_tready": Out(1), "s_axis_tdata": In(WORD_BITS),
        "s_axis_tlast": In(1),
        "m_axis_tvalid": Out(1), "m_axis_tready": In(1), "m_axis_tdata": Out(WORD_BITS),
        "m_axis_tlast": Out(1),
        **{f"macro{tile}": Out(macro_signature(chip)) for tile in range(chip.tiles)},
        **{f"trace{tile}": Out(trace_signature(chip)) for tile in range(chip.tiles)},
        "trace_sum__valid": Out(1),
        "trace_sum__kernel": Out(bits_for(chip.accumulator.kernels - 1)),
        "trace_sum__position": Out(POSITION_BITS),
        "trace_sum__value": Out(signed(chip.sum_bits)),
        "trace_sum__output": Out(signed(ACTIVATION_BITS)),
        "trace_word__valid": Out(1), "trace_word__address": Out(16),
        "trace_word__data": Out(WORD_BITS),
        "trace_layer__done": Out(1), "trace_layer__index": Out(12),
        "trace_layer__cycles": Out(32),
    })


class ChipTop(Component):
    """Everything on the digital side of the macros' pins (docs/architecture.md).

    Parameters
    ----------
    chip
        Configuration.
    tile_type
        `rtl.tile.Tile`, or what stands for it.

    Members
    -------
    aclk, aresetn : in
        Clock, and synchronous reset, active low.
    s_axi_* : in
        AXI4-Lite: registers and memories (golden.chip.registers).
    s_axis_*, m_axis_*
        Activation streams, four channels per beat.
    irq : out
        Interrupt, a level.
    macro0, macro1, ... : out
        Pins of each tile's analog macro.
    trace0, ..., trace_sum, trace_word, trace_layer : out
        For scoreboards; leave them open on silicon.
    """

    def __init__(self, chip: Chip, tile_type: type[Component] = Tile) -> None:
        self.chip = chip
        self._tile_type = tile_type
        super().__init__(chip_signature(chip))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        chip = self.chip
        m.domains.sync = domain = ClockDomain("sync")
        m.d.comb += [domain.clk.eq(self.aclk), domain.rst.eq(~self.aresetn)]

        m.submodules.bus = bus = AxiLiteSubordinate(ADDRESS_BITS)
        m.submodules.registers = registers = RegisterFile(chip)
        m.submodules.scheduler = scheduler = TileScheduler(chip)
        # Whatever can be stopped half-way returns to its reset state on abort and failure; every
        # switch of the macros is open there.
        clear = scheduler.clear
        m.submodules.window = window = ResetInserter(clear)(WindowGenerator(chip))
        m.submodules.loader = loader = ResetInserter(clear)(RowLoader(chip))
        m.submodules.collector = collector = ResetInserter(clear)(Collector(chip))
        m.submodules.elementwise = elementwise = ResetInserter(clear)(ElementwiseUnit(chip))
        m.submodules.transfer = transfer = ResetInserter(clear)(TransferUnit(chip))
        tiles = []
        for i in range(chip.tiles):
            tile = self._tile_type(chip)
            m.submodules[f"tile{i}"] = tile
            tiles.append(tile)

        self._connect_bus(m, bus, registers)
        self._connect_memories(m, registers, scheduler, collector, tiles)
        beyond = self._connect_buffer(m, window, loader, collector, elementwise, transfer)
        illegal = Signal()
        m.d.sync += illegal.eq(beyond | window.mismatch
                               | Cat(*(tile.overrun | tile.refused for tile in tiles)).any())

        m.d.comb += [
            scheduler.start.eq(registers.start), scheduler.abort.eq(registers.abort),
            scheduler.timed_out.eq(Cat(*(tile.timed_out for tile in tiles)).any()),
            scheduler.illegal.eq(illegal),
            scheduler.unit_done.eq(collector.done | elementwise.done | transfer.done),
            registers.busy.eq(scheduler.busy), registers.layer.eq(scheduler.layer),
            registers.ended.eq(scheduler.ended), registers.failed.eq(scheduler.failed),
            registers.failed_cause.eq(scheduler.failed_cause.as_value()),
            self.irq.eq(registers.irq),
            self.trace_layer__done.eq(scheduler.layer_done),
            self.trace_layer__index.eq(scheduler.layer),
            self.trace_layer__cycles.eq(scheduler.layer_cycles),

            window.descriptor.eq(scheduler.descriptor), window.start.eq(scheduler.convolve),
            loader.start.eq(scheduler.convolve), loader.word_valid.eq(window.valid),
            window.ready.eq(loader.word_ready),
            *(getattr(loader, name).eq(getattr(window, name)) for name in (
                "address", "pad", "row_word", "first", "last", "last_chunk")),
            loader.bank_free.eq(Cat(*(tile.bank_free for tile in tiles)).all()),

            collector.descriptor.eq(scheduler.descriptor),
            collector.start.eq(scheduler.convolve),
            collector.position_done.eq(Cat(*(tile.position_done for tile in tiles))),

            elementwise.descriptor.eq(scheduler.descriptor),
            elementwise.start.eq(scheduler.combine),
            transfer.descriptor.eq(scheduler.descriptor), transfer.start.eq(scheduler.transfer),

            self.trace_sum__valid.eq(collector.sum_valid),
            self.trace_sum__kernel.eq(collector.sum_kernel),
            self.trace_sum__position.eq(collector.sum_position),
            self.trace_sum__value.eq(collector.sum_value),
            self.trace_sum__output.eq(collector.sum_output),
        ]
        for i, tile in enumerate(tiles):
            m.d.comb += self._tile_wires(i, tile, registers, scheduler, loader, collector)
        m.d.comb += self._events(registers, tiles)
        return m

    def _connect_bus(self, m: Module, bus: AxiLiteSubordinate, registers: RegisterFile) -> None:
        for name, member in AxiLiteSignature(ADDRESS_BITS).flip().members.items():
            inner, outer = getattr(bus, name), getattr(self, f"s_axi_{name}")
            m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)
        for name in ("write_valid", "write_address", "write_data", "read_valid", "read_address"):
            m.d.comb += getattr(registers, name).eq(getattr(bus, name))
        for name in ("write_error", "read_data", "read_error"):
            m.d.comb += getattr(bus, name).eq(getattr(registers, name))

    def _connect_memories(self, m: Module, registers: RegisterFile, scheduler: TileScheduler,
                          collector: Collector, tiles: list[Tile]) -> None:
        memories = self.chip.memories
        m.submodules.program = program = Memory(shape=WORD_BITS, depth=memories.program_words,
                                                init=[])
        m.submodules.constants = constants = Memory(shape=2 * WORD_BITS,
                                                    depth=memories.constant_entries, init=[])
        for memory, enable in ((program, registers.program_write),
                               (constants, registers.constants_write)):
            write = memory.write_port()
            m.d.comb += [write.en.eq(enable), write.addr.eq(registers.memory_index),
                         write.data.eq(registers.memory_data)]
        read = program.read_port()
        m.d.comb += [read.en.eq(scheduler.read_enable), read.addr.eq(scheduler.read_address),
                     scheduler.read_data.eq(read.data)]
        constant = constants.read_port()
        m.d.comb += [constant.en.eq(1), constant.addr.eq(collector.constant_address),
                     collector.constant.eq(constant.data)]

    def _connect_buffer(self, m: Module, window: WindowGenerator, loader: RowLoader,
                        collector: Collector, elementwise: ElementwiseUnit,
                        transfer: TransferUnit) -> Value:
        """The activation buffer: one read and one write port, used by one unit at a time.

        Returns whether this clock's access is beyond its end. Nothing is written there.
        """
        words = self.chip.memories.activation_words
        m.submodules.activations = buffer = Memory(shape=WORD_BITS, depth=words, init=[])
        read, write = buffer.read_port(), buffer.write_port()
        address = Signal(16)
        written, write_address = Signal(), Signal(16)
        outside = (words - 1).bit_length()      # address bits from here up are zero inside
        read_counts, beyond = Signal(), Signal()
        m.d.comb += [
            read.addr.eq(address), write.en.eq(self.trace_word__valid),
            write.addr.eq(write_address), write.data.eq(self.trace_word__data),
            self.trace_word__valid.eq(written & ~write_address[outside:].any()),
            self.trace_word__address.eq(write_address),
            # Addresses of pixels outside the image mean nothing.
            read_counts.eq(read.en & ~(loader.read_enable & window.pad)),
            beyond.eq(written & write_address[outside:].any()
                      | read_counts & address[outside:].any()),
        ]
        for unit in (loader, elementwise, transfer):
            m.d.comb += unit.read_data.eq(read.data)
            with m.If(unit.read_enable):
                m.d.comb += [read.en.eq(1), address.eq(unit.read_address)]
        for unit in (collector, elementwise, transfer):
            with m.If(unit.write_enable):
                m.d.comb += [written.eq(1), write_address.eq(unit.write_address),
                             self.trace_word__data.eq(unit.write_data)]
        m.d.comb += [
            transfer.in_valid.eq(self.s_axis_tvalid), self.s_axis_tready.eq(transfer.in_ready),
            transfer.in_data.eq(self.s_axis_tdata),
            self.m_axis_tvalid.eq(transfer.out_valid), transfer.out_ready.eq(self.m_axis_tready),
            self.m_axis_tdata.eq(transfer.out_data), self.m_axis_tlast.eq(transfer.out_last),
        ]
        return beyond

    def _tile_wires(self, index: int, tile: Tile, registers: RegisterFile,
                    scheduler: TileScheduler, loader: RowLoader, collector: Collector) -> list:
        group_bits = (self.chip.array.columns // 4 - 1).bit_length()
        macro = getattr(self, f"macro{index}")
        trace = getattr(self, f"trace{index}")
        wires = [
            tile.clear.eq(scheduler.clear), tile.restart.eq(registers.start),
            tile.start.eq(scheduler.convolve),
            tile.descriptor.eq(scheduler.descriptor),
            tile.timeout.eq(registers.comparator_timeout),
            *(tile.lengths[name].eq(getattr(registers, f"phase_{name}"))
              for name in Phases.__dataclass_fields__),
            *(getattr(tile, name).eq(getattr(loader, name)) for name in (
                "chunk_begin", "chunk_loaded", "chunk_final", "load_enable", "load_bank",
                "load_clear", "load_row", "load_codes")),
            tile.write_enable.eq(registers.weights_write[index]),
            tile.write_row.eq(registers.memory_index >> group_bits),
            tile.write_group.eq(registers.memory_index[:group_bits] if group_bits else 0),
            tile.write_data.eq(registers.memory_data[:WORD_BITS]),
            tile.coefficient_write.eq(registers.coefficients_write[index]),
            tile.coefficient_index.eq(registers.memory_index),
            tile.coefficient_data.eq(registers.memory_data),
            tile.correction_write.eq(registers.corrections_write[index]),
            tile.correction_index.eq(registers.memory_index),
            tile.correction_data.eq(registers.memory_data),
            tile.position_freed.eq(collector.position_freed),
            tile.drain_group.eq(collector.drain_group),
            tile.drain_lane.eq(collector.drain_lane),
            tile.drain_clear.eq(collector.drain_clear),
            collector.drain_sums[index].eq(tile.drain_sum),
            *(getattr(trace, name).eq(getattr(tile.trace, name))
              for name in trace.signature.members),
        ]
        for name, member in macro.signature.members.items():
            inner, outer = getattr(tile.macro, name), getattr(macro, name)
            wires.append(outer.eq(inner) if member.flow is Out else inner.eq(outer))
        return wires

    def _events(self, registers: RegisterFile, tiles: list[Tile]) -> list:
        def count(bits: list[Value]) -> Value:
            return sum(bits[1:], bits[0])

        return [
            registers.conversions.eq(count(
                [tile.converted for tile in tiles])),
            registers.early_stops.eq(count(
                [tile.stopped for tile in tiles])),
            registers.converting.eq(tiles[0].converting),
            registers.product.eq(tiles[0].product_started),
        ]
