"""A program stopped half-way, by abort, by reset or by a stuck comparator, and what comes after."""

from typing import Any
import random

import cocotb
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge

from golden.execute import execute
from sim.benches.chip import ChipBench, ChipParameters
from sim.compare import compare_image
from sim.host import input_words
from sim.runner import bench_parameters

__all__ = ["RecoveryBench"]

#: Cause of an error in the status register: a comparator did not decide in time.
_TIMEOUT = 3


class RecoveryBench(ChipBench):
    """The chip bench, with programs that do not come to their end."""

    def __init__(self, dut: Any, parameters: ChipParameters) -> None:
        super().__init__(dut, parameters, random.Random(cocotb.RANDOM_SEED))
        self.random = random.Random(cocotb.RANDOM_SEED + 1)
        self.stream = input_words(parameters.program, parameters.images)
        self.sending: Any = None

    async def begin(self) -> None:
        """Start the first image and let it get somewhere."""
        for agent in self.agents:
            agent.model.start_image(0)
        self.sending = cocotb.start_soon(self.source.send(self.stream[0].tolist()))
        await self.write("control", self.registers.mask("control", "start"))

    def stopping(self) -> None:
        """From here on the pins may break their rules, and the stream is not taken."""
        for agent in self.agents:
            agent.enabled = False

    async def check_open(self) -> None:
        """Every switch open, now and later; nothing more comes out of the traces."""
        self.sending.cancel()
        self.dut.s_axis_tvalid.value = 0
        await RisingEdge(self.clock)
        self.monitor.take()
        for _ in range(40):
            await FallingEdge(self.clock)
            await RisingEdge(self.clock)
            assert all(agent.open() for agent in self.agents), "a switch is closed"
        records = self.monitor.take()
        assert not any(len(each) for each in records), "the chip is still at work"
        self.sink.words.clear()
        self.sink.lasts.clear()
        for agent in self.agents:
            agent.model.rules.restart()
            agent.enabled = True

    async def compare(self) -> None:
        """The first image from its start: equal to golden."""
        parameters = self.parameters
        golden = execute(parameters.program, parameters.macro, parameters.images[:1],
                         parameters.seed, parameters.first_image, trace=True)
        image = await self.run_image(0, self.stream[0])
        compare_image(parameters.program, golden.layers, 0, image).check()


@cocotb.test()
async def abort(dut: Any) -> None:
    """Aborts in random clocks: idle and open at once, and no trace of it in the next image."""
    bench = RecoveryBench(dut, bench_parameters())
    await bench.start()
    await bench.load()
    for _ in range(3):
        await bench.begin()
        await ClockCycles(bench.clock, bench.random.randint(1, 700))
        bench.stopping()
        await bench.write("control", bench.registers.mask("control", "abort"))
        await bench.check_open()
        status = await bench.read("status")
        assert not status & bench.registers.mask("status", "busy"), "busy after the abort"
        assert not status & bench.registers.mask("status", "error"), "an abort is no error"
        await bench.write("status", bench.registers.mask("status", "done"))
        await bench.compare()


@cocotb.test()
async def reset(dut: Any) -> None:
    """A reset while a program runs: memories and weights stay, registers are as at the start."""
    bench = RecoveryBench(dut, bench_parameters())
    await bench.start()
    await bench.load()
    await bench.begin()
    await ClockCycles(bench.clock, bench.random.randint(50, 700))
    bench.stopping()
    dut.aresetn.value = 0
    await ClockCycles(bench.clock, 3)
    dut.aresetn.value = 1
    await bench.check_open()
    assert dut.irq.value == 0
    assert await bench.read("interrupt") == 0
    await bench.load()
    await bench.compare()


@cocotb.test()
async def stuck_comparator(dut: Any) -> None:
    """A comparator that never decides: an error that says so, every switch open, then recovery."""
    bench = RecoveryBench(dut, bench_parameters())
    await bench.start()
    await bench.load()
    stuck = bench.random.choice(bench.agents)
    stuck.undecided = 1.0
    await bench.write("comparator_timeout", 20)
    await bench.begin()
    while stuck.model.rules.converted == [False, False]:
        await RisingEdge(bench.clock)
    began = bench.time
    # Pins of the other tiles stop in the middle of a phase when the time is up.
    while bench.time - began < 15:
        await RisingEdge(bench.clock)
    bench.stopping()
    stuck.enabled = True
    while dut.irq.value == 0:
        await RisingEdge(bench.clock)
        if bench.time - began == 19:
            stuck.enabled = False
        assert bench.time - began < 30, "no time-out"
    await bench.check_open()
    status = await bench.read("status")
    cause = bench.registers.field("status", "cause")
    assert status & bench.registers.mask("status", "error")
    assert status >> cause.low & ((1 << cause.width) - 1) == _TIMEOUT
    await bench.write("status", bench.registers.mask("status", "error")
                      | bench.registers.mask("status", "done"))
    stuck.undecided = 0.0
    await bench.compare()
