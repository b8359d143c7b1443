"""Register map as Markdown, C header and SystemRDL: complete, and understood by compilers."""

from pathlib import Path
import re
import shutil
import subprocess

from systemrdl import RDLCompiler
from systemrdl.node import MemNode, RegNode
from systemrdl.rdltypes import OnWriteType
import pytest

from golden.chip import PRESETS
from golden.chip.register_documents import c_header, markdown, system_rdl
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
    expected = {"IDENTIFIER": 0x584C4F4D, "VERSION": 0x00020100}
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


def access_of(field):
    """The access of a SystemRDL field, as golden.chip.registers names it."""
    if field.get_property("onwrite") is OnWriteType.woclr:
        return "W1C"
    if field.get_property("singlepulse"):
        return "W1S"
    if field.get_property("counter"):
        return "CNT"
    return {(True, False): "R", (True, True): "RW"}[field.is_sw_readable, field.is_sw_writable]


@pytest.mark.parametrize("name", PRESETS)
def test_system_rdl_says_the_same(name, tmp_path):
    """An independent compiler elaborates the text and finds every field and memory."""
    chip = PRESETS[name]
    path = tmp_path / "registers.rdl"
    path.write_text(system_rdl(chip))
    compiler = RDLCompiler()
    compiler.compile_file(str(path))
    top = compiler.elaborate().top
    assert top.inst_name == f"crossloom_{name}"
    nodes = list(top.children())
    found = [
        (node.inst_name, node.absolute_address, [
            (field.inst_name, field.low, field.width, access_of(field),
             field.get_property("reset"), field.get_property("desc"))
            for field in node.fields()])
        for node in nodes if isinstance(node, RegNode)]
    assert found == [
        (register.name, register.offset, [
            (bits.name, bits.low, bits.width, bits.access, bits.reset, bits.meaning)
            for bits in register.bits])
        for register in registers(chip)]
    memories = [(node.inst_name, node.absolute_address, node.total_size,
                 node.is_sw_readable, node.is_sw_writable)
                for node in nodes if isinstance(node, MemNode)]
    assert memories == [
        (window.name, window.offset,
         4 * window.entries * (1 << (window.entry_words - 1).bit_length()), False, True)
        for window in windows(chip)]
    assert len(found) + len(memories) == len(nodes)


def test_committed_page():
    """docs/registers.md is what the specification gives: `crossloom verilog -o`, registers.md."""
    page = Path(__file__).parents[2] / "docs" / "registers.md"
    assert page.read_text(encoding="utf-8") == markdown(PRESETS["default"])


def test_same_chip_same_text():
    chip = PRESETS["tiny"]
    assert markdown(chip) == markdown(chip) and c_header(chip) == c_header(chip)
    assert markdown(chip) != markdown(PRESETS["large"])
