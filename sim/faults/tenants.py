"""Two tenants of which one misbehaves: the other must not notice."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from golden.chip.descriptor import DESCRIPTOR_WORDS
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.placement import place
from golden.program import Program

from .campaign import Outcome, judge
from .damage import damaged
from .known_run import KnownRun, known_run
from .library import FaultChip, FaultError
from .tenant_host import TenantHost

__all__ = ["MISDEEDS", "run_tenant_campaign"]

#: What the misbehaving tenant does, with the causes (rtl.scheduler.Cause) that may be reported.
#: None: its program may also end without an error, or go on until it is aborted.
MISDEEDS: dict[str, tuple[int | None, ...]] = {
    "field": (None, 1, 2),          # a field of a descriptor takes another value
    "words": (None, 1, 2),          # words of a descriptor become random ones
    "opcode": (1,),                 # a descriptor asks for something that does not exist
    "noise": (1, 2),                # its whole program is random words, none of them an END
    "endless": (1,),                # its program never ends
    "coefficients": (None, 2),      # its lists of jobs are random words
    "window": (None, 1, 2),         # its windows are cut short
    "undecided": (None, 3),         # the comparators of its tiles never decide
    "stuck": (None,),               # the comparators of its tiles always answer one
    "abort": (None,),               # its host aborts, and starts it again, and aborts
    "unread": (4,),                 # its host never takes a word of the output stream
    "starved": (4,),                # its host stops in the middle of the input stream
}

#: So many clocks beyond those of both programs, for each has to wait for the other's turns, the
#: misbehaving tenant's host gives up and aborts.
_PATIENCE = 10_000
_HOST_TIMEOUT = 400
_COMPARATOR_TIMEOUT = 100


class _Case:
    """One case: both tenants run, and the ``bad`` one misbehaves."""

    def __init__(self, chip: FaultChip, rng: np.random.Generator, good: KnownRun, bad: KnownRun
                 ) -> None:
        self.chip, self.rng, self.good, self.bad = chip, rng, good, bad
        self.good_host, self.bad_host = (TenantHost(chip, run.tenant) for run in (good, bad))
        self.patience = _PATIENCE + sum(good.clocks) + sum(bad.clocks)

    def begin(self, run: KnownRun, words: NDArray[np.uint32], endless: bool) -> None:
        self.chip.begin(0, words, endless, run.tenant, run.tiles)
        (self.good_host if run is self.good else self.bad_host).control("start")

    def prepare(self, kind: str) -> None:
        """Load both, and the fault of the bad one."""
        chip, bad, rng = self.chip, self.bad, self.rng
        chip.comparators(chip.all_tiles)
        chip.strict(self.good.tiles)
        for run, host in ((self.good, self.good_host), (bad, self.bad_host)):
            chip.output_ready(True, run.tenant)
            chip.write_all(run.writes)
            host.interrupts(True)
        self.bad_host.write("comparator_timeout", _COMPARATOR_TIMEOUT)
        self.bad_host.write("host_timeout", _HOST_TIMEOUT)
        self.good_host.write("host_timeout", 0)
        words, placement = bad.program.images().program, bad.placement
        assert placement is not None
        first = placement.program_base
        if kind in ("field", "words", "opcode"):
            self.bad_host.write_program(damaged(words, kind, rng), first)
        elif kind == "noise":
            noise = rng.integers(0, 1 << 32, len(words), np.uint32)
            # An END would be no fault.
            opcodes = rng.integers(1, 16, len(words) // DESCRIPTOR_WORDS, np.uint32)
            noise[::DESCRIPTOR_WORDS] = noise[::DESCRIPTOR_WORDS] & ~np.uint32(15) | opcodes
            self.bad_host.write_program(noise, first)
        elif kind == "endless":
            load = words[:DESCRIPTOR_WORDS]         # over and over
            self.bad_host.write_program(np.resize(load, len(words)), first)
        elif kind == "coefficients":
            base, count = placement.coefficients_base, placement.coefficient_words
            for tile in placement.tiles:
                window = self.bad_host.map.window(f"coefficients{tile}")
                address = window.offset + 4 * (base + np.arange(count))
                data = rng.integers(0, 1 << 32, count, np.uint32)
                chip.write_all(np.stack([address, data], axis=1).astype(np.uint32))
        elif kind == "window":
            for name in ("activation_words", "coefficient_words", "constant_entries"):
                top = getattr(placement, name)
                self.bad_host.write(name, int(rng.integers(0, top + 1)))

    def run(self, kind: str) -> str:
        """Both to their ends; how the bad one's came."""
        chip, rng, good, bad = self.chip, self.rng, self.good, self.bad
        self.prepare(kind)
        words = bad.words
        if kind == "starved":
            words = words[:int(rng.integers(0, len(words)))]
        if kind == "unread":
            chip.output_ready(False, bad.tenant)
        order = [lambda: self.begin(good, good.words, False),
                 lambda: self.begin(bad, words, kind != "starved")]
        if rng.integers(2):
            order.reverse()
        order[0]()
        chip.run(int(rng.integers(60)))
        order[1]()
        if kind in ("undecided", "stuck"):
            chip.comparators(chip.all_tiles & ~(bad.tiles if kind == "undecided" else 0),
                             bad.tiles if kind == "stuck" else 0)
        return self.follow(kind)

    def follow(self, kind: str) -> str:
        chip, bad = self.chip, self.bad
        began, ended, done = chip.clocks, "", False
        next_abort = int(self.rng.integers(1, 300)) if kind == "abort" else self.patience
        aborts = 0
        while not (done and ended):
            chip.run(min(500, next_abort))
            status = self.good_host.status()
            if status.error:
                raise FaultError(f"the good tenant: {status}")
            if status.done and not done:
                done = True
                if status.busy:
                    raise FaultError(f"the good tenant: {status}")
                self.good_host.interrupts(False)
            status = self.bad_host.status()
            if (status.done or status.error) and not ended:
                ended = status.ending()
                self.bad_host.interrupts(False)
            late = chip.clocks - began > (next_abort if kind == "abort" else self.patience)
            if not ended and late:
                self.bad_host.abort()
                aborts += 1
                if kind == "abort" and aborts < 3:
                    self.bad_host.clear()
                    self.begin(bad, bad.words, True)
                    next_abort += int(self.rng.integers(1, 300))
                else:
                    ended = "aborted"
                    self.bad_host.interrupts(False)
            if chip.clocks - began > 20 * self.patience:
                raise FaultError("the tenants do not end")
        return ended

    def compare(self) -> None:
        """Every word, sum and code of the good tenant, and the clocks of its layers."""
        self.good.compare(self.good_host)
        self.good_host.clear()
        self.bad_host.clear()


