"""Register map and memory windows of the AXI4-Lite port: the one specification.

The RTL, docs/registers.md and the C header are made from `REGISTERS` and `windows`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from .configuration import GAIN_BITS, GAIN_FRACTION_BITS, TENANT_BITS, WORD_BITS, Chip, Phases
from .descriptor import DESCRIPTOR_WORDS

__all__ = ["ADDRESS_BITS", "COUNTERS", "IDENTIFIER", "TENANT_PITCH", "VERSION", "WAITS", "Bits",
           "Register", "Window", "registers", "tenant_prefix", "windows"]

#: Byte-address bits of the AXI4-Lite port.
ADDRESS_BITS = 24
#: Value of the ID register: "XLOM" in ASCII.
IDENTIFIER = 0x584C_4F4D
#: Value of the version register: major, minor, patch, one byte each, lowest byte zero.
VERSION = 0x0002_0100
#: Bytes from the registers of one tenant to those of the next.
TENANT_PITCH = 0x100
#: Byte offset of the registers of tile 0, behind all tenants', and bytes from tile to tile.
TILE_REGISTERS = TENANT_PITCH << TENANT_BITS
TILE_PITCH = 0x20

_EVENTS: Mapping[str, str] = {
    "cycles": "clocks since the last start, while busy",
    "conversions": "conversions of all its tiles since the last start",
    "early_stops": "conversions that ended after the sign",
    "converting": "clocks in which the converter of its first tile worked",
    "products": "products since the last start",
    "contests": "clocks in which some of its tiles converted and others did not",
}
#: Clocks in which the first tile's converter did not work, by the reason. Each clock of `cycles`
#: is in `converting` or in exactly one of these.
_WAITS: Mapping[str, str] = {
    "comparator": "clocks in which its first tile waited for the comparator",
    "adder": "clocks in which its first tile waited for the phases clear and add",
    "array": "clocks in which its first tile waited for the phases reset to hold",
    "rows": "clocks in which its first tile waited for the row latches or for jobs",
    "drain": "clocks after the last row load in which its first tile had nothing to do",
    "elementwise": "clocks of adds and pools",
    "transfer": "clocks of loads and stores in which neither host nor buffer was waited for",
    "host": "clocks in which a load or store waited for the host",
    "buffer": "clocks in which a load or store waited for the activation buffer",
    "fetch": "clocks of descriptor fetch and check",
    "turn": "clocks in which another tenant's descriptor was run first",
}
#: Names of the reasons, in the order of their registers.
WAITS: tuple[str, ...] = tuple(_WAITS)
#: Names of a tenant's counters. A start clears them, unless it comes with `control.keep`: so they
#: count over many images, or from any value that was written to them before.
COUNTERS: tuple[str, ...] = (*_EVENTS, *_WAITS)


@dataclass(frozen=True)
class Bits:
    """One field of a register.

    Access: R read-only, RW, W1C write one to clear, W1S pulse, CNT a counter, which is read and,
    while its tenant is idle, written.
    """

    name: str
    low: int
    width: int
    access: str
    reset: int
    meaning: str

    @property
    def holds(self) -> bool:
        """Whether it holds what software writes to it."""
        return self.access in ("RW", "CNT")


@dataclass(frozen=True)
class Register:
    """A 32-bit register at byte offset ``offset``."""

    name: str
    offset: int
    bits: tuple[Bits, ...]


def _tenant_registers(chip: Chip, tenant: int) -> tuple[Register, ...]:
    """Registers of one tenant, from its page's start on. The first may use all there is."""
    memories = chip.memories
    descriptors = memories.program_words // DESCRIPTOR_WORDS

    def value(name: str, offset: int, width: int, reset: int, meaning: str) -> Register:
        return Register(name, offset, (Bits("value", 0, width, "RW", reset, meaning),))

    def whole(size: int) -> int:
        return 0 if tenant else size

    return (
        Register("control", 0x10, (
            Bits("start", 0, 1, "W1S", 0, "run the program from its first descriptor"),
            Bits("abort", 1, 1, "W1S", 0, "stop at once, all switches open"),
            Bits("keep", 2, 1, "W1S", 0, "with start: its counters go on from what they hold"),)),
        Register("status", 0x14, (
            Bits("busy", 0, 1, "R", 0, "a program runs"),
            Bits("done", 1, 1, "W1C", 0, "a program ended"),
            Bits("error", 2, 1, "W1C", 0, "a descriptor was refused or a time-out struck"),
            Bits("cause", 8, 4, "R", 0, "0 none, 1 opcode, 2 field out of range, 3 time-out of "
                 "a comparator, 4 time-out of the host"),
            Bits("layer", 16, 12, "R", 0, "descriptor being run, or at fault"),)),
        Register("interrupt", 0x18, (
            Bits("done", 0, 1, "RW", 0, "raise irq while status.done"),
            Bits("error", 1, 1, "RW", 0, "raise irq while status.error"),)),
        *(Register(name, 0x20 + 4 * i, (Bits("value", 0, WORD_BITS, "CNT", 0, meaning),))
          for i, (name, meaning) in enumerate(_EVENTS.items())),
        Register("program_window", 0x70, (
            Bits("base", 0, 12, "RW", 0, "first descriptor in the program memory"),
            Bits("length", 16, 12, "RW", whole(descriptors), "descriptors (0 acts as 1)"),)),
        value("activation_base", 0x74, 16, 0, "first word in the activation buffer"),
        value("activation_words", 0x78, 17, whole(memories.activation_words),
              "words of the activation buffer"),
        value("constants_base", 0x7C, 16, 0, "first requantizer entry"),
        value("constant_entries", 0x80, 17, whole(memories.constant_entries),
              "requantizer entries"),
        value("coefficients_base", 0x84, 20, 0, "first coefficient word, the same in each tile"),
        value("coefficient_words", 0x88, 21, whole(memories.coefficient_words),
              "coefficient words of each tile"),
        value("tiles", 0x8C, chip.tiles, whole((1 << chip.tiles) - 1),
              "a bit per tile that its convolutions use"),
        value("host_timeout", 0x90, 24, 0, "longest wait for the host in a LOAD or STORE, in "
              "clocks; 0 waits for ever"),
        *(Register(name, 0xA0 + 4 * i, (Bits("value", 0, WORD_BITS, "CNT", 0, meaning),))
          for i, (name, meaning) in enumerate(_WAITS.items())),
    )


