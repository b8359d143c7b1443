"""Figures of the report: their arithmetic, and that the same figure is the same text."""

import pytest

from scripts import plots


@pytest.mark.parametrize("correct, count, low, high", [
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0000, 0.1611),
    (1, 29, 0.0061, 0.1718),
])
def test_wilson_interval_against_published_values(correct, count, low, high):
    found = plots.wilson_interval(correct / count, count)
    assert found == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_needs_a_trial():
    with pytest.raises(ValueError, match="count must be at least 1, not 0"):
        plots.wilson_interval(0.5, 0)


@pytest.mark.parametrize("draw", [
    lambda: plots.accuracy_by_stage([("float", 1.0, 10), ("basis", 0.0, 10)]),
    lambda: plots.accuracy_by_technology([("SRAM", "64x64", 0.9), ("FeFET", "64x64", 0.5),
                                          ("SRAM", "128x128", 0.4)]),
    lambda: plots.accuracy_over_time({"none": [(25.0, [0.9, 0.8]), (3600.0, [0.5, 0.4])]}),
    lambda: plots.clocks_by_layer([("first", 12), ("second", 30)]),
    lambda: plots.converter_occupancy(["first"], [[0.0, 1.0]]),
    lambda: plots.phase_diagram({"reset": [0, 1, 1, 0], "trial": [-128, 7, 7, 7]}, 5, {}),
], ids=["accuracy", "technologies", "time", "clocks", "occupancy", "phases"])
def test_figures_repeat(draw):
    first, second = plots.svg(draw()), plots.svg(draw())
    assert first == second
    assert first.lstrip().startswith("<?xml") and len(first) > 2000
