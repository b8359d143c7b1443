"""Residual add and pooling, four channels of a word at a time."""

from amaranth.hdl import Const, Module, Mux, ResetInserter, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from golden.chip import (
    ACTIVATION_BITS, ACTIVATIONS_PER_WORD, WORD_BITS, Chip, multiplier_clocks,
    signed_bits_for,
)
from golden.chip.descriptor import FIELDS, Opcode

from .arithmetic import half_step, modulo
from .buffer import READ_CLOCKS
from .delay import delayed
from .descriptor import DescriptorLayout, read_field
from .loop_nest import LoopNest, Walker
from .multiplier import Multiplier
from .pitches import ADDRESS_BITS, Pitches
from .rescaler import Rescaler
from .window import COORDINATE_BITS

__all__ = ["ElementwiseUnit"]

#: A channel word minus `second_offset`: modulo 2**13 a negative one is beyond every size.
_CHANNEL_BITS = FIELDS["channel_words"].width + 1
_ACTIVATION_LOW = -(1 << (ACTIVATION_BITS - 1))


def _sum_bits() -> int:
    """Width of a lane's sum: the largest window, multiplied, with bias and rounding."""
    taps = ((1 << FIELDS["kernel_width"].width) - 1) * ((1 << FIELDS["kernel_height"].width) - 1)
    product = taps * ((1 << FIELDS["multiplier"].width) - 1)
    bias = 1 << (FIELDS["bias"].width - 1)
    rounding = 1 << ((1 << FIELDS["shift"].width) - 2)
    return signed_bits_for(_ACTIVATION_LOW * product - bias,
                           -_ACTIVATION_LOW * product + bias + rounding)


