"""Charge controller: what may never happen at the switches, for every phase length."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
import pytest

from golden.chip import Phases, PRESETS
from rtl.charge_controller import ChargeController
from rtl.messages import AVERAGING_BITS, product_layout
from tests.formal.bench import Bench, implies
from tests.formal.defects import defective

CHIP = PRESETS["tiny"]
ARRAY = ("reset", "drive", "share", "hold")
ADDER = ("clear", "add")


def count_up(m: Module, count: Signal, restart: Value, init: int = 0) -> None:
    """``count`` returns to ``init`` with ``restart``, and stops at its highest value."""
    with m.If(restart):
        m.d.sync += count.eq(init)
    with m.Elif(~count.all()):
        m.d.sync += count.eq(count + 1)


def group_properties(bench, dut, names, state, count):
    """Exclusion, gap, lengths and order of the switches of one group.

    ``state`` of the sequencer, 0 when idle, and its ``count`` serve lemmas only.
    """
    m = bench.module
    switches = Cat(*(getattr(dut, name) for name in names))
    before = bench.past(switches)
    title = names[0]
    # The sequencer alternates between a closed switch and its gap.
    bench.lemma(switches == Cat(state == 2 * i + 1 for i in range(len(names))))
    bench.lemma(state <= 2 * len(names))
    bench.always(f"{title}: at most one closed", (switches & (switches - 1)[:len(names)]) == 0)
    closing = switches.any() & ~before.any()
    bench.always(f"{title}: no change without a gap",
                 implies(switches.any() & before.any(), switches == before))

    # Clocks since a switch of the group opened, the present one not counted, and the gap that
    # was asked for at that time.
    opened = Signal(Phases.BITS, init=-1 & (1 << Phases.BITS) - 1, name=f"{title}_opened")
    gap = Signal(Phases.BITS, name=f"{title}_gap")
    count_up(m, opened, switches.any())
    with m.If(switches.any()):
        m.d.sync += gap.eq(dut.lengths.gap)
    bench.lemma(implies(
        ~switches.any(), Mux(state == 0, opened >= gap, opened + count >= gap)))
    bench.always(f"{title}: gap", implies(closing, opened >= gap))

    # Clocks for which the present switch has been closed, the present one not counted.
    closed = Signal(Phases.BITS, name=f"{title}_closed")
    with m.If(switches.any()):
        m.d.sync += closed.eq(closed + 1)
    with m.Else():
        m.d.sync += closed.eq(0)
    for i, name in enumerate(names):
        bench.lemma(implies(switches[i], closed + count == dut.lengths[name]))
        ended = before[i] & ~switches[i]
        bench.always(f"{name}: length", implies(ended, closed == dut.lengths[name]))
        bench.cover(f"{name}: longer than one clock", ended & (closed == 2))

    following = Signal(range(len(names)), name=f"{title}_following")
    expected = Signal(len(names), name=f"{title}_expected")
    m.d.comb += expected.eq(1 << following)
    with m.If(closing):
        m.d.sync += following.eq(Mux(switches[-1], 0, following + 1))
    bench.always(f"{title}: order", implies(closing, switches == expected))
    bench.cover(f"{title}: twice round", closing & switches[-1] & (opened != opened.init))


def bench_of(component=ChargeController):
    bench = Bench()
    m = bench.module
    dut = bench.add("dut", component(CHIP), driven=("averaging",))
    array_state = bench.probe("dut.array_phase_state", 4)
    adder_state = bench.probe("dut.adder_phase_state", 3)

    averaging = bench.constant("averaging", AVERAGING_BITS)
    m.d.comb += dut.averaging.eq(averaging)

    # Lengths are at least one, and constant while either sequencer is under way.
    lengths = Value.cast(dut.lengths)
    left, again = bench.probe("dut.left", (1 << AVERAGING_BITS) - 1), bench.probe("dut.again", 1)
    idle = bench.past((array_state == 0) & (adder_state == 0) & ~(dut.job_valid & dut.job_ready)
                      & ~again & ~(dut.product_valid & dut.product_ready), init=1)
    bench.assume(idle | (lengths == bench.past(lengths)))
    for name in Phases.__dataclass_fields__:
        bench.assume(dut.lengths[name] != 0)

    counts = []         # clocks that a phase goes on for, this one too
    for place in range(2):
        count, over = bench.probe("dut.count", Phases.BITS, place), bench.probe(
            "dut.count_over", 1, place)
        bench.lemma(over | (count > 1))
        counts.append(Mux(over, 1, count))
    array_count, adder_count = counts
    bench.lemma(implies(dut.job_ready, adder_state == 0))
    bench.lemma(dut.product_ready == (array_state == 0))
    group_properties(bench, dut, ARRAY, array_state, array_count)
    group_properties(bench, dut, ADDER, adder_state, adder_count)
    bench.always("add never with hold", ~(dut.add & dut.hold))
    bench.always("one side is filled while the other is converted", dut.side != dut.convert_side)

    # A product's operands stand still from reset to the end of hold.
    operands = Cat(dut.bank, dut.row_enable, dut.product_number)
    under_way, hold_before = Signal(), bench.past(dut.hold)
    with m.If(dut.reset):
        m.d.sync += under_way.eq(1)
    with m.Elif(hold_before & ~dut.hold):
        m.d.sync += under_way.eq(0)
    bench.always("array operands stand still",
                 implies(under_way & (dut.reset | dut.drive | dut.share | dut.hold
                                      | hold_before), operands == bench.past(operands)))
    # A conversion's operands stand still from clear to the sample.
    operands = Cat(dut.side, dut.select, dut.negate, dut.conversion)
    sampling, cleared, added = Signal(), Signal(), Signal()
    sampled = dut.sample_valid & ~bench.past(dut.sample_valid)
    with m.If(dut.clear):
        m.d.sync += sampling.eq(1)
    with m.Elif(sampled):
        m.d.sync += sampling.eq(0)
    bench.always("adder operands stand still",
                 implies(sampling & (dut.clear | dut.add | dut.sample_valid),
                         operands == bench.past(operands)))

    # A sample is offered only after clear and add, with the gap after them, and without either
    # of them closed; that each ran its full length is above.
    with m.If(sampled):
        m.d.sync += [cleared.eq(0), added.eq(0)]
    with m.Else():
        with m.If(dut.clear):
            m.d.sync += cleared.eq(1)
        with m.If(dut.add & cleared):
            m.d.sync += added.eq(1)
    settled = Signal(Phases.BITS)
    count_up(m, settled, dut.add)
    bench.lemma(implies(adder_state == 4, cleared & added
                        & (settled + adder_count >= dut.lengths.gap)))
    bench.lemma(implies((adder_state == 2) | (adder_state == 3), cleared))
    bench.lemma(implies(adder_state != 0, ~dut.sample_valid & ~dut.tag.void))
    bench.always("sampled only after settling", implies(
        sampled & ~dut.tag.void, cleared & added & (settled >= dut.lengths.gap)
        & ~dut.clear & ~dut.add))
    bench.always("clear and add only while nothing waits",
                 implies(dut.sample_valid, ~dut.clear & ~dut.add))
    bench.cover("sampled", sampled & ~dut.tag.void & bench.past(dut.share))

    # Each job gives as many samples as it is to be averaged over, all but the last partial, in the
    # same product.
    samples = Signal(1 << AVERAGING_BITS)       # of the present job so far
    with m.If(sampled):
        m.d.sync += samples.eq(Mux(dut.tag.partial, samples + 1, 0))
    bench.lemma(implies(again, left != 0))
    bench.lemma(implies(adder_state != 0, dut.tag.partial == again))
    bench.lemma(implies(dut.sample_valid, dut.tag.partial == again))
    # `left` and the samples so far, with the one under way, make the whole.
    under_way = (adder_state != 0)
    bench.lemma(implies(again | under_way, samples + Mux(again, left, 0) + under_way
                        + (dut.sample_valid & sampled) == 1 << averaging))
    bench.lemma(implies(~again & ~under_way & ~sampled, samples == 0))
    bench.always("as many samples as are averaged", implies(
        sampled & ~dut.tag.void, dut.tag.partial == (samples + 1 != 1 << averaging)))
    bench.always("a void is sampled once", implies(
        sampled & dut.tag.void, ~dut.tag.partial & (samples == 0)))
    bench.always("a product ends with the last sample of its last job", implies(
        dut.job_ready, ~again))
    bench.cover("a job is sampled four times", sampled & (averaging == 2) & (samples == 3))

    # The adder sums what the last hold left, settled, and names it.
    held, number = Signal(), Signal.like(dut.product_number)
    rest, gap = Signal(Phases.BITS), Signal(Phases.BITS)
    count_up(m, rest, dut.hold)
    with m.If(dut.hold):
        m.d.sync += [held.eq(1), number.eq(dut.product_number), gap.eq(dut.lengths.gap)]
    held_number = bench.probe("dut.held", Value.cast(dut.product).shape())
    held_valid = bench.probe("dut.held_valid", 1)
    bench.lemma(dut.job_ready == ((adder_state == 0) & held_valid & ~dut.sample_valid & ~again))
    bench.lemma(implies(held_valid, held & (rest >= gap) & ~dut.hold
                        & (product_layout(CHIP)(held_number).number == number)))
    bench.lemma(implies(adder_state != 0, held_valid & (dut.tag.product == number)))
    bench.lemma(implies(array_state == 8, ~held_valid & held & (rest + array_count + 1 >= gap)
                        & (dut.product_number == number)))
    bench.always("add only after hold", implies(
        dut.add, held & (rest >= gap) & (dut.tag.product == number)))

    # The latches are given back once per product, in the clock before share closes.
    bench.always("bank released as share closes", implies(
        bench.past(dut.bank_released), dut.share & ~bench.past(dut.share)))
    bench.always("bank not released under drive", ~(dut.bank_released & dut.drive))

    bench.stable_stream("sample", dut.sample_valid, dut.sample_ready, dut.tag)
    return bench


def test_proof():
    verdict = bench_of().check()
    assert verdict.proved, verdict


@pytest.mark.parametrize("old, new, broken", [
    ("with m.State(name.upper()):\n                    timer.run(m, lengths.gap)",
     "with m.State(name.upper()):\n                    timer.run(m, lengths.clear)", "reset: gap"),
    ('with m.State("CLEAR"):\n                timer.run(m, lengths.gap)',
     'with m.State("CLEAR"):\n                timer.run(m, lengths.clear)', "clear: gap"),
    ('with m.State("ADD"):\n                timer.run(m, lengths.gap)',
     'with m.State("ADD"):\n                timer.run(m, lengths.clear)',
     "sampled only after settling"),
    ('("hold", ~held_valid | ending)', '("hold", 1)', "add never with hold"),
    ("tag.product.eq(held.number)", "tag.product.eq(self.product_number)", "add only after hold"),
    ("self.convert_side.eq(self.side)", "self.convert_side.eq(self.convert_side)",
     "one side is filled while the other is converted"),
    ("timer.run(m, lengths[following])", "timer.run(m, lengths.gap)", "drive: length"),
    ("timer.run(m, lengths.add)", "timer.run(m, lengths.clear)", "add: length"),
    ("& (~self.sample_valid | self.sample_ready))", ")", "sample holds until taken"),
    ("with m.If(again & ~self.sample_valid)", "with m.If(again)", "sample holds until taken"),
    ("ending.eq(tag.last & ~again)", "ending.eq(tag.last)", "add only after hold"),
    ("tag.partial.eq(left != 1), ", "", "as many samples as are averaged"),
])
def test_defects_are_found(old, new, broken):
    assert bench_of(defective(ChargeController, old, new)).check([broken]).violated
