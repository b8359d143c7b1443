"""Stacked plots of a cost: clocks by kind of work, energy and area by block, of each design."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["stacked"]

# Okabe and Ito's palette, then greys: as many colours as there are blocks.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#f0e442",
            "#22262b", "#6b7078", "#a5aab2", "#d7dade")


def _clocks_by_kind(design: Mapping[str, Any]) -> dict[str, float]:
    """Million clocks of each kind of layer, transfers to external memory apart."""
    totals: dict[str, float] = {}
    for layer in design["layers"]:
        totals[layer["kind"]] = totals.get(layer["kind"], 0.0) + layer["clocks"] / 1e6
        totals["transfers"] = totals.get("transfers", 0.0) + layer["transfer_clocks"] / 1e6
    return totals


def _draw(axes: Axes, designs: Mapping[str, Mapping[str, float]], label: str) -> None:
    """A bar for each design, its parts stacked; parts that are zero everywhere are left out."""
    parts = dict.fromkeys(part for values in designs.values() for part in values)
    shown = [part for part in parts if any(values.get(part) for values in designs.values())]
    rows = range(len(designs))
    left = [0.0] * len(designs)
    for number, part in enumerate(shown):
        widths = [values.get(part, 0.0) for values in designs.values()]
        axes.barh(rows, widths, left=left, height=0.62, label=part,
                  color=_COLOURS[number % len(_COLOURS)])
        left = [a + b for a, b in zip(left, widths, strict=True)]
    for row, total in zip(rows, left, strict=True):
        axes.annotate(f"{total:.3g}", (total, row), xytext=(4, 0), textcoords="offset points",
                      va="center", fontsize=8)
    axes.set_yticks(rows, list(designs))
    axes.set_ylim(len(designs) - 0.4, -0.6)
    # Bars stick to the edge of the axes; leave room for the totals.
    axes.set_xlim(0, 1.12 * max(left))
    axes.set_xlabel(label)
    axes.grid(axis="x", color="#e6e8eb")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=7)


def stacked(content: Mapping[str, Any]) -> Figure:
    """Three panels of ``content``, as `golden.cost.cost_content` makes it."""
    figure = Figure(figsize=(8.4, 7.2), layout="constrained")
    axes = figure.subplots(3)
    designs = content["designs"]
    _draw(axes[0], {name: _clocks_by_kind(made) for name, made in designs.items()},
          "clocks of one image (millions)")
    _draw(axes[1], {name: {part: value * 1e-9 for part, value in made["energy_picojoules"].items()}
                    for name, made in designs.items()}, "energy of one image (mJ)")
    _draw(axes[2], {name: {part: value * 1e-6
                           for part, value in made["area_square_micrometres"].items()}
                    for name, made in designs.items()}, "area (mm2)")
    figure.suptitle(f"{content['network']} on chip {content['chip']!r}", fontsize=10)
    return figure
