"""The product feed of a tile: which products the loaded latch banks give."""

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In, Out

from golden.chip import PRODUCT_BITS, Chip, bits_for

from .messages import product_layout

__all__ = ["ProductFeed"]


class ProductFeed(Component):
    """Turns loaded chunks into products, one per row group, and keeps count of the latch banks.

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    start, first_product : in
        Pulse: a layer begins; the number of its first product.
    row_groups, group_granules : in
        From the descriptor: products per chunk, row granules enabled in each.
    chunk_begin : in
        Pulse: the loader starts to write a chunk into the next bank.
    chunk_loaded, chunk_final : in
        Pulse: the chunk is in the latches; whether it is the last of its output position.
    bank_free : out
        A chunk may begin.
    bank_released : in
        Pulse: the oldest bank has driven its last product.
    product_valid, product, product_ready
        Products out, in order.
    started : out
        Pulse: a product was handed over.
    """

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        super().__init__({
            "start": In(1), "first_product": In(PRODUCT_BITS),
            "row_groups": In(8), "group_granules": In(8),
            "chunk_begin": In(1), "chunk_loaded": In(1), "chunk_final": In(1),
            "bank_free": Out(1), "bank_released": In(1),
            "product_valid": Out(1), "product": Out(product_layout(chip)),
            "product_ready": In(1), "started": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        granules = self.chip.array.granules
        outstanding, available = Signal(range(3)), Signal(range(3))
        load_bank, bank = Signal(), Signal()
        final = Signal(2)
        group = Signal(8)
        number = Signal(PRODUCT_BITS)
        rows, first_rows = Signal(granules), Signal(granules)
        release = Signal()          # group + 1 == row_groups
        shift = Signal(bits_for(granules))
        m.d.comb += [
            shift.eq(self.group_granules),
            first_rows.eq((1 << shift) - 1),
            self.bank_free.eq(outstanding != 2),
            self.product_valid.eq(available != 0),
            self.product.bank.eq(bank), self.product.row_enable.eq(rows),
            self.product.number.eq(number), self.product.release.eq(release),
            self.product.final.eq(release & final.bit_select(bank, 1)),
            self.started.eq(self.product_valid & self.product_ready),
        ]
        m.d.sync += [
            outstanding.eq(outstanding + self.chunk_begin - self.bank_released),
            available.eq(available + self.chunk_loaded - (self.started & release)),
        ]
        with m.If(self.chunk_loaded):
            m.d.sync += [final.bit_select(load_bank, 1).eq(self.chunk_final),
                         load_bank.eq(~load_bank)]
        with m.If(self.started):
            m.d.sync += [number.eq(number + 1), group.eq(group + 1), rows.eq(rows << shift),
                         release.eq(group + 2 == self.row_groups)]
            with m.If(release):
                m.d.sync += [bank.eq(~bank), group.eq(0), rows.eq(first_rows),
                             release.eq(self.row_groups == 1)]
        with m.If(self.start):
            m.d.sync += [outstanding.eq(0), available.eq(0), load_bank.eq(0), bank.eq(0),
                         group.eq(0), release.eq(self.row_groups == 1), rows.eq(first_rows),
                         number.eq(self.first_product)]
        return m
