"""Bad input of the commands that compile and run: one line, status 2, nothing left behind."""

from pathlib import Path
import sys

import numpy as np
import pytest

from golden.chip import preset
from scripts.__main__ import main
from sim.random_programs import random_program

ROOT = Path(__file__).parents[2]
NETWORKS = """
import torch

def unmappable():
    return torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Sigmoid())

def number():
    return 3
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "networks.py").write_text(NETWORKS)
    np.save(tmp_path / "images.npy", np.zeros((2, 1, 8, 8), np.float32))
    np.save(tmp_path / "integers.npy", np.zeros((2, 1, 8, 8), int))
    np.save(tmp_path / "flat.npy", np.zeros(4, np.float32))
    (tmp_path / "text.npy").write_text("not an array")
    program = tmp_path / "tiny.safetensors"
    random_program(preset("tiny"), 1).save(program)
    data = bytearray(program.read_bytes())
    data[-1] ^= 1
    (tmp_path / "damaged.safetensors").write_bytes(data)
    (tmp_path / "short.safetensors").write_bytes(data[:100])
    return tmp_path


COMPILE = ["compile", "networks.py:unmappable", "-o", "out", "--calibration"]


@pytest.mark.parametrize("arguments, message", [
    ([*COMPILE, "images.npy"], "Sigmoid"),
    ([*COMPILE, "integers.npy"], "must hold finite floating-point numbers, not int64"),
    ([*COMPILE, "flat.npy"], "must hold an array of 4 dimensions, not (4,)"),
    ([*COMPILE, "text.npy"], "'text.npy' is not a .npy file"),
    ([*COMPILE, "nothing.npy"], "there is no file 'nothing.npy'"),
    (["compile", "networks.py:number", "-o", "out", "--calibration", "images.npy"],
     "must return a torch.nn.Module, not int"),
    (["compile", "networks.py:other", "-o", "out", "--calibration", "images.npy"],
     "has no function 'other'"),
    (["compile", "nothing.py:f", "-o", "out", "--calibration", "images.npy"],
     "there is no file 'nothing.py'"),
    (["compile", "networks.py:number", "-o", "out"], "needs a .npy file of images"),
    (["compile", "vgg", "-o", "out"], "network must be digits, resnet20, resnet32"),
    (["compile", "digits", "-o", "nowhere/out"], "there is no directory 'nowhere'"),
    ([*COMPILE, "images.npy", "--contest", "2"], "contest belongs to training: give --train"),
    ([*COMPILE, "images.npy", "--checkpoint", "run"], "checkpoint belongs to training"),
    ([*COMPILE, "images.npy", "--start", "run"], "start belongs to training"),
    ([*COMPILE, "images.npy", "--train", "0"], "Recipe.epochs must be positive, not 0.0"),
    ([*COMPILE, "images.npy", "--train", "1", "--contest", "0"],
     "Contest.tiles_per_kernel must be at least 1, not 0.0"),
    ([*COMPILE, "images.npy", "--train", "1", "--precision", "half"],
     "Recipe.precision must be float32 or bfloat16, not 'half'"),
    ([*COMPILE, "images.npy", "--train", "1", "--device", "tpu"], "device must be cpu or cuda"),
    ([*COMPILE, "images.npy", "--train", "1", "--training-images", "flat.npy"],
     "must hold an array of 4 dimensions, not (4,)"),
    ([*COMPILE, "images.npy", "--loop", "mine"], "loop must be file.py:function, not 'mine'"),
    ([*COMPILE, "images.npy", "--loop", "networks.py:mine"], "has no function 'mine'"),
    ([*COMPILE, "images.npy", "--loop", "networks.py:number", "--train", "1"],
     "train and loop exclude each other"),
    ([*COMPILE, "images.npy", "--coefficient-bits", "5"], "coefficient_bits must be 2 to 4"),
    (["sweep", "networks.py:number"], "needs a .npy file of images, and labels"),
    (["sweep", "digits", "--vectors", "many"], "vectors must be integers with commas"),
    (["sweep", "digits", "--vectors", "65"], "vectors must divide evenly over tiles"),
    (["sweep", "digits", "--bits", "1"], "coefficient_bits must be 2 to 4"),
    (["sweep", "digits", "--bits", "9"], "coefficient_bits must be 2 to 8"),
    (["compile", "digits", "-o", "out", "--mode", "both"],
     "Options.mode must be auto, merge or stream, not 'both'"),
    (["compile", "resnet20", "-o", "out"], "the network resnet20 needs a safetensors file"),
    (["compile", "resnet20", "-o", "out", "--weights", "tiny.safetensors"],
     "'tiny.safetensors' does not hold a CIFAR-10 ResNet"),
    (["run", "nothing.safetensors", "--images", "images.npy"],
     "no program file 'nothing.safetensors'"),
    (["run", "damaged.safetensors", "--images", "images.npy", "-p", "tiny"],
     "'damaged.safetensors' is damaged: its checksum does not match"),
    (["run", "short.safetensors", "--images", "images.npy", "-p", "tiny"],
     "'short.safetensors' is not a program file"),
    (["run", "tiny.safetensors", "--images", "images.npy"],
     "was compiled for chip 'tiny'"),
    (["run", "tiny.safetensors", "-p", "tiny"], "images must be digits, cifar10 or a .npy file"),
    (["run", "tiny.safetensors", "-p", "tiny", "--images", "images.npy", "--on", "paper"],
     "on must be golden, rtl, both, not 'paper'"),
    (["run", "tiny.safetensors", "-p", "tiny", "--images", "images.npy", "--first", "2"],
     "first must be 0 to 1, not 2"),
    (["run", "tiny.safetensors", "-p", "tiny", "--images", "images.npy", "--json", "no/out"],
     "there is no directory 'no'"),
    (["accuracy", "networks.py:unmappable"], "needs a .npy file of images, and labels"),
    (["accuracy", "digits", "--device", "paper"], "device must be one of ideal, pcm"),
    (["accuracy", "digits", "--attribute"], "attribute is for memory devices"),
    (["accuracy", "digits", "--checkpoint", "rows.json"], "checkpoint is for memory devices"),
    (["accuracy", "digits", "--device", "pcm", "--attribute"],
     "attribute takes one of --compensations"),
    (["accuracy", "digits", "--device", "pcm", "--times", "now"],
     "times must be numbers with commas between them, not 'now'"),
    (["technologies", "networks.py:unmappable"], "needs a .npy file of images, and labels"),
    (["technologies", "digits", "--rows", "32"], "rows must be different ones of 64,128,256"),
    (["technologies", "digits", "--rows", "64,64"], "rows must be different ones of 64,128,256"),
    (["technologies", "digits", "--checkpoint", "no/rows.json"], "there is no directory 'no'"),
    (["train", "digits", "-o", "out", "--noise", "-1"], "noise must be finite and positive"),
    (["train", "digits", "-o", "out", "--rate", "0"], "Schedule.rate must be positive, not 0.0"),
    (["train", "digits", "-o", "out", "--rate", "0", "--cosine"],
     "CosineSchedule.rate must be positive, not 0.0"),
    (["train", "digits", "-o", "out", "--teach", "0"],
     "Teacher.weight must be finite and positive, not 0.0"),
    (["train", "digits", "-o", "out", "--labels", "flat.npy"], "must be given together"),
    (["train", "digits", "-o", "out", "--weights", "tiny.safetensors"],
     "'tiny.safetensors' does not fit the network"),
    (["simulate", "pump"], "block must be one of charge_controller"),
    (["simulate", "converter", "--simulator", "paper"],
     "simulator must be one of verilator, icarus, not 'paper'"),
    (["simulate", "chip"], "the bench of chip runs one; give --program"),
    (["simulate", "converter", "--program", "tiny.safetensors"],
     "the bench of converter takes none"),
    (["faults", "--set", "tiles=1"], "tiles must be at least 2, one for each tenant, not 1"),
    (["faults", "--json", "no/out"], "there is no directory 'no'"),
    (["coverage", "--json", "no/out"], "there is no directory 'no'"),
    (["demo", "-o", "nowhere/out"], "there is no directory 'nowhere'"),
    (["demo", "--images", "451", "-o", "out"], "images must be 1 to 450, not 451"),
], ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "")
def test_bad_input_is_one_line_and_leaves_nothing(arguments, message, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setenv("CROSSLOOM_BUILD", str(ROOT / "build"))
    monkeypatch.setattr(sys, "argv", ["crossloom", *arguments])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = sorted(place.rglob("*"))
    with pytest.raises(SystemExit) as end:
        main()
    shown = capsys.readouterr()
    assert end.value.code == 2, shown.err
    assert shown.out == ""
    errors = [line for line in shown.err.splitlines() if line.startswith("crossloom: error: ")]
    assert len(errors) == 1 and message in errors[0], shown.err
    assert sorted(place.rglob("*")) == before
