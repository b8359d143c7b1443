"""Window (im2col) address generator of a convolution."""

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from golden.chip import Chip, bits_for
from golden.chip.descriptor import FIELDS

from .arithmetic import modulo
from .descriptor import DescriptorLayout, read_field
from .loop_nest import LoopNest, Walker
from .pitches import ADDRESS_BITS, Pitches

__all__ = ["COORDINATE_BITS", "WindowGenerator"]

#: Width of a pixel coordinate. Modulo 2**17, the largest (4094 * 15 + 14) and the most negative
#: (-15) that any descriptor makes are different, and the latter are beyond every image size.
COORDINATE_BITS = 17


class WindowGenerator(Component):
    """Walks ``position, block, ky, kx, word`` and cuts each position's words into chunks.

    Every (position, chunk) is visited once: whoever loads the row latches keeps a chunk for all
    its row groups. The number of chunks in the descriptor must be that of the window,
    ``ceil(blocks * kernel_height * kernel_width * block_words / chunk_words)``, else `mismatch`
    tells in the first position; sizes and counts must be at least one.

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    abort : in
        Back to idle.
    descriptor : in
        A CONVOLVE descriptor, stable from `start` to the last word.
    start : in
        Pulse; ignored while `busy`.
    busy : out
        From the clock after `start` until the last word is taken.
    valid, ready
        Handshake of a word. Words hold until taken (except under `abort`).
    address : out
        Word of the activation buffer; meaningless where `pad` is set.
    pad : out
        The pixel is outside the image: its channels read zero.
    row_word : out
        Index of the word in its chunk: rows ``4 * row_word`` to ``+ 3``.
    first, last : out
        First and last word of a chunk.
    last_chunk : out
        The chunk is the last of its position.
    last_position : out
        The position is the last of the layer.
    mismatch : out
        Pulse: the window ended before its last chunk, or went on after it.

    Latency
    -------
    `LATENCY` clocks from `start` to the first `valid`, then a word per clock while `ready`.
    """

    #: Clocks from `start` to the first `valid`: pitches, first iteration, output register.
    LATENCY = Pitches.LATENCY + 2

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        super().__init__({
            "abort": In(1), "descriptor": In(DescriptorLayout), "start": In(1), "busy": Out(1),
            "valid": Out(1), "ready": In(1),
            "address": Out(ADDRESS_BITS), "pad": Out(1),
            "row_word": Out(bits_for(chip.array.row_words - 1)),
            "first": Out(1), "last": Out(1), "last_chunk": Out(1), "last_position": Out(1),
            "mismatch": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()

        def field(name: str) -> Signal:
            return read_field(self.descriptor, name)

        m.submodules.pitches = pitches = Pitches()
        m.submodules.nest = nest = LoopNest(
            {"word": FIELDS["block_words"].width, "column": FIELDS["kernel_width"].width,
             "row": FIELDS["kernel_height"].width, "block": FIELDS["blocks"].width,
             "x": FIELDS["out_width"].width, "y": FIELDS["out_height"].width},
            {"address": Walker(ADDRESS_BITS, ("word", "column", "row", "block", "x", "y")),
             "pixel_x": Walker(COORDINATE_BITS, ("column", "x")),
             "pixel_y": Walker(COORDINATE_BITS, ("row", "y"))})
        # The first pixel, negated in a clock of its own: the pitches take longer.
        first_x, first_y = Signal(COORDINATE_BITS), Signal(COORDINATE_BITS)
        m.d.sync += [first_x.eq(modulo(-field("pad_left"), COORDINATE_BITS)),
                     first_y.eq(modulo(-field("pad_top"), COORDINATE_BITS))]
        starting = Signal()
        walking = Signal()      # the nest shows an iteration that the output has yet to take
        m.d.comb += [
            starting.eq(self.start & ~self.busy),
            pitches.start.eq(starting), pitches.base.eq(field("source")),
            pitches.pixel.eq(field("source_pixel_words")), pitches.width.eq(field("in_width")),
            pitches.stride.eq(field("stride")), pitches.pad_left.eq(field("pad_left")),
            pitches.pad_top.eq(field("pad_top")),
            nest.load.eq(pitches.done),
            nest.word_count.eq(field("block_words")), nest.column_count.eq(field("kernel_width")),
            nest.row_count.eq(field("kernel_height")), nest.block_count.eq(field("blocks")),
            nest.x_count.eq(field("out_width")), nest.y_count.eq(field("out_height")),
            nest.address_origin.eq(pitches.origin), nest.address_word_step.eq(1),
            nest.address_column_step.eq(field("source_pixel_words")),
            nest.address_row_step.eq(pitches.row),
            nest.address_block_step.eq(field("block_words")),
            nest.address_x_step.eq(pitches.column_step), nest.address_y_step.eq(pitches.row_step),
            nest.pixel_x_origin.eq(first_x),
            nest.pixel_x_column_step.eq(1), nest.pixel_x_x_step.eq(field("stride")),
            nest.pixel_y_origin.eq(first_y),
            nest.pixel_y_row_step.eq(1), nest.pixel_y_y_step.eq(field("stride")),
        ]

        # The chunk counters run beside the nest, which they cut without being part of it.
        # As many bits as the most that a descriptor may have.
        chunk_words, chunks = (
            modulo(field(name), bits_for(most))
            for name, most in (("chunk_words", self.chip.array.row_words),
                               ("chunks", self.chip.accumulator.products)))
        words_left, chunks_left = Signal.like(chunk_words), Signal.like(chunks)
        row_word = Signal.like(self.row_word)
        chunk_full, last_chunk = Signal(), Signal()
        window_end, chunk_end, last_position = Signal(), Signal(), Signal()
        m.d.comb += [
            window_end.eq(nest.word_last & nest.column_last & nest.row_last & nest.block_last),
            chunk_end.eq(window_end | chunk_full),
            last_position.eq(nest.x_last & nest.y_last),
        ]
        with m.If(nest.load | nest.advance & chunk_end):
            m.d.sync += [words_left.eq(chunk_words), chunk_full.eq(chunk_words == 1),
                         row_word.eq(0)]
        with m.Elif(nest.advance):
            m.d.sync += [words_left.eq(modulo(words_left - 1, len(words_left))),
                         chunk_full.eq(words_left == 2),
                         row_word.eq(modulo(row_word + 1, len(row_word)))]
        with m.If(nest.load | nest.advance & window_end):
            m.d.sync += [chunks_left.eq(chunks), last_chunk.eq(chunks == 1)]
        with m.Elif(nest.advance & chunk_end):
            m.d.sync += [chunks_left.eq(modulo(chunks_left - 1, len(chunks_left))),
                         last_chunk.eq(chunks_left == 2)]

        m.d.sync += self.mismatch.eq(nest.advance & Mux(window_end, ~last_chunk,
                                                        chunk_full & last_chunk))

        # The output, and behind it a spare register for the word that came when it was not taken:
        # so the nest advances by what registers say, however late `ready` comes.
        word = data.StructLayout({
            "address": ADDRESS_BITS, "pad": 1, "row_word": len(row_word), "first": 1, "last": 1,
            "last_chunk": 1, "last_position": 1, "final": 1})
        fresh, spare, shown = (Signal(word, name=name) for name in ("fresh", "spare", "shown"))
        waiting = Signal()      # `spare` holds a word
        m.d.comb += [
            fresh.address.eq(nest.address),
            fresh.pad.eq((nest.pixel_x >= field("in_width"))
                         | (nest.pixel_y >= field("in_height"))),
            fresh.row_word.eq(row_word), fresh.first.eq(row_word == 0),
            fresh.last.eq(chunk_end), fresh.last_chunk.eq(last_chunk),
            fresh.last_position.eq(last_position), fresh.final.eq(window_end & last_position),
            *(getattr(self, name).eq(shown[name]) for name in word.members if name != "final"),
            nest.advance.eq(walking & ~waiting),
        ]
        with m.If(~self.valid | self.ready):
            m.d.sync += [self.valid.eq(waiting | nest.advance), waiting.eq(0),
                         shown.eq(Mux(waiting, spare, fresh))]
        with m.Elif(nest.advance):
            m.d.sync += waiting.eq(1)
        with m.If(nest.advance):
            m.d.sync += spare.eq(fresh)
            with m.If(window_end & last_position):
                m.d.sync += walking.eq(0)
        with m.If(nest.load):
            m.d.sync += walking.eq(1)
        with m.If(starting):
            m.d.sync += self.busy.eq(1)
        with m.Elif(self.valid & self.ready & shown.final):
            m.d.sync += self.busy.eq(0)
        return ResetInserter(self.abort)(m)
