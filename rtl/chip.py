"""The chip: tiles, scheduler, buffer and buses, joined."""

from amaranth.hdl import (
    Cat, ClockDomain, Const, EnableInserter, Module, Mux, ResetInserter, Signal, Value, signed,
)
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out, Signature

from golden.chip import (
    ACTIVATION_BITS, PRODUCT_BITS, PRODUCT_COUNT_BITS, TENANT_BITS, WORD_BITS, Chip, Phases,
    bits_for,
)
from golden.chip.registers import ADDRESS_BITS, WAITS

from .activity import TileActivity
from .arithmetic import modulo
from .axi_lite import AxiLiteSignature, AxiLiteSubordinate
from .buffer import ActivationBuffer
from .collisions import COLLISIONS_ARE_AVOIDED
from .collector import POSITION_BITS, Collector
from .delay import delayed
from .descriptor import COMBINING, DescriptorLayout, read_field
from .elementwise import ElementwiseUnit
from .gating import gated
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
    suffixes = _suffixes(chip)
    return Signature({
        "aclk": In(1), "aresetn": In(1), "irq": Out(1),
        **{f"s_axi_{name}": member for name, member in axi.items()},
        **{f"s_axis{suffix}_{name}": member for suffix in suffixes for name, member in (
            ("tvalid", In(1)), ("tready", Out(1)), ("tdata", In(WORD_BITS)), ("tlast", In(1)))},
        **{f"m_axis{suffix}_{name}": member for suffix in suffixes for name, member in (
            ("tvalid", Out(1)), ("tready", In(1)), ("tdata", Out(WORD_BITS)), ("tlast", Out(1)))},
        **{f"macro{tile}": Out(macro_signature(chip)) for tile in range(chip.tiles)},
        **{f"trace{tile}": Out(trace_signature(chip)) for tile in range(chip.tiles)},
        "trace_sum__valid": Out(1),
        "trace_sum__kernel": Out(bits_for(chip.accumulator.kernels - 1)),
        "trace_sum__position": Out(POSITION_BITS),
        "trace_sum__value": Out(signed(chip.sum_bits)),
        "trace_sum__output": Out(signed(ACTIVATION_BITS)),
        "trace_tenant": Out(bits_for(chip.tenants - 1)),
        **{f"trace_word{suffix}__{name}": Out(width) for suffix in suffixes for name, width in (
            ("valid", 1), ("address", 16), ("data", WORD_BITS))},
        **{f"trace_layer{suffix}__{name}": Out(width) for suffix in suffixes for name, width in (
            ("begin", 1), ("done", 1), ("index", 12))},
    })


