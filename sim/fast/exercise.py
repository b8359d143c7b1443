"""What is tried of a Verilated chip before programs are run on it: bring-up and exercises."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from golden.chip import Chip, Phases
from golden.chip.registers import COUNTERS, windows
from golden.execute import execute
from golden.exercise import PHYSICS, SEED, Exercise, exercises
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.program import Calibration, Program
from golden.timing import layer_clocks
from golden.trace import LayerTrace
from sim.compare import compare_image, tile_flags
from sim.host import RegisterMap, image_writes, input_words, load_writes, output_packets
from sim.record import RtlImage, registers_read

from .bring_up import BringUpError, bring_up
from .library import Harness, HarnessError, MacroSettings

__all__ = ["try_chip"]

#: Clocks in which an abort has ended.
_ABORTED = 1000
#: Aborts of an exercise anywhere, at most, and clocks that these may take, about.
_ABORTS, _BRIEF = 8, 100_000
#: Clocks in which a group of exercises may end, in those that its layers take one by one; in which
#: one that is hindered may.
_PATIENCE, _HINDERED_PATIENCE = 2, 8
#: Clocks after which comparators that never decide are given up: each bit is set in one.
_GIVEN_UP = (0x5555, 0xAAAA)
#: Clocks more that are counted as waits, until all has stopped; the cause in the status register
#: (golden.chip.registers).
_STOPPED, _TIMED_OUT = 1, 3
#: Clocks between two looks at a chip that is silent for long, which else is taken to hang.
_LOOK = 10_000
#: Longest waits for the comparator, in clocks, one after the other; it answers at once here.
_TIME_OUTS = (0, 0xFFFF, 0xAAAA, 0x5555)
#: Values of a counter, and how close below them one may begin.
_WRAP, _CLOSE = 1 << 32, 64


@dataclass(frozen=True, eq=False)
class _Expected:
    """An exercise with what golden makes of it; its counters go on from ``presets``."""

    exercise: Exercise
    presets: Mapping[str, int]
    traces: tuple[LayerTrace, ...]
    cycles: Sequence[int]
    settings: MacroSettings


@cache
def _expected(chip: Chip, phases: Phases, twin: bool) -> tuple[tuple[_Expected, ...], ...]:
    groups = exercises(chip)
    if not groups:
        return ()
    physics = MacroPhysics.ideal() if twin else PHYSICS
    macro = Macro(chip, physics, groups[0][0].program.weights, SEED)

    def expected(exercise: Exercise, number: int) -> _Expected:
        program = exercise.program
        traces = execute(program, macro, exercise.image[None], SEED,
                         tenant=exercise.placement.tenant, trace=True).layers
        assert traces is not None
        lengths = exercise.phases or phases
        return _Expected(exercise, _presets(number, exercise.placement.tenant), traces,
                         layer_clocks(program, lengths, traces),
                         MacroSettings(program, macro, SEED, lengths))

    return tuple(tuple(expected(exercise, number) for exercise in group)
                 for number, group in enumerate(groups))


def _presets(number: int, tenant: int) -> dict[str, int]:
    """A value for each counter, any or one from which a few events make it wrap.

    So their high bits count, too, which else would take longer than anybody waits.
    """
    rng = np.random.default_rng((SEED, number, tenant))
    return {name: _WRAP - int(rng.integers(1, _CLOSE if rng.integers(2) else _WRAP))
            for name in COUNTERS}


def try_chip(open_harness: Callable[[MacroSettings], AbstractContextManager[Harness]], chip: Chip,
             phases: Phases | None = None, twin: bool = False) -> None:
    """Bring a chip up that comes from its reset, then run all its exercises, of every tenant.

    ``phases`` and ``twin`` are as for `sim.fast.run.run_on_rtl`. Raises BringUpError at the first
    word that differs from golden's, or that golden cannot differ in.
    """
    groups = _expected(chip, phases or chip.phases, twin)
    # A twin's comparator always decides.
    undecided = {} if twin else _first_to_convert(groups)
    with open_harness(_blank(chip)) as harness:
        bring_up(harness, chip)
        for number, group in enumerate(groups):
            _run_group(harness, group, phases, number,
                       _GIVEN_UP if number in undecided.values() else ())


def _first_to_convert(groups: Sequence[Sequence[_Expected]]) -> dict[int, int]:
    """For each tile the first group of a tenant alone whose first tile it is.

    And that has calibrations, in which all tiles convert.
    """
    found: dict[int, int] = {}
    for number, group in enumerate(groups):
        program, tiles = group[0].exercise.program, group[0].exercise.placement.tiles
        if len(group) == 1 and any(isinstance(layer, Calibration) for layer in program.layers):
            found.setdefault(tiles[0], number)
    return found


def _blank(chip: Chip) -> MacroSettings:
    """Macros for what the bring-up runs, which converts nothing."""
    array = chip.array
    program = Program(
        chip, np.zeros((chip.tiles, array.rows, array.columns), np.int8),
        np.zeros((chip.tiles, 1 << chip.converter.bits), np.int64), (), (1, 1, 1), 1.0, 1.0, 1)
    return MacroSettings(program, Macro(chip, MacroPhysics.ideal(), program.weights, SEED), SEED,
                         chip.phases)


def _run_group(harness: Harness, group: Sequence[_Expected], phases: Phases | None,
               number: int, given_up: Sequence[int]) -> None:
    """Run the exercises of a group side by side, and compare each when it has ended.

    Weights, which are the same in all groups, are loaded with the first. Before, the comparator
    of the first tile is ``given_up`` after each of these numbers of clocks.
    """
    chip, hindered = group[0].exercise.program.chip, group[0].exercise.hindered
    alone = len(group) == 1
    running = {each.exercise.placement.tenant: each for each in group}
    try:
        for each in group:
            harness.write(_writes(each.exercise, each.exercise.phases or phases, number == 0))
            harness.set_program(each.settings, each.exercise.placement.tenant)
        if alone:
            for clocks in given_up:
                _give_up(harness, group[0], clocks)
            for clocks in _aborts(group[0], number):
                _abort(harness, group[0].exercise, clocks)
            _clear_flags(harness, chip)
        harness.write([(RegisterMap(chip).address("comparator_timeout"),
                        _TIME_OUTS[number % len(_TIME_OUTS)])])
        if hindered:
            harness.hinder(SEED + number)
        for each in group:
            _start(harness, each.exercise, alone, each.presets)
        patience = ((_HINDERED_PATIENCE if hindered else _PATIENCE)
                    * sum(sum(each.cycles) for each in group))
        while running:
            if not harness.run(patience):
                raise HarnessError(f"nothing has ended after {patience} clocks")
            for tenant in list(running):
                if _has_ended(harness, RegisterMap(chip, tenant)):
                    harness.finish(tenant)
                    _compare(harness, running.pop(tenant), alone)
        if hindered:
            harness.hinder(0)
        _check_flags(harness, group)
        _clear_flags(harness, chip)
    except BringUpError:
        raise
    except HarnessError as error:
        places = " and ".join(_place(harness, each) for each in running.values())
        word = "pins" if "pin " in str(error) else "program"
        raise BringUpError(f"bring-up, {word}: {error}, in {places}", word, places) from error


def _aborts(expected: _Expected, number: int) -> list[int]:
    """Clocks at which the exercise of group ``number`` is aborted.

    One in the first layer of each kind, and, of an exercise that is brief, some anywhere.
    """
    rng = np.random.default_rng((SEED, number))
    within: dict[type, int] = {}
    start = 0
    for layer, clocks in zip(expected.exercise.program.layers, expected.cycles, strict=True):
        within.setdefault(type(layer), start + int(rng.integers(1, clocks)))
        start += clocks
    anywhere = rng.integers(1, start, min(_BRIEF // start, _ABORTS))
    return [*within.values(), *anywhere.tolist()]


def _abort(harness: Harness, exercise: Exercise, clocks: int) -> None:
    """Run an exercise for so many ``clocks``; it must be idle, and as after a reset, then."""
    registers = RegisterMap(exercise.program.chip, exercise.placement.tenant)
    _start(harness, exercise, alone=True)
    if harness.run(clocks):
        raise HarnessError(f"an interrupt within {clocks} clocks, of {exercise.program.network}")
    harness.watch(False)
    harness.write([(registers.address("control"), registers.mask("control", "abort"))])
    if not harness.run(_ABORTED):
        raise HarnessError(f"an abort has not ended after {_ABORTED} clocks")
    _check_status(harness, registers, "done", "the aborted program")
    harness.watch(True)


def _check_status(harness: Harness, registers: RegisterMap, flag: str, what: str,
                  cause: int = 0) -> None:
    """A tenant must have ended with ``flag`` and for this cause; the flag is cleared."""
    expected = registers.mask("status", flag) | cause << registers.field("status", "cause").low
    looked_at = expected | registers.mask("status", "cause")
    for name in ("busy", "done", "error"):
        looked_at |= registers.mask("status", name)
    status = harness.read(registers.address("status"))
    if status & looked_at != expected:
        raise HarnessError(f"{what} ended with status {status:#010x}, not {expected:#010x}")
    harness.write([(registers.address("status"), registers.mask("status", flag))])


def _give_up(harness: Harness, expected: _Expected, clocks: int) -> None:
    """The comparator of the first tile never decides, and is given up after ``clocks``."""
    exercise = expected.exercise
    chip, (tile, *_) = exercise.program.chip, exercise.placement.tiles
    registers = RegisterMap(chip, exercise.placement.tenant)
    harness.watch(False)
    harness.decide([other for other in range(chip.tiles) if other != tile])
    harness.write([(registers.address("comparator_timeout"), clocks)])
    _start(harness, exercise, alone=True)
    last = harness.clocks + _PATIENCE * sum(expected.cycles) + clocks
    while not harness.run(_LOOK):
        waited = harness.read(registers.address("comparator"))
        if harness.clocks > last:
            raise HarnessError(f"a comparator that never decides is not given up after {waited} "
                               f"clocks instead of {clocks}")
    _check_status(harness, registers, "error", "a comparator that never decides", _TIMED_OUT)
    waited = harness.read(registers.address("comparator"))
    if waited != clocks + _STOPPED:
        raise HarnessError(f"a comparator that never decides was waited for in {waited} clocks "
                           f"instead of {clocks + _STOPPED}")
    harness.decide(range(chip.tiles))
    harness.watch(True)


def _place(harness: Harness, expected: _Expected) -> str:
    """Where a tenant that runs has come to."""
    program, tenant = expected.exercise.program, expected.exercise.placement.tenant
    names = [layer.name for layer in program.layers] + ["END"]
    name = names[min(len(harness.layers(tenant)), len(names) - 1)]
    return f"layer {name!r} of the exercise of tenant {tenant}"


def _compare(harness: Harness, expected: _Expected, alone: bool) -> None:
    """BringUpError with the first word that differs; ``alone``: no other tenant ran."""
    program, tenant = expected.exercise.program, expected.exercise.placement.tenant
    chip, registers = program.chip, RegisterMap(program.chip, tenant)
    tiles = range(chip.tiles)
    image = RtlImage(
        harness.outputs(tenant), tuple(harness.codes(tile, tenant) for tile in tiles),
        harness.sums(tenant), harness.words(tenant), harness.layers(tenant),
        {name: (harness.read(registers.address(name)) - expected.presets.get(name, 0)) % _WRAP
         for name in registers_read(chip)}, 0,
        rows=tuple(harness.rows(tile, chip.array.granules, tenant) for tile in tiles),
        masks=tuple(harness.masks(tile, chip.array.columns, tenant) for tile in tiles),
        activity=harness.activity() if alone else {}, host_waits=harness.host_waits(tenant))
    cycles = None if expected.exercise.hindered else expected.cycles
    found = compare_image(program, expected.traces, 0, image, cycles).mismatches
    if found:
        first = found[0]
        raise BringUpError(f"bring-up, exercise of tenant {tenant}, {first}", first.word,
                           f"{first.layer} of the exercise of tenant {tenant}")


def _check_flags(harness: Harness, group: Sequence[_Expected]) -> None:
    """The flags of the tiles tell what golden does of the exercises of a group."""
    expected: dict[str, int] = {}
    for each in group:
        for name, flags in tile_flags(each.exercise.program, each.traces, 0).items():
            expected[name] = expected.get(name, 0) | flags
    registers = RegisterMap(group[0].exercise.program.chip)
    for name, flags in expected.items():
        got = harness.read(registers.address(name))
        if got != flags:
            raise BringUpError.of(name, f"expected {flags:#x}, got {got:#x}")


def _clear_flags(harness: Harness, chip: Chip) -> None:
    """Each flag of the tiles goes if a one is written to it, and only then."""
    registers = RegisterMap(chip)
    for tile in range(chip.tiles):
        name = f"tile_flags{tile}"
        address = registers.address(name)
        flags = harness.read(address)
        for written, left in ((_WRAP - 1 ^ flags, flags), (flags & 1, flags & ~1), (flags, 0)):
            harness.write([(address, written)])
            got = harness.read(address)
            if got != left:
                raise BringUpError.of(name, f"{flags:#x} was, {written:#x} was written, and "
                                            f"{got:#x} is left instead of {left:#x}")


def _writes(exercise: Exercise, phases: Phases | None, with_weights: bool) -> NDArray[np.uint32]:
    writes = load_writes(exercise.program, phases, exercise.placement)
    if with_weights:
        return writes
    weights = [window for window in windows(exercise.program.chip)
               if window.name.startswith("weights")]
    first, last = weights[0], weights[-1]
    kept = (writes[:, 0] < first.offset) | (writes[:, 0] >= last.offset + 4 * last.entries)
    return writes[kept]


def _start(harness: Harness, exercise: Exercise, alone: bool,
           presets: Mapping[str, int] | None = None) -> None:
    """Start an exercise; its counters go on from ``presets``, or begin at zero."""
    program, tenant = exercise.program, exercise.placement.tenant
    registers = RegisterMap(program.chip, tenant)
    harness.write(image_writes(program))
    harness.begin(0, input_words(program, exercise.image[None])[0], output_packets(program), tenant,
                  program.used_tiles if alone else ())
    interrupts = registers.mask("interrupt", "done") | registers.mask("interrupt", "error")
    control = registers.mask("control", "start")
    if presets is not None:
        harness.write([(registers.address(name), value) for name, value in presets.items()])
        control |= registers.mask("control", "keep")
    harness.write([(registers.address("interrupt"), interrupts),
                   (registers.address("control"), control)])


def _has_ended(harness: Harness, registers: RegisterMap) -> bool:
    status = harness.read(registers.address("status"))
    done = registers.mask("status", "done")
    if status & registers.mask("status", "error"):
        raise HarnessError(f"the program ended with status {status:#010x}")
    if status & done:
        harness.write([(registers.address("status"), done)])
    return bool(status & done)
