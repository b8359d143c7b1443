"""Latch banks: loaded, driven and given back in turn, from the loader to the charge controller."""

from amaranth.hdl import Cat, Const, Signal, Value
import pytest

from golden.chip import PRESETS, Phases
from rtl.buffer import READ_CLOCKS
from rtl.charge_controller import ChargeController
from rtl.feed import ProductFeed
from rtl.loader import RowLoader
from tests.formal.bench import Bench, implies
from tests.formal.defects import defective

CHIP = PRESETS["tiny"]


def bench_of(loader_type=RowLoader, feed_type=ProductFeed, controller_type=ChargeController):
    """Loader, feed and controller as in a tile; the window and the converter are free."""
    bench = Bench()
    m = bench.module
    loader = bench.add("loader", loader_type(CHIP), driven=("bank_free", "start"))
    feed = bench.add("feed", feed_type(CHIP), driven=(
        "start", "row_groups", "group_granules", "chunk_begin", "chunk_loaded", "chunk_final",
        "bank_released", "product_ready"))
    controller = bench.add("controller", controller_type(CHIP), driven=(
        "lengths", "product_valid", "product"))
    start = bench.free("start")
    row_groups = bench.constant("row_groups", 8)
    group_granules = bench.constant("group_granules", 8)
    m.d.comb += [
        loader.start.eq(start), feed.start.eq(start), loader.bank_free.eq(feed.bank_free),
        feed.row_groups.eq(row_groups), feed.group_granules.eq(group_granules),
        feed.chunk_begin.eq(loader.chunk_begin), feed.chunk_loaded.eq(loader.chunk_loaded),
        feed.chunk_final.eq(loader.chunk_final), feed.bank_released.eq(controller.bank_released),
        controller.product_valid.eq(feed.product_valid), controller.product.eq(feed.product),
        feed.product_ready.eq(controller.product_ready),
    ]
    for name in Phases.__dataclass_fields__:
        length = bench.constant(name, Phases.BITS)
        bench.assume(length != 0)
        m.d.comb += controller.lengths[name].eq(length)
    bench.assume((row_groups != 0) & (group_granules != 0)
                 & (group_granules <= CHIP.array.granules))

    # A layer starts from rest (the scheduler's proof), and its words are whole chunks.
    used, in_chunk = Signal(), Signal()
    accept = loader.word_valid & loader.word_ready
    with m.If(accept):
        m.d.sync += in_chunk.eq(~loader.last)
    m.d.sync += used.eq(used | start)
    bench.assume(implies(start, ~used))
    bench.assume(implies(loader.word_valid, used & (loader.first == ~in_chunk)))
    # The other side's word stays until it is taken (tests/formal/test_streams.py).
    waiting = bench.past(loader.word_valid & ~loader.word_ready)
    bench.assume(implies(waiting, loader.word_valid & (Cat(loader.first, loader.last)
                                                       == bench.past(Cat(loader.first,
                                                                         loader.last)))))

    # Chunks begun and not given back; products of the present chunk.
    present = Signal(3)
    m.d.sync += present.eq(present + loader.chunk_begin - controller.bank_released)
    # Each of them is being loaded, waits with products, or has its last product under way.
    loading, waits, last_under_way = Signal(2), Signal(2), Signal()
    m.d.sync += [
        loading.eq(loading + loader.chunk_begin - loader.chunk_loaded),
        waits.eq(waits + loader.chunk_loaded - (feed.started & feed.product.release)),
    ]
    state = bench.probe("controller.array_phase_state", 4)
    product = feed.product.shape()(bench.probe(
        "controller.current", len(Value.cast(feed.product))))
    # Words on their way through the buffer: the loader's registers of each, in order of age.
    present_bits, last_bits = (
        [bench.probe("loader.register", 1, first * READ_CLOCKS + age)
         for age in range(READ_CLOCKS)] for first in (0, 3))
    reading = sum((here & last for here, last in zip(present_bits, last_bits, strict=True)),
                  Const(0))
    before_share = (state >= 1) & (state <= 4)
    m.d.comb += last_under_way.eq(before_share & product.release)
    bench.lemma(state <= 8)
    bench.lemma((controller.drive == (state == 3)) & (controller.share == (state == 5)))
    bench.lemma(feed.bank_free == (present != 2))
    bench.lemma((present <= 2) & (present == loading + waits + last_under_way))
    bench.lemma((feed.product_valid == (waits != 0)) & (waits <= 2) & (loading <= 2))
    bench.lemma(loading == in_chunk + reading + loader.chunk_loaded)
    bench.lemma(implies(loader.load_enable, loading != 0))
    bench.always("two banks at most are in use", present <= 2)
    bench.always("no bank is given back twice", implies(controller.bank_released, present != 0))

    # Each bank: its latches hold a whole chunk; it is on the word lines, drive to share.
    complete = Signal(2)
    driving, share_before = Signal(), bench.past(controller.share)
    with m.If(loader.load_enable):
        m.d.sync += complete.bit_select(loader.load_bank, 1).eq(0)
    with m.If(loader.chunk_loaded):
        m.d.sync += complete.bit_select(loader.load_bank, 1).eq(1)
    with m.If(controller.drive):
        m.d.sync += driving.eq(1)
    with m.If(controller.share & ~share_before):
        m.d.sync += driving.eq(0)
    on_lines = controller.drive | driving & ~controller.share
    bench.lemma(on_lines == ((state == 3) | (state == 4)))
    bench.always("no load of the bank on the word lines", implies(
        on_lines, ~(loader.load_enable & (loader.load_bank == controller.bank))))
    bench.always("only whole chunks on the word lines", implies(
        on_lines, complete.bit_select(controller.bank, 1)))

    # The row groups of a chunk, once each and in order, then the other bank.
    handed = feed.started
    group, chunk_bank = Signal(8), Signal()
    with m.If(handed):
        m.d.sync += group.eq(group + 1)
        with m.If(feed.product.release):
            m.d.sync += [group.eq(0), chunk_bank.eq(~chunk_bank)]
    with m.If(start):
        m.d.sync += [group.eq(0), chunk_bank.eq(0)]
    fill_bank, final = Signal(), Signal(2)
    m.d.sync += fill_bank.eq(fill_bank ^ loader.chunk_loaded)
    with m.If(loader.chunk_loaded):
        m.d.sync += final.bit_select(fill_bank, 1).eq(loader.chunk_final)
    bench.lemma(bench.probe("feed.final", 2) == final)
    bench.lemma(implies(loader.load_enable, loader.load_bank == fill_bank))
    bench.lemma(implies(used, (fill_bank ^ chunk_bank == waits[0])
                        & (feed.product.bank == chunk_bank)))
    bench.lemma(implies(before_share, (product.bank == chunk_bank ^ product.release)
                        & complete.bit_select(product.bank, 1)
                        & (product.release | (waits != 0))))
    bench.lemma(implies(waits != 0, complete.bit_select(chunk_bank, 1)
                        & implies(waits == 2, complete.all())))
    rows = Signal(CHIP.array.granules)
    first_granule = group * group_granules
    m.d.comb += rows.eq(Cat((first_granule <= granule) & (granule < first_granule + group_granules)
                            for granule in range(CHIP.array.granules)))
    bench.lemma(implies(used, (group == bench.probe("feed.group", 8)) & (group < row_groups)))
    bench.lemma(implies(used, bench.probe("feed.release", 1) == (group + 1 == row_groups)))
    bench.always("row groups in order", implies(handed, feed.product.row_enable == rows))
    bench.always("each row group once", implies(
        handed, feed.product.release == (group + 1 == row_groups)))
    bench.always("banks in turn", implies(handed, feed.product.bank == chunk_bank))
    bench.always("products of loaded chunks only", implies(
        feed.product_valid, complete.bit_select(feed.product.bank, 1)))
    bench.stable_stream("product", feed.product_valid, feed.product_ready, feed.product,
                        withdraw=start)

    bench.cover("both banks in use", (present == 2) & controller.drive)
    bench.cover("a bank is loaded while the other is driven",
                controller.drive & loader.load_enable & (row_groups == 2))
    bench.cover("both banks loaded", complete.all() & controller.drive)
    return bench


