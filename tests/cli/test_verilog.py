"""What ``crossloom verilog`` writes: lint-clean, repeatable, with every port explained."""

import json
import subprocess

import pytest

from golden.chip import PRESETS
from scripts import lint, ports
from scripts.verilog import write_chip
from sim.toolchain import find_verilator, tool_environment

FILES = {"chip.v", "crossloom.vlt", "crossloom.core", "crossloom_registers.h",
         "crossloom_registers.rdl", "registers.md",
         "ports.md", "ports.json"}


@pytest.fixture(scope="module", params=PRESETS)
def written(request, tmp_path_factory):
    place = tmp_path_factory.mktemp(request.param)
    write_chip(PRESETS[request.param], place)
    return PRESETS[request.param], place


def test_all_files(written):
    assert {path.name for path in written[1].iterdir()} == FILES


def test_lint_is_clean(written):
    done = subprocess.run([find_verilator(), "--lint-only", "-Wall", "crossloom.vlt", "chip.v"],
                          cwd=written[1], env=tool_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Warning" not in done.stderr


def test_ports(written):
    chip, place = written
    content = json.loads((place / "ports.json").read_text())
    listed = {port["name"]: port for port in content["ports"]}
    assert listed["aclk"]["direction"] == "input" and listed["irq"]["direction"] == "output"
    assert listed["s_axi_awaddr"]["width"] == 24
    last = f"macro{chip.tiles - 1}__"
    assert listed[last + "select"]["width"] == chip.array.columns
    assert listed[last + "comparator"]["direction"] == "input"
    assert f"macro{chip.tiles}__select" not in listed
    markdown = (place / "ports.md").read_text()
    for name, port in listed.items():
        assert port["meaning"] and f"| `{name}` |" in markdown


def test_core_file_names_what_is_there(written):
    chip, place = written
    core = (place / "crossloom.core").read_text()
    assert core.startswith("CAPI=2:\n")
    assert chip.hash in core and "toplevel: crossloom\n" in core
    for name in ("chip.v", "crossloom.vlt"):
        assert f"[{name}]" in core and (place / name).is_file()


def test_same_text_again(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for place in (first, second):
        place.mkdir()
        write_chip(PRESETS["tiny"], place)
    for name in FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_few_waivers_each_with_a_reason():
    assert len(lint.WAIVERS) <= 6
    assert all(reason for _, _, reason in lint.WAIVERS)


def test_lint_reports_a_real_truncation(tmp_path):
    """The waiver of WIDTHTRUNC is narrow: a vector cut on assignment is still an error."""
    (tmp_path / "crossloom.vlt").write_text(lint.as_verilator())
    (tmp_path / "chip.v").write_text("module chip(input [7:0] a, output [3:0] b);\n"
                                     "  assign b = a;\nendmodule\n")
    done = subprocess.run([find_verilator(), "--lint-only", "-Wall", "crossloom.vlt", "chip.v"],
                          cwd=tmp_path, env=tool_environment(), capture_output=True, text=True)
    assert done.returncode != 0 and "WIDTHTRUNC" in done.stderr


def test_unknown_port_and_module_are_refused():
    text = "module top(a);\n  input [3:0] a;\nendmodule\n"
    with pytest.raises(ValueError, match="port 'a' has no meaning"):
        ports.ports(text, "top")
    with pytest.raises(ValueError, match="no module 'other'"):
        ports.ports(text, "other")
