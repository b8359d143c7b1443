"""Register map as Markdown and C header: complete, and understood by a C compiler."""

import re
import shutil
import subprocess

import pytest

from golden.chip import PRESETS
from golden.chip.register_documents import c_header, markdown
from golden.chip.registers import registers, windows

_COMPILER = shutil.which("gcc") or shutil.which("cc")


@pytest.mark.parametrize("name", PRESETS)
def test_markdown_has_every_field_and_memory(name):
    chip = PRESETS[name]
    rows = [[cell.strip().strip("`") for cell in line.strip("|").split("|")]
            for line in markdown(chip).splitlines() if line.startswith("| 0x")]
    expected = []
    for register in registers(chip):
        for bits in register.bits:
            high = bits.low + bits.width - 1
            where = f"{high}:{bits.low}" if bits.width > 1 else str(bits.low)
            expected.append([register.offset, register.name, where, bits.name, bits.access,
                             f"0x{bits.reset:X}", bits.meaning])
    for window in windows(chip):
        pitch = 4 * (1 << (window.entry_words - 1).bit_length())
        expected.append([window.offset, window.name, str(window.entries),
                         str(window.entry_words), str(pitch), window.meaning])
    assert [[int(row[0], 16), *row[1:]] for row in rows] == expected


def test_tables_are_whole():
    """Every row of a table has as many cells as its head."""
    columns = None
    for line in markdown(PRESETS["default"]).splitlines():
        if not line.startswith("|"):
            columns = None
        else:
            columns = columns or line.count("|")
            assert line.count("|") == columns, line


def numbers(header):
    """Every constant of a header: name without prefix, value."""
    found = re.findall(r"^#define CROSSLOOM_(\w+) (0x[0-9A-F]+|\d+)u?(?: /\*.*\*/)?$", header,
                       re.MULTILINE)
    assert len(found) == len(dict(found)), "a name is defined twice"
    return {name: int(value, 0) for name, value in found}


@pytest.mark.parametrize("name", PRESETS)
def test_header_has_every_field_and_memory(name):
    chip = PRESETS[name]
    header = c_header(chip)
    expected = {"IDENTIFIER": 0x584C4F4D, "VERSION": 0x00010000}
    for register in registers(chip):
        upper = register.name.upper()
        expected[f"{upper}_OFFSET"] = register.offset
        for bits in register.bits:
            field = f"{upper}_{bits.name.upper()}"
            expected[f"{field}_MASK"] = sum(1 << i
                                            for i in range(bits.low, bits.low + bits.width))
            expected[f"{field}_SHIFT"] = bits.low
            expected[f"{field}_RESET"] = bits.reset
    for window in windows(chip):
        upper = f"{window.name.upper()}_MEMORY"
        expected[f"{upper}_OFFSET"] = window.offset
        expected[f"{upper}_ENTRIES"] = window.entries
        expected[f"{upper}_ENTRY_WORDS"] = window.entry_words
        expected[f"{upper}_ENTRY_PITCH"] = 4 * (1 << (window.entry_words - 1).bit_length())
    assert numbers(header) == expected


@pytest.mark.skipif(_COMPILER is None, reason="no C compiler")
def test_header_compiles(tmp_path):
    """Included twice, under strict warnings, with its constants in use."""
    chip = PRESETS["default"]
    header = c_header(chip)
    (tmp_path / "registers.h").write_text(header)
    uses = "".join(f"sum += CROSSLOOM_{name};\n" for name in numbers(header))
    (tmp_path / "use.c").write_text(
        '#include "registers.h"\n#include "registers.h"\n#include <stdint.h>\n#include <stdio.h>\n'
        "int main(void) {\nuint32_t sum = 0;\n" + uses + 'printf("%u\\n", sum);\nreturn 0;\n}\n')
    subprocess.run([_COMPILER, "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-o",
                    tmp_path / "use", tmp_path / "use.c"], check=True)
    printed = subprocess.run([tmp_path / "use"], check=True, capture_output=True, text=True)
    assert int(printed.stdout) == sum(numbers(header).values()) % (1 << 32)


def test_same_chip_same_text():
    chip = PRESETS["tiny"]
    assert markdown(chip) == markdown(chip) and c_header(chip) == c_header(chip)
    assert markdown(chip) != markdown(PRESETS["large"])
