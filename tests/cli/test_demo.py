"""The demonstration, whole; and its report and exit status when golden and RTL differ."""

import json
import re
import sys

import pytest

from golden.chip import preset
from scripts import demonstration
from scripts.__main__ import main
from scripts.demo_report import demo_html, demo_sections
from scripts.demonstration import Demonstration
from sim.random_programs import random_program

ACCURACY = {"float": 0.9, "int8": 0.8, "basis_ideal": 0.7, "basis_nonideal": 0.6}


def planted(mismatch):
    """A demonstration as `demonstrate` gives it, with made-up numbers."""
    layer = {"name": "conv1", "operation": "convolution, merge", "cycles_rtl": 40,
             "cycles_golden": 40, "conversions": 5, "early_stops": 2, "converting": [30, 20]}
    result = {
        "command": "crossloom demo", "network": "digits", "preset": "tiny", "seed": 3,
        "chip": {"tiles": 2, "rows": 16, "columns": 8, "bits": 6, "hash": "0"},
        "test_images": 50, "accuracy": ACCURACY,
        "rtl": {"images": 2, "words_compared": 1234, "mismatches": int(bool(mismatch)),
                "first_mismatch": mismatch, "cycles": 80, "cycles_per_image": [40, 40]},
        "golden": {"cycles": 80, "cycles_per_image": [40, 40]}, "layers": [layer],
        "versions": {"crossloom": "0"}, "timings": {"training": 1.5}}
    return Demonstration(result, random_program(preset("tiny"), 1),
                         {"reset": [1, 0, 0], "trial": [0, -1, 3]}, 7, "conv1")


def crossloom(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["crossloom", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0


def test_report_says_equal_and_needs_nothing_beside_it():
    done = planted("")
    text = demo_html(done, demo_sections(done))
    assert "equals the golden model, bit for bit" in text and "1,234" in text
    assert "90.0 %" in text and "60.0 %" in text
    sources = re.findall(r'(?:src|href)="([^"]{1,20})', text)
    assert len(sources) == 4 and all(source.startswith("data:image/svg+xml") for source in sources)
    assert "<script" not in text and "@import" not in text


def test_report_says_where_they_differ():
    done = planted("code at layer 'conv1', position 3, kernel or column 1, tile 0")
    text = demo_html(done, demo_sections(done))
    assert "differ</strong>" in text and "position 3, kernel or column 1, tile 0" in text
    assert "bit for bit" not in text


def test_a_difference_is_status_1_and_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(demonstration, "demonstrate",
                        lambda *arguments: planted("code at layer 'conv1', tile 1"))
    assert crossloom(monkeypatch, "demo", "-o", tmp_path / "out", "-p", "tiny") == 1
    assert "golden and RTL differ: code at layer 'conv1', tile 1" in capsys.readouterr().err
    # The report is there all the same: it is what the user looks into.
    assert (tmp_path / "out" / "report.html").is_file()


def test_demo(monkeypatch, tmp_path):
    assert crossloom(monkeypatch, "demo", "-o", tmp_path / "out") == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "report.html", "result.json", "program.safetensors", "figures", "verilog"}
    assert result["rtl"]["images"] == 16
    assert result["rtl"]["words_compared"] > 100_000 and result["rtl"]["mismatches"] == 0
    assert result["rtl"]["cycles_per_image"] == result["golden"]["cycles_per_image"]
    assert result["rtl"]["cycles"] == result["golden"]["cycles"] > 0
    assert sum(layer["cycles_rtl"] for layer in result["layers"]) \
        < result["rtl"]["cycles_per_image"][0]
    # 450 images: the network is trained to more than 97 %, and the macro costs it little.
    assert result["accuracy"]["float"] > 0.97
    assert result["accuracy"]["basis_nonideal"] > result["accuracy"]["float"] - 0.03