class _Lane(Component):
    """One channel: multiply and add up, or take the maximum, then rescale.

    `tap`, `multiplier` and `first` (of an output) change with each tap; the rest stands still.
    Nothing is reset: an output means something after its `first` tap.
    """

    #: Clocks from the last `tap` of an output to `out`: product, sum or maximum, choice of the
    #: two, shift and clamp.
    LATENCY = multiplier_clocks(ACTIVATION_BITS) + 2 + Rescaler.LATENCY

    def __init__(self) -> None:
        super().__init__({
            "tap": In(signed(ACTIVATION_BITS)), "multiplier": In(FIELDS["multiplier"].width),
            "first": In(1), "maximum": In(1), "addend": In(signed(_sum_bits())),
            "shift": In(FIELDS["shift"].width), "relu": In(1),
            "out": Out(signed(ACTIVATION_BITS)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.multiplier = multiplier = Multiplier(len(self.multiplier) + 1,
                                                          signed(ACTIVATION_BITS))
        m.d.comb += [multiplier.multiplicand.eq(self.multiplier),
                     multiplier.multiplier.eq(self.tap)]
        tap = delayed(m, self.tap, multiplier.latency, reset_less=True).as_signed()
        first = delayed(m, self.first, multiplier.latency, reset_less=True)
        largest = Signal(signed(ACTIVATION_BITS), reset_less=True)
        total, result = (Signal(signed(_sum_bits()), name=name, reset_less=True)
                         for name in ("total", "result"))
        # The sign of a difference is one carry chain; a comparison would become several.
        difference = Signal(signed(ACTIVATION_BITS + 1))
        m.d.comb += difference.eq(largest - tap)
        with m.If(first | difference[-1]):
            m.d.sync += largest.eq(tap)
        # The width holds every sum of 15 x 15 taps: nothing is lost here.
        m.d.sync += [total.eq(Mux(first, self.addend, total) + multiplier.product),
                     result.eq(Mux(self.maximum, largest, total))]
        m.submodules.rescaler = rescaler = Rescaler(len(total), len(self.shift))
        m.d.comb += [rescaler.value.eq(result), rescaler.shift.eq(self.shift),
                     rescaler.relu.eq(self.relu), self.out.eq(rescaler.out)]
        return m


class ElementwiseUnit(Component):
    """Runs ADD, AVERAGE_POOL and MAX_POOL descriptors on the activation buffer.

    For each position, row-major, for each channel word, it reads the taps and writes one word:

    * Pools read the window's taps row by row. A tap outside the image counts 0 in an average,
      -128 in a maximum.
    * ADD reads the pixel at (y * stride - pad_top, x * stride - pad_left), which counts 0 outside
      the image, then pixel (y * second_stride, x * second_stride) of the other operand, whose
      word is `second_offset` less and counts 0 where it has none. The kernel size is not used.

    Sizes, counts and strides must be at least one. A word may be overwritten by the output of
    the position and word that read it.

    Parameters
    ----------
    chip
        Configuration; the widths of this unit are those of the descriptor, the same for all.

    Members
    -------
    abort : in
        Back to idle; nothing more is read or written.
    descriptor : in
        Stable from `start` to `ending`.
    start : in
        Pulse; ignored while `busy`.
    busy : out
        From the clock after `start` to the one of the last write.
    ending : out
        Pulse, with the last write.
    read_enable, read_address : out; read_data : in
        Read port of the buffer, data `READ_CLOCKS` after.
    write_enable, write_address, write_data : out
        Write port of the buffer.

    Latency
    -------
    ``golden.timing_elementwise.elementwise_clocks``: `OVERHEAD` clocks from `start` to the
    one after `ending` and one per tap, where an ADD has two taps.
    """

    #: Clocks from a tap's place in the nest to its `read_enable`, then to its lane's `tap`.
    _READ, _TAP = 1, READ_CLOCKS + 1
    #: Clocks from a tap's place in the nest to the write of its output.
    _WRITE = _READ + _TAP + _Lane.LATENCY
    #: Clocks of a layer beside its taps: pitches, first iteration, pipeline, one after `ending`.
    OVERHEAD = Pitches.LATENCY + 1 + _WRITE

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        super().__init__({
            "abort": In(1), "descriptor": In(DescriptorLayout), "start": In(1), "busy": Out(1),
            "ending": Out(1),
            "read_enable": Out(1), "read_address": Out(ADDRESS_BITS), "read_data": In(WORD_BITS),
            "write_enable": Out(1), "write_address": Out(ADDRESS_BITS),
            "write_data": Out(WORD_BITS),
        })

    def _field(self, name: str) -> Value:
        return read_field(self.descriptor, name)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        field = self._field
        add, maximum = Signal(), Signal()
        shift = Signal(FIELDS["shift"].width)
        starting, walking = Signal(), Signal()
        m.d.comb += starting.eq(self.start & ~self.busy)
        # What the opcode means for the lanes, decoded while the pitches are computed.
        m.d.sync += [add.eq(field("opcode") == Opcode.ADD),
                     maximum.eq(field("opcode") == Opcode.MAX_POOL),
                     shift.eq(Mux(maximum, 0, field("shift")))]
        nest = self._nest(m, starting, walking, add)

        # Taps of the nest, one per clock.
        first, last = Signal(), Signal()        # tap of its output
        second, inside = Signal(), Signal()     # second operand of an ADD; tap has a word
        in_channels, in_image = Signal(), Signal()
        word_end, final = Signal(), Signal()    # last word of a pixel, of the layer
        m.d.comb += [
            last.eq(nest.column_last & nest.row_last),
            word_end.eq(nest.word_last), final.eq(word_end & nest.x_last & nest.y_last),
            second.eq(add & nest.column_last),
            in_channels.eq(nest.channel < field("second_words")),
            in_image.eq((nest.pixel_x < field("in_width")) & (nest.pixel_y < field("in_height"))),
            inside.eq(Mux(second, in_channels, in_image)),
        ]
        with m.If(nest.load):
            m.d.sync += first.eq(1)
        with m.Elif(walking):
            m.d.sync += first.eq(last)
        # Not `walking & inside`, which would be a gate more behind the comparisons.
        m.d.sync += [self.read_enable.eq((walking & second) & in_channels
                                         | (walking & ~second) & in_image),
                     self.read_address.eq(Mux(second, nest.second, nest.address))]

        # Lanes.
        fill = Mux(maximum, Const(_ACTIVATION_LOW, signed(ACTIVATION_BITS)), 0)
        read = delayed(m, inside, self._READ + self._TAP - 1)
        multiplier = Signal(FIELDS["multiplier"].width, reset_less=True)
        addend = Signal(signed(_sum_bits()), reset_less=True)
        m.d.sync += [
            multiplier.eq(Mux(delayed(m, second, self._READ + self._TAP - 1),
                              field("second_multiplier"), field("multiplier"))),
            addend.eq(field("bias") + half_step(field("shift"))),
        ]
        fresh = delayed(m, first, self._READ + self._TAP)
        for i in range(ACTIVATIONS_PER_WORD):
            m.submodules[f"lane{i}"] = lane = _Lane()
            tap = Signal(signed(ACTIVATION_BITS), name=f"tap{i}", reset_less=True)
            m.d.sync += tap.eq(Mux(
                read, self.read_data.word_select(i, ACTIVATION_BITS).as_signed(), fill))
            m.d.comb += [
                lane.tap.eq(tap), lane.multiplier.eq(multiplier), lane.first.eq(fresh),
                lane.maximum.eq(maximum), lane.addend.eq(addend),
                lane.shift.eq(shift), lane.relu.eq(field("relu")),
                self.write_data.word_select(i, ACTIVATION_BITS).eq(lane.out),
            ]

        # Writes: words of a pixel in a row, pixels a pitch apart.
        pixel = Signal(ADDRESS_BITS)
        pixel_end, end = delayed(m, word_end, self._WRITE), delayed(m, final, self._WRITE)
        m.d.comb += self.write_enable.eq(delayed(m, walking & last, self._WRITE))
        next_pixel = modulo(pixel + field("destination_pixel_words"), ADDRESS_BITS)
        m.d.comb += self.ending.eq(self.write_enable & end)
        with m.If(starting):
            m.d.sync += [self.busy.eq(1), pixel.eq(field("destination")),
                         self.write_address.eq(field("destination"))]
        with m.Elif(self.write_enable):
            m.d.sync += self.write_address.eq(modulo(self.write_address + 1, ADDRESS_BITS))
            with m.If(pixel_end):
                m.d.sync += [pixel.eq(next_pixel), self.write_address.eq(next_pixel)]
            with m.If(end):
                m.d.sync += self.busy.eq(0)
        return ResetInserter(self.abort)(m)

    def _nest(self, m: Module, starting: Signal, walking: Signal, add: Signal) -> LoopNest:
        """The loops, and what moves with them; `walking` while they show a tap."""
        field = self._field
        # First pixel and channel word, negated in a clock of their own: the pitches take longer.
        first_x, first_y = Signal(COORDINATE_BITS), Signal(COORDINATE_BITS)
        first_channel = Signal(_CHANNEL_BITS)
        m.d.sync += [first_x.eq(modulo(-field("pad_left"), COORDINATE_BITS)),
                     first_y.eq(modulo(-field("pad_top"), COORDINATE_BITS)),
                     first_channel.eq(modulo(-field("second_offset"), _CHANNEL_BITS))]
        m.submodules.pitches = pitches = Pitches()
        m.submodules.second_pitches = second = Pitches()
        m.submodules.nest = nest = LoopNest(
            {"column": FIELDS["kernel_width"].width, "row": FIELDS["kernel_height"].width,
             "word": FIELDS["channel_words"].width, "x": FIELDS["out_width"].width,
             "y": FIELDS["out_height"].width},
            {"address": Walker(ADDRESS_BITS, ("column", "row", "word", "x", "y")),
             "second": Walker(ADDRESS_BITS, ("word", "x", "y")),
             "channel": Walker(_CHANNEL_BITS, ("word",)),
             "pixel_x": Walker(COORDINATE_BITS, ("column", "x")),
             "pixel_y": Walker(COORDINATE_BITS, ("row", "y"))})
        m.d.comb += [
            pitches.start.eq(starting), pitches.base.eq(field("source")),
            pitches.pixel.eq(field("source_pixel_words")), pitches.width.eq(field("in_width")),
            pitches.stride.eq(field("stride")), pitches.pad_left.eq(field("pad_left")),
            pitches.pad_top.eq(field("pad_top")),
            second.start.eq(starting),
            second.base.eq(modulo(field("second_source") - field("second_offset"), ADDRESS_BITS)),
            second.pixel.eq(field("second_pixel_words")), second.width.eq(field("second_width")),
            second.stride.eq(field("second_stride")),
            nest.load.eq(pitches.done), nest.advance.eq(walking),
            # The two operands of an ADD are its taps.
            nest.column_count.eq(Mux(add, 2, field("kernel_width"))),
            nest.row_count.eq(Mux(add, 1, field("kernel_height"))),
            nest.word_count.eq(field("channel_words")), nest.x_count.eq(field("out_width")),
            nest.y_count.eq(field("out_height")),
            nest.address_origin.eq(pitches.origin),
            nest.address_column_step.eq(field("source_pixel_words")),
            nest.address_row_step.eq(pitches.row), nest.address_word_step.eq(1),
            nest.address_x_step.eq(pitches.column_step), nest.address_y_step.eq(pitches.row_step),
            nest.second_origin.eq(second.origin), nest.second_word_step.eq(1),
            nest.second_x_step.eq(second.column_step), nest.second_y_step.eq(second.row_step),
            nest.channel_origin.eq(first_channel), nest.channel_word_step.eq(1),
            nest.pixel_x_origin.eq(first_x),
            nest.pixel_x_column_step.eq(1), nest.pixel_x_x_step.eq(field("stride")),
            nest.pixel_y_origin.eq(first_y),
            nest.pixel_y_row_step.eq(1), nest.pixel_y_y_step.eq(field("stride")),
        ]
        with m.If(nest.load):
            m.d.sync += walking.eq(1)
        with m.Elif(nest.column_last & nest.row_last & nest.word_last & nest.x_last
                    & nest.y_last):
            m.d.sync += walking.eq(0)
        return nest
