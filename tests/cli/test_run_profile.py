"""`crossloom run`: profile and waves."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from golden.chip import preset
from golden.chip.registers import WAITS
from golden.program import Convolution
from scripts.vcd import signals_by_clock
from sim.random_programs import random_program

PROGRAM = random_program(preset("tiny"), 9)
LAYER = next(layer.name for layer in PROGRAM.layers if isinstance(layer, Convolution))


@pytest.fixture
def files(tmp_path):
    PROGRAM.save(tmp_path / "program")
    height, width, channels = PROGRAM.input_shape
    images = np.random.default_rng(9).uniform(-100, 100, (2, channels, height, width))
    np.save(tmp_path / "images.npy", images.astype(np.float32))
    return tmp_path


def run(files, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "scripts", "run", str(files / "program"), "--preset", "tiny",
         "--images", str(files / "images.npy"), *map(str, arguments)],
        capture_output=True, text=True, timeout=300, env=os.environ)


def test_profile_shares_out_every_clock(files):
    done = run(files, "--profile", "--json", files / "out.json")
    assert done.returncode == 0, done.stderr
    profile = json.loads((files / "out.json").read_text())["profile"]
    assert [layer["name"] for layer in profile["layers"]] == [
        *(layer.name for layer in PROGRAM.layers), "END"]
    assert sum(layer["clocks"] for layer in profile["layers"]) == profile["clocks"]
    for layer in profile["layers"]:
        assert sum(layer["converter_clocks"].values()) == layer["clocks"] * PROGRAM.chip.tiles
    assert sum(profile["shares"].values()) == pytest.approx(1)
    assert profile["shares"]["converting"] == pytest.approx(profile["occupancy"])
    assert len(profile["largest_waits"]) == 10
    assert f"{profile['clocks']:,}" in done.stdout and "largest waits" in done.stdout


def test_profile_of_the_rtl_shows_the_chips_counters(files):
    """Each clock is in `converting` or in one of the waits; both profiles agree on the work."""
    done = run(files, "--on", "both", "--count", 1, "--profile", "--json", files / "out.json")
    assert done.returncode == 0, done.stderr
    content = json.loads((files / "out.json").read_text())
    counters, layers = content["rtl"]["counters"], content["profile"]["layers"]
    assert counters["cycles"] == counters["converting"] + sum(counters[name] for name in WAITS)
    assert counters["cycles"] == content["profile"]["clocks"]
    spent = {cause: sum(layer["converter_clocks"].get(cause, 0) for layer in layers)
             for cause in ("fetch", "transfer", "elementwise")}
    assert {cause: counters[cause] * PROGRAM.chip.tiles for cause in spent} == spent
    assert f"contests {counters['contests']:,}" in done.stdout


def test_waves_of_a_position_appear_whole(files):
    before = set(files.iterdir())
    path = files / "waves.vcd"
    done = run(files, "--on", "rtl", "--waves", path, "--layer", LAYER, "--position", 0)
    assert done.returncode == 0, done.stderr
    _, found = signals_by_clock(path, {"trace_sum__valid": False}, "aclk")
    assert any(found["trace_sum__valid"])
    assert set(files.iterdir()) == before | {path}


@pytest.mark.parametrize("arguments, message", [
    (("--waves", "w.vcd"), "waves are of the RTL: give --on rtl or --on both"),
    (("--layer", LAYER), "layer and position choose waves: give --waves FILE"),
    (("--on", "rtl", "--waves", "w.vcd", "--layer", "frob"), "Waves.layer must be one of"),
    (("--on", "rtl", "--waves", "w.txt"), "Waves.path must end in .fst or .vcd, not 'w.txt'"),
])
def test_bad_choices_are_one_line(files, arguments, message):
    done = run(files, *arguments)
    assert done.returncode == 2 and message in done.stderr
    assert len(done.stderr.splitlines()) == 1
