"""Two tenants of which one misbehaves: the other must not notice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.execute import execute
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.placement import Placement, place
from golden.program import Program
from golden.timing import layer_clocks
from golden.trace import LayerTrace
from sim.compare import compare_image
from sim.host import RegisterMap, input_words, load_writes
from sim.record import RtlImage, registers_read

from .campaign import Outcome
from .damage import damaged
from .library import FaultChip, FaultError

__all__ = ["MISDEEDS", "run_tenant_campaign"]

#: What the misbehaving tenant does, with the causes (rtl.scheduler.Cause) that may be reported.
#: None: its program may also end without an error, or go on until it is aborted.
MISDEEDS: dict[str, tuple[int | None, ...]] = {
    "field": (None, 1, 2),          # a field of a descriptor takes another value
    "words": (None, 1, 2),          # words of a descriptor become random ones
    "opcode": (1,),                 # a descriptor asks for something that does not exist
    "noise": (1, 2),                # its whole program is random words
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


@dataclass(frozen=True, eq=False)
class _Tenant:
    """A program as one of two tenants, and what golden makes of its image."""

    program: Program
    placement: Placement
    map: RegisterMap
    words: NDArray[np.uint32]
    writes: NDArray[np.uint32]
    layers: Sequence[LayerTrace]
    clocks: list[int]

    @property
    def tiles(self) -> int:
        """Its tiles, a bit each."""
        return sum(1 << tile for tile in self.placement.tiles)


class _Case:
    """One case: both tenants run, and the ``bad`` one misbehaves."""

    def __init__(self, chip: FaultChip, rng: np.random.Generator, good: _Tenant, bad: _Tenant
                 ) -> None:
        self.chip, self.rng, self.good, self.bad = chip, rng, good, bad
        self.program_writes = RegisterMap(chip.chip).window("program")
        self.patience = _PATIENCE + sum(good.clocks) + sum(bad.clocks)

    def write(self, tenant: _Tenant, register: str, value: int) -> None:
        if self.chip.write(tenant.map.address(register), value):
            raise FaultError(f"a write of register {register} is refused")

    def status(self, tenant: _Tenant) -> tuple[bool, bool, bool, int]:
        """busy, done, error, cause."""
        value = self.chip.read(tenant.map.address("status"))
        flags = (bool(value & tenant.map.mask("status", name))
                 for name in ("busy", "done", "error"))
        cause = tenant.map.field("status", "cause")
        return (*flags, value >> cause.low & ((1 << cause.width) - 1))

    def clear(self, tenant: _Tenant) -> None:
        self.write(tenant, "status", tenant.map.mask("status", "done")
                   | tenant.map.mask("status", "error"))

    def begin(self, tenant: _Tenant, words: NDArray[np.uint32], endless: bool) -> None:
        self.chip.begin(0, words, endless, tenant.placement.tenant, tenant.tiles)
        self.write(tenant, "control", tenant.map.mask("control", "start"))

    def abort(self, tenant: _Tenant) -> None:
        self.write(tenant, "control", tenant.map.mask("control", "abort"))

    def prepare(self, kind: str) -> None:
        """Load both, and the fault of the bad one."""
        chip, bad, rng = self.chip, self.bad, self.rng
        chip.comparators(chip.all_tiles)
        chip.strict(self.good.tiles)
        for tenant in (self.good, bad):
            chip.output_ready(True, tenant.placement.tenant)
            chip.write_all(tenant.writes)
            self.write(tenant, "interrupt", tenant.map.mask("interrupt", "done")
                       | tenant.map.mask("interrupt", "error"))
        self.write(bad, "comparator_timeout", _COMPARATOR_TIMEOUT)
        self.write(bad, "host_timeout", _HOST_TIMEOUT)
        self.write(self.good, "host_timeout", 0)
        words = bad.program.images().program
        if kind in ("field", "words", "opcode"):
            self.write_program(damaged(words, kind, rng))
        elif kind == "noise":
            self.write_program(rng.integers(0, 1 << 32, len(words), np.uint32))
        elif kind == "endless":
            first = words[:16]          # the LOAD, over and over
            self.write_program(np.resize(first, len(words)))
        elif kind == "coefficients":
            base, count = bad.placement.coefficients_base, bad.placement.coefficient_words
            for tile in bad.placement.tiles:
                window = bad.map.window(f"coefficients{tile}")
                address = window.offset + 4 * (base + np.arange(count))
                data = rng.integers(0, 1 << 32, count, np.uint32)
                chip.write_all(np.stack([address, data], axis=1).astype(np.uint32))
        elif kind == "window":
            for name in ("activation_words", "coefficient_words", "constant_entries"):
                top = getattr(bad.placement, name)
                self.write(bad, name, int(rng.integers(0, top + 1)))

    def write_program(self, words: NDArray[np.uint32]) -> None:
        first = self.bad.placement.program_base * 16
        address = self.program_writes.offset + 4 * (first + np.arange(len(words)))
        self.chip.write_all(np.stack([address, words], axis=1).astype(np.uint32))

    def run(self, kind: str) -> str:
        """Both to their ends; how the bad one's came."""
        chip, rng, good, bad = self.chip, self.rng, self.good, self.bad
        self.prepare(kind)
        words = bad.words
        if kind == "starved":
            words = words[:int(rng.integers(0, len(words)))]
        if kind == "unread":
            chip.output_ready(False, bad.placement.tenant)
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
        chip, good, bad = self.chip, self.good, self.bad
        began, ended, done = chip.clocks, "", False
        next_abort = int(self.rng.integers(1, 300)) if kind == "abort" else self.patience
        aborts = 0
        while not (done and ended):
            chip.run(min(500, next_abort))
            state = self.status(good)
            if state[1] and not done:
                done = True
                if state[0] or state[2]:
                    raise FaultError(f"the good tenant: busy {state[0]}, error {state[2]}")
                self.write(good, "interrupt", 0)
            elif state[2]:
                raise FaultError(f"the good tenant fails with cause {state[3]}")
            busy, finished, error, cause = self.status(bad)
            if (finished or error) and not ended:
                if busy or finished == error or bool(cause) != error:
                    raise FaultError(f"busy {busy}, done {finished}, error {error}, "
                                     f"cause {cause}")
                ended = f"cause {cause}" if error else "done"
                self.write(bad, "interrupt", 0)
            late = chip.clocks - began > (next_abort if kind == "abort" else self.patience)
            if not ended and late:
                self.abort(bad)
                busy, finished, error, _ = self.status(bad)
                if busy or error or not finished:
                    raise FaultError(f"after an abort: busy {busy}, done {finished}, "
                                     f"error {error}")
                aborts += 1
                if kind == "abort" and aborts < 3:
                    self.clear(bad)
                    self.begin(bad, bad.words, True)
                    next_abort += int(self.rng.integers(1, 300))
                else:
                    ended = "aborted"
                    self.write(bad, "interrupt", 0)
            if chip.clocks - began > 20 * self.patience:
                raise FaultError("the tenants do not end")
        return ended

    def compare(self) -> None:
        """Every word, sum and code of the good tenant, and the clocks of its layers."""
        good, chip = self.good, self.chip
        codes, sums, words, layers, outputs = chip.traces(good.placement.tenant)
        counters = {name: chip.read(good.map.address(name))
                    for name in registers_read(good.program.chip)}
        rtl = RtlImage(outputs, codes, sums, words, layers, counters, 0)
        compare_image(good.program, good.layers, 0, rtl, good.clocks).check()
        for tenant in (good, self.bad):
            self.clear(tenant)


