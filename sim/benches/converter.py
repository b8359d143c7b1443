"""The single-ADC converter interface against golden's search, comparator and all."""

from dataclasses import dataclass, replace
from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from golden.conversion import convert
from rtl.messages import code_layout, tag_layout
from sim.benches.block import BlockBench, BlockParameters
from sim.fields import pack, unpack
from sim.runner import bench_parameters
from sim.scoreboard import Scoreboard
from sim.values import signed

__all__ = ["ConverterBench"]


@dataclass(frozen=True, eq=False)
class _Sample:
    tag: int
    value: float


class ConverterBench(BlockBench):
    """Samples with random tags and values; a comparator that answers at falling edges."""

    def __init__(self, dut: Any, parameters: BlockParameters) -> None:
        super().__init__(dut, parameters, inputs=(
            "resolution", "timeout", "sample_valid", "tag", "comparator", "decided",
            "code_ready", "levels_enable", "level_write", "level_index", "level_data"))
        self.tags, self.codes = tag_layout(parameters.chip), code_layout(parameters.chip)

    def restart(self) -> None:
        """Forget what was offered and expected."""
        super().restart()
        self.scoreboard = Scoreboard("code")
        self.thresholds: NDArray[np.float64] = np.zeros(1)
        self.offered: list[_Sample] = []
        self.converting = 0.0
        self.taken: list[int] = []
        self.done: list[int] = []

    def choose(self, resolution: int) -> None:
        """A resolution, and a table of thresholds: even, uneven, or not even rising."""
        self.dut.resolution.value = resolution
        half = 1 << (resolution - 1)
        table = np.arange(-half, half) * 8.0 - 4
        kind = self.random.randrange(3)
        if kind:
            spread = 7 if kind == 1 else 8 * half
            table += [self.random.randint(0, spread) for _ in table]
        table[0] = -np.inf
        self.thresholds = table

    def sample(self, *, stop: bool | None = None, void: bool | None = None) -> _Sample:
        """A random sample; a value on, just below or between thresholds, or beyond them all."""
        half = len(self.thresholds) // 2
        value = self.random.choice((
            float(self.random.choice(self.thresholds[1:])),
            float(self.random.choice(self.thresholds[1:])) - 1,
            float(self.random.randint(-9 * half, 9 * half)), -16.0 * half, 16.0 * half))
        tag = {name: self.random.getrandbits(self.tags[name].width) for name in self.tags.members}
        tag["void"] = int(self.random.random() < 0.15 if void is None else void)
        tag["stop"] = self.random.getrandbits(1) if stop is None else int(stop)
        return _Sample(pack(self.tags, tag), value)

    def sample_taken(self, tag: int) -> None:
        """The input monitor: feeds the comparator and the model."""
        sample = self.offered[len(self.taken)]
        assert tag == sample.tag
        self.taken.append(self.time)
        fields = unpack(self.tags, tag)
        if fields["void"]:
            self.scoreboard.expect((self.without_stop(tag), 0, 0))
            return
        self.converting = sample.value
        code = int(convert(np.array([sample.value]), self.thresholds)[0])
        stopped = int(fields["stop"] and code < 0)
        self.scoreboard.expect((self.without_stop(tag), -1 if stopped else code, stopped))

    def without_stop(self, tag: int) -> int:
        """A tag but for its stop bit, which has served when the code is there."""
        return pack(self.tags, {**unpack(self.tags, tag), "stop": 0})

    def code_taken(self, word: int) -> None:
        """The output monitor."""
        code = unpack(self.codes, word)
        self.done.append(self.time)
        self.scoreboard.see((self.without_stop(code["tag"]), code["code"], code["stopped"]))

    async def comparator(self) -> None:
        """Answers, sometimes late; random bits when not asked or not decided."""
        while True:
            await self.settle()
            asked = self.dut.convert.value == 1
            decided = not asked or not self.pauses()
            answer = self.random.getrandbits(1)
            if asked and decided:
                half = len(self.thresholds) // 2
                answer = int(self.converting >= self.thresholds[signed(self.dut.trial) + half])
            self.dut.comparator.value = answer
            self.dut.decided.value = int(decided)

    async def drain(self) -> None:
        """Takes codes, with pauses."""
        while True:
            self.dut.code_ready.value = int(not self.pauses())
            await self.edge()

    def begin(self) -> None:
        """Start agents and monitors."""
        for task in (self.comparator(), self.drain(), self.watch("sample", self.sample_taken),
                     self.watch("code", self.code_taken)):
            self.background(task)

    async def convert_all(self, samples: list[_Sample]) -> None:
        """Send samples and wait until every code is out."""
        self.offered += samples
        for sample in samples:
            await self.send("sample", sample.tag)
        await self.until(lambda: len(self.done) == len(self.offered))


@cocotb.test()
async def codes_equal_golden(dut: Any) -> None:
    """Every resolution, random tags and pauses; the first run is cut off by a reset."""
    bench = ConverterBench(dut, bench_parameters())
    converter = bench.parameters.chip.converter
    await bench.start()

    async def work() -> None:
        bench.begin()
        for resolution in range(converter.minimum_bits, converter.bits + 1):
            bench.choose(resolution)
            await bench.convert_all([bench.sample() for _ in range(bench.parameters.items)])

    await bench.interrupted(work, bench.random.randint(20, 120))
    await work()
    bench.scoreboard.finish()


@cocotb.test()
async def one_decision_per_clock(dut: Any) -> None:
    """Full rate: a sample every ``resolution`` clocks, its code ``resolution + 1`` later."""
    parameters = bench_parameters()
    bench = ConverterBench(dut, replace(parameters, pause=0.0))
    await bench.start()
    bench.begin()
    for resolution in range(parameters.chip.converter.minimum_bits,
                            parameters.chip.converter.bits + 1):
        bench.choose(resolution)
        first = len(bench.taken)
        await bench.convert_all([bench.sample(stop=False, void=False) for _ in range(12)])
        taken, done = np.array(bench.taken[first:]), np.array(bench.done[first:])
        assert (np.diff(taken) == resolution).all(), f"samples taken in clocks {taken}"
        assert (done - taken == resolution + 1).all(), f"codes in clocks {done}, samples {taken}"
    bench.scoreboard.finish()


@cocotb.test()
async def waits_no_longer_than_the_timeout(dut: Any) -> None:
    """A comparator that never decides: `timed_out` after exactly ``timeout`` clocks."""
    bench = ConverterBench(dut, bench_parameters())
    await bench.start()
    for timeout in (1, 2, 7):
        bench.choose(bench.parameters.chip.converter.bits)
        bench.dut.timeout.value = timeout
        bench.dut.decided.value = 0
        await bench.send("sample", bench.sample(stop=False, void=False).tag)
        clocks = 0
        await bench.settle()
        while bench.dut.timed_out.value == 0:
            clocks += 1
            assert clocks <= timeout, f"no time-out after {clocks} clocks"
            await bench.settle()
        assert clocks == timeout - 1, f"time-out in clock {clocks}, not {timeout - 1}"
        await bench.reset()
