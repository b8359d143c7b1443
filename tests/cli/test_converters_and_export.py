"""``crossloom converters`` and ``export`` on a small network of the user's own."""

import json
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from scripts.__main__ import main

NETWORK = """
import torch

def small():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3), torch.nn.ReLU(),
                               torch.nn.Flatten(), torch.nn.Linear(64, 3))
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "network.py").write_text(NETWORK)
    images = np.random.default_rng(0).normal(size=(12, 2, 6, 6)).astype(np.float32)
    np.save("images.npy", images)
    # Far beyond what the ranges were calibrated with.
    np.save("bright.npy", 10 * images)

    def run(command, *arguments):
        monkeypatch.setattr(sys, "argv", ["crossloom", command, "network.py:small",
                                          "--calibration", "images.npy", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code or 0

    return run


def test_clipping_and_codes(run, tmp_path, capsys):
    layers = {}
    for name in ("images", "bright"):
        assert run("converters", "--images", f"{name}.npy", "--count", "8", "--json",
                   f"{name}.json", "--plot", f"{name}.svg") == 0
        found = json.loads((tmp_path / f"{name}.json").read_text())
        assert found["images"] == 8 and list(found["layers"]) == ["0", "3"]
        layers[name] = found["layers"]["0"]
        assert (tmp_path / f"{name}.svg").read_text().startswith("<?xml")
    # Eight images, 2 x 6 x 6 inputs, 4 x 4 x 4 outputs of one tile of rows.
    assert sum(layers["images"]["input_codes"]) == 8 * 72
    assert sum(layers["images"]["output_codes"]) == 8 * 64
    assert layers["images"]["lowest_output_code"] == -128
    assert layers["images"]["inputs_clipped"] < 0.05 < 0.5 < layers["bright"]["inputs_clipped"]
    # Clipped values lie in the first and the last code.
    assert sum(layers["bright"]["input_codes"][end] for end in (0, -1)) >= \
        round(layers["bright"]["inputs_clipped"] * 8 * 72)
    assert "outputs clipped" in capsys.readouterr().out


def test_export_writes_a_new_directory(run, tmp_path, capsys):
    arguments = ("--images", "images.npy", "--count", "2", "-o", "chip", "--time", "3600")
    assert run("export", *arguments) == 0
    assert sorted(path.name for path in (tmp_path / "chip").iterdir()) == [
        "conductances.safetensors", "registers.json", "tiles.json", "vectors.safetensors"]
    vectors = load_file(tmp_path / "chip/vectors.safetensors")
    assert vectors["0/input"].shape == (2, 2, 6, 6) and vectors["3/code0"].shape == (2, 3)
    assert run("export", *arguments) == 2
    assert "must be new" in capsys.readouterr().err


@pytest.mark.parametrize("command, arguments, named", [
    ("converters", ["--images", "images.npy", "--device", "flash"], "device must be one of"),
    ("converters", [], "images: the network"),
    ("export", ["-o", "chip"], "images: the network"),
    ("export", ["-o", "chip", "--images", "images.npy", "--device", "flash"], "device must be"),
    ("export", ["-o", "nowhere/chip", "--images", "images.npy"], "no directory 'nowhere'"),
    ("export", ["-o", "chip", "--images", "images.npy", "--time", "1"], "time after programming"),
])
def test_bad_input_leaves_nothing(run, tmp_path, capsys, command, arguments, named):
    before = sorted(tmp_path.iterdir())
    assert run(command, *arguments) == 2
    shown = capsys.readouterr().err.strip().splitlines()
    assert named in shown[-1]
    assert sorted(tmp_path.iterdir()) == before
