"""docs/integration.md: pin table, diagrams, wrapper and bring-up against the RTL."""

from importlib.metadata import version
from pathlib import Path
import json
import re

from amaranth.hdl import Shape
from amaranth.lib.wiring import Flow
import numpy as np
import pytest

from golden.chip import preset
from golden.chip.registers import registers
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.program import Program, Transfer
from rtl.messages import macro_signature
from rtl.tile import Tile
from scripts.diagrams import RECORDING, diagram, diagram_name, recordings
from sim.fast.library import Harness, MacroSettings, build_harness
from sim.host import RegisterMap, load_writes
from sim.pin_recording import SCENES
from sim.toolchain import find_verilator, run_tool
from tests.rtl.simulation import simulate

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
TEXT = (DOCS / "integration.md").read_text(encoding="utf-8")


def rows(heading, columns):
    """Cells of the rows of the first table after ``heading``."""
    lines = TEXT[TEXT.index(heading):].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    cells = []
    for line in lines[start + 2:]:
        if not line.startswith("|"):
            break
        cells.append([cell.strip() for cell in line.strip("|").split("|")])
        assert len(cells[-1]) == columns
    return cells


def test_pin_table():
    """Every pin once, in order, with its width, direction and simulated reset state."""
    chip = preset("default")
    tile = Tile(chip)
    state = {}

    async def testbench(context):
        await context.tick()
        for name, member in macro_signature(chip).members.items():
            if member.flow is Flow.Out:
                state[name] = context.get(getattr(tile.macro, name))

    simulate(tile, testbench)
    expected = [
        [f"`{name}`", str(Shape.cast(member.shape).width),
         "output" if member.flow is Flow.Out else "input", str(state.get(name, "-"))]
        for name, member in macro_signature(chip).members.items()]
    assert [row[:4] for row in rows("## Analog pins", 5)] == expected


def test_recording_is_what_the_rtl_does():
    """The committed recording, which the diagrams show, is simulated again."""
    assert json.loads((DOCS / RECORDING).read_text()) == recordings()


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_diagrams_show_the_recording(scene):
    assert f"]({diagram_name(scene)})" in TEXT
    pinned = re.search(r"^matplotlib==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
    if version("matplotlib") != pinned.group(1):
        pytest.skip(f"DIAGRAMS ARE NOT COMPARED: matplotlib is not {pinned.group(1)}")
    pins = json.loads((DOCS / RECORDING).read_text())[scene.name]
    assert (DOCS / diagram_name(scene)).read_text(encoding="utf-8") == diagram(scene, pins), (
        "write them again: python -m scripts.diagrams")


def test_what_the_text_says_of_the_diagrams():
    """Second product prepared in clocks 20 to 30, held from 40 on; the converter never pauses."""
    pins = recordings()["product"]
    clocks = {name: [i for i, value in enumerate(pins[name]) if value]
              for name in ("reset", "share", "hold", "add", "convert")}
    second = [i for i in clocks["reset"] if i > clocks["hold"][0]]
    assert second[0] == 20 and max(clocks["share"]) + 1 == 30
    assert max(clocks["hold"]) == 41 and 40 in clocks["hold"]
    assert clocks["convert"] == list(range(clocks["convert"][0], clocks["convert"][-1] + 1))
    undecided = recordings()["undecided"]
    low = [i for i, value in enumerate(undecided["decided"]) if not value]
    assert len(low) == 3
    assert len({undecided["trial"][i] for i in low}) == 1
    assert all(undecided["convert"][i] for i in low)


def test_wrapper(tmp_path):
    """The example is Verilog that fits the committed preset, pin for pin."""
    wrapper = re.search(r"```verilog\n(.*?)```", TEXT, re.S).group(1)
    chip = preset("tiny")
    ports = ["  input clock"]
    for name, member in macro_signature(chip).members.items():
        if name in ("product", "conversion", "trial"):
            continue
        direction = "input" if member.flow is Flow.Out else "output"
        width = Shape.cast(member.shape).width
        ports.append(f"  {direction} " + (f"[{width - 1}:0] " if width > 1 else "") + name)
    (tmp_path / "system.v").write_text(
        wrapper + "module my_macro(\n" + ",\n".join(ports) + ");\n"
        "  assign comparator = 1'b0;\n  assign decided = clock;\nendmodule\n")
    (tmp_path / "chip.v").write_text((ROOT / "verilog" / "tiny" / "chip.v").read_text())
    run_tool([find_verilator(), "--lint-only", "-Wall", "-Wno-PINMISSING", "-Wno-DECLFILENAME",
              "-Wno-UNUSEDSIGNAL", "--top-module", "system",
              str(ROOT / "verilog" / "tiny" / "crossloom.vlt"), "system.v", "chip.v"], tmp_path)


def bring_up():
    """(read or write, register, offset, value) of each step."""
    steps = []
    for _, access, where, value, _ in rows("## Bring-up", 5):
        name, offset = re.fullmatch(r"`(\w+)` (0x\w+)", where).groups()
        steps.append((access, name, int(offset, 16), int(value, 16)))
    return steps


def test_bring_up():
    """The listed accesses bring the default chip to life: a load and a store of the same words."""
    chip = preset("default")
    offsets = {register.name: register.offset for register in registers(chip)}
    image = np.arange(-8, 8, dtype=np.int8).reshape(2, 2, 4)
    program = Program(
        chip, np.zeros((chip.tiles, chip.array.rows, chip.array.columns), np.int8),
        np.zeros((chip.tiles, 1 << chip.converter.bits), np.int64),
        (Transfer("load", True, 0, 4), Transfer("store", False, 0, 4)), (2, 2, 4), 1.0, 1.0, 16)
    words = image.reshape(-1).view("<u4")
    settings = MacroSettings(program, Macro(chip, MacroPhysics(), program.weights, 0), 0,
                             chip.phases)
    started = False
    with Harness(build_harness(chip), settings, chip.tiles) as device:
        for access, name, offset, value in bring_up():
            assert offset == offsets[name]
            if access == "read":
                # After the run the field `layer` tells that the END, descriptor 2, was the last.
                assert device.read(offset) == value | (started and name == "status") << 17
                continue
            if name == "control":
                device.write(load_writes(program))
                device.begin(0, words, [len(words)])
                started = True
            device.write([(offset, value)])
            if name == "control":
                assert device.run(1000)
        assert not device.run(3)
        assert device.outputs().tolist() == words.tolist()
    registers_ = RegisterMap(chip)
    assert registers_.mask("status", "done") == 2 and registers_.mask("status", "error") == 4
    assert registers_.field("status", "cause").low == 8
    assert registers_.field("status", "layer").low == 16
