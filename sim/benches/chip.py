"""The chip with buses, macros and trace ports: programs on images, compared with golden."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
import numpy as np
from numpy.typing import NDArray

from golden.chip import Phases
from golden.execute import execute
from golden.macro import Macro
from golden.program import Program
from sim.axi import AxiLiteManager, StreamSink, StreamSource, WatchdogError
from sim.compare import Comparison, compare_image
from sim.host import RegisterMap, image_writes, input_words, load_writes, output_packets
from sim.macro_agent import MacroAgent
from sim.macro_model import MacroModel
from sim.products import product_ranges
from sim.record import CODE, LAYER, SUM, WORD, RtlImage, registers_read
from sim.runner import bench_parameters
from sim.values import signed, unsigned

__all__ = ["ChipParameters"]


@dataclass(frozen=True, eq=False)
class ChipParameters:
    """What the chip bench runs.

    Parameters
    ----------
    program, macro, images, seed, first_image
        As for `golden.execute.execute`.
    phases
        Phase lengths written to the registers; None leaves the reset values.
    pause
        Probability of a pause on every bus, clock by clock.
    undecided
        Probability that a comparator has not decided, clock by clock.
    cycles
        [images][layers], expected clocks of each descriptor; for runs without pauses.
    watchdog
        Clocks that an image may take.
    """

    program: Program
    macro: Macro
    images: NDArray[np.int8]
    seed: int
    first_image: int = 0
    phases: Phases | None = None
    pause: float = 0.0
    undecided: float = 0.0
    cycles: Sequence[Sequence[int]] | None = None
    watchdog: int = 200_000


class _TraceMonitor:
    """Collects what the trace ports show, one record per clock and port with `valid`.

    A layer's record comes with its end, and has its clocks from its begin.
    """

    def __init__(self, dut: Any, clock: Any, tiles: int) -> None:
        self._clock = clock
        self._ports = []
        names = [(f"trace{tile}", CODE) for tile in range(tiles)]
        for name, dtype in [*names, ("trace_sum", SUM), ("trace_word", WORD)]:
            valid = getattr(dut, f"{name}__valid")
            fields = [None if field == "unused" else getattr(dut, f"{name}__{field}")
                      for field in dtype.names]
            readers = [signed if np.issubdtype(dtype[field], np.signedinteger) else unsigned
                       for field in dtype.names]
            self._ports.append((valid, list(zip(fields, readers, strict=True)), dtype))
        self.records: list[list[tuple[int, ...]]] = [[] for _ in self._ports]
        self._begin, self._done, self._index = (
            getattr(dut, f"trace_layer__{name}") for name in ("begin", "done", "index"))
        self.layers: list[tuple[int, int]] = []

    async def run(self) -> None:
        """Watch for ever."""
        clocks = 0
        while True:
            await RisingEdge(self._clock)
            clocks = 1 if self._begin.value == 1 else clocks + 1
            if self._done.value == 1:
                self.layers.append((unsigned(self._index), clocks))
            for (valid, fields, _), records in zip(self._ports, self.records, strict=True):
                if valid.value == 1:
                    records.append(tuple(
                        0 if handle is None else read(handle) for handle, read in fields))

    def take(self) -> list[NDArray]:
        """The records since the last time, an array per port."""
        arrays = [np.array(records, dtype) for records, (_, _, dtype)
                  in zip(self.records, self._ports, strict=True)]
        arrays.append(np.array(self.layers, LAYER))
        for records in (*self.records, self.layers):
            records.clear()
        return arrays


class ChipBench:
    """Wires the agents to the chip."""

    def __init__(self, dut: Any, parameters: ChipParameters, source: random.Random) -> None:
        self.dut, self.parameters, self.clock = dut, parameters, dut.aclk
        program = parameters.program
        chip, pause = program.chip, parameters.pause
        self.registers = RegisterMap(chip)
        self.host = AxiLiteManager(dut, "s_axi_", dut.aclk, source, pause)
        self.source = StreamSource(dut, "s_axis_", dut.aclk, source, pause)
        self.sink = StreamSink(dut, "m_axis_", dut.aclk, source, pause)
        self.monitor = _TraceMonitor(dut, dut.aclk, chip.tiles)
        ranges = product_ranges(program)
        self.agents = [
            MacroAgent(dut, f"macro{tile}__", dut.aclk,
                       MacroModel(parameters.macro, tile, ranges, parameters.seed,
                                  parameters.phases or chip.phases, program.levels),
                       source, parameters.undecided)
            for tile in range(chip.tiles)]
        self.time = 0

    async def _count(self) -> None:
        while True:
            await RisingEdge(self.clock)
            self.time += 1

    async def start(self) -> None:
        """Clock, reset, agents."""
        cocotb.start_soon(Clock(self.clock, 10, unit="ns").start())
        self.dut.aresetn.value = 0
        await ClockCycles(self.clock, 4)
        self.dut.aresetn.value = 1
        await RisingEdge(self.clock)
        for task in (self._count(), self.sink.run(), self.monitor.run(),
                     *(agent.run(lambda: self.time) for agent in self.agents)):
            cocotb.start_soon(task)

    async def write(self, register: str, data: int) -> None:
        """Write a register, which must be answered with OKAY."""
        response = await self.host.write(self.registers.address(register), data)
        assert response == 0, f"write of {register} answered {response}"

    async def read(self, register: str) -> int:
        """Read a register, which must be answered with OKAY."""
        data, response = await self.host.read(self.registers.address(register))
        assert response == 0, f"read of {register} answered {response}"
        return data

    async def _write_all(self, writes: NDArray[np.uint32]) -> None:
        for address, data in writes.tolist():
            response = await self.host.write(address, data)
            assert response == 0, f"write to {address:#x} answered {response}"

    async def load(self) -> None:
        """Write the program into the chip's memories."""
        await self._write_all(load_writes(self.parameters.program, self.parameters.phases))
        await self.write("interrupt", self.registers.mask("interrupt", "done")
                         | self.registers.mask("interrupt", "error"))

    async def run_image(self, index: int, words: NDArray[np.uint32]) -> RtlImage:
        """Run one image; what the chip did with it."""
        await self._write_all(image_writes(self.parameters.program))
        for agent in self.agents:
            agent.model.start_image(self.parameters.first_image + index)
        began = self.time
        sending = cocotb.start_soon(self.source.send(words.tolist()))
        await self.write("control", self.registers.mask("control", "start"))
        while self.dut.irq.value == 0:
            await RisingEdge(self.clock)
            if self.time - began > self.parameters.watchdog:
                raise WatchdogError(f"image {index} takes more than "
                                    f"{self.parameters.watchdog} clocks")
        assert sending.done(), "the program ended before it had taken the whole image"
        status, done = await self.read("status"), self.registers.mask("status", "done")
        assert status & done and not status & self.registers.mask("status", "error"), \
            f"status is {status:#010x}"
        await self.write("status", done)
        counters = {name: await self.read(name)
                    for name in registers_read(self.parameters.program.chip)}
        stored = np.array(self.sink.words, np.uint32)
        ends = np.cumsum(output_packets(self.parameters.program))
        assert np.flatnonzero(self.sink.lasts).tolist() == (ends - 1).tolist(), "tlast"
        self.sink.words.clear()
        self.sink.lasts.clear()
        *codes, sums, written, layers = self.monitor.take()
        return RtlImage(stored, tuple(codes), sums, written, layers, counters, self.time - began)


@cocotb.test()
async def equals_golden(dut: Any) -> None:
    """Every word of every image equals golden's."""
    parameters = bench_parameters()
    assert isinstance(parameters, ChipParameters)
    seed = cocotb.RANDOM_SEED
    cocotb.log.info("chip bench, seed %d", seed)
    bench = ChipBench(dut, parameters, random.Random(seed))
    await bench.start()
    await bench.load()
    golden = execute(parameters.program, parameters.macro, parameters.images, parameters.seed,
                     parameters.first_image, trace=True)
    stream = input_words(parameters.program, parameters.images)
    comparisons = []
    for index, words in enumerate(stream):
        image = await bench.run_image(index, words)
        cycles = None if parameters.cycles is None else parameters.cycles[index]
        comparisons.append(compare_image(parameters.program, golden.layers, index, image, cycles))
    comparison = Comparison.add(comparisons)
    comparison.check()
    cocotb.log.info("equal: %s", dict(comparison.compared))
