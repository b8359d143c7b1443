"""The tile scheduler: fetches what a program's image holds and starts each unit in turn."""

from dataclasses import dataclass
from typing import Any

import cocotb

from golden.chip import Chip
from golden.chip.descriptor import DESCRIPTOR_WORDS, Opcode
from golden.timing import FETCH_CLOCKS
from rtl.tenants import tenant_windows
from sim.benches.block import BlockBench, BlockParameters
from sim.runner import bench_parameters
from sim.scoreboard import Scoreboard
from sim.values import unsigned

__all__ = ["SchedulerBench", "SchedulerParameters"]


def _whole(chip: Chip) -> int:
    """The windows of a tenant that may use all of ``chip``, as the scheduler's input has them."""
    memories = chip.memories
    return tenant_windows(chip).const({
        "program_length": memories.program_words // DESCRIPTOR_WORDS,
        "activation_words": memories.activation_words,
        "constant_entries": memories.constant_entries,
        "coefficient_words": memories.coefficient_words, "tiles": (1 << chip.tiles) - 1,
    }).as_value().value

_UNITS = ("transfer", "convolve", "combine")
#: The unit that each opcode starts.
_UNIT_OF = {Opcode.LOAD: "transfer", Opcode.STORE: "transfer", Opcode.CONVOLVE: "convolve",
            Opcode.CALIBRATE: "convolve",
            Opcode.ADD: "combine", Opcode.AVERAGE_POOL: "combine", Opcode.MAX_POOL: "combine"}


@dataclass(frozen=True)
class SchedulerParameters(BlockParameters):
    """Also ``programs``: the words of each program's image, END included."""

    programs: tuple[tuple[int, ...], ...] = ()


class SchedulerBench(BlockBench):
    """A program memory, and units that take random times."""

    def __init__(self, dut: Any, parameters: SchedulerParameters) -> None:
        super().__init__(dut, parameters, inputs=(
            "start", "abort", "timed_out", "illegal", "host_late", "read_data", "unit_done",
            "transfer_done"))
        self._windows = _whole(parameters.chip)
        self.programs = parameters.programs

    def restart(self) -> None:
        """Forget what was expected. The first tenant may use all of the chip."""
        self.dut.windows.value = self._windows
        self.starts = Scoreboard("unit started")
        self.layers = Scoreboard("layer done")
        self.memory: tuple[int, ...] = ()
        self.fetched = self.started = 0
        self.ended = False
        self.busy_unit = False

    def expect(self, program: tuple[int, ...]) -> None:
        """Put a program's units and layers on the scoreboards."""
        self.memory = program
        for index in range(len(program) // DESCRIPTOR_WORDS):
            words = program[index * DESCRIPTOR_WORDS:(index + 1) * DESCRIPTOR_WORDS]
            opcode = Opcode(words[0] & 0xF)
            if opcode is not Opcode.END:
                self.starts.expect((_UNIT_OF[opcode], words))
            self.layers.expect(index)

    async def program_memory(self) -> None:
        """Data in the clock after the address."""
        while True:
            await self.edge()
            if self.dut.read_enable.value == 1:
                address = unsigned(self.dut.read_address)
                if address % DESCRIPTOR_WORDS == 0:
                    self.fetched = self.time - 1
                self.dut.read_data.value = self.memory[address]

    async def watch_units(self) -> None:
        """A unit starts, with its whole descriptor, a fixed time after the first fetch."""
        while True:
            await self.edge()
            started = [name for name in _UNITS if getattr(self.dut, name).value == 1]
            if not started:
                continue
            assert len(started) == 1 and not self.busy_unit, f"{started} started at once"
            word = unsigned(self.dut.descriptor)
            self.starts.see((started[0], tuple(
                word >> (32 * i) & 0xFFFFFFFF for i in range(DESCRIPTOR_WORDS))))
            assert self.time - 1 - self.fetched == FETCH_CLOCKS - 1, "clocks of the fetch"
            self.busy_unit = True
            self.background(self.unit(f"{'transfer' if started[0] == 'transfer' else 'unit'}_done"))

    async def unit(self, done: str) -> None:
        """Works for a while, then pulses the input ``done``."""
        clocks = self.random.randint(1, 30) if self.parameters.pause else 1
        for _ in range(clocks - 1):
            await self.edge()
        self.busy_unit = False
        getattr(self.dut, done).value = 1
        await self.edge()
        getattr(self.dut, done).value = 0

    async def watch_layers(self) -> None:
        """Each layer in turn, with its clocks; END ends the program."""
        while True:
            await self.edge()
            assert self.dut.failed.value == 0, "a legal descriptor was refused"
            assert self.dut.clear.value == 0 and self.dut.transfer_clear.value == 0, \
                "units cleared without a reason"
            if self.dut.ended.value == 1:
                self.ended = True
            if self.dut.layer_done.value == 1:
                self.layers.see(unsigned(self.dut.layer))

    async def run_program(self, program: tuple[int, ...]) -> None:
        """Start a program and wait for its end."""
        self.expect(program)
        self.ended = False
        self.dut.start.value = 1
        await self.edge()
        self.dut.start.value = 0
        await self.until(lambda: self.ended)
        await self.settle()
        assert self.dut.busy.value == 0, "busy after END"
        await self.edge()


@cocotb.test()
async def units_in_order(dut: Any) -> None:
    """Every descriptor once, in order, on the right unit; the first run is cut by a reset."""
    bench = SchedulerBench(dut, bench_parameters())
    await bench.start()

    async def work() -> None:
        for task in (bench.program_memory(), bench.watch_units(), bench.watch_layers()):
            bench.background(task)
        for program in bench.programs:
            await bench.run_program(program)

    await bench.interrupted(work, bench.random.randint(10, 100))
    await work()
    bench.starts.finish()
    bench.layers.finish()


@cocotb.test()
async def abort_at_any_time(dut: Any) -> None:
    """An abort in a random clock clears every unit, ends the program, and the next one runs."""
    bench = SchedulerBench(dut, bench_parameters())
    await bench.start()
    for _ in range(8):
        bench.memory = bench.programs[0]
        memory = bench.program_memory()
        bench.background(memory)
        dut.start.value = 1
        await bench.edge()
        dut.start.value = 0
        for _ in range(bench.random.randint(1, 2 * FETCH_CLOCKS)):
            await bench.edge()
            done = int(bench.random.random() < 0.2)
            dut.unit_done.value = dut.transfer_done.value = done
        dut.abort.value, dut.unit_done.value, dut.transfer_done.value = 1, 0, 0
        await bench.settle()
        assert dut.transfer_clear.value == 1 and dut.ended.value == 1 and dut.failed.value == 0
        assert not any(getattr(dut, name).value == 1 for name in _UNITS), "started while aborted"
        await bench.edge()
        dut.abort.value = 0
        await bench.settle()
        assert dut.busy.value == 0 and dut.transfer_clear.value == 0, "still at work"
        await bench.edge()
        bench.stop()
    for task in (bench.program_memory(), bench.watch_units(), bench.watch_layers()):
        bench.background(task)
    await bench.run_program(bench.programs[0])
    bench.starts.finish()
    bench.layers.finish()
