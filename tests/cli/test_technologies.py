"""``crossloom technologies`` on a small network of the user's own: table, JSON, plot, going on."""

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
"""


def test_writes_every_case_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "network.py").write_text(NETWORK)
    random = np.random.default_rng(0)
    np.save("images.npy", random.normal(size=(12, 2, 6, 6)).astype(np.float32))
    np.save("labels.npy", random.integers(0, 3, 12))

    def run(name):
        monkeypatch.setattr(sys, "argv", [
            "crossloom", "technologies", "network.py:small", "--calibration", "images.npy",
            "--images", "images.npy", "--labels", "labels.npy", "--rows", "64", "--specimens", "2",
            "--checkpoint", "rows.json", "--json", name, "--plot", "plot.svg"])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        return json.loads((tmp_path / name).read_text())

    first = run("first.json")
    cases = {(row["technology"], row["active_rows"], row["bits_per_cell"]) for row in first["rows"]}
    assert {("SRAM", 64, 1), ("FeFET", 64, 1), ("ReRAM", 32, 2), ("SOT-MRAM", 8, 1)} <= cases
    assert {row["rows"] for row in first["rows"]} == {64}
    assert len(first["rows"]) == 2 * len(cases)
    shown = capsys.readouterr().out
    assert "SOT-MRAM" in shown and "64x64, 8 rows active" in shown
    assert (tmp_path / "plot.svg").read_text().startswith("<?xml")
    stored = json.loads((tmp_path / "rows.json").read_text())
    for row in stored["rows"]:
        row["accuracy"] = 0.25
    (tmp_path / "rows.json").write_text(json.dumps(stored))
    assert {row["accuracy"] for row in run("again.json")["rows"]} == {0.25}
