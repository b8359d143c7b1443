"""``crossloom accuracy --device`` on a small network of the user's own: float, chips, going on."""

import json
import sys

import numpy as np
import pytest
import torch

from golden.analog.accuracy import correct_of
from scripts.__main__ import main

NETWORK = """
import torch

def small():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(2, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(),
                               torch.nn.Flatten(), torch.nn.Linear(64, 3))
"""


def test_float_stands_beside_every_chip_and_a_run_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "network.py").write_text(NETWORK)
    random = np.random.default_rng(0)
    images = random.normal(size=(24, 2, 6, 6)).astype(np.float32)
    labels = random.integers(0, 3, 24)
    np.save("images.npy", images)
    np.save("labels.npy", labels)

    def run(name, specimens, *more, code=0):
        monkeypatch.setattr(sys, "argv", [
            "crossloom", "accuracy", "network.py:small", "--calibration", "images.npy",
            "--images", "images.npy", "--labels", "labels.npy", "--device", "pcm",
            "--times", "25,86400", "--compensations", "none,gdc,adabs",
            "--specimens", specimens, "--checkpoint", "rows.json", "--json", name, *more])
        with pytest.raises(SystemExit) as end:
            main()
        assert (end.value.code or 0) == code
        return None if code else json.loads((tmp_path / name).read_text())

    first = run("first.json", "1")
    scope: dict[str, object] = {}
    exec(NETWORK, scope)
    correct, _ = correct_of(scope["small"]().eval(),
                            [(torch.from_numpy(images), torch.from_numpy(labels))])
    assert first["float"] == correct / 24
    assert [(row["time"], row["compensation"]) for row in first["rows"]] == [
        (time, name) for time in (25, 86400) for name in ("none", "gdc", "adabs")]
    shown = capsys.readouterr().out
    assert any("float" in line and f"{100 * correct / 24:.2f} %" in line
               for line in shown.splitlines())
    stored = json.loads((tmp_path / "rows.json").read_text())
    stored["rows"][0]["accuracy"] = 0.125
    (tmp_path / "rows.json").write_text(json.dumps(stored))
    more = run("more.json", "2")
    assert more["rows"][0]["accuracy"] == 0.125 and more["rows"][1:6] == first["rows"][1:]
    assert {row["seed"] for row in more["rows"]} == {0, 1}
    capsys.readouterr()
    run("single.json", "1", "--single-read", code=2)
    assert "rows.json holds results for other settings" in capsys.readouterr().err
    (tmp_path / "rows.json").unlink()
    assert run("single.json", "1", "--single-read")["single_read"] and not first["single_read"]
    run("layer.json", "1", "--single-read", "--scaling", "layer", code=2)
    assert "rows.json holds results for other settings" in capsys.readouterr().err
    (tmp_path / "rows.json").unlink()
    by_layer = run("layer.json", "1", "--scaling", "layer")
    assert (first["scaling"], by_layer["scaling"]) == ("column", "layer")
    run("other.json", "1", "--scaling", "row", code=2)
    assert "scaling must be one of layer, column, not 'row'" in capsys.readouterr().err
