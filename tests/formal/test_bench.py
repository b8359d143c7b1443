"""The proofs' own tools, on counters whose answers are known."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out
import pytest

from rtl.feed import ProductFeed
from tests.formal.bench import Bench, implies
from tests.formal.defects import defective


class Counter(Component):
    """Counts to ten and stops; `hidden` follows two clocks later."""

    step: In(1)
    full: Out(1)

    def elaborate(self, platform):
        m = Module()
        count = Signal(4)
        hidden = Signal(4)
        between = Signal(4)
        with m.If(self.step & (count != 10)):
            m.d.sync += count.eq(count + 1)
        m.d.sync += [between.eq(count), hidden.eq(between)]
        m.d.comb += self.full.eq(hidden == 10)
        return m


def test_first_clocks_and_what_never_happens():
    bench = Bench()
    dut = bench.add("dut", Counter())
    bench.always("not full", ~dut.full)
    bench.always("at most ten", bench.probe("dut.hidden", 4) <= 10)
    bench.cover("full", dut.full)
    bench.cover("never", dut.full & ~bench.started)
    verdict = bench.check()
    assert verdict.violated == {"not full": 12}
    assert verdict.unreached == {"never"}
    assert not verdict.proved


def test_a_probe_leaves_the_component_as_it_is():
    bench = Bench()
    m = bench.module
    dut = bench.add("dut", Counter())
    expected, seen = Signal(4), bench.probe("dut.count", 4)
    m.d.sync += expected.eq(Mux(dut.step & (expected != 10), expected + 1, expected))
    bench.always("the probe shows the count", seen == expected)
    bench.always("full", dut.full == (bench.past(bench.past(seen)) == 10))
    bench.cover("full in the end", dut.full)
    assert bench.check().proved


def test_an_invariant_that_induction_alone_does_not_find():
    """One of four rotates; nothing of length four relates it to where it began."""
    bench = Bench()
    m = bench.module
    ring = Signal(16, init=1)
    with m.If(bench.free("step")):
        m.d.sync += ring.eq(ring.rotate_left(1))
    bench.always("never neighbours", (ring & ring.rotate_left(1)) == 0)
    bench.cover("round", ring[15])
    assert bench.check().proved


def test_assumptions_hold_until_now():
    bench = Bench()
    dut = bench.add("dut", Counter())
    bench.assume(~dut.step)
    bench.always("stays empty", ~dut.full)
    assert bench.check().proved


def test_a_false_lemma_is_found_and_proves_nothing():
    bench = Bench()
    dut = bench.add("dut", Counter())
    bench.lemma(bench.probe("dut.count", 4) != 5)
    bench.always("not full", ~dut.full)
    assert bench.check().violated == {"lemma 0": 5}


def test_constants_are_constant():
    bench = Bench()
    value = bench.constant("value", 3)
    bench.always("constant", implies(bench.started, value == bench.past(value)))
    bench.cover("seven", value == 7)
    assert bench.check().proved


@pytest.mark.parametrize("hold", [True, False])
def test_streams(hold):
    bench = Bench()
    m = bench.module
    valid, ready, payload = Signal(), bench.free("ready"), Signal(2)
    new = bench.free("new", 2)
    with m.If(~valid | ready if hold else ~valid | new[0]):
        m.d.sync += [valid.eq(1), payload.eq(new)]
    bench.stable_stream("stream", valid, ready, payload)
    assert bench.check().proved == hold


@pytest.mark.parametrize("old", ["no such text", "outstanding"])
def test_a_defect_must_have_one_place(old):
    with pytest.raises(ValueError, match="old must stand once in rtl.feed"):
        defective(ProductFeed, old, "")


@pytest.mark.parametrize("path, message", [
    ("dut.nothing", "must name a signal"), ("other.count", "must begin with a submodule")])
def test_a_probe_must_be_there(path, message):
    bench = Bench()
    dut = bench.add("dut", Counter())
    bench.always("wrong", Cat(dut.full, bench.probe(path, 4)) == 0)
    with pytest.raises(ValueError, match=message):
        bench.check()


def test_only_must_name_properties():
    bench = Bench()
    bench.always("true", Const(1))
    with pytest.raises(ValueError, match="only must name properties"):
        bench.check(["true", "nothing"])
    assert bench.check(["true"]).proved


def test_questions_that_are_constants():
    bench = Bench()
    bench.always("true", Const(1))
    bench.always("false", Const(0))
    bench.cover("always", Const(1))
    bench.cover("never", Const(0))
    verdict = bench.check()
    assert verdict.violated == {"false": 0}
    assert verdict.unreached == {"never"}