def _suffixes(chip: Chip) -> tuple[str, ...]:
    """What ends the prefix of each tenant's ports: nothing for the first, else its number."""
    return tuple(str(tenant) if tenant else "" for tenant in range(chip.tenants))


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
    s_axis_*, m_axis_*, s_axis1_*, m_axis1_*, ...
        Activation streams of each tenant, four channels per beat.
    irq : out
        Interrupt, a level.
    macro0, macro1, ... : out
        Pins of each tile's analog macro.
    trace0, ..., trace_sum, trace_tenant, trace_word, trace_layer, trace_word1, ... : out
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
        m.submodules.buffer = buffer = ActivationBuffer(chip)
        # Whatever can be stopped half-way returns to its reset state on abort and failure; every
        # switch of the macros is open there.
        clear = scheduler.clear
        m.submodules.window = window = ResetInserter(clear)(WindowGenerator(chip))
        m.submodules.loader = loader = ResetInserter(clear)(RowLoader(chip))
        m.submodules.collector = collector = ResetInserter(clear)(Collector(chip))
        # A register, which stands as the descriptor does: it is the enable of a whole unit.
        combining = Signal()
        m.submodules.elementwise = elementwise = gated(ElementwiseUnit(chip), combining, clear)
        opcode = read_field(scheduler.descriptor, "opcode")
        m.d.sync += combining.eq(Cat(*(opcode == each for each in COMBINING)).any())
        transfers, tiles = [], []
        for t in range(chip.tenants):
            transfer, moving = TransferUnit(chip), Signal(name=f"transfer{t}_moving")
            m.submodules[f"transfer{t}"] = EnableInserter(moving)(transfer)
            m.d.comb += moving.eq(scheduler.transfer[t] | transfer.busy | transfer.done
                                  | scheduler.transfer_clear[t])
            transfers.append(transfer)
        for i in range(chip.tiles):
            tile = self._tile_type(chip)
            m.submodules[f"tile{i}"] = tile
            tiles.append(tile)

        self._connect_bus(m, bus, registers)
        self._connect_memories(m, registers, scheduler, collector, tiles)
        self._connect_buffer(m, buffer, registers, scheduler, window, loader, collector,
                             elementwise, transfers, combining)
        self._connect_tenants(m, registers, scheduler, buffer, window, tiles, transfers)

        use = scheduler.window.tiles
        # A register, since the end of a unit decides on much in its clock.
        calibrating = Signal()
        all_calibrated = (Cat(*(tile.calibrated for tile in tiles)) | ~use).all()
        m.d.sync += [scheduler.unit_done.eq(~clear & (collector.ending | elementwise.ending
                                                      | calibrating & all_calibrated)),
                     scheduler.timed_out.eq(Cat(*(tile.timed_out for tile in tiles)).any())]
        with m.If(scheduler.calibrate):
            m.d.sync += calibrating.eq(1)
        with m.Elif(all_calibrated | scheduler.clear):
            m.d.sync += calibrating.eq(0)
        # A convolution's descriptor, with the addresses of the memories for those of the windows.
        convolution = Signal(DescriptorLayout)
        m.d.comb += [
            convolution.eq(scheduler.descriptor),
            read_field(convolution, "constants").eq(scheduler.constants),
            read_field(convolution, "coefficients").eq(scheduler.coefficients),

            self.irq.eq(registers.irq),

            window.descriptor.eq(convolution), window.start.eq(scheduler.convolve),
            loader.start.eq(scheduler.convolve), loader.word_valid.eq(window.valid),
            window.ready.eq(loader.word_ready),
            *(getattr(loader, name).eq(getattr(window, name)) for name in (
                "address", "pad", "row_word", "first", "last", "last_chunk")),
            loader.bank_free.eq((Cat(*(tile.bank_free for tile in tiles)) | ~use).all()),

            collector.descriptor.eq(convolution), collector.start.eq(scheduler.convolve),

            elementwise.descriptor.eq(scheduler.descriptor),
            elementwise.start.eq(scheduler.combine),

            self.trace_tenant.eq(scheduler.tenant),
            self.trace_sum__valid.eq(collector.sum_valid),
            self.trace_sum__kernel.eq(collector.sum_kernel),
            self.trace_sum__position.eq(collector.sum_position),
            self.trace_sum__value.eq(collector.sum_value),
            self.trace_sum__output.eq(collector.sum_output),
        ]
        done = Cat(*(tile.position_done for tile in tiles))
        first_done = _first(use, list(done))
        number = self._add_product_numbers(m, registers, scheduler, tiles)
        for i, tile in enumerate(tiles):
            m.d.comb += [
                *self._tile_wires(i, tile, registers, scheduler, loader, collector, use[i]),
                tile.descriptor.eq(convolution), tile.first_product.eq(number),
                # A tile that the tenant does not use finishes with the first that it does use.
                collector.position_done[i].eq(Mux(use[i], done[i], first_done)),
                collector.drain_sums[i].eq(Mux(use[i], tile.drain_sum, 0)),
            ]
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
        # What a busy tenant may use of them is not written (rtl.register_file).
        m.submodules.program = program = Memory(
            shape=WORD_BITS, depth=memories.program_words, init=[], attrs=COLLISIONS_ARE_AVOIDED)
        m.submodules.constants = constants = Memory(
            shape=2 * WORD_BITS, depth=memories.constant_entries, init=[],
            attrs=COLLISIONS_ARE_AVOIDED)
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

    def _connect_buffer(self, m: Module, buffer: ActivationBuffer, registers: RegisterFile,
                        scheduler: TileScheduler, window: WindowGenerator, loader: RowLoader,
                        collector: Collector, elementwise: ElementwiseUnit,
                        transfers: list[TransferUnit], combining: Signal) -> None:
        # Whose addresses and words go to the buffer. A register of its own, close to the buffer;
        # it stands long before anything is read or written, and after that until the next layer.
        combining = delayed(m, combining, 1)
        m.d.comb += [buffer.tenant.eq(scheduler.tenant), buffer.window.eq(scheduler.window),
                     buffer.windows.eq(registers.windows)]
        m.d.comb += [
            loader.read_data.eq(buffer.read_data), elementwise.read_data.eq(buffer.read_data),
            # Addresses of pixels outside the image mean nothing.
            buffer.read.enable.eq(elementwise.read_enable | loader.read_enable & ~window.pad),
            buffer.read.address.eq(Mux(combining, elementwise.read_address,
                                       loader.read_address)),
            buffer.write.enable.eq(collector.write_enable | elementwise.write_enable),
            buffer.write.address.eq(Mux(combining, elementwise.write_address,
                                        collector.write_address)),
            buffer.write.data.eq(Mux(combining, elementwise.write_data, collector.write_data)),
        ]
        for t, (suffix, transfer) in enumerate(zip(_suffixes(self.chip), transfers, strict=True)):
            source = {name: getattr(self, f"s_axis{suffix}_{name}")
                      for name in ("tvalid", "tready", "tdata")}
            sink = {name: getattr(self, f"m_axis{suffix}_{name}")
                    for name in ("tvalid", "tready", "tdata", "tlast")}
            read, write = buffer.transfer_read[t], buffer.transfer_write[t]
            m.d.comb += [
                transfer.in_valid.eq(source["tvalid"]), source["tready"].eq(transfer.in_ready),
                transfer.in_data.eq(source["tdata"]),
                sink["tvalid"].eq(transfer.out_valid), transfer.out_ready.eq(sink["tready"]),
                sink["tdata"].eq(transfer.out_data), sink["tlast"].eq(transfer.out_last),
                read.enable.eq(transfer.read_enable), read.address.eq(transfer.read_address),
                transfer.read_ready.eq(buffer.transfer_read_ready[t]),
                transfer.read_valid.eq(buffer.transfer_read_valid[t]),
                transfer.read_data.eq(buffer.transfer_read_data[t]),
                write.enable.eq(transfer.write_enable), write.address.eq(transfer.write_address),
                write.data.eq(transfer.write_data),
                transfer.write_ready.eq(buffer.transfer_write_ready[t]),
                buffer.transfer_abort[t].eq(scheduler.transfer_clear[t]),
                *(getattr(self, f"trace_word{suffix}__{name}").eq(value) for name, value in (
                    ("valid", buffer.written[t].enable), ("address", buffer.written[t].address),
                    ("data", buffer.written[t].data))),
            ]

    def _connect_tenants(self, m: Module, registers: RegisterFile, scheduler: TileScheduler,
                         buffer: ActivationBuffer, window: WindowGenerator, tiles: list[Tile],
                         transfers: list[TransferUnit]) -> None:
        """Registers, states and counters of the tenants."""
        met = Signal()      # what the units of the present tenant met
        m.d.comb += met.eq(window.mismatch
                           | Cat(*(tile.overrun | tile.refused for tile in tiles)).any())
        use = scheduler.window.tiles
        working, doing = self._add_activity(m, scheduler, window, tiles)

        def count(bits: list[Value]) -> Value:
            return sum(bits[1:], bits[0])

        m.d.comb += [
            scheduler.start.eq(registers.start), scheduler.abort.eq(registers.abort),
            scheduler.windows.eq(registers.windows),
            *(getattr(registers, name).eq(getattr(scheduler, name)) for name in (
                "busy", "layer", "ended", "failed", "failed_cause")),
            registers.conversions.eq(count([tile.converted for tile in tiles])),
            registers.early_stops.eq(count([tile.stopped for tile in tiles])),
            registers.converting.eq(doing["works"]),
            registers.product.eq(_first(use, [tile.product_started for tile in tiles])),
            registers.contest.eq((working & use).any() & (~working & use).any()),
        ]
        for t, (suffix, transfer) in enumerate(zip(_suffixes(self.chip), transfers, strict=True)):
            mine = Signal(name=f"working{t}")
            m.d.comb += [
                mine.eq(scheduler.working & (scheduler.tenant == t)),
                transfer.abort.eq(scheduler.transfer_clear[t]),
                transfer.timeout.eq(registers.host_timeout[t]),
                transfer.descriptor.eq(scheduler.descriptor),
                transfer.start.eq(scheduler.transfer[t]),
                scheduler.transfer_done[t].eq(transfer.done),
                registers.active[t].eq(mine),
            ]
            m.d.sync += [scheduler.illegal[t].eq(mine & met | delayed(m, mine, 1) & buffer.beyond
                                                 | buffer.transfer_beyond[t]),
                         scheduler.host_late[t].eq(transfer.late)]
            waits: dict[str, Value] = {
                **{name: mine & doing[name] for name in (
                    "comparator", "adder", "array", "rows", "drain", "elementwise")},
                "transfer": scheduler.transferring[t] & ~transfer.host_wait
                & ~transfer.buffer_wait,
                "host": scheduler.transferring[t] & transfer.host_wait,
                "buffer": scheduler.transferring[t] & transfer.buffer_wait,
                "fetch": scheduler.fetching[t], "turn": scheduler.turn[t],
            }
            layer = {name: getattr(self, f"trace_layer{suffix}__{name}")
                     for name in ("begin", "done", "index")}
            m.d.comb += [
                registers.waiting[t].eq(Cat(*(waits[name] for name in WAITS))),
                layer["begin"].eq(scheduler.layer_begin[t]),
                layer["done"].eq(scheduler.layer_done[t]), layer["index"].eq(scheduler.layer[t]),
            ]

    def _add_activity(self, m: Module, scheduler: TileScheduler, window: WindowGenerator,
                      tiles: list[Tile]) -> tuple[Value, dict[str, Value]]:
        """Which tiles convert, and what the first in use does in this clock, one of these."""
        watches = []
        for i, tile in enumerate(tiles):
            m.submodules[f"activity{i}"] = watch = TileActivity()
            macro = getattr(self, f"macro{i}")
            m.d.comb += [
                watch.start.eq(scheduler.convolve), watch.loading.eq(window.busy),
                watch.converting.eq(tile.converting), watch.decided.eq(macro.decided),
                *(getattr(watch, name).eq(getattr(macro, name))
                  for name in ("reset", "hold", "clear", "convert_side")),
            ]
            watches.append(watch)
        combining = Signal()
        with m.If(scheduler.convolve | scheduler.combine):
            m.d.sync += combining.eq(scheduler.combine)
        doing = {name: ~combining & _first(scheduler.window.tiles,
                                           [getattr(watch, name) for watch in watches])
                 for name in ("works", "comparator", "adder", "array", "rows", "drain")}
        return Cat(*(tile.converting for tile in tiles)), {**doing, "elementwise": combining}

    def _add_product_numbers(self, m: Module, registers: RegisterFile, scheduler: TileScheduler,
                             tiles: list[Tile]) -> Value:
        """Each tenant counts its products; the number of the present one's next product."""
        numbers = []
        for t in range(self.chip.tenants):
            number = Signal(PRODUCT_COUNT_BITS, name=f"product{t}")
            with m.If(registers.product & registers.active[t]):
                m.d.sync += number.eq(modulo(number + 1, len(number)))
            with m.If(registers.start[t]):
                m.d.sync += number.eq(0)
            numbers.append(number)
        next_number = Signal(PRODUCT_BITS)
        for t, number in enumerate(numbers):
            with m.If(scheduler.tenant == t):
                m.d.comb += next_number.eq(Cat(number, Const(t, TENANT_BITS)))
        return next_number

    def _tile_wires(self, index: int, tile: Tile, registers: RegisterFile,
                    scheduler: TileScheduler, loader: RowLoader, collector: Collector,
                    used: Value) -> list:
        group_bits = (self.chip.array.columns // 4 - 1).bit_length()
        macro = getattr(self, f"macro{index}")
        trace = getattr(self, f"trace{index}")
        wires = [
            tile.clear.eq(scheduler.clear), tile.start.eq(scheduler.convolve & used),
            tile.coefficient_base.eq(scheduler.window.coefficients_base),
            tile.coefficient_words.eq(scheduler.window.coefficient_words),
            tile.timeout.eq(registers.comparator_timeout),
            *(tile.lengths[name].eq(getattr(registers, f"phase_{name}"))
              for name in Phases.__dataclass_fields__),
            *(getattr(tile, name).eq(getattr(loader, name) & used) for name in (
                "chunk_begin", "chunk_loaded", "load_enable")),
            *(getattr(tile, name).eq(getattr(loader, name)) for name in (
                "chunk_final", "load_bank", "load_clear", "load_row", "load_codes")),
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
            tile.position_freed.eq(collector.position_freed & used),
            tile.calibrate.eq(scheduler.calibrate & used),
            tile.settings.eq(registers.settings[index]),
            registers.measured[index].eq(tile.measured),
            registers.saturated[index].eq(tile.saturated & used),
            tile.drain_valid.eq(collector.drain_valid),
            tile.level_write.eq(registers.levels_write[index]),
            tile.level_index.eq(registers.memory_index),
            tile.level_data.eq(registers.memory_data),
            tile.drain_group.eq(collector.drain_group),
            tile.drain_lane.eq(collector.drain_lane),
            tile.drain_clear.eq(collector.drain_clear & used),
            *(getattr(trace, name).eq(getattr(tile.trace, name))
              for name in trace.signature.members),
        ]
        for name, member in macro.signature.members.items():
            inner, outer = getattr(tile.macro, name), getattr(macro, name)
            wires.append(outer.eq(inner) if member.flow is Out else inner.eq(outer))
        return wires


def _first(use: Value, values: list[Value]) -> Value:
    """The one of ``values`` that belongs to the lowest bit set in ``use``; 0 without any."""
    result: Value = Const(0, 1)
    for bit, value in reversed(list(zip(use, values, strict=True))):
        result = Mux(bit, value, result)
    return result
