"""``crossloom cost``: tables, files, bad input."""

import json
import sys

import pytest

from golden.chip import preset
from golden.cost import DESIGNS, named_network, network_costs
from scripts.__main__ import main


def crossloom(patch, *arguments, cwd):
    """Run the command in this process, since importing torch takes seconds; its exit status."""
    patch.chdir(cwd)
    patch.setenv("COLUMNS", "120")
    patch.setattr(sys, "argv", ["crossloom", "cost", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code or 0


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("cost")
    with pytest.MonkeyPatch.context() as patch:
        assert crossloom(patch, "resnet20", "--sweep", "--json", "cost.json", "--plot", "cost.svg",
                         "--assume", "density.tiles=0.5", cwd=directory) == 0
    return directory


def test_tables(tmp_path, monkeypatch, capsys):
    assert crossloom(monkeypatch, "resnet20", "--sweep", cwd=tmp_path) == 0
    output = capsys.readouterr().out
    for word in (*DESIGNS, "layer3.2.conv2", "stream", "converter",
                 "resnet20 on chip 'default': 40.6 M MACs, 0.27 M parameters",
                 "basis over reprogramming: "):
        assert word in output


def test_counts_of_the_sweep(place, tmp_path, monkeypatch, capsys):
    points = json.loads((place / "cost.json").read_text())["sweep"]
    assert crossloom(monkeypatch, "resnet20", "--sweep", "--assume", "density.tiles=0.5",
                     cwd=tmp_path) == 0
    output = " ".join(capsys.readouterr().out.split())
    fewer = sum(point["clocks_ratio"] < 1 for point in points)
    below = sum(point["energy_delay_ratio"] < 0.01 for point in points)
    both = sum(point["holds"] for point in points)
    assert 0 < both < below < fewer < 36
    assert f"Of 36 ways of writing: fewer clocks in {fewer} (" in output
    assert f"product below 1 % in {below} (" in output and f"below 1 % in {both}." in output


def test_json_schema(place):
    content = json.loads((place / "cost.json").read_text())
    assert set(content) == {
        "network", "chip", "configuration", "macs", "parameters", "free", "density", "assumed",
        "designs", "ratio", "break_even_clocks_per_row", "paper", "sweep"}
    assert content["network"] == "resnet20" and content["parameters"] == 269_722
    assert content["configuration"] == preset("default").hash
    assert content["density"] == {"tiles": 0.5, "planes": 1.0, "columns": 1.0}
    assert tuple(content["designs"]) == DESIGNS
    for design in content["designs"].values():
        assert set(design) == {
            "tiles", "clocks", "seconds", "joules", "energy_delay_joule_seconds",
            "square_millimetres", "conversions", "energy_picojoules", "area_square_micrometres",
            "layers"}
        assert sum(layer["clocks"] + layer["transfer_clocks"]
                   for layer in design["layers"]) == design["clocks"]
        assert sum(design["energy_picojoules"].values()) == pytest.approx(design["joules"] * 1e12)
        assert sum(layer["joules"] for layer in design["layers"]) == pytest.approx(
            design["joules"])
    for part in content["assumed"].values():
        for entry in part.values():
            assert set(entry) == {"value", "unit", "source"}
    assert len(content["sweep"]) == 36
    for point in content["sweep"]:
        assert point["holds"] == (max(point["clocks_ratio"], point["energy_delay_ratio"]) < 0.01)


def test_json_is_what_the_model_says(place):
    content = json.loads((place / "cost.json").read_text())
    costs = network_costs(named_network("resnet20"), preset("default"))
    for name in ("reprogramming", "resident", "digital"):  # these do not depend on the density
        assert content["designs"][name]["clocks"] == costs[name].clocks
        assert content["designs"][name]["joules"] == costs[name].joules
    assert content["designs"]["basis"]["clocks"] < costs["basis"].clocks


def test_plot(place):
    text = (place / "cost.svg").read_text()
    assert text.startswith("<?xml") and text.rstrip().endswith("</svg>")


@pytest.mark.parametrize("arguments, message", [
    (["alexnet"], "network must be one of resnet18, resnet34"),
    (["absent.onnx"], "no ONNX file 'absent.onnx'"),
    (["resnet20", "--mode", "plain"], "--mode must be auto, merge or stream, not 'plain'"),
    (["resnet20", "--assume", "energy.frob=1"], "assumption 'energy.frob': no such name"),
    (["resnet20", "--assume", "write.style=page"], "style must be one of row, converter, cell"),
    (["resnet20", "--program", "absent.program"], "no program file 'absent.program'"),
    (["resnet20", "--json", "nowhere/x.json"], "there is no directory 'nowhere'"),
    (["resnet50", "--preset", "tiny", "--set", "accumulator.products=8"],
     "needs more than the 8 products"),
])
def test_bad_input_is_one_line_and_leaves_nothing(arguments, message, tmp_path, monkeypatch,
                                                    capsys):
    assert crossloom(monkeypatch, *arguments, "--plot", "cost.svg", cwd=tmp_path) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    lines = errors.splitlines()
    assert len(lines) == 1 and message in lines[0]
    assert list(tmp_path.iterdir()) == []
