"""Converter: one grant at a time, and the right code for every sample and resolution."""

from amaranth.hdl import Cat, Const, Mux, Signal, Value, signed
import pytest

from golden.chip import LEVEL_FRACTION_BITS, PRESETS
from rtl.converter import Converter
from tests.formal.bench import Bench, implies
from tests.formal.defects import defective

CHIP = PRESETS["tiny"]
BITS = CHIP.converter.bits


def bench_of(component=Converter):
    bench = Bench()
    m = bench.module
    dut = bench.add("dut", component(CHIP), driven=("comparator", "levels_enable"))

    taken = dut.sample_valid & dut.sample_ready
    given = dut.code_valid & dut.code_ready
    # Samples taken whose code was not given: at most one being converted and one on offer.
    inside = Signal(3)
    m.d.sync += inside.eq(inside + taken - given)

    # The resolution is legal, and stands still while there is anything inside.
    resolution = dut.resolution
    bench.assume((resolution >= CHIP.converter.minimum_bits) & (resolution <= BITS))
    bench.assume(implies(inside != 0, resolution == bench.past(resolution)))

    # A sample is a number of which the comparator says whether it reaches the trial: two bits
    # wider than a code, for all samples beyond the extremes.
    sample = bench.free("sample", signed(BITS + 2))
    value, tag = Signal(signed(BITS + 2)), Signal.like(Value.cast(dut.tag))
    decisions = Signal(range(BITS + 1))
    converting = Signal()       # between the take of a sample that is to be converted and its code
    decided = converting & dut.decided
    with m.If(decided):
        m.d.sync += decisions.eq(decisions + 1)
    low = Signal(signed(BITS))
    m.d.comb += [dut.comparator.eq(value >= dut.trial), low.eq(-1 << (resolution - 1)[:4])]
    high = ~low
    clamped = Mux(value < low, low, Mux(value > high, high, value))
    stops = dut.tag.shape()(tag).stop & (value < 0)
    ends = decided & (Mux(stops, 1, resolution) == decisions + 1)
    with m.If(ends):
        m.d.sync += converting.eq(0)
    with m.If(taken):
        m.d.sync += [value.eq(sample), tag.eq(Value.cast(dut.tag)), decisions.eq(0),
                     converting.eq(~dut.tag.void)]

    bench.always("at most two samples inside", inside <= 2)
    bench.always("a code only of a sample taken", implies(dut.code_valid, inside != 0))
    bench.always("convert from the take to the last decision", dut.convert == converting)
    bench.always("busy while converting", dut.busy == converting)
    bench.always("no sample taken under a conversion", implies(taken & converting, ends))
    bench.always("at most as many decisions as bits",
                 implies(converting, decisions < resolution))
    undecided = bench.past(dut.convert & ~dut.decided)
    bench.always("trial waits for the decision",
                 implies(undecided, dut.convert & (dut.trial == bench.past(dut.trial))))
    bench.always("trial in range",
                 implies(dut.convert, (dut.trial >= low) & (dut.trial <= high)))

    # The next code to come up is that of the sample taken last, or of the one before it where
    # that was still on offer: so compare when it comes up.
    loaded = dut.code_valid & (~bench.past(dut.code_valid) | bench.past(given))
    last_tag, last_clamped = bench.past(tag), bench.past(clamped)
    last_stops = bench.past(stops)
    fields = dut.tag.shape()(last_tag)
    code = dut.code
    bench.always("code of the sample", implies(
        loaded & ~fields.void, (code.code == Mux(last_stops, -1, last_clamped))
        & (code.stopped == last_stops)))
    names = ("index", "plane", "void", "last", "release", "final", "product", "conversion")
    bench.always("tag of the sample", implies(
        loaded, Cat(code.tag[name] for name in names) == Cat(fields[name] for name in names)))
    bench.always("a void is not stopped", implies(loaded & fields.void, ~code.stopped))

    # Time-out: exactly where the wait in a row reaches the limit, which may change at any time
    # but has no effect on the wait itself.
    waited = Signal(16)
    with m.If(converting & ~dut.decided & (dut.timeout != 0)):
        m.d.sync += waited.eq(waited + 1)
    with m.If(dut.decided & converting | taken):
        m.d.sync += waited.eq(0)
    bench.lemma(implies(converting, (waited + 1)[:16] == bench.probe("dut.waiting", 16)))
    bench.always("time-out", dut.timed_out == (
        converting & ~dut.decided & (dut.timeout != 0) & (waited == dut.timeout - 1)))

    step = bench.probe("dut.step", BITS)
    # The level is that of the trial: the code's own, or where the table is in use, its entry. One
    # entry, any, is watched from its last write on; the table is written between conversions.
    enabled, watched = bench.constant("enabled"), bench.constant("watched", BITS)
    m.d.comb += dut.levels_enable.eq(enabled)
    bench.assume(implies(dut.level_write, (inside == 0) & ~dut.sample_valid))
    entry, written = Signal.like(dut.level_data), Signal()
    with m.If(dut.level_write & (dut.level_index == watched)):
        m.d.sync += [entry.eq(dut.level_data), written.eq(1)]
    own = Cat(Const(0, LEVEL_FRACTION_BITS), dut.trial).as_signed()
    here = dut.trial[:] == watched
    upper, lower = (bench.probe(f"dut.{name}", signed(BITS)) for name in ("upper", "lower"))
    half = step >> 1
    bench.lemma(implies(converting & ~step[0], (upper == dut.trial + half)
                        & (lower == dut.trial - half)))
    # The levels of both trials that can come next are in registers, and the addresses of the four
    # after them: the trial, or for the first, whose place is above all codes, half of their number.
    known = converting & enabled & written
    for trial, name in ((upper, "upper"), (lower, "lower")):
        bench.lemma(implies(known & ~step[0] & (trial[:] == watched),
                            bench.probe(f"dut.{name}_level", entry.shape()) == entry))
        first = step if name == "lower" else -step
        address = bench.probe(f"dut.{name}_address", BITS - 2)
        bench.lemma(implies(converting & ~step[0], address == Mux(
            decisions == 0, first >> 2, dut.trial >> 2)[:BITS - 2]))
    bench.lemma(implies(converting, bench.probe("dut.sign", 1) == (decisions == 0)))
    bench.lemma(implies(converting, bench.probe("dut.stoppable", 1)
                        == (decisions == 0) & dut.tag.shape()(tag).stop))
    bench.always("level of the trial itself", implies(dut.convert & ~enabled, dut.level == own))
    bench.always("level from the table", implies(
        dut.convert & enabled & written & here, dut.level == entry))
    bench.cover("a level from the table", dut.convert & enabled & written & (dut.trial == 5)
                & here & (dut.level == -77))

    # What has been decided so far brackets the sample; `step` is the weight of this decision.
    bench.lemma(dut.convert == converting)
    keeping, voiding = (bench.probe(f"dut.{name}", 1) for name in ("keeping", "voiding"))
    bench.lemma(converting + keeping + voiding <= 1)
    bench.lemma(inside == converting + keeping + voiding + dut.code_valid)
    bench.lemma(implies(keeping, dut.code_valid))
    bench.lemma(inside <= 2)
    bench.lemma(implies(dut.code_valid, inside != 0))
    bench.lemma(implies(converting, step == (1 << (resolution - 1)[:4] >> decisions)))
    wide = Signal(signed(BITS + 2))
    m.d.comb += wide.eq(step)
    bench.lemma(implies(converting & (decisions != 0), (clamped >= dut.trial - wide)
                        & (clamped < dut.trial + wide)))
    bench.lemma(implies(converting & (decisions == 0), dut.trial == 0))

    bench.stable_stream("code", dut.code_valid, dut.code_ready, dut.code)
    for bits in (CHIP.converter.minimum_bits, BITS):
        bench.cover(f"two conversions in a row of {bits} bits",
                    ends & taken & (resolution == bits) & (decisions == bits - 1))
    bench.cover("early stop", loaded & last_stops & code.stopped)
    bench.cover("waits for the accumulator", bench.past(ends) & ~loaded)
    bench.cover("time-out reached", dut.timed_out & (dut.timeout == 3))
    return bench


def test_proof():
    verdict = bench_of().check()
    assert verdict.proved, verdict


@pytest.mark.parametrize("old, new, broken", [
    ("free.eq(~self.code_valid | self.code_ready)", "free.eq(1)", "code holds until taken"),
    ("ends.eq(step[0] | stopped)", "ends.eq(step[1] | stopped)",
     "convert from the take to the last decision"),
    ("with m.If(self.convert & self.decided):",
     "with m.If(self.convert & (self.decided | self.tag.void)):",
     "trial waits for the decision"),
    ("base.eq(modulo(self.trial - ~self.comparator,", "base.eq(modulo(self.trial - sign,",
     "code of the sample"),
    ("m.d.sync += waiting.eq(1)", "m.d.sync += waiting.eq(2)", "time-out"),
    ("lower.eq(-(first_step >> 1))", "lower.eq(first_step >> 1)", "code of the sample"),
    ("level.eq(levels.first), ", "", "level from the table"),
    ("self.code.tag.eq(tag)", "self.code.tag.eq(self.tag)", "tag of the sample"),
])
def test_defects_are_found(old, new, broken):
    assert bench_of(defective(Converter, old, new)).check([broken]).violated
