"""Programs that lead a chip to the corners of its ranges, so that a run of them looks at all of it.

A network uses a few values of each field of a descriptor and some of the words of each memory. An
exercise draws every field anew for every layer, as often from the ends of its range as from within,
on images, weights and tables that are drawn as well; constants are such that outputs lie about the
range that they saturate to, whatever their shift. What must come out golden tells.
"""

from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .chip import GAIN_BITS, GAIN_FRACTION_BITS, Chip, Phases
from .chip.descriptor import DESCRIPTOR_WORDS
from .exercise_layers import Tables, corner, draw_program
from .macro import Macro
from .physics import MacroPhysics
from .placement import Placement
from .program import Program

__all__ = ["PHYSICS", "SEED", "Exercise", "exercises"]

#: What all exercises are drawn from.
SEED = 20
#: Macros that they are for. Comparators with 3 mV of noise, far more than any has, give a sum that
#: is converted again another code at most references, so that averages are rounded.
PHYSICS = MacroPhysics(comparator_noise=3e-3)
#: Longest of the phases where layers are long, in clocks.
_SHORT = 7
#: Layers of an exercise, as far as the memories hold them.
_CONVOLUTIONS, _ELEMENTWISE = 10, 18
#: How many exercises are brief, the layers of one, and how much shorter each of these is.
_BRIEF, _BRIEF_LAYERS, _SHORTER = 16, ("convolution", "convolution", "pool", "add"), 8
#: Layers, about, of the exercises of a tenant alone: small memories hold few at a time.
_LAYERS = 140
#: Tiles, at most, that are the first ones of an exercise.
_FIRSTS = 8
#: Least descriptors, and words of the activation buffer, of a tenant's exercise.
_DESCRIPTORS, _WORDS = 8, 64


@dataclass(frozen=True, eq=False)
class Exercise:
    """A program, where it lies, and an image for it: int8 [height, width, channels].

    ``phases``: those that it runs with; None for those of the program that comes after.
    ``hindered``: hosts and comparators are to wait, so that nobody can foretell its clocks.
    """

    program: Program
    placement: Placement
    image: NDArray[np.int8]
    phases: Phases | None = None
    hindered: bool = False