def run_tenant_campaign(pairs: Sequence[tuple[Sequence[Program], Sequence[NDArray[np.int8]]]],
                        cases: int, seed: int,
                        progress: Callable[[int, int], None] | None = None,
                        coverage: Path | None = None) -> list[Outcome]:
    """``cases`` times two tenants side by side of which one misbehaves, every kind as often.

    Parameters
    ----------
    pairs
        Two programs of one chip with two tenants, with the same weights and corrections, on tiles
        of their own; and an image of each. Each case takes a pair, and one of the two to
        misbehave, at random. The other's codes, sums, words, outputs and clocks of every layer
        must be golden's.
    cases, seed, progress, coverage
        As for `sim.faults.campaign.run_campaign`.

    Raises FaultError, naming the case, where the chip hangs, reports no error or the wrong one,
    breaks a rule of its pins, or the other tenant notices anything.
    """
    if cases < 1:
        raise ValueError(f"cases must be at least 1, not {cases!r}")
    if not pairs:
        raise ValueError("pairs must hold at least one pair of programs")
    rng = np.random.default_rng(seed)
    outcomes = []
    prepared = []
    for programs, images in pairs:
        macro = Macro(programs[0].chip, MacroPhysics(), programs[0].weights, seed)
        runs = [known_run(program, image, macro, seed, placement) for program, image, placement
                in zip(programs, images, place(programs), strict=True)]
        prepared.append((programs, macro, runs))
    kinds = list(MISDEEDS)
    with FaultChip(pairs[0][0][0].chip, coverage) as chip:
        chip.reset(4)
        for number in range(cases):
            kind = kinds[number % len(kinds)]
            programs, macro, runs = prepared[rng.integers(len(prepared))]
            chip.bind(programs, macro, seed)
            guilty = int(rng.integers(2))
            case = _Case(chip, rng, runs[1 - guilty], runs[guilty])
            try:
                ended = case.run(kind)
                judge(MISDEEDS[kind], ended, set())
                case.compare()
            except AssertionError as error:
                raise FaultError(f"case {number} ({kind} of tenant {guilty}), seed {seed}: "
                                 f"{error}") from error
            outcomes.append(Outcome(number, kind, ended))
            if progress is not None:
                progress(number + 1, cases)
    return outcomes