def test_proof():
    verdict = bench_of().check()
    assert verdict.proved, verdict


@pytest.mark.parametrize("part, component, old, new, broken", [
    ("feed_type", ProductFeed, "self.bank_free.eq(outstanding != 2)", "self.bank_free.eq(1)",
     "no load of the bank on the word lines"),
    ("controller_type", ChargeController, 'if following == "share"', 'if following == "drive"',
     "no load of the bank on the word lines"),
    ("controller_type", ChargeController, "self.bank_released.eq(current.release)",
     "self.bank_released.eq(1)", "only whole chunks on the word lines"),
    ("loader_type", RowLoader, "self.word_ready.eq(~self.first | self.bank_free)",
     "self.word_ready.eq(1)", "two banks at most are in use"),
    ("feed_type", ProductFeed, "rows.eq(rows << shift)", "rows.eq(rows << 1)",
     "row groups in order"),
    ("feed_type", ProductFeed, "release.eq(group + 2 == self.row_groups)",
     "release.eq(group + 1 == self.row_groups)", "each row group once"),
])
def test_defects_are_found(part, component, old, new, broken):
    bench = bench_of(**{part: defective(component, old, new)})
    # The violation comes some clocks after the loads of two chunks: later than the default reach.
    assert bench.check([broken], induction=10).violated
