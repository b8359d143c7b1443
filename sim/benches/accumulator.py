"""The basis accumulator against integer sums of the codes that its input monitor sees."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from rtl.messages import code_layout, tag_layout
from sim.benches.block import BlockBench, BlockParameters
from sim.fields import pack, unpack
from sim.runner import bench_parameters
from sim.scoreboard import Scoreboard
from sim.values import signed, unsigned

__all__ = ["AccumulatorBench"]


#: Clocks after which nothing of an accepted code is left in the pipeline.
_THROUGH = 20


@dataclass(frozen=True, eq=False)
class _Layer:
    """A random layer: mode, shape of its codes, coefficients."""

    stream: bool
    kernels: int
    chunks: int
    row_groups: int
    jobs: int                           # codes per product (stream: columns)
    base: int                           # first coefficient word
    coefficients: NDArray[np.int64]     # [chunks, columns, kernels], stream only
    summing: bool                       # a calibration's codes are compensated, not summed


class AccumulatorBench(BlockBench):
    """Codes of random layers in; finished positions drained the way the collector does."""

    def __init__(self, dut: Any, parameters: BlockParameters) -> None:
        self.codes, self.tags = code_layout(parameters.chip), tag_layout(parameters.chip)
        super().__init__(dut, parameters, inputs=(
            "start", "stream", "summing", "groups", "base", "code_valid", "code", "read_data",
            "correction_write", "correction_index", "correction_data", "position_freed",
            "drain_group", "drain_lane", "drain_clear"))

    def restart(self) -> None:
        """Forget what was offered and expected."""
        chip = self.parameters.chip
        self.sums = Scoreboard("sum")
        self.traced = Scoreboard("traced code")
        self.memory: dict[int, int] = {}
        self.corrections = [0] * (1 << chip.converter.bits)
        self.layer: _Layer | None = None
        self.totals = np.zeros(chip.accumulator.kernels, np.int64)
        self.chunk = self.column = 0
        self.finished = self.drained = 0
        self.accepted: list[int] = []

    def random_layer(self, stream: bool, summing: bool = True) -> _Layer:
        """Shapes within what one output may sum; stream coefficients over their whole range."""
        chip, rng = self.parameters.chip, self.random
        accumulator = chip.accumulator
        kernels = rng.randint(1, accumulator.kernels)
        chunks, row_groups = rng.randint(1, 3), rng.randint(1, 2)
        jobs = rng.randint(1, chip.array.columns)
        groups = -(-kernels // accumulator.lanes)
        base = rng.randrange(chip.memories.coefficient_words - chunks * jobs * groups)
        high = 1 << (accumulator.coefficient_bits - 1)
        table = np.array([[[rng.choice((-high, high - 1, rng.randint(-high, high - 1)))
                            for _ in range(kernels)] for _ in range(jobs)]
                          for _ in range(chunks)])
        return _Layer(stream, kernels, chunks, row_groups, jobs, base, table, summing)

    def _write_memory(self, layer: _Layer) -> None:
        accumulator = self.parameters.chip.accumulator
        bits, lanes = accumulator.coefficient_bits, accumulator.lanes
        address = layer.base
        for row in layer.coefficients.reshape(-1, layer.kernels):
            for start in range(0, layer.kernels, lanes):
                self.memory[address] = sum(
                    (int(value) & ((1 << bits) - 1)) << (bits * lane)
                    for lane, value in enumerate(row[start:start + lanes]))
                address += 1

    async def begin_layer(self, layer: _Layer) -> None:
        """Coefficients, mode and the start pulse."""
        self.layer = layer
        self._write_memory(layer)
        self.dut.stream.value = int(layer.stream)
        self.dut.summing.value = int(layer.summing)
        self.dut.groups.value = -(-layer.kernels // self.parameters.chip.accumulator.lanes)
        self.dut.base.value = layer.base
        self.dut.start.value = 1
        await self.edge()
        self.dut.start.value = 0
        self.totals[:] = 0
        self.chunk = self.column = 0

    async def write_corrections(self) -> None:
        """A new compensation table, extremes included."""
        high = 1 << (self.parameters.chip.converter.correction_bits - 1)
        for index in range(len(self.corrections)):
            value = self.random.choice((-high, high - 1, self.random.randint(-high, high - 1)))
            self.corrections[index] = value
            self.dut.correction_write.value = 1
            self.dut.correction_index.value = index
            self.dut.correction_data.value = value & (2 * high - 1)
            await self.edge()
        self.dut.correction_write.value = 0

    def layer_codes(self, layer: _Layer, positions: int) -> Sequence[int]:
        """Random codes of the layer's products, extremes often."""
        chip, rng = self.parameters.chip, self.random
        half = 1 << (chip.converter.bits - 1)
        words = []
        for product in range(positions * layer.chunks * layer.row_groups):
            chunk, group = divmod(product, layer.row_groups)
            release = group == layer.row_groups - 1
            for job in range(layer.jobs):
                void = not layer.stream and rng.random() < 0.2
                stopped = not layer.stream and not void and rng.random() < 0.2
                code = -1 if stopped else rng.choice((-half, half - 1, rng.randint(-half,
                                                                                 half - 1)))
                tag = {"index": job if layer.stream else rng.randrange(layer.kernels),
                       "plane": 0 if layer.stream else rng.randrange(chip.planes),
                       "stop": int(stopped), "void": int(void), "last": int(job == layer.jobs - 1),
                       "release": int(release), "partial": 0,
                       "final": int(release and chunk % layer.chunks == layer.chunks - 1),
                       "product": product, "conversion": job}
                words.append(pack(self.codes, {"code": code, "stopped": int(stopped),
                                               "tag": pack(self.tags, tag)}))
        return words

    def code_taken(self, word: int) -> None:
        """Input monitor: the model compensates and accumulates."""
        layer, chip = self.layer, self.parameters.chip
        assert layer is not None
        self.accepted.append(self.time)
        code = unpack(self.codes, word)
        tag = unpack(self.tags, code["tag"])
        correction = self.corrections[code["code"] & (len(self.corrections) - 1)]
        compensated = code["code"] + (0 if code["stopped"] else correction)
        self.traced.expect((tag["product"], tag["conversion"], tag["index"], tag["plane"],
                            code["code"], compensated, code["stopped"], tag["void"]))
        if not layer.summing:
            return
        if tag["void"]:
            pass
        elif layer.stream:
            self.totals[:layer.kernels] += compensated * layer.coefficients[self.chunk,
                                                                            self.column]
        else:
            top = not chip.array.polarity and tag["plane"] == chip.planes - 1
            self.totals[tag["index"]] += (-compensated if top else compensated) << tag["plane"]
        self.column += 1
        if tag["last"]:
            self.column = 0
            self.chunk += tag["release"]
            if tag["final"]:
                self.sums.expect(self.totals[:layer.kernels].tolist())
                self.totals[:] = 0
                self.chunk = 0

    async def coefficients(self) -> None:
        """The coefficient memory: data in the clock after the address."""
        while True:
            await self.edge()
            if self.dut.read_enable.value == 1:
                self.dut.read_data.value = self.memory[unsigned(self.dut.read_address)]

    async def trace(self) -> None:
        """Monitor of the trace port."""
        names = ("product", "conversion", "index", "plane", "code", "compensated", "stopped",
                 "void")
        ports = [(getattr(self.dut, f"trace__{name}"),
                  signed if name in ("code", "compensated") else unsigned) for name in names]
        while True:
            await self.edge()
            if self.dut.trace__valid.value == 1:
                self.traced.see(tuple(read(port) for port, read in ports))

    async def positions(self) -> None:
        """Counts finished positions."""
        while True:
            await self.edge()
            self.finished += int(self.dut.position_done.value)

    async def drain(self) -> None:
        """Reads a finished position kernel by kernel, zeroing each word behind itself."""
        lanes = self.parameters.chip.accumulator.lanes
        while True:
            await self.until(lambda: self.finished > self.drained and not self.pauses())
            assert self.layer is not None
            kernels, sums = self.layer.kernels, []
            # Kernel k is asked for in clock k, its word zeroed in k + 1, its sum there in k + 2.
            for clock in range(kernels + 3):
                asked, before = min(clock, kernels - 1), clock - 1
                self.dut.drain_group.value = asked // lanes
                self.dut.drain_lane.value = asked % lanes
                self.dut.drain_clear.value = int(
                    0 <= before < kernels
                    and (before % lanes == lanes - 1 or before == kernels - 1))
                self.dut.position_freed.value = int(before == kernels - 1)
                await self.edge()
                if clock >= 2 and len(sums) < kernels:
                    sums.append(signed(self.dut.drain_sum))
            self.sums.see(sums)
            self.drained += 1

    def begin(self) -> None:
        """Start agents and monitors."""
        for task in (self.coefficients(), self.trace(), self.positions(), self.drain(),
                     self.watch("code", self.code_taken)):
            self.background(task)

    async def run_layer(self, layer: _Layer, positions: int) -> None:
        """Send the codes of some positions, wait until all that are summed are drained."""
        before = self.drained
        await self.begin_layer(layer)
        for word in self.layer_codes(layer, positions):
            await self.send("code", word)
        if layer.summing:
            await self.until(lambda: self.drained == before + positions)
        else:
            for _ in range(_THROUGH):
                await self.edge()
            assert not self.traced.outstanding and self.finished == before


