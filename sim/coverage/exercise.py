"""What a chip is put through to see what of it is reached, each result compared with golden's.

Random faults (sim.faults) reach the checks and the ways out of them; here is the rest: every bit
of every register, memories up to their ends, programs anywhere in them and at any pace, sizes up
to the widths of the fields, sums up to the widths of the accumulators.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from golden.chip import Phases
from golden.chip.descriptor import DESCRIPTOR_WORDS
from golden.chip.registers import registers, windows
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.placement import Placement, place
from golden.program import Program
from sim.fast.bring_up import bring_up
from sim.faults.known_run import KnownRun, known_run
from sim.faults.library import FaultChip, FaultError
from sim.faults.tenant_host import TenantHost
from sim.random_programs import random_pair

from .programs import extreme_program, long_program, wide_program

__all__ = ["exercise"]

#: Patterns that move every bit of a word both ways.
_PATTERNS = (0xFFFF_FFFF, 0, 0x5555_5555, 0xAAAA_AAAA, 0)
#: Words of the activation buffer that hold any random program's.
_ACTIVATIONS = 1024
#: Entries of a memory that is filled whole.
_SMALL = 256
#: Clocks by which a program without a legal descriptor has ended.
_SHORT = 200
#: Clocks that a host is late, once.
_LATE = 5000
#: A time-out, in clocks.
_LONGEST = 0x3FFF
#: Programs of extreme values.
_EXTREMES = 3
#: Clocks a run may take beyond those of golden, times its stalls.
_PATIENCE = 400_000


@dataclass(frozen=True)
class _BringUpPort:
    """A `FaultChip` with the methods of the fast path's harness that `bring_up` calls."""

    chip: FaultChip

    def write_response(self, address: int, value: int, strobe: int = 0xF) -> int:
        return self.chip.write(address, value, strobe)

    def read_response(self, address: int) -> int:
        return self.chip.try_read(address)[1]

    def read(self, address: int) -> int:
        return self.chip.read(address)

    def run(self, clocks: int) -> bool:
        self.chip.run(clocks)
        return self.chip.interrupt

    def codes(self, tile: int, tenant: int = 0) -> NDArray:
        return self.chip.traces(tenant)[0][tile]

    def words(self, tenant: int) -> NDArray:
        return self.chip.traces(tenant)[2]

    def layers(self, tenant: int) -> NDArray:
        return self.chip.traces(tenant)[3]


def exercise(chip: FaultChip, pairs: int, descriptors: int, seed: int,
             progress: Callable[[float], None] | None = None) -> None:
    """Bring ``chip``, which has two tenants, up, fill its memories and run programs on it.

    ``pairs`` of random programs run side by side; the longest has ``descriptors``. Raises an
    AssertionError or a BringUpError where the chip does not do what golden foretells.
    """
    if chip.chip.tenants < 2 or chip.chip.tiles < 2:
        raise ValueError("chip must have two tenants and two tiles at least, not "
                         f"{chip.chip.tenants} and {chip.chip.tiles}")
    work = _Exercise(chip, np.random.default_rng(seed))
    chip.reset(4)
    bring_up(_BringUpPort(chip), chip.chip)     # type: ignore[arg-type]
    work.fill_memories()
    work.refuse_descriptors()
    work.start_anywhere()
    work.wait_long()
    work.share_a_program(long_program(chip.chip, descriptors))
    for number in range(pairs):
        work.side_by_side(number)
        if progress is not None:
            progress((number + 1) / (pairs + 1))
    work.alone(wide_program(chip.chip), 0, late=_LATE)
    for number in range(_EXTREMES):
        work.alone(extreme_program(
            chip.chip, number == 0, np.random.default_rng(number)), number)
    if progress is not None:
        progress(1.0)


