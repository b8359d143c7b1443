"""The memory-technology comparison on a small network: order, remedies, going on, bad input."""

from dataclasses import replace
import json

import pytest
import torch
from torch import nn

from golden.analog import CASES, technology_accuracy
from golden.analog.technologies import Case


@pytest.fixture(scope="module")
def network():
    """A model, images to calibrate with, and batches labelled by the model itself."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(),
                          nn.Flatten(), nn.Linear(16 * 16, 10)).eval()
    images = torch.rand(60, 2, 8, 8)
    with torch.no_grad():
        labels = model(images).argmax(1)
    return model, [images[:20]], [(images[:30], labels[:30]), (images[30:], labels[30:])]


def case(technology, rows, active, **options):
    """The published case; LookupError if it is not one."""
    return next(case for case in CASES if (case.technology, case.rows, case.active_rows)
                == (technology, rows, active)
                and all(getattr(case, name) == value for name, value in options.items()))


def test_cases_are_different_and_of_all_technologies():
    unpublished = [replace(case, published=None) for case in CASES]
    assert len(set(unpublished)) == len(CASES)
    for rows in (64, 128, 256):
        assert {case.technology for case in CASES if case.rows == rows} == {
            "SRAM", "FeFET", "ReRAM", "SOT-MRAM"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.technology}, {case.label}")
def test_every_case_has_a_chip_of_its_size(case):
    assert (case.chip.array.rows, case.chip.array.columns) == (case.rows, case.rows)


def test_order_of_the_errors_is_the_published_order(network):
    chosen = [case("SRAM", 64, 64), case("FeFET", 64, 64, bits_per_cell=1),
              case("ReRAM", 64, 64, bits_per_cell=1), case("SOT-MRAM", 64, 64)]
    rows = technology_accuracy(*network, [0], chosen)
    error = {row["technology"]: row["error"] for row in rows}
    assert error["FeFET"] < error["ReRAM"] < error["SRAM"] < error["SOT-MRAM"]
    for row in rows:
        # Wires take from the sums, and what a gain cannot correct is part of the error.
        assert row["gain"] < 0 and 0 < row["rest"] < row["error"]


def test_more_rows_at_once_cost_more(network):
    chosen = [case("FeFET", 64, 64, bits_per_cell=1), case("SOT-MRAM", 64, 8),
              case("SOT-MRAM", 64, 64)]
    rows = technology_accuracy(*network, [0, 1], chosen)
    assert [(row["technology"], row["active_rows"], row["seed"]) for row in rows] == [
        (one.technology, one.active_rows, seed) for one in chosen for seed in (0, 1)]
    mean = [(rows[i]["accuracy"] + rows[i + 1]["accuracy"]) / 2 for i in (0, 2, 4)]
    assert mean[0] > mean[2] and mean[1] > mean[2]
    assert all(row["images"] == 60 and row["correct"] == round(60 * row["accuracy"])
               for row in rows)


def test_goes_on_from_its_file(network, tmp_path):
    path = tmp_path / "rows.json"
    chosen = [case("SRAM", 64, 64), case("ReRAM", 64, 64, bits_per_cell=1)]
    first = technology_accuracy(*network, [0], chosen[:1], path, {"network": "small"})
    stored = json.loads(path.read_text())
    stored["rows"][0]["accuracy"] = 0.125
    path.write_text(json.dumps(stored))
    seen = []
    both = technology_accuracy(*network, [0], chosen, path, {"network": "small"},
                               lambda text, share: seen.append((text, share)))
    assert both[0] == {**first[0], "accuracy": 0.125}
    assert len(seen) == 1 and seen[0][1] == 1 and seen[0][0].startswith("ReRAM, 64x64; ")
    assert both == technology_accuracy(*network, [0], chosen, path, {"network": "small"})
    with pytest.raises(ValueError, match="other settings"):
        technology_accuracy(*network, [0], chosen, path, {"network": "large"})


@pytest.mark.parametrize("build, named", [
    (lambda: Case("PCM", 64, 64), "Case.technology must be one of SRAM"),
    (lambda: Case("SRAM", 32, 32), "Case.rows must be one of 64, 128, 256"),
    (lambda: technology_accuracy(nn.Linear(2, 2), [], [], []), "seeds must be one or more"),
    (lambda: technology_accuracy(nn.Linear(2, 2), [], [], [0, 0]), "seeds must be one or more")])
def test_bad_input_is_named(build, named):
    with pytest.raises(ValueError, match=named):
        build()
