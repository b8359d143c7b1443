"""The collector: sums the tiles' accumulators, requantises and writes finished positions."""

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from golden.chip import ACTIVATION_BITS, ACTIVATIONS_PER_WORD, Chip, bits_for

from .arithmetic import modulo
from .delay import delayed
from .descriptor import DescriptorLayout, read_field
from .drift_gain import DriftGain
from .gating import carried, stages
from .requantizer import Requantizer

__all__ = ["Collector", "POSITION_BITS"]

#: Width of a position's index: as many as two 12-bit sizes give.
POSITION_BITS = 24


class Collector(Component):
    """Drains finished positions from all tiles at once, one kernel per clock.

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    start : in; ending : out
        Pulses: a layer begins; its last word is written in the next clock.
    descriptor : in
        The layer, constant after `start`.
    position_done : in
        Pulse of each tile: it holds a finished position.
    position_freed : out
        Pulse to all tiles: the position has been drained.
    drain_group, drain_lane, drain_clear, drain_valid : out; drain_sums : in
        Drain ports of the accumulators (rtl.accumulator); `drain_valid` with the accumulators'
        answer, `DriftGain.LATENCY` clocks before `drain_sums`, their answer times the drift gain.
    constant_address : out; constant : in
        Requantizer constants (multiplier, shift, bias), data the clock after.
    write_enable, write_address, write_data : out
        Activation buffer.
    sum_valid, sum_kernel, sum_position, sum_value, sum_output : out
        Trace of every requantised sum.

    Latency
    -------
    A position that is finished in every tile in clock 0 is read from clock 2 on, one kernel per
    clock; the first kernel's output byte follows
    ``3 + DriftGain.LATENCY + Requantizer.latency`` clocks after its read, and a word is written in
    the clock after its last byte.
    """

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        groups = chip.accumulator.kernels // chip.accumulator.lanes
        super().__init__({
            "start": In(1), "ending": Out(1), "descriptor": In(DescriptorLayout),
            "position_done": In(chip.tiles), "position_freed": Out(1),
            "drain_group": Out(bits_for(groups - 1)),
            "drain_lane": Out(bits_for(chip.accumulator.lanes - 1)), "drain_clear": Out(1),
            "drain_valid": Out(1),
            "drain_sums": In(data.ArrayLayout(signed(chip.accumulator_bits), chip.tiles)),
            "constant_address": Out(bits_for(chip.memories.constant_entries - 1)),
            "constant": In(64),
            "write_enable": Out(1), "write_address": Out(16), "write_data": Out(32),
            "sum_valid": Out(1), "sum_kernel": Out(bits_for(chip.accumulator.kernels - 1)),
            "sum_position": Out(POSITION_BITS), "sum_value": Out(signed(chip.sum_bits)),
            "sum_output": Out(signed(ACTIVATION_BITS)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        chip = self.chip
        lanes, requantizer_limits = chip.accumulator.lanes, chip.requantizer
        lane_bits = (lanes - 1).bit_length()
        # As many bits as the most that a descriptor may have.
        kernels = modulo(read_field(self.descriptor, "kernels"),
                         bits_for(chip.accumulator.kernels))

        # Finished positions that each tile holds; at most two.
        ready = Signal()
        begin = Signal()
        counts = []
        for tile in range(chip.tiles):
            count = Signal(range(3), name=f"finished{tile}")
            m.d.sync += count.eq(count + self.position_done[tile] - begin)
            with m.If(self.start):
                m.d.sync += count.eq(0)
            counts.append(count)
        m.d.comb += ready.eq(Cat(*(count != 0 for count in counts)).all())

        # Read: one kernel per clock.
        active = Signal()
        kernel = Signal(range(chip.accumulator.kernels))
        left = Signal.like(kernels)
        last_kernel = Signal()      # left == 1
        m.d.comb += [begin.eq(ready & ~active), self.drain_group.eq(kernel >> lane_bits),
                     self.drain_lane.eq(kernel[:lane_bits] if lane_bits else 0)]
        with m.If(active):
            m.d.sync += [kernel.eq(kernel + 1), left.eq(modulo(left - 1, len(left))),
                         last_kernel.eq(left == 2)]
            with m.If(last_kernel):
                m.d.sync += active.eq(0)
        with m.Elif(ready):
            m.d.sync += [active.eq(1), kernel.eq(0), left.eq(kernels),
                         last_kernel.eq(kernels == 1)]
        m.d.sync += [
            self.drain_clear.eq(active & (last_kernel
                                          | (kernel[:lane_bits] == lanes - 1 if lane_bits else 1))),
            self.position_freed.eq(active & last_kernel),
        ]

        # Place of the position that is drained, and whether it is the layer's last.
        x, y = Signal(12), Signal(12)
        # Registers, since two clocks at least lie between one position's last kernel and the next.
        last_x, last_y = Signal(), Signal()
        right, bottom = Signal.like(x), Signal.like(y)      # the last ones
        m.d.sync += [right.eq(read_field(self.descriptor, "out_width") - 1),
                     bottom.eq(read_field(self.descriptor, "out_height") - 1),
                     last_x.eq(x == right), last_y.eq(y == bottom)]
        with m.If(active & last_kernel):
            m.d.sync += x.eq(x + 1)
            with m.If(last_x):
                m.d.sync += [x.eq(0), y.eq(y + 1)]

        # From the read to the requantizer: lane, drift gain, tile sum, constants.
        tag_layout = data.StructLayout({"kernel": kernel.shape().width, "last": 1, "end": 1})
        read = stages(m, active, 3 + DriftGain.LATENCY)
        tag, looking_tag, adding_tag, added_tag = (Signal(tag_layout, name=name) for name in (
            "read_tag", "looking_tag", "adding_tag", "added_tag"))
        total = sum(self.drain_sums[tile] for tile in range(chip.tiles))
        added = Signal(signed(chip.sum_bits))
        m.d.comb += [
            tag.kernel.eq(kernel), tag.last.eq(last_kernel),
            tag.end.eq(last_kernel & last_x & last_y),
            Value.cast(looking_tag).eq(carried(m, tag, read[:-3], "looking", reset_less=False)),
            Value.cast(adding_tag).eq(carried(m, looking_tag, read[-3:-2], "adding")),
            Value.cast(added_tag).eq(carried(m, adding_tag, read[-2:-1], "added")),
            added.eq(carried(m, total, read[-2:-1], "sum")),
            self.drain_valid.eq(read[2]),
            self.constant_address.eq(
                read_field(self.descriptor, "constants") + looking_tag.kernel),
        ]
        # A register, since the memory's output is slow.
        constant = delayed(m, self.constant, 1, reset_less=True)

        value_tag = data.StructLayout({"value": signed(chip.sum_bits), "tag": tag_layout})
        m.submodules.requantizer = requantizer = Requantizer(chip, tag_shape=value_tag)
        multiplier_bits = requantizer_limits.multiplier_bits
        m.d.comb += [
            requantizer.valid.eq(read[-1]), requantizer.sum.eq(added),
            requantizer.bias.eq(constant[:requantizer_limits.bias_bits].as_signed()),
            requantizer.multiplier.eq(constant[32:32 + multiplier_bits]),
            requantizer.shift.eq(constant[32 + multiplier_bits:
                                          32 + multiplier_bits + requantizer_limits.shift_bits]),
            requantizer.relu.eq(read_field(self.descriptor, "relu")),
            requantizer.tag.tag.eq(added_tag), requantizer.tag.value.eq(added),
        ]

        # Pack four outputs to a word and write it.
        out_tag = requantizer.out_tag.tag
        byte = out_tag.kernel[:2]
        word = Signal(32)
        position = Signal(POSITION_BITS)    # they come in order
        pixel, address = Signal(16), Signal(16)
        merged = Signal(32)
        m.d.comb += merged.eq(word)
        m.d.comb += merged.word_select(byte, ACTIVATION_BITS).eq(requantizer.out)
        m.d.sync += self.write_enable.eq(0)
        m.d.comb += self.ending.eq(requantizer.out_valid & out_tag.end)
        with m.If(requantizer.out_valid):
            m.d.sync += word.eq(merged)
            with m.If((byte == ACTIVATIONS_PER_WORD - 1) | out_tag.last):
                m.d.sync += [self.write_enable.eq(1), self.write_address.eq(address),
                             self.write_data.eq(merged), word.eq(0), address.eq(address + 1)]
            with m.If(out_tag.last):
                pitch = read_field(self.descriptor, "destination_pixel_words")
                m.d.sync += [pixel.eq(pixel + pitch), address.eq(pixel + pitch),
                             position.eq(modulo(position + 1, POSITION_BITS))]
        m.d.comb += [
            self.sum_valid.eq(requantizer.out_valid), self.sum_kernel.eq(out_tag.kernel),
            self.sum_position.eq(position),
            self.sum_value.eq(requantizer.out_tag.value), self.sum_output.eq(requantizer.out),
        ]

        with m.If(self.start):
            destination = read_field(self.descriptor, "destination")
            m.d.sync += [active.eq(0), x.eq(0), y.eq(0), position.eq(0), word.eq(0),
                         pixel.eq(destination), address.eq(destination)]
        return m