class _Exercise:
    def __init__(self, chip: FaultChip, rng: np.random.Generator) -> None:
        self.chip, self.rng = chip, rng
        self.hosts = [TenantHost(chip, tenant) for tenant in range(chip.chip.tenants)]

    def fill_memories(self) -> None:
        """Every pattern in each small memory; in large ones at both ends, and wherever one bit of
        an address is set or cleared.
        """
        for window in windows(self.chip.chip):
            bits = (window.entries - 1).bit_length()
            entries = set(range(window.entries)) if window.entries <= _SMALL else {
                0, window.entries - 1, *(1 << bit for bit in range(bits)),
                *(window.entries - 1 & ~(1 << bit) for bit in range(bits))}
            pitch = 4 << (window.entry_words - 1).bit_length()
            for entry in sorted(entries):
                for pattern in _PATTERNS:
                    for word in range(window.entry_words):
                        if self.chip.write(window.offset + entry * pitch + 4 * word, pattern):
                            raise FaultError(f"a write to memory {window.name} is refused")

    def refuse_descriptors(self) -> None:
        """Descriptors of every pattern that ask for what does not exist."""
        chip, rng = self.chip, self.rng
        words = [np.full(DESCRIPTOR_WORDS, pattern, np.uint32) for pattern in _PATTERNS]
        words += [rng.integers(0, 1 << 32, DESCRIPTOR_WORDS, np.uint32) for _ in range(16)]
        for host in self.hosts:
            chip.reset(2)
            host.write("program_window", 1 << host.map.field("program_window", "length").low)
            host.interrupts(True)
            for descriptor in words:
                descriptor[0] |= 0xF                # no opcode
                host.write_program(descriptor)
                host.control("start")
                chip.run(_SHORT)
                if host.status().ending() != "cause 1":
                    raise FaultError(f"a descriptor without an opcode: {host.status()}")
                host.clear()

    def start_anywhere(self) -> None:
        """Windows that are anywhere, or nowhere: what runs there ends somehow, or is aborted."""
        chip = self.chip
        writable = [register for register in registers(chip.chip)
                    if not register.name.endswith("control")]
        for pattern in (*_PATTERNS, *self.rng.integers(0, 1 << 32, 8).tolist()):
            for host in self.hosts:
                chip.reset(2)
                for register in writable:
                    if chip.write(register.offset, pattern):
                        raise FaultError(f"a write of {register.name} is refused")
                host.control("start")
                chip.run(_SHORT)
                host.control("abort")
                chip.run(_SHORT)
                if host.status().busy:
                    raise FaultError(f"after an abort: {host.status()}")

    def wait_long(self) -> None:
        """A comparator and a host that never come, and are waited for long."""
        chip, (first, second) = self.chip, self.hosts[:2]
        tiles = tuple(range(chip.chip.tiles))
        programs, images = random_pair(chip.chip, 0, (tiles[:-1], tiles[-1:]))
        macro = Macro(chip.chip, MacroPhysics(), programs[0].weights, 0)
        runs = [known_run(program, image, macro, 0, placement) for program, image, placement
                in zip(programs, images, place(programs), strict=True)]
        chip.reset(2)
        chip.strict(0)
        for run in runs:
            chip.write_all(run.writes)
        first.write("comparator_timeout", _LONGEST)
        second.write("host_timeout", _LONGEST)
        chip.comparators(0)
        chip.begin(0, runs[0].words, endless=False)
        first.control("start")
        second.control("start")
        chip.run(2 * _LONGEST)
        for host, cause in ((first, "cause 3"), (second, "cause 4")):
            if host.status().ending() != cause:
                raise FaultError(f"tenant {host.tenant} waited in vain: {host.status()}")

    def share_a_program(self, made: tuple[Program, NDArray[np.int8]]) -> None:
        """Both tenants run the same words of the program memory, in turns, in one bank."""
        program, image = made
        macro = Macro(program.chip, MacroPhysics(), program.weights, 0)
        words = program.chip.memories.activation_words // 4
        placement = replace(place([program])[0], activation_words=words)
        runs = [known_run(program, image, macro, 0, replace(
            placement, tenant=tenant, activation_base=tenant * words)) for tenant in range(2)]
        self.chip.bind([program, program], macro, 0)
        self.run(runs, stalling=False)

    def phases(self) -> Phases:
        """Phases of any length, short ones as often as long ones."""
        return Phases(*(int(self.rng.integers(1, 1 << int(self.rng.integers(1, Phases.BITS + 1))))
                        for _ in range(7)))

    def scattered(self, programs: Sequence[Program]) -> list[Placement]:
        """Two placements anywhere in the memories, either one first."""
        memories = self.chip.chip.memories
        packed = place(programs)
        order = self.rng.permutation(2)

        def bases(sizes: list[int], entries: int) -> list[int]:
            result = [0, 0]
            low, left = 0, sum(sizes)
            for which in order:
                left -= sizes[which]
                result[which] = int(self.rng.integers(low, entries - left - sizes[which] + 1))
                low = result[which] + sizes[which]
            return result

        program = bases([p.program_length for p in packed],
                        memories.program_words // DESCRIPTOR_WORDS)
        activation = bases([_ACTIVATIONS] * 2, memories.activation_words)
        constants = bases([p.constant_entries for p in packed], memories.constant_entries)
        coefficients = bases([p.coefficient_words for p in packed], memories.coefficient_words)
        return [replace(p, program_base=program[i], activation_base=activation[i],
                        activation_words=_ACTIVATIONS, constants_base=constants[i],
                        coefficients_base=coefficients[i]) for i, p in enumerate(packed)]

    def side_by_side(self, number: int) -> None:
        """Two random programs anywhere, at any pace, with hosts and comparators that stall."""
        tiles = range(self.chip.chip.tiles)
        cut = int(self.rng.integers(1, len(tiles)))
        programs, images = random_pair(self.chip.chip, number,
                                       (tuple(tiles[:cut]), tuple(tiles[cut:])))
        phases = self.phases()
        macro = Macro(self.chip.chip, MacroPhysics(), programs[0].weights, number)
        runs = [known_run(program, image, macro, number, placement, phases)
                for program, image, placement
                in zip(programs, images, self.scattered(programs), strict=True)]
        self.chip.bind(programs, macro, number, phases)
        self.run(runs, stalling=True)

    def alone(self, made: tuple[Program, NDArray[np.int8]], number: int, late: int = 0) -> None:
        """A program that has all of the chip, its host so many clocks late."""
        program, image = made
        macro = Macro(program.chip, MacroPhysics(), program.weights, number)
        placement = replace(
            place([program])[0], activation_words=program.chip.memories.activation_words)
        self.chip.bind([program], macro, number)
        self.run([known_run(program, image, macro, number, placement)], stalling=False, late=late)

    def run(self, runs: Sequence[KnownRun], stalling: bool, late: int = 0) -> None:
        """From a reset to the end of all ``runs``, and what they did compared with golden's."""
        chip = self.chip
        chip.reset(2)
        chip.strict(chip.all_tiles)
        chip.comparators(chip.all_tiles)
        hosts = [self.hosts[run.tenant] for run in runs]
        for run, host in zip(runs, hosts, strict=True):
            chip.write_all(run.writes)
            host.interrupts(True)
        for host in hosts:
            host.control("start")
        chip.run(late)
        for run in runs:
            chip.begin(0, run.words, endless=False, tenant=run.tenant, tiles=run.tiles)
        open_, began = list(hosts), chip.clocks
        limit = _PATIENCE + 2 * sum(sum(run.clocks) for run in runs)
        while open_:
            if stalling:
                chip.comparators(int(self.rng.integers(chip.all_tiles + 1)))
                for host in open_:
                    chip.output_ready(bool(self.rng.integers(2)), host.tenant)
            chip.run(int(self.rng.integers(1, 12)) if stalling else limit)
            if chip.interrupt:
                for host in list(open_):
                    status = host.status()
                    if status.done or status.error:
                        if status.ending() != "done":
                            raise FaultError(f"a legal program of tenant {host.tenant}: {status}")
                        host.clear()
                        open_.remove(host)
            if chip.clocks - began > limit:
                raise FaultError("a legal program does not end")
        for run, host in zip(runs, hosts, strict=True):
            chip.output_ready(True, run.tenant)
            run.compare(host, hindered=True)
