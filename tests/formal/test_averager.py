"""Averager: the mean of each job's codes, once, in order, and nothing lost on the way."""

from amaranth.hdl import Cat, Mux, Signal, Value, signed
import pytest

from golden.chip import PRESETS
from rtl.averager import CodeAverager
from rtl.messages import AVERAGING_BITS, tag_layout
from tests.formal.bench import Bench, implies
from tests.formal.defects import defective

CHIP = PRESETS["tiny"]
BITS = CHIP.converter.bits
VOID = tag_layout(CHIP)["void"].offset
HIGHEST = (1 << AVERAGING_BITS) - 1
TOTAL = BITS + HIGHEST + 1


def bench_of(component=CodeAverager):
    bench = Bench()
    m = bench.module
    dut = bench.add("dut", component(CHIP), driven=("averaging", "offset"))
    averaging = bench.constant("averaging", AVERAGING_BITS)
    offset = bench.constant("offset", signed(BITS))
    m.d.comb += [dut.averaging.eq(averaging), dut.offset.eq(offset)]
    code, mean = dut.code, dut.mean
    taken, given = dut.code_valid & dut.code_ready, dut.mean_valid & dut.mean_ready

    # Codes come in jobs of 2**averaging; an early stop or a void is a job of its own.
    count = Signal(HIGHEST + 1)         # codes of the present job so far
    single = code.stopped | code.tag.void
    ends = Mux(single, 1, count + 1 == 1 << averaging)
    bench.assume(implies(dut.code_valid, code.tag.partial == ~ends))
    bench.assume(implies(dut.code_valid & single, count == 0))
    bench.assume(implies(dut.code_valid & code.stopped, (averaging == 0) & (code.code == -1)))
    bench.assume(implies(dut.code_valid & code.tag.void, code.code == 0))
    # The first code comes when the reset has been over for a clock.
    bench.assume(implies(dut.code_valid, bench.past(1)))
    with m.If(taken):
        m.d.sync += count.eq(Mux(ends, 0, count + 1))

    # At most one job waits behind the mean on offer.
    inside = Signal(2)
    m.d.sync += inside.eq(inside + (taken & ends) - given)
    whole = bench.probe("dut.whole", 1)
    bench.lemma(inside == dut.mean_valid + whole)
    bench.always("a mean for each job", inside <= 2)

    # The sum of the present job, and what is expected of the two that may be inside.
    total = Signal(signed(TOTAL))
    summed = Signal(signed(TOTAL))
    m.d.comb += summed.eq(Mux(count == 0, 0, total) + code.code)
    wide = Signal(signed(TOTAL + 1))
    m.d.comb += wide.eq(total + (1 << averaging >> 1))
    waiting_stopped = Signal()
    waiting_tag = Signal.like(Value.cast(code.tag))
    with m.If(taken):
        m.d.sync += [total.eq(summed), waiting_stopped.eq(code.stopped),
                     waiting_tag.eq(Value.cast(code.tag))]
    loaded = dut.mean_valid & (~bench.past(dut.mean_valid) | bench.past(given))
    # The mean of `total`, rounded half up, less the offset, saturated to a code.
    shifted = Signal(signed(BITS + 2))
    m.d.comb += shifted.eq((wide >> averaging) - offset)
    lowest = -1 << (BITS - 1)
    fitting = Mux(shifted < lowest, lowest, Mux(shifted > ~lowest, ~lowest, shifted))
    bench.always("the rounded mean of the job", implies(
        loaded & ~mean.stopped, mean.code == bench.past(fitting)))
    bench.always("tag and stop of the last code", implies(
        loaded, Cat(mean.tag, mean.stopped) == bench.past(Cat(waiting_tag, waiting_stopped))))
    bench.always("an early stop stays one", implies(
        loaded & mean.stopped, mean.code == -1))

    begin = bench.probe("dut.begin", signed(BITS + HIGHEST + 1))
    first = bench.probe("dut.first", 1)
    inner = bench.probe("dut.total", signed(TOTAL + 1))
    bench.lemma(implies(bench.past(1), begin == (1 << averaging >> 1) - (offset << averaging)))
    bench.lemma(first == (count == 0))
    # While a job is under way or waits, the component's sum is ours and the half.
    bench.lemma(implies(whole | ~first, inner == wide - (offset << averaging)))
    bench.lemma(implies(whole, first))
    # No sum leaves the range of its codes, so the mean is a code.
    number = Signal(HIGHEST + 2)
    m.d.comb += number.eq(Mux(whole, 1 << averaging, count))
    bench.lemma(implies(~first | whole & ~waiting_stopped & ~waiting_tag[VOID],
                        (total >= lowest * number) & (total <= (-lowest - 1) * number)))
    bench.lemma(implies(whole & waiting_stopped, (total == -1) & (averaging == 0)))
    bench.lemma(implies(whole & waiting_tag[VOID], total == 0))
    bench.lemma(count < 1 << averaging)

    bench.stable_stream("mean", dut.mean_valid, dut.mean_ready, mean)
    bench.cover("a job of four", loaded & (averaging == 2) & (mean.code == -3))
    bench.cover("codes pile up", (inside == 2) & dut.code_valid)
    return bench


def test_proof():
    verdict = bench_of().check()
    assert verdict.proved, verdict


@pytest.mark.parametrize("old, new, broken", [
    ("move.eq(whole & (~self.mean_valid | self.mean_ready))", "move.eq(whole)",
     "mean holds until taken"),
    ("self.code_ready.eq(~whole)", "self.code_ready.eq(1)", "a mean for each job"),
    ("begin.eq(half_step(self.averaging) - ", "begin.eq(0 - ", "the rounded mean of the job"),
    ("saturate(total >> self.averaging, bits)", "(total >> self.averaging)",
     "the rounded mean of the job"),
    ("self.mean.tag.eq(last.tag)", "self.mean.tag.eq(self.code.tag)",
     "tag and stop of the last code"),
])
def test_defects_are_found(old, new, broken):
    assert bench_of(defective(CodeAverager, old, new)).check([broken]).violated