@cocotb.test()
async def sums_equal_the_model(dut: Any) -> None:
    """Stream and merge layers, and codes that are not summed; the first run is cut off by a reset.
    """
    bench = AccumulatorBench(dut, bench_parameters())
    await bench.start()

    async def work() -> None:
        bench.begin()
        await bench.write_corrections()
        for item in range(bench.parameters.items):
            layer = bench.random_layer(stream=bool(item % 2), summing=item % 3 != 1)
            await bench.run_layer(layer, bench.random.randint(1, 4))

    await bench.interrupted(work, bench.random.randint(80, 300))
    await work()
    bench.sums.finish()
    bench.traced.finish()


@cocotb.test()
async def codes_at_full_rate(dut: Any) -> None:
    """A code every ``max(groups, 2)`` clocks in stream mode, every 2 in merge mode."""
    bench = AccumulatorBench(dut, replace(bench_parameters(), pause=0.0))
    await bench.start()
    bench.begin()
    await bench.write_corrections()
    for stream in (False, True):
        layer = bench.random_layer(stream)
        first = len(bench.accepted)
        await bench.run_layer(layer, 1)
        groups = -(-layer.kernels // bench.parameters.chip.accumulator.lanes)
        interval = max(groups, 2) if stream else 2
        taken = np.array(bench.accepted[first:])
        assert (np.diff(taken) == interval).all(), f"codes taken in clocks {taken}"
    bench.sums.finish()
