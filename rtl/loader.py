"""The row loader: activation words of each chunk into the row latches of every tile."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from golden.chip import Chip, bits_for

from .buffer import READ_CLOCKS
from .delay import delayed

__all__ = ["RowLoader"]


class RowLoader(Component):
    """Reads the words that the window generator names and broadcasts them to the row latches.

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    start : in
        Pulse: begin a layer, with bank 0.
    word_valid, address, pad, row_word, first, last, last_chunk : in; word_ready : out
        Words of the window, in order (rtl.window).
    bank_free : in
        Every tile has a latch bank to spare; looked at before the first word of a chunk.
    read_enable, read_address : out; read_data : in
        Activation buffer; data `READ_CLOCKS` after.
    load_enable, load_bank, load_clear, load_row, load_codes : out
        Pins of the row latches.
    chunk_begin, chunk_loaded, chunk_final : out
        To the product feeds.

    Latency
    -------
    A word accepted in clock 0 is on the pins in clock ``1 + READ_CLOCKS``; `chunk_loaded` comes
    with the last one.
    """

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        row_bits = bits_for(chip.array.row_words - 1)
        super().__init__({
            "start": In(1),
            "word_valid": In(1), "word_ready": Out(1), "address": In(16), "pad": In(1),
            "row_word": In(row_bits), "first": In(1), "last": In(1), "last_chunk": In(1),
            "bank_free": In(1),
            "read_enable": Out(1), "read_address": Out(16), "read_data": In(32),
            "load_enable": Out(1), "load_bank": Out(1), "load_clear": Out(1),
            "load_row": Out(row_bits), "load_codes": Out(32),
            "chunk_begin": Out(1), "chunk_loaded": Out(1), "chunk_final": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        accept, bank = Signal(), Signal()
        m.d.comb += [
            self.word_ready.eq(~self.first | self.bank_free),
            accept.eq(self.word_valid & self.word_ready),
            self.read_enable.eq(accept), self.read_address.eq(self.address),
            self.chunk_begin.eq(accept & self.first),
        ]
        # What belongs to the word that the buffer hands out.
        present, pad, first, last, final, row = (delayed(m, value, READ_CLOCKS) for value in (
            accept, self.pad, self.first, self.last, self.last_chunk, self.row_word))
        m.d.sync += [
            self.load_enable.eq(present), self.load_clear.eq(present & first),
            self.load_row.eq(row), self.load_codes.eq(Mux(pad, 0, self.read_data)),
            self.load_bank.eq(bank),
            self.chunk_loaded.eq(present & last), self.chunk_final.eq(final),
        ]
        with m.If(present & last):
            m.d.sync += bank.eq(~bank)
        with m.If(self.start):
            m.d.sync += bank.eq(0)
        return m
