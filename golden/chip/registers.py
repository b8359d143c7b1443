"""Register map and memory windows of the AXI4-Lite port: the one specification.

The RTL, docs/registers.md and the C header are made from `REGISTERS` and `windows`.
"""

from dataclasses import dataclass, fields

from .configuration import Chip, Phases

__all__ = ["ADDRESS_BITS", "IDENTIFIER", "VERSION", "Bits", "Register", "registers", "Window",
           "windows"]

#: Byte-address bits of the AXI4-Lite port.
ADDRESS_BITS = 24
#: Value of the ID register: "XLOM" in ASCII.
IDENTIFIER = 0x584C_4F4D
#: Value of the version register: major, minor, patch, one byte each, lowest byte zero.
VERSION = 0x0001_0000


@dataclass(frozen=True)
class Bits:
    """One field of a register. Access: R read-only, RW, W1C write one to clear, W1S pulse."""

    name: str
    low: int
    width: int
    access: str
    reset: int
    meaning: str


@dataclass(frozen=True)
class Register:
    """A 32-bit register at byte offset ``offset``."""

    name: str
    offset: int
    bits: tuple[Bits, ...]


def registers(chip: Chip) -> tuple[Register, ...]:
    """The register map of ``chip``, in order of address."""
    def constant(name: str, offset: int, value: int, meaning: str) -> Register:
        return Register(name, offset, (Bits("value", 0, 32, "R", value, meaning),))

    def counter(name: str, offset: int, meaning: str) -> Register:
        return Register(name, offset, (Bits("value", 0, 32, "R", 0, meaning),))

    phase_meaning = {"gap": "clocks with all switches open after each phase (0 acts as 1)"}
    return (
        constant("id", 0x00, IDENTIFIER, "identifies the chip: XLOM"),
        constant("version", 0x04, VERSION, "major, minor, patch, 0"),
        constant("configuration", 0x08, int(chip.hash[:8], 16), "first word of the hash"),
        Register("control", 0x10, (
            Bits("start", 0, 1, "W1S", 0, "run the program from descriptor 0"),
            Bits("abort", 1, 1, "W1S", 0, "stop at once, all switches open"),)),
        Register("status", 0x14, (
            Bits("busy", 0, 1, "R", 0, "a program runs"),
            Bits("done", 1, 1, "W1C", 0, "a program ended"),
            Bits("error", 2, 1, "W1C", 0, "a descriptor was refused or a time-out struck"),
            Bits("cause", 8, 4, "R", 0, "0 none, 1 opcode, 2 field out of range, 3 time-out"),
            Bits("layer", 16, 12, "R", 0, "descriptor being run, or at fault"),)),
        Register("interrupt", 0x18, (
            Bits("done", 0, 1, "RW", 0, "raise irq while status.done"),
            Bits("error", 1, 1, "RW", 0, "raise irq while status.error"),)),
        counter("cycles", 0x20, "clocks since the last start, while busy"),
        counter("conversions", 0x24, "conversions of all tiles since the last start"),
        counter("early_stops", 0x28, "conversions that ended after the sign"),
        counter("converting", 0x2C, "clocks in which tile 0's converter worked"),
        counter("products", 0x30, "products since the last start"),
        *(Register(f"phase_{f.name}", 0x40 + 4 * i, (
            Bits("clocks", 0, Phases.BITS, "RW", getattr(chip.phases, f.name),
                 phase_meaning.get(f.name, f"length of {f.name} (0 acts as 1)")),))
          for i, f in enumerate(fields(Phases))),
        Register("comparator_timeout", 0x60, (
            Bits("clocks", 0, 16, "RW", 1024, "longest wait for `decided`; 0 waits for ever"),)),
    )


@dataclass(frozen=True)
class Window:
    """A memory behind the AXI4-Lite port, write-only.

    ``entries`` entries of ``entry_words`` 32-bit words each, lowest word first. An entry is
    written to the memory when its last word arrives; words before it wait in a staging register.
    """

    name: str
    offset: int
    entries: int
    entry_words: int
    meaning: str


def windows(chip: Chip) -> tuple[Window, ...]:
    """Memory windows of ``chip``; each is aligned to its size, a power of two."""
    words = -(-chip.accumulator.word_bits // 32)
    specification = [
        ("program", chip.memories.program_words, 1, "descriptors, 16 words each"),
        ("constants", chip.memories.constant_entries, 2,
         "requantizer: bias, then multiplier and shift"),
    ]
    for tile in range(chip.tiles):
        specification.append((f"coefficients{tile}", chip.memories.coefficient_words, words,
                              f"coefficient words of tile {tile}"))
    groups = chip.array.columns // 4
    for tile in range(chip.tiles):
        # The index is row * (groups rounded up to a power of two) + group.
        pitch = 1 << (groups - 1).bit_length()
        specification.append((f"weights{tile}", chip.array.rows * pitch, 1,
                              f"weights of tile {tile}, four columns of one row"))
    for tile in range(chip.tiles):
        specification.append((f"corrections{tile}", 1 << chip.converter.bits, 1,
                              f"code compensation of tile {tile}"))
    result, offset = [], 0x1000
    for name, entries, entry_words, meaning in specification:
        size = 1 << (4 * entries * (1 << (entry_words - 1).bit_length()) - 1).bit_length()
        offset = -(-offset // size) * size
        result.append(Window(name, offset, entries, entry_words, meaning))
        offset += size
    if offset > 1 << ADDRESS_BITS:
        raise ValueError(f"chip {chip.name!r}: its memories do not fit {ADDRESS_BITS} address "
                         "bits: lower Memories.coefficient_words or tiles")
    return tuple(result)
