"""Where the programs of several tenants lie on one chip."""

from collections.abc import Sequence
from dataclasses import dataclass

from .chip.descriptor import DESCRIPTOR_WORDS
from .program import Program, ProgramError

__all__ = ["Placement", "place"]


@dataclass(frozen=True)
class Placement:
    """What a tenant may use: the values of its registers (golden.chip.registers).

    Descriptors address from the first word or entry of each part, so that a program's images are
    the same wherever it lies.
    """

    tenant: int
    program_base: int
    program_length: int
    activation_base: int
    activation_words: int
    constants_base: int
    constant_entries: int
    coefficients_base: int
    coefficient_words: int
    tiles: tuple[int, ...]


def place(programs: Sequence[Program]) -> tuple[Placement, ...]:
    """A placement for each of ``programs``, of one chip: tenant 0, 1 and so on.

    Each has a bank of the activation buffer for itself, so that none waits for another's loads
    and stores; in the other memories they lie one after the other. ProgramError, naming the
    memory, if they do not fit; ValueError for more programs than tenants.
    """
    if not programs:
        raise ValueError("programs must hold at least one program")
    chip = programs[0].chip
    if len(programs) > chip.tenants:
        raise ValueError(f"programs must be at most {chip.tenants}, the tenants of chip "
                         f"{chip.name!r}, not {len(programs)}")
    if any(program.chip.hash != chip.hash for program in programs):
        raise ValueError("programs must be of one chip")
    memories = chip.memories
    activation_words = memories.activation_words // chip.tenants
    placements = []
    descriptor = constant = coefficient = 0
    for tenant, program in enumerate(programs):
        images = program.images()
        placement = Placement(
            tenant, descriptor, len(images.program) // DESCRIPTOR_WORDS,
            tenant * activation_words, activation_words, constant, len(images.constants),
            coefficient, len(images.coefficients[0]), program.used_tiles)
        descriptor += placement.program_length
        constant += placement.constant_entries
        coefficient += placement.coefficient_words
        placements.append(placement)
    for what, needed, there in (
            ("program", descriptor * DESCRIPTOR_WORDS, memories.program_words),
            ("requantizer constant", constant, memories.constant_entries),
            ("coefficient", coefficient, memories.coefficient_words)):
        if needed > there:
            raise ProgramError(f"the {what} memory of chip {chip.name!r} has {there} entries; "
                               f"the {len(programs)} programs need {needed}")
    return tuple(placements)
