"""The charge controller against the rules of the macro's pins and a model of its jobs."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import cocotb

from golden.chip import Phases
from rtl.messages import PhaseLengths, job_layout, product_layout, tag_layout
from sim.benches.block import BlockBench, BlockParameters
from sim.fields import pack, unpack
from sim.pin_rules import PinRules
from sim.runner import bench_parameters
from sim.scoreboard import Scoreboard
from sim.values import unsigned

__all__ = ["ChargeControllerBench"]


class _Pins(Mapping):
    """The macro's pins, as far as the controller drives them; the converter is the bench's."""

    #: Pins that are ports of the controller under the same name.
    SAME = ("reset", "drive", "share", "hold", "bank", "row_enable", "clear", "add", "side",
            "select", "negate", "convert_side", "conversion")

    def __init__(self, bench: "ChargeControllerBench") -> None:
        self._bench = bench

    def __getitem__(self, name: str) -> int:
        if name == "convert":
            return int(self._bench.converting > 0)
        if name == "load_enable":
            return 0
        port = "product_number" if name == "product" else name
        return unsigned(getattr(self._bench.dut, port))

    def __iter__(self) -> Iterator[str]:
        return iter((*self.SAME, "product", "convert", "load_enable"))

    def __len__(self) -> int:
        return len(self.SAME) + 3


class ChargeControllerBench(BlockBench):
    """Random products, each with its jobs; a converter that takes its time."""

    def __init__(self, dut: Any, parameters: BlockParameters) -> None:
        chip = parameters.chip
        self.products, self.jobs = product_layout(chip), job_layout(chip)
        self.tags = tag_layout(chip)
        super().__init__(dut, parameters, inputs=(
            "lengths", "averaging", "product_valid", "product", "job_valid", "job", "sample_ready"))
        self.pins = _Pins(self)

    def restart(self) -> None:
        """Random phase lengths; forget what was offered and expected."""
        high = 1 if self.parameters.pause == 0 else 4
        names = PhaseLengths.members
        self.lengths = Phases(**{name: self.random.randint(1, high) for name in names})
        self.dut.lengths.value = pack(PhaseLengths, {n: getattr(self.lengths, n) for n in names})
        self.averaging = self.random.choice((0, 0, 1, 2)) if self.parameters.pause else 0
        self.dut.averaging.value = self.averaging
        self.rules = PinRules(0, self.lengths, self.parameters.chip.array.polarity)
        self.converting = 0
        self.arrays = Scoreboard("product on the array")
        self.sums = Scoreboard("sum on the adder")
        self.samples = Scoreboard("tag of a sample")
        self.releases = Scoreboard("release of a bank")
        #: Products taken whose jobs have not all been taken, and the next conversion's number.
        self.open: deque[dict[str, int]] = deque()
        self.conversion = 0
        #: Samples that the jobs taken so far lead to.
        self.expected = 0

    def random_product(self, number: int) -> int:
        """A product with the next number and everything else random."""
        fields = {name: self.random.getrandbits(self.products[name].width)
                  for name in self.products.members}
        return pack(self.products, {**fields, "number": number})

    def random_job(self, last: bool) -> int:
        """A job, one in five void."""
        fields = {name: self.random.getrandbits(self.jobs[name].width)
                  for name in self.jobs.members}
        if not self.parameters.chip.array.polarity:
            fields["negate"] = 0
        return pack(self.jobs, {**fields, "last": int(last),
                                "void": int(self.random.random() < 0.2)})

    def product_taken(self, word: int) -> None:
        """Input monitor: the array is to walk through this product."""
        product = unpack(self.products, word)
        self.open.append(product)
        self.arrays.expect((product["bank"], product["row_enable"], product["number"]))
        if product["release"]:
            self.releases.expect(product["number"])

    def job_taken(self, word: int) -> None:
        """Input monitor: the adder is to sum, and a tag to come out."""
        job, product = unpack(self.jobs, word), self.open[0]
        times = 1 if job["void"] else 1 << self.averaging
        for left in reversed(range(times)):
            if not job["void"]:
                self.sums.expect((product["number"], job["select"], job["negate"]))
            self.samples.expect({
                **{name: job[name] for name in ("index", "plane", "stop", "void", "last")},
                "release": product["release"], "final": product["final"], "partial": int(left > 0),
                "product": product["number"], "conversion": self.conversion})
            self.conversion += 1 - job["void"]
        self.expected += times
        if job["last"]:
            self.open.popleft()
            self.conversion = 0

    def sample_taken(self, word: int) -> None:
        """Output monitor of the samples; the converter is busy with one that is not void."""
        tag = unpack(self.tags, word)
        self.samples.see(tag)
        if not tag["void"]:
            self.converting = 1 + (self.random.randrange(6) if self.parameters.pause else 3)

    async def converter(self) -> None:
        """Takes a sample when the one before is converted, or in its last clock."""
        while True:
            self.dut.sample_ready.value = int(self.converting <= 1 and not self.pauses())
            await self.edge()
            self.converting = max(0, self.converting - 1)

    async def macro(self) -> None:
        """Checks the pins in every clock, and compares what the switches act on."""
        while True:
            await self.settle()
            events = self.rules.clock(self.time, self.pins)
            if "reset" in events:
                self.arrays.see(tuple(self.pins[name] for name in ("bank", "row_enable",
                                                                   "product")))
            if "add" in events:
                self.sums.see((self.rules.held, self.pins["select"], self.pins["negate"]))

    async def released(self) -> None:
        """A bank is released while its product's charge is shared, or just before."""
        while True:
            await self.edge()
            if self.dut.bank_released.value == 1:
                self.releases.see(unsigned(self.dut.product_number))

    def begin(self) -> None:
        """Start agents and monitors; the converter before the monitor that keeps it busy."""
        for task in (self.converter(), self.watch("product", self.product_taken),
                     self.watch("job", self.job_taken), self.watch("sample", self.sample_taken),
                     self.macro(), self.released()):
            self.background(task)

    async def run_products(self, count: int) -> None:
        """Send products and jobs; wait until every sample has been taken."""
        jobs = [[self.random_job(last) for last in [False] * self.random.randrange(5) + [True]]
                for _ in range(count)]

        async def products() -> None:
            for number in range(count):
                await self.send("product", self.random_product(number))

        self.background(products())
        for job in (job for product in jobs for job in product):
            await self.send("job", job)
        await self.until(lambda: self.samples.compared == self.expected)