def _tenants(programs: Sequence[Program], images: Sequence[NDArray[np.int8]], macro: Macro,
             seed: int) -> list[_Tenant]:
    result = []
    for placement, program, image in zip(place(programs), programs, images, strict=True):
        golden = execute(program, macro, image[None], seed, tenant=placement.tenant, trace=True)
        assert golden.layers is not None
        result.append(_Tenant(
            program, placement, RegisterMap(program.chip, placement.tenant),
            input_words(program, image[None])[0], load_writes(program, None, placement),
            golden.layers, layer_clocks(program, None, golden.layers)))
    return result


def run_tenant_campaign(pairs: Sequence[tuple[Sequence[Program], Sequence[NDArray[np.int8]]]],
                        cases: int, seed: int,
                        progress: Callable[[int, int], None] | None = None) -> list[Outcome]:
    """``cases`` times two tenants side by side of which one misbehaves, every kind as often.

    Parameters
    ----------
    pairs
        Two programs of one chip with two tenants, with the same weights and corrections, on tiles
        of their own; and an image of each. Each case takes a pair, and one of the two to
        misbehave, at random. The other's codes, sums, words, outputs and clocks of every layer
        must be golden's.
    cases, seed, progress
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
        prepared.append((programs, macro, _tenants(programs, images, macro, seed)))
    kinds = list(MISDEEDS)
    with FaultChip(pairs[0][0][0].chip) as chip:
        chip.reset(4)
        for number in range(cases):
            kind = kinds[number % len(kinds)]
            programs, macro, tenants = prepared[rng.integers(len(prepared))]
            chip.bind(programs, macro, seed)
            guilty = int(rng.integers(2))
            case = _Case(chip, rng, tenants[1 - guilty], tenants[guilty])
            try:
                ended = case.run(kind)
                _judge(kind, ended)
                case.compare()
            except AssertionError as error:
                raise FaultError(f"case {number} ({kind} of tenant {guilty}), seed {seed}: "
                                 f"{error}") from error
            outcomes.append(Outcome(number, kind, ended))
            if progress is not None:
                progress(number + 1, cases)
    return outcomes


def _judge(kind: str, ended: str) -> None:
    allowed = {f"cause {cause}" for cause in MISDEEDS[kind] if cause is not None}
    if None in MISDEEDS[kind]:
        allowed |= {"done", "aborted"}
    if ended not in allowed:
        raise FaultError(f"ended with {ended}, allowed are {', '.join(sorted(allowed))}")