@cache
def exercises(chip: Chip) -> tuple[tuple[Exercise, ...], ...]:
    """Groups of exercises that run side by side, each for a tenant of its own.

    All have the same weights; each group but the first has phases of its own, short ones. In the
    first groups a tenant is alone, and has the chip from one of its tiles on, each tile in turn the
    first, in several rounds where the memories hold few layers; then all tenants run, on tiles of
    their own and on tiles that they share. Brief ones follow, of a tenant alone, whose phases are
    of any length and half of which are hindered, and all tenants on shared tiles, hindered.
    None for a chip whose memories would not hold a load, a layer and a store for each tenant.
    """
    memories = chip.memories
    if (memories.program_words // DESCRIPTOR_WORDS // chip.tenants < _DESCRIPTORS
            or memories.activation_words // chip.tenants < _WORDS):
        return ()
    rng = np.random.default_rng(SEED)
    array = chip.array
    weights = rng.integers(-128, 128, (chip.tiles, array.rows, array.columns)).astype(np.int8)
    macro = Macro(chip, PHYSICS, weights, SEED)
    everything = tuple(range(chip.tiles))
    firsts = range(0, max(chip.tiles, chip.tenants), -(-chip.tiles // _FIRSTS))
    layers = min(memories.program_words // DESCRIPTOR_WORDS, _CONVOLUTIONS + _ELEMENTWISE)
    rounds = max(1, round(_LAYERS / (layers * len(firsts))))
    groups: list[tuple[Exercise, ...]] = [
        (_exercise(macro, rng, _tables(chip, rng, number), number % chip.tenants,
                   everything[first % chip.tiles:], 1),)
        for number, first in enumerate([*firsts] * rounds)]
    if 1 < chip.tenants <= chip.tiles:
        order = rng.permutation(chip.tiles).tolist()
        tables = _tables(chip, rng, 1)
        groups.append(tuple(
            _exercise(macro, rng, tables, tenant,
                      tuple(sorted(order[tenant::chip.tenants])), chip.tenants)
            for tenant in range(chip.tenants)))
    if chip.tenants > 1:
        tables = _saturating(chip, _tables(chip, rng, 0))
        groups.append(tuple(
            _exercise(macro, rng, tables, tenant, everything, chip.tenants, shared=True)
            for tenant in range(chip.tenants)))
    else:
        groups.append((_exercise(macro, rng, _tables(chip, rng, 1), 0, everything, 1),))
    brief = [(_exercise(macro, rng, _tables(chip, rng, number), number % chip.tenants,
                        everything[number % chip.tiles:], 1, brief=True),)
             for number in range(_BRIEF)]
    tables = _tables(chip, rng, 1)
    brief.append(tuple(
        _exercise(macro, rng, tables, tenant, everything, chip.tenants, shared=True,
                  brief=True)
        for tenant in range(chip.tenants)))
    return (groups[0],
            *(tuple(replace(each, phases=_short_phases(number)) for each in group)
              for number, group in enumerate(groups[1:], 1)),
            # Two and two: each of two tenants is hindered, and phases are bit by bit those before.
            *(tuple(replace(each, phases=_any_phases(number), hindered=number % 4 < 2)
                    for each in group)
              for number, group in enumerate(brief)))


def _short_phases(number: int) -> Phases:
    rng = np.random.default_rng((SEED, number))
    return Phases(**{field.name: int(rng.integers(1, _SHORT + 1)) for field in fields(Phases)})


def _any_phases(number: int) -> Phases:
    """Phases of any length that registers hold; every second time the bits of the last inverted."""
    rng = np.random.default_rng((SEED, number // 2))
    top = 1 << Phases.BITS
    drawn = {field.name: int(rng.integers(1, top - 1)) for field in fields(Phases)}
    return Phases(**{name: top - 1 - length if number % 2 else length
                     for name, length in drawn.items()})


def _gain(rng: np.random.Generator) -> int:
    """A drift gain: any, or about a multiple of a half, so that products are close to a step."""
    half = 1 << (GAIN_FRACTION_BITS - 1)
    if rng.integers(2):
        return corner(rng, half, (1 << GAIN_BITS) - 1)
    return int(np.clip(half * rng.integers(1, 1 << (GAIN_BITS - GAIN_FRACTION_BITS + 1))
                       + rng.integers(-2, 3), half, (1 << GAIN_BITS) - 1))


def _tables(chip: Chip, rng: np.random.Generator, kind: int) -> Tables:
    """Tables and settings of the tiles; reference tables where ``kind`` is odd.

    The references of the gains are none by which a gain is found.
    """
    converter = chip.converter
    size, half = 1 << converter.bits, 1 << (converter.bits - 1)
    low = 1 << (converter.correction_bits - 1)
    gains = [_gain(rng) for _ in range(chip.tiles)]
    levels = None
    if kind % 2:
        limit = 1 << (converter.level_bits - 1)
        rising = np.sort(rng.integers(-limit, limit, (chip.tiles, size)), axis=1)
        levels = np.roll(rising, -half, axis=1)
    return {
        "corrections": rng.integers(-low, low, (chip.tiles, size)), "levels": levels,
        "offsets": np.array([corner(rng, -half, half - 1) // 4 for _ in range(chip.tiles)]),
        "gains": np.array(gains),
        "gain_references": rng.integers(0, 2, chip.tiles) * ((1 << chip.calibration_bits) - 1)}


def _saturating(chip: Chip, tables: Tables) -> Tables:
    """``tables`` with gains and codes by which the full layer's sums do not fit."""
    assert tables["corrections"] is not None
    largest, low = 1 << (chip.converter.bits - 1), 1 << (chip.converter.correction_bits - 1)
    corrections = tables["corrections"].copy()
    corrections[:, [largest - 1, largest]] = low - 1, -low      # of the highest code, the lowest
    return {**tables, "corrections": corrections, "offsets": np.zeros(chip.tiles, np.int64),
            "gains": np.full(chip.tiles, (1 << GAIN_BITS) - 1)}


def _exercise(macro: Macro, rng: np.random.Generator, tables: Tables, tenant: int,
              tiles: tuple[int, ...], tenants: int, shared: bool = False, brief: bool = False
              ) -> Exercise:
    """One of ``tenants`` that share the memories; ``shared``: that share tiles, too."""
    kinds = _BRIEF_LAYERS if brief else (
        "full", *(["long", "deep"] if tenants == 1 else []), *["convolution"] * _CONVOLUTIONS,
        *["pool"] * (_ELEMENTWISE // 2), *["add"] * (_ELEMENTWISE // 2))
    program, image, words = draw_program(
        macro, SEED, rng, tables, kinds, tiles, tenant, tenants,
        settle=not shared and not brief, shorter=_SHORTER if brief else 1)
    memories, images = macro.chip.memories, program.images()
    place = tenant % tenants

    def base(size: int, used: int) -> int:
        part = size // tenants
        return part * place + corner(rng, 0, part - used)

    descriptors = len(images.program) // DESCRIPTOR_WORDS
    constants = max(len(images.constants), 1)
    coefficients = max(len(images.coefficients[0]), 1)
    return Exercise(program, Placement(
        tenant, base(memories.program_words // DESCRIPTOR_WORDS, descriptors), descriptors,
        base(memories.activation_words, words), words,
        base(memories.constant_entries, constants), constants,
        base(memories.coefficient_words, coefficients), coefficients, tiles), image)