@cocotb.test()
async def phases_jobs_and_tags(dut: Any) -> None:
    """Random lengths, products, jobs and pauses; the first run is cut off by a reset."""
    bench = ChargeControllerBench(dut, bench_parameters())
    await bench.start()

    async def work() -> None:
        bench.begin()
        await bench.run_products(bench.parameters.items)

    await bench.interrupted(work, bench.random.randint(20, 200))
    await work()
    for board in (bench.arrays, bench.sums, bench.samples, bench.releases):
        board.finish()


@cocotb.test()
async def samples_at_full_rate(dut: Any) -> None:
    """A job taken in clock 0 is sampled in clock ``clear + add + 2*gap + 1``, void in clock 1."""
    parameters = replace(bench_parameters(), pause=0.0)
    bench = ChargeControllerBench(dut, parameters)
    await bench.start()
    lengths = bench.lengths
    await bench.send("product", bench.random_product(0))
    bench.dut.sample_ready.value = 1
    for last in (False, False, True):
        word = bench.random_job(last)
        await bench.send("job", word)
        began = bench.time
        await bench.settle()
        while bench.dut.sample_valid.value == 0:
            await bench.settle()
        expected = 1 if unpack(bench.jobs, word)["void"] else (
            lengths.clear + lengths.add + 2 * lengths.gap + 1)
        assert bench.time - began + 1 == expected, \
            f"sampled in clock {bench.time - began + 1}, not {expected}"
