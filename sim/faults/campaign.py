"""Random faults one after the other, and after each a program that must run as golden does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.chip.descriptor import DESCRIPTOR_WORDS
from golden.execute import execute
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.program import Program
from golden.timing import layer_clocks
from golden.trace import LayerTrace
from sim.compare import compare_image
from sim.host import RegisterMap, input_words, load_writes
from sim.record import RtlImage, registers_read

from .damage import damaged
from .library import FaultChip, FaultError

__all__ = ["KINDS", "Outcome", "run_campaign"]

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
_TIMEOUT_CLOCKS = 200


@dataclass(frozen=True)
class Outcome:
    """One case: its number and kind, and how it ended.

    ``ended`` is done, aborted, reset, late (the fault came after the last conversion) or the
    cause that the status register gave, cause 1 to cause 3.
    """

    case: int
    kind: str
    ended: str


@dataclass(frozen=True, eq=False)
class _Good:
    """A program, and what golden makes of its image."""

    program: Program
    macro: Macro
    seed: int
    writes: NDArray[np.uint32]
    words: NDArray[np.uint32]
    layers: Sequence[LayerTrace]
    cycles: list[int]


def _good(program: Program, image: NDArray[np.int8], seed: int) -> _Good:
    macro = Macro(program.chip, MacroPhysics(), program.weights, seed)
    golden = execute(program, macro, image[None], seed, trace=True)
    assert golden.layers is not None
    return _Good(program, macro, seed, load_writes(program), input_words(program, image[None])[0],
                 golden.layers, layer_clocks(program, None, golden.layers))


class _Campaign:
    def __init__(self, chip: FaultChip, rng: np.random.Generator) -> None:
        self.chip, self.rng = chip, rng
        self.map = RegisterMap(chip.chip)
        self.program_window = self.map.window("program")

    def integer(self, low: int, high: int) -> int:
        """Uniform, both ends included."""
        return int(self.rng.integers(low, high + 1))

    # The host's side of the registers.

    def control(self, name: str) -> None:
        self.write("control", self.map.mask("control", name))

    def write(self, register: str, value: int) -> None:
        if self.chip.write(self.map.address(register), value):
            raise FaultError(f"a write of register {register} is refused")

    def status(self) -> tuple[bool, bool, bool, int]:
        """busy, done, error, cause."""
        value = self.chip.read(self.map.address("status"))
        flags = (bool(value & self.map.mask("status", name)) for name in ("busy", "done", "error"))
        cause = self.map.field("status", "cause")
        return (*flags, value >> cause.low & ((1 << cause.width) - 1))

    def enable_interrupts(self) -> None:
        self.write("interrupt", self.map.mask("interrupt", "done")
                   | self.map.mask("interrupt", "error"))

    # Programs.

    def program_writes(self, words: NDArray[np.uint32]) -> None:
        window = self.program_window
        address = window.offset + 4 * np.arange(len(words), dtype=np.uint32)
        self.chip.write_all(np.stack([address, words], axis=1).astype(np.uint32))

    def load(self, good: _Good) -> None:
        self.chip.bind([good.program], good.macro, good.seed)
        self.chip.write_all(good.writes)
        self.enable_interrupts()

    def truncate(self, good: _Good) -> None:
        """Leave the end of the program, or of the coefficients, as some earlier one had it."""
        window = self.program_window
        if self.integer(0, 1):
            words = good.program.images().program
            cut = self.integer(0, len(words) - DESCRIPTOR_WORDS)
            stale = self.rng.integers(0, 1 << 32, window.entries - cut, np.uint32)
            if self.integer(0, 1):
                # Whole descriptors that are legal, to the end of the memory.
                stale = np.resize(words[:DESCRIPTOR_WORDS], window.entries - cut)
            self.program_writes(np.concatenate([words[:cut], stale]))
            return
        for tile in range(self.chip.chip.tiles):
            coefficients = self.map.window(f"coefficients{tile}")
            cut = self.integer(0, 8)
            address = coefficients.offset + 4 * np.arange(cut, coefficients.entries)
            fill = 0 if self.integer(0, 1) else (1 << 32) - 1 - 1   # no entry is the last
            self.chip.write_all(np.stack([address, np.full(len(address), fill)],
                                         axis=1).astype(np.uint32))

    # Cases.

    def fault(self, good: _Good, kind: str) -> str:
        """Run ``good`` with a fault; how it ended."""
        chip, everything = self.chip, (1 << self.chip.chip.tiles) - 1
        chip.strict(0)
        self.load(good)
        self.write("comparator_timeout", self.integer(1, _TIMEOUT_CLOCKS))
        if kind in ("field", "words", "opcode"):
            self.program_writes(damaged(good.program.images().program, kind, self.rng))
        elif kind == "truncated":
            self.truncate(good)
        words = good.words
        if kind == "starved":
            words = words[:self.integer(0, len(words) - 1)]
        chip.begin(0, words, endless=kind not in ("starved",))
        self.control("start")
        length = sum(good.cycles)
        if kind in ("undecided", "stuck", "abort", "reset", "bus"):
            chip.run(self.integer(1, length))
        if kind == "undecided":
            return self.undecided(length)
        if kind == "stuck":
            chip.comparators(everything, 1 << self.integer(0, chip.chip.tiles - 1))
        elif kind == "unread":
            chip.output_ready(False)
        elif kind == "bus" and not chip.interrupt:
            self.forbidden_accesses()
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
        ended = self.ending()
        # The fault may come after the last conversion; then the program just ends.
        return "late" if ended == "done" else ended

    def forbidden_accesses(self) -> None:
        """Memories are not to be written while a program runs, nor what is not there."""
        chip = self.chip
        window = self.program_window
        wrong = [window.offset + 4 * self.integer(0, window.entries - 1), 0x1C,
                 (1 << 24) - 4, self.map.address("control") + self.integer(1, 3)]
        for address in wrong:
            if not chip.write(address, self.integer(0, (1 << 32) - 1)) and not chip.interrupt:
                if self.status()[0]:
                    raise FaultError(f"a write to {address:#x} is taken while a program runs")

    def abort(self) -> str:
        """Abort: idle, with all switches open, a few clocks later."""
        self.control("abort")
        self.chip.run(_ABORT_CLOCKS)
        busy, done, error, _ = self.status()
        if busy or error or not done:
            raise FaultError(f"after an abort: busy {busy}, done {done}, error {error}")
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
        return self.ending()

    def ending(self) -> str:
        busy, done, error, cause = self.status()
        if busy or done == error or bool(cause) != error:
            raise FaultError(f"at the interrupt: busy {busy}, done {done}, error {error}, "
                             f"cause {cause}")
        return f"cause {cause}" if error else "done"

    def recover(self, good: _Good) -> None:
        """All is open and idle; a program that is loaded now runs as golden does."""
        chip = self.chip
        chip.comparators((1 << chip.chip.tiles) - 1)
        chip.output_ready(True)
        chip.begin(0, np.zeros(0, np.uint32), endless=False)
        chip.run(1)
        if chip.switches_closed:
            raise FaultError("switches are closed while no program runs")
        if self.status()[0]:
            raise FaultError("the chip is busy though no program runs")
        self.write("status", self.map.mask("status", "done") | self.map.mask("status", "error"))
        self.write("comparator_timeout", self.map.field("comparator_timeout", "clocks").reset)
        chip.strict(chip.all_tiles)
        self.load(good)
        before = chip.clocks
        chip.begin(0, good.words, endless=False)
        self.control("start")
        chip.run(2 * sum(good.cycles) + 1000)
        if not chip.interrupt or self.ending() != "done":
            raise FaultError("the program after the fault does not end")
        codes, sums, words, layers, outputs = chip.traces()
        counters = {name: chip.read(self.map.address(name))
                    for name in registers_read(good.program.chip)}
        rtl = RtlImage(outputs, codes, sums, words, layers, counters, chip.clocks - before)
        compare_image(good.program, good.layers, 0, rtl, good.cycles).check()
        self.write("status", self.map.mask("status", "done"))


def run_campaign(programs: Sequence[tuple[Program, NDArray[np.int8]]], cases: int, seed: int,
                 progress: Callable[[int, int], None] | None = None) -> list[Outcome]:
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

    Raises FaultError, naming the case, where the chip hangs, reports no error or the wrong one,
    or breaks a rule of its pins.
    """
    if cases < 1:
        raise ValueError(f"cases must be at least 1, not {cases!r}")
    if not programs:
        raise ValueError("programs must hold at least one program")
    good = [_good(program, image, seed) for program, image in programs]
    outcomes = []
    with FaultChip(good[0].program.chip) as chip:
        chip.reset(4)
        rng = np.random.default_rng(seed)
        campaign = _Campaign(chip, rng)
        chip.comparators((1 << chip.chip.tiles) - 1)
        kinds = list(KINDS)
        for case in range(cases):
            kind = kinds[case % len(kinds)]
            try:
                ended = campaign.fault(good[rng.integers(len(good))], kind)
                _judge(kind, ended)
                campaign.recover(good[rng.integers(len(good))])
            except AssertionError as error:
                raise FaultError(f"case {case} ({kind}), seed {seed}: {error}") from error
            outcomes.append(Outcome(case, kind, ended))
            if progress is not None:
                progress(case + 1, cases)
    return outcomes


def _judge(kind: str, ended: str) -> None:
    allowed = {f"cause {cause}" for cause in KINDS[kind] if cause is not None}
    if None in KINDS[kind]:
        allowed |= {"done", "aborted", "reset"}
    if kind == "undecided":
        allowed.add("late")
    if ended not in allowed:
        raise FaultError(f"it ended as {ended!r}, not {sorted(allowed)}")
