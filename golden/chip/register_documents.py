"""The register map as Markdown, as a C header and as SystemRDL, from the one specification."""

from .configuration import Chip
from .registers import ADDRESS_BITS, IDENTIFIER, VERSION, Bits, Window, registers, windows

__all__ = ["markdown", "c_header", "system_rdl"]

_ACCESS = {
    "R": "read-only",
    "RW": "read and write",
    "W1C": "write one to clear",
    "W1S": "write one to trigger, reads zero",
    "CNT": "a counter, read and written; a write while its tenant is busy changes nothing",
}


def _entry_pitch(window: Window) -> int:
    """Bytes from one entry to the next: its words, rounded up to a power of two."""
    return 4 << (window.entry_words - 1).bit_length()


def _range(bits: Bits) -> str:
    return str(bits.low) if bits.width == 1 else f"{bits.low + bits.width - 1}:{bits.low}"


def markdown(chip: Chip) -> str:
    """Register map and memory windows of ``chip`` as a page of Markdown."""
    lines = [
        f"# Register map of chip `{chip.name}`",
        "",
        f"Configuration {chip.hash}. AXI4-Lite, 32-bit data, {ADDRESS_BITS}-bit byte address. "
        "Written from `golden/chip/registers.py`; do not edit.",
        "",
        "Access: " + "; ".join(f"{key} {text}" for key, text in _ACCESS.items()) + ". "
        "Bits without a field read zero and ignore writes. Writes need all four byte strobes; "
        "a partial write or an address that is not a multiple of four answers SLVERR, an address "
        "without register or memory DECERR.",
        "",
        "## Registers",
        "",
        "| offset | register | bits | field | access | reset | meaning |",
        "|---|---|---|---|---|---|---|",
    ]
    for register in registers(chip):
        for bits in register.bits:
            lines.append(f"| 0x{register.offset:02X} | `{register.name}` | {_range(bits)} "
                         f"| `{bits.name}` | {bits.access} | 0x{bits.reset:X} | {bits.meaning} |")
    lines += [
        "",
        "## Memories",
        "",
        "Write-only, and only where no program that runs may look: not in the program and "
        "constants windows of a tenant that is busy, and no memory of its tiles. Other accesses "
        "answer DECERR. An entry is written when its last word arrives: write its words in a row, "
        "lowest first.",
        "",
        "| offset | memory | entries | words per entry | bytes from entry to entry | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for window in windows(chip):
        lines.append(f"| 0x{window.offset:06X} | `{window.name}` | {window.entries} "
                     f"| {window.entry_words} | {_entry_pitch(window)} | {window.meaning} |")
    return "\n".join(lines) + "\n"


def c_header(chip: Chip) -> str:
    """Register map and memory windows of ``chip`` as a C header.

    For each register its offset; for each field a mask in place, the position of its lowest bit
    and its reset value; for each memory its offset, entries, words per entry and bytes from
    entry to entry.
    """
    prefix = "CROSSLOOM"
    lines = [
        f"/* Register map of Crossloom chip {chip.name}, configuration {chip.hash}.",
        " * Written from golden/chip/registers.py; do not edit. */",
        f"#ifndef {prefix}_{chip.name.upper()}_REGISTERS_H",
        f"#define {prefix}_{chip.name.upper()}_REGISTERS_H",
        "",
    ]

    def define(name: str, value: str, comment: str = "") -> None:
        text = f"#define {prefix}_{name.upper()} {value}"
        lines.append(f"{text} /* {comment} */" if comment else text)

    define("identifier", f"0x{IDENTIFIER:08X}u")
    define("version", f"0x{VERSION:08X}u")
    for register in registers(chip):
        lines.append("")
        define(f"{register.name}_offset", f"0x{register.offset:02X}u")
        for bits in register.bits:
            field = f"{register.name}_{bits.name}"
            define(f"{field}_mask", f"0x{((1 << bits.width) - 1) << bits.low:08X}u",
                   f"{bits.access}: {bits.meaning}")
            define(f"{field}_shift", f"{bits.low}")
            define(f"{field}_reset", f"0x{bits.reset:X}u")
    for window in windows(chip):
        lines.append("")
        define(f"{window.name}_memory_offset", f"0x{window.offset:06X}u", window.meaning)
        define(f"{window.name}_memory_entries", f"{window.entries}u")
        define(f"{window.name}_memory_entry_words", f"{window.entry_words}u")
        define(f"{window.name}_memory_entry_pitch", f"{_entry_pitch(window)}u")
    lines += ["", "#endif"]
    return "\n".join(lines) + "\n"


#: What software and hardware may do with a field, as SystemRDL 2.0 says it (its section 9.4). A
#: constant, which neither may write, is told from a read-only field by its register.
_RDL_ACCESS = {
    "R": "sw = r; hw = w;",
    "RW": "sw = rw; hw = r;",
    "W1C": "sw = rw; onwrite = woclr; hw = rw;",
    "W1S": "sw = w; singlepulse; hw = r;",
    "CNT": "sw = rw; hw = r; counter;",
}
_CONSTANT_REGISTERS = ("id", "version", "configuration", "tenants")


def system_rdl(chip: Chip) -> str:
    """Register map and memory windows of ``chip`` as SystemRDL 2.0, one address map."""
    def text(words: str) -> str:
        return words.replace("\\", "\\\\").replace('"', '\\"')

    lines = [
        f"// Register map of Crossloom chip {chip.name}, configuration {chip.hash}.",
        "// Written from golden/chip/registers.py; do not edit.",
        f"addrmap crossloom_{chip.name} {{",
        "    default regwidth = 32;",
        "    default accesswidth = 32;",
    ]
    for register in registers(chip):
        lines += ["", "    reg {"]
        for bits in register.bits:
            access = _RDL_ACCESS[bits.access]
            if register.name in _CONSTANT_REGISTERS:
                access = "sw = r; hw = na;"
            lines.append(f'        field {{ desc = "{text(bits.meaning)}"; {access} }} '
                         f"{bits.name}[{bits.low + bits.width - 1}:{bits.low}] "
                         f"= 0x{bits.reset:X};")
        lines.append(f"    }} {register.name} @ 0x{register.offset:X};")
    for window in windows(chip):
        entries = window.entries * _entry_pitch(window) // 4
        lines += [
            "", "    external mem {", f'        desc = "{text(window.meaning)}";',
            f"        mementries = {entries};", "        memwidth = 32;", "        sw = w;",
            f"    }} {window.name} @ 0x{window.offset:X};"]
    lines.append("};")
    return "\n".join(lines) + "\n"