def _tile_registers(chip: Chip, tile: int) -> tuple[Register, ...]:
    base = TILE_REGISTERS + TILE_PITCH * tile
    return (
        Register(f"converter{tile}", base, (
            Bits("levels", 0, 1, "RW", 0, "trial codes stand for the levels of the reference "
                                          "table, not for themselves"),
            Bits("offset", 16, chip.converter.bits, "RW", 0,
                 "signed, subtracted from each code"),)),
        Register(f"gain{tile}", base + 4, (
            Bits("value", 0, GAIN_BITS, "RW", 1 << GAIN_FRACTION_BITS,
                 f"drift gain of the accumulators, in 1/{1 << GAIN_FRACTION_BITS}"),)),
        Register(f"gain_reference{tile}", base + 8, (
            Bits("value", 0, chip.calibration_bits, "RW", 0,
                 "sum of codes that a CALIBRATE divides for the drift gain"),)),
        Register(f"tile_flags{tile}", base + 12, (
            Bits("calibration", 0, 1, "W1C", 0, "a CALIBRATE found no gain and left it as it was"),
            Bits("gain", 1, 1, "W1C", 0, "an accumulator times the gain did not fit: saturated"),)),
    )


def registers(chip: Chip) -> tuple[Register, ...]:
    """The register map of ``chip``, in order of address.

    Each tenant has a page of `TENANT_PITCH` bytes. The first shares its page with what belongs
    to the whole chip, and its registers have no prefix; the others' begin with ``tenant{t}_``.
    """
    def constant(name: str, offset: int, value: int, meaning: str) -> Register:
        return Register(name, offset, (Bits("value", 0, 32, "R", value, meaning),))

    phase_meaning = {"gap": "clocks with all switches open after each phase (0 acts as 1)"}
    shared = (
        constant("id", 0x00, IDENTIFIER, "identifies the chip: XLOM"),
        constant("version", 0x04, VERSION, "major, minor, patch, 0"),
        constant("configuration", 0x08, int(chip.hash[:8], 16), "first word of the hash"),
        constant("tenants", 0x0C, chip.tenants, "tenants that the chip has registers for"),
        *(Register(f"phase_{f.name}", 0x40 + 4 * i, (
            Bits("clocks", 0, Phases.BITS, "RW", getattr(chip.phases, f.name),
                 phase_meaning.get(f.name, f"length of {f.name} (0 acts as 1)")),))
          for i, f in enumerate(fields(Phases))),
        Register("comparator_timeout", 0x60, (
            Bits("clocks", 0, 16, "RW", 1024, "longest wait for `decided`; 0 waits for ever"),)),
        *(register for tile in range(chip.tiles) for register in _tile_registers(chip, tile)),
    )
    pages = (replace(register, name=f"{tenant_prefix(tenant)}{register.name}",
                     offset=TENANT_PITCH * tenant + register.offset)
             for tenant in range(chip.tenants) for register in _tenant_registers(chip, tenant))
    return tuple(sorted((*shared, *pages), key=lambda register: register.offset))


def tenant_prefix(tenant: int) -> str:
    """What the names of a tenant's registers begin with."""
    return f"tenant{tenant}_" if tenant else ""


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
    for tile in range(chip.tiles):
        specification.append((f"levels{tile}", 1 << chip.converter.bits, 1,
                              f"reference table of tile {tile}: levels in 1/16 of a code"))
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
