"""Random faults one after the other, and after each a program that must run as golden does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from golden.chip.descriptor import DESCRIPTOR_WORDS
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.placement import Placement, place
from golden.program import Program

from .damage import damaged
from .known_run import KnownRun, known_run
from .library import FaultChip, FaultError
from .tenant_host import TenantHost

__all__ = ["KINDS", "Outcome", "judge", "run_campaign"]

#: What can go wrong, with the causes (rtl.scheduler.Cause) that may be reported. None: the
#: program may also end without an error, or go on until it is aborted.
KINDS: dict[str, tuple[int | None, ...]] = {
    "field": (None, 1, 2),          # a field of a descriptor takes another value
    "words": (None, 1, 2),          # words of a descriptor become random ones
    "opcode": (1,),                 # a descriptor asks for something that does not exist
    "truncated": (None, 1, 2),      # the program's end, or its coefficients, were never written
    "undecided": (3,),              # a comparator never decides again
    "stuck": (None,),               # a comparator answers one, whatever its input
    "abort": (None,),               # the host aborts in the middle
    "reset": (None,),               # reset in the middle
    "unread": (None,),              # the host stops taking the output stream
    "starved": (None,),             # the host stops in the middle of the input stream
    "bus": (None,),                 # the host writes where it must not, while a program runs
}

#: A silence longer than any chip at work: a product's phases, at the longest, and its load.
_QUIET_LIMIT = 50_000
#: Programs may be illegal and long; after so many clocks at work the host aborts.
_PATIENCE = 100_000
_ABORT_CLOCKS = 4
#: Room for a program and its coefficients, where the chip has as much.
_PROGRAM_WORDS, _COEFFICIENT_WORDS = 512, 1024
_TIMEOUT_CLOCKS = 200


@dataclass(frozen=True)
class Outcome:
    """One case: its number and kind, and how it ended.

    ``ended`` is done, aborted, reset, late (the fault came after the last conversion) or the
    cause that the status register gave, cause 1 to cause 4.
    """

    case: int
    kind: str
    ended: str


class _Campaign:
    def __init__(self, chip: FaultChip, rng: np.random.Generator) -> None:
        self.chip, self.rng, self.host = chip, rng, TenantHost(chip)
        self.map = self.host.map

    def integer(self, low: int, high: int) -> int:
        """Uniform, both ends included."""
        return int(self.rng.integers(low, high + 1))

    # Programs.

    def load(self, good: KnownRun) -> None:
        self.chip.bind([good.program], good.macro, good.seed)
        self.chip.write_all(good.writes)
        self.host.interrupts(True)

    def truncate(self, good: KnownRun) -> None:
        """Leave the end of the program, or of the coefficients, as some earlier one had it."""
        assert good.placement is not None
        if self.integer(0, 1):
            words = good.program.images().program
            cut = self.integer(0, len(words) - DESCRIPTOR_WORDS)
            left = good.placement.program_length * DESCRIPTOR_WORDS - cut
            stale = self.rng.integers(0, 1 << 32, left, np.uint32)
            if self.integer(0, 1):
                # Whole descriptors that are legal, to the end of the window.
                stale = np.resize(words[:DESCRIPTOR_WORDS], left)
            self.host.write_program(np.concatenate([words[:cut], stale]))
            return
        for tile in range(self.chip.chip.tiles):
            coefficients = self.map.window(f"coefficients{tile}")
            cut = self.integer(0, 8)
            address = coefficients.offset + 4 * np.arange(cut, good.placement.coefficient_words)
            fill = 0 if self.integer(0, 1) else (1 << 32) - 1 - 1   # no entry is the last
            self.chip.write_all(np.stack([address, np.full(len(address), fill)],
                                         axis=1).astype(np.uint32))

    # Cases.

    def fault(self, good: KnownRun, kind: str) -> str:
        """Run ``good`` with a fault; how it ended."""
        chip, everything = self.chip, self.chip.all_tiles
        chip.strict(0)
        self.load(good)
        self.host.write("comparator_timeout", self.integer(1, _TIMEOUT_CLOCKS))
        if kind in ("field", "words", "opcode"):
            self.host.write_program(damaged(good.program.images().program, kind, self.rng))
        elif kind == "truncated":
            self.truncate(good)
        words = good.words
        if kind == "starved":
            words = words[:self.integer(0, len(words) - 1)]
        chip.begin(0, words, endless=kind not in ("starved",))
        self.host.control("start")
        length = sum(good.clocks)
        if kind in ("undecided", "stuck", "abort", "reset", "bus"):
            chip.run(self.integer(1, length))
        if kind == "undecided":
            return self.undecided(length)
        if kind == "stuck":
            chip.comparators(everything, 1 << self.integer(0, chip.chip.tiles - 1))
        elif kind == "unread":
            chip.output_ready(False)
        elif kind == "bus" and not chip.interrupt:
            self.forbidden_accesses(good)
        elif kind == "reset":
            chip.reset(self.integer(1, 3))
            return "reset"
        elif kind == "abort":
            return self.abort()
        return self.await_end(waiting=kind in ("unread", "starved"))

    def undecided(self, length: int) -> str:
        """No comparator decides from now on: the first conversion that is left times out."""
        self.chip.comparators(0)
        self.chip.run(length + _TIMEOUT_CLOCKS)
        if not self.chip.interrupt:
            raise FaultError("a comparator that never decides does not time out")
        ended = self.host.status().ending()
        # The fault may come after the last conversion; then the program just ends.
        return "late" if ended == "done" else ended

    def forbidden_accesses(self, good: KnownRun) -> None:
        """Memories are not to be written while a program runs, nor what is not there."""
        assert good.placement is not None
        chip, program = self.chip, self.map.window("program")
        used = good.placement.program_length * DESCRIPTOR_WORDS
        wrong = [program.offset + 4 * self.integer(0, used - 1), 0x1C,
                 (1 << 24) - 4, self.map.address("control") + self.integer(1, 3)]
        for address in wrong:
            if not chip.write(address, self.integer(0, (1 << 32) - 1)) and not chip.interrupt:
                if self.host.status().busy:
                    raise FaultError(f"a write to {address:#x} is taken while a program runs")

    def abort(self) -> str:
        """Abort: idle, with all switches open, a few clocks later."""
        self.host.abort(_ABORT_CLOCKS)
        return "aborted"

    def await_end(self, waiting: bool) -> str:
        """To the interrupt. ``waiting``: the chip may have to wait for its host for ever."""
        started = self.chip.clocks
        while not self.chip.interrupt:
            quiet = self.chip.run(_QUIET_LIMIT // 10 if waiting else _QUIET_LIMIT)
            if self.chip.interrupt:
                break
            if waiting:
                return self.abort()
            if quiet >= _QUIET_LIMIT:
                raise FaultError("the chip is busy and nothing happens")
            if self.chip.clocks - started > _PATIENCE:
                return self.abort()
        return self.host.status().ending()

    def recover(self, good: KnownRun) -> None:
        """All is open and idle; a program that is loaded now runs as golden does."""
        chip, host = self.chip, self.host
        chip.comparators(chip.all_tiles)
        chip.output_ready(True)
        chip.begin(0, np.zeros(0, np.uint32), endless=False)
        chip.run(1)
        if chip.switches_closed:
            raise FaultError("switches are closed while no program runs")
        if host.status().busy:
            raise FaultError("the chip is busy though no program runs")
        host.clear()
        host.write("comparator_timeout", self.map.field("comparator_timeout", "clocks").reset)
        chip.strict(chip.all_tiles)
        self.load(good)
        before = chip.clocks
        chip.begin(0, good.words, endless=False)
        host.control("start")
        chip.run(2 * sum(good.clocks) + 1000)
        if not chip.interrupt or host.status().ending() != "done":
            raise FaultError("the program after the fault does not end")
        good.compare(host, chip.clocks - before)
        host.clear()


def run_campaign(programs: Sequence[tuple[Program, NDArray[np.int8]]], cases: int, seed: int,
                 progress: Callable[[int, int], None] | None = None,
                 coverage: Path | None = None) -> list[Outcome]:
    """``cases`` random faults on one chip, one after the other, every kind as often.

    Parameters
    ----------
    programs
        Programs of one chip, each with an image, int8 [height, width, channels]. Each case takes
        one at random to put a fault to, and another to run afterwards, whose codes, sums, words,
        clocks and counters must all be golden's.
    cases, seed
        How many, and the seed of every choice.
    progress
        Called with cases done and cases in all.
    coverage
        File for what of the chip the campaign has reached (`sim.coverage`); not counted if None.

    Raises FaultError, naming the case, where the chip hangs, reports no error or the wrong one,
    or breaks a rule of its pins.
    """
    if cases < 1:
        raise ValueError(f"cases must be at least 1, not {cases!r}")
    if not programs:
        raise ValueError("programs must hold at least one program")
    good = [known_run(program, image, Macro(program.chip, MacroPhysics(), program.weights, seed),
                      seed, _roomy(program)) for program, image in programs]
    outcomes = []
    with FaultChip(good[0].program.chip, coverage) as chip:
        chip.reset(4)
        rng = np.random.default_rng(seed)
        campaign = _Campaign(chip, rng)
        chip.comparators(chip.all_tiles)
        kinds = list(KINDS)
        for case in range(cases):
            kind = kinds[case % len(kinds)]
            try:
                ended = campaign.fault(good[rng.integers(len(good))], kind)
                judge(KINDS[kind], ended, {"reset", *(["late"] if kind == "undecided" else [])})
                campaign.recover(good[rng.integers(len(good))])
            except AssertionError as error:
                raise FaultError(f"case {case} ({kind}), seed {seed}: {error}") from error
            outcomes.append(Outcome(case, kind, ended))
            if progress is not None:
                progress(case + 1, cases)
    return outcomes


def _roomy(program: Program) -> Placement:
    """Windows with room behind the program, but so little that a fault can fill it."""
    memories = program.chip.memories
    return replace(
        place([program])[0],
        program_length=min(memories.program_words, _PROGRAM_WORDS) // DESCRIPTOR_WORDS,
        activation_words=memories.activation_words, constant_entries=memories.constant_entries,
        coefficient_words=min(memories.coefficient_words, _COEFFICIENT_WORDS))


def judge(causes: Sequence[int | None], ended: str, also: set[str]) -> None:
    """FaultError if a case did not end with one of ``causes``, of `KINDS`, or one of ``also``."""
    allowed = {f"cause {cause}" for cause in causes if cause is not None} | also
    if None in causes:
        allowed |= {"done", "aborted"}
    if ended not in allowed:
        raise FaultError(f"it ended with {ended}, allowed are {', '.join(sorted(allowed))}")
