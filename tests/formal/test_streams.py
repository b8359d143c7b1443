"""Every producer of a stream keeps what is valid until it is taken.

Charge controller, converter and product feed have theirs among their other properties.
"""

from dataclasses import replace

from amaranth.hdl import Cat, Signal, Value
import pytest

from golden.chip import PRESETS
from golden.chip.descriptor import FIELDS
from rtl.axi_lite import AxiLiteSubordinate
from rtl.descriptor import read_field
from rtl.jobs import JobSource
from rtl.transfer import TransferUnit
from rtl.window import WindowGenerator
from tests.formal.bench import Bench, implies
from tests.formal.defects import defective

CHIP = PRESETS["tiny"]
#: Without polarity a merge entry has no sign mask.
PLAIN = replace(CHIP, array=replace(CHIP.array, polarity=False),
                accumulator=replace(CHIP.accumulator, kernels=4))


def window(component=WindowGenerator):
    bench = Bench()
    dut = bench.add("dut", component(CHIP), driven=("descriptor",))
    bench.module.d.comb += Value.cast(dut.descriptor).eq(
        bench.constant("descriptor", len(Value.cast(dut.descriptor))))
    bench.stable_stream(
        "window", dut.valid, dut.ready,
        Cat(dut.address, dut.pad, dut.row_word, dut.first, dut.last, dut.last_chunk,
            dut.last_position), withdraw=dut.abort)
    return bench


def jobs(component=JobSource, chip=CHIP):
    bench = Bench()
    dut = bench.add("dut", component(chip), driven=("stream", "columns", "base", "row_groups",
                                                    "chunks"))
    for name in ("stream", "columns", "base", "row_groups", "chunks"):
        port = getattr(dut, name)
        bench.module.d.comb += port.eq(bench.constant(name, len(port)))
    bench.stable_stream("job", dut.job_valid, dut.job_ready, dut.job, withdraw=dut.start)
    return bench


def plain_jobs(component=JobSource):
    return jobs(component, PLAIN)


def transfer(component=TransferUnit):
    bench = Bench()
    dut = bench.add("dut", component(CHIP))
    # The buffer answers what it took, and forgets it with an abort.
    asked = Signal(4)
    with bench.module.If(dut.abort):
        bench.module.d.sync += asked.eq(0)
    with bench.module.Else():
        bench.module.d.sync += asked.eq(
            asked + (dut.read_enable & dut.read_ready) - dut.read_valid)
    bench.assume(implies(dut.read_valid, asked != 0))
    # Descriptors are checked before they run: none is of no words.
    bench.assume(implies(dut.start, read_field(dut.descriptor, "count") != 0))
    held, level, produce, consume = (bench.probe(f"dut.{name}", 3) for name in (
        "held", "queue.level", "queue.produce", "queue.consume"))
    bench.lemma((held == asked + level) & (held <= 5))
    bench.lemma((produce < 5) & (consume < 5)
                & ((consume + level == produce) | (consume + level == produce + 5)))
    # Words that have yet to be taken have yet to be read, or are held.
    count_bits = FIELDS["count"].width
    left, beats = (bench.probe(f"dut.{name}", count_bits) for name in ("left", "beats"))
    storing = dut.busy & ~bench.probe("dut.load", 1)
    bench.lemma(implies(~storing, held == 0))
    bench.lemma(implies(storing, (beats == left + held) & (dut.out_last == (beats == 1))
                        & (bench.probe("dut.some", 1) == (left != 0))))
    bench.stable_stream("transfer", dut.out_valid, dut.out_ready, Cat(dut.out_data, dut.out_last),
                        withdraw=dut.abort)
    bench.stable_stream("write", dut.write_enable, dut.write_ready,
                        Cat(dut.write_address, dut.write_data), withdraw=dut.abort)
    bench.stable_stream("read", dut.read_enable, dut.read_ready, dut.read_address,
                        withdraw=dut.abort)
    return bench


def bus(component=AxiLiteSubordinate):
    bench = Bench()
    dut = bench.add("dut", component(6))
    bench.stable_stream("write response", dut.bvalid, dut.bready, dut.bresp)
    bench.stable_stream("read data", dut.rvalid, dut.rready, Cat(dut.rdata, dut.rresp))
    return bench


@pytest.mark.parametrize("bench_of", [window, jobs, plain_jobs, transfer, bus])
def test_proof(bench_of):
    verdict = bench_of().check()
    assert verdict.proved, verdict


@pytest.mark.parametrize("bench_of, component, old, new, broken", [
    (window, WindowGenerator, "with m.If(~self.valid | self.ready):",
     "with m.If(~self.valid | self.ready | waiting):", "window holds until taken"),
    (jobs, JobSource, "free.eq(~self.job_valid | self.job_ready)", "free.eq(1)",
     "job holds until taken"),
    (transfer, TransferUnit, "self.out_valid.eq(queue.r_rdy)",
     "self.out_valid.eq(queue.r_rdy & ~queue.w_en)", "transfer holds until taken"),
    (bus, AxiLiteSubordinate, "with m.If(self.rvalid & self.rready):", "with m.If(self.rvalid):",
     "read data holds until taken"),
    (bus, AxiLiteSubordinate, "with m.If(self.bvalid & self.bready):", "with m.If(self.bvalid):",
     "write response holds until taken"),
])
def test_defects_are_found(bench_of, component, old, new, broken):
    assert bench_of(defective(component, old, new)).check([broken]).violated
