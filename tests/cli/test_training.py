"""``crossloom compile --train`` on a user's own network, and ``crossloom sweep``."""

import json
import sys

import numpy as np
import pytest

from scripts.__main__ import main

NETWORK = """
import torch

def small():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(2, 8, 3, padding=1), torch.nn.ReLU(),
                               torch.nn.Flatten(), torch.nn.Linear(8 * 36, 3))

def loop(student):
    with torch.no_grad():
        student.biases[-1].add_(0.25)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "network.py").write_text(NETWORK)
    random = np.random.default_rng(0)
    images = random.normal(size=(40, 2, 6, 6)).astype(np.float32)
    np.save("images.npy", images[:8])
    np.save("more.npy", images)
    np.save("labels.npy", random.integers(0, 3, 8))
    return tmp_path


def _run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["crossloom", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code


COMPILE = ["compile", "network.py:small", "--calibration", "images.npy"]


def test_trained_programs_run_and_a_finished_run_is_taken_up(place, monkeypatch, capsys):
    train = [*COMPILE, "--vectors-per-tile", 2, "--train", 4, "--training-images", "more.npy",
             "--contest", 2, "--checkpoint", "run"]
    _run(monkeypatch, *train, "-o", "one", "--json", "one.json")
    printed = capsys.readouterr().out
    assert "distance to the float network on 4 images" in printed and "error %" in printed
    found = json.loads((place / "one.json").read_text())
    assert found["training"]["images"] == 4 and found["training"]["after"] > 0
    assert all(0 < layer["error"] < 1 for layer in found["layers"]
               if layer["kind"] == "convolution")
    before = (place / "run").read_bytes()
    _run(monkeypatch, *train, "-o", "two")
    assert (place / "one").read_bytes() == (place / "two").read_bytes()
    assert (place / "run").read_bytes() == before
    _run(monkeypatch, *COMPILE, "--vectors-per-tile", 2, "--epochs", 0, "-o", "fitted")
    assert (place / "one").read_bytes() != (place / "fitted").read_bytes()
    _run(monkeypatch, "run", "one", "--images", "images.npy")
    assert "golden ran 8 images" in capsys.readouterr().out


def test_a_loop_of_the_users_own(place, monkeypatch):
    _run(monkeypatch, *COMPILE, "--epochs", 0, "-o", "fitted")
    _run(monkeypatch, *COMPILE, "--loop", "network.py:loop", "-o", "own")
    assert (place / "own").read_bytes() != (place / "fitted").read_bytes()


def test_noise_aware_training(place, monkeypatch):
    np.save("truth.npy", np.random.default_rng(1).integers(0, 3, 40))
    train = ["train", "network.py:small", "--training-images", "more.npy", "--labels",
             "truth.npy", "--epochs", 2, "--batch", 8]
    _run(monkeypatch, *train, "-o", "one")
    _run(monkeypatch, *train, "-o", "two")
    assert (place / "one").read_bytes() == (place / "two").read_bytes()
    _run(monkeypatch, *train, "--seed", 1, "-o", "other")
    assert (place / "one").read_bytes() != (place / "other").read_bytes()
    for recipe in (["--cosine"], ["--teach", 0.2]):
        _run(monkeypatch, *train, *recipe, "-o", "other")
        assert (place / "one").read_bytes() != (place / "other").read_bytes()
    _run(monkeypatch, *COMPILE, "--epochs", 0, "-o", "before")
    _run(monkeypatch, *COMPILE, "--epochs", 0, "--weights", "one", "-o", "after")
    assert (place / "before").read_bytes() != (place / "after").read_bytes()


def test_sweep_writes_every_point(place, monkeypatch):
    sweep = ["sweep", "network.py:small", "--calibration", "images.npy", "--images",
             "images.npy", "--labels", "labels.npy", "--train", 2, "--rate", 0.5,
             "--checkpoint", "points"]
    _run(monkeypatch, *sweep, "--vectors", "4", "--bits", "2")
    first, = json.loads((place / "points").read_text())["rows"]
    _run(monkeypatch, *sweep, "--vectors", "4,8", "--bits", "2,6", "--json", "sweep.json",
         "--plot", "sweep.svg")
    found = json.loads((place / "sweep.json").read_text())
    assert [(p["vectors"], p["bits"]) for p in found["points"]] == [(4, 2), (8, 2), (4, 6), (8, 6)]
    assert found["points"][0] == first and found["rate"] == 0.5
    assert all(0 <= p[name] <= 1 for p in found["points"] for name in ("fit", "trained"))
    for point in found["points"]:
        assert point["after"] < point["before"] or point["trained"] == point["fit"]
    assert (place / "sweep.svg").read_text().startswith("<?xml")
