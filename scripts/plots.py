"""Figures of the report: matplotlib, drawn to SVG text; every axis has its unit.

Colours are from the palette of Okabe and Ito (Color Universal Design, 2008), which readers with
any colour vision can tell apart.
"""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from math import sqrt
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

__all__ = ["BLUE", "ORANGE", "GREEN", "VERMILLION", "GREY", "accuracy_by_stage",
           "accuracy_by_technology", "accuracy_over_basis", "accuracy_over_time", "clocks_by_layer",
           "codes_by_layer", "converter_occupancy", "phase_diagram", "svg", "png",
           "wilson_interval"]

BLUE, ORANGE, GREEN, VERMILLION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
GREY, INK = "#8a8f98", "#22262b"

#: Set while a figure is made and written; the salt makes SVG identifiers repeatable.
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 9,
    "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.edgecolor": "#b8bcc2", "axes.linewidth": 0.8, "axes.spines.top": False,
    "axes.spines.right": False, "xtick.major.width": 0.8, "ytick.major.width": 0.8,
    "grid.color": "#e6e8eb", "grid.linewidth": 0.8, "axes.axisbelow": True,
    "svg.hashsalt": "crossloom", "svg.fonttype": "path", "figure.facecolor": "white",
}


def _figure(height: float, draw: Callable[[Axes], None], width: float = 7.2) -> Figure:
    """A figure of ``width`` by ``height`` inches with one axes, drawn by ``draw``."""
    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.add_subplot())
    return figure


def svg(figure: Figure) -> str:
    """The figure as SVG text, the same for the same figure."""
    buffer = BytesIO()
    with rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue().decode()


def png(figure: Figure) -> bytes:
    """The figure as PNG at 160 dots per inch."""
    buffer = BytesIO()
    with rc_context(_STYLE):
        figure.savefig(buffer, format="png", dpi=160)
    return buffer.getvalue()


def wilson_interval(fraction: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval (1927) of a fraction seen in ``count`` trials; z 1.96 is 95 %."""
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count!r}")
    scale = 1 + z * z / count
    centre = (fraction + z * z / (2 * count)) / scale
    half = z * sqrt(fraction * (1 - fraction) / count + z * z / (4 * count * count)) / scale
    return centre - half, centre + half


def accuracy_by_stage(stages: Sequence[tuple[str, float, int]]) -> Figure:
    """Accuracy of each (label, fraction correct, images), with its 95 % interval."""
    def draw(axes: Axes) -> None:
        rows = range(len(stages))
        for row, (_, fraction, count) in zip(rows, stages, strict=True):
            low, high = (100 * bound for bound in wilson_interval(fraction, count))
            axes.plot([low, high], [row, row], color=BLUE, linewidth=1.6, alpha=0.45,
                      solid_capstyle="round")
            axes.plot(100 * fraction, row, "o", color=BLUE, markersize=7)
            axes.annotate(f"{100 * fraction:.1f} %", (100 * fraction, row), xytext=(0, 8),
                          textcoords="offset points", ha="center")
        axes.set_yticks(rows, [label for label, _, _ in stages])
        axes.set_ylim(len(stages) - 0.5, -0.7)
        axes.set_xlabel("test images classified correctly (%), bars: 95 % interval")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    return _figure(0.9 + 0.5 * len(stages), draw)


def accuracy_by_technology(points: Sequence[tuple[str, str, float]]) -> Figure:
    """Accuracy by what was done to the array, a colour per technology.

    A point is (technology, array, fraction correct).
    """
    arrays = list(dict.fromkeys(array for _, array, _ in points))
    names = list(dict.fromkeys(name for name, _, _ in points))

    def draw(axes: Axes) -> None:
        for name, colour in zip(names, (GREY, BLUE, GREEN, VERMILLION), strict=False):
            chosen = [point for point in points if point[0] == name]
            axes.plot([100 * fraction for _, _, fraction in chosen],
                      [arrays.index(array) for _, array, _ in chosen], "o", color=colour,
                      markersize=7, label=name)
        axes.set_yticks(range(len(arrays)), arrays)
        axes.set_ylim(len(arrays) - 0.5, -0.5)
        axes.set_xlim(0, 100)
        axes.set_xlabel("test images classified correctly (%)")
        axes.grid()
        axes.tick_params(axis="y", length=0)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(names),
                    frameon=False, handletextpad=0.1)
    return _figure(1.3 + 0.34 * len(arrays), draw)


def accuracy_over_time(lines: Mapping[str, Sequence[tuple[float, Sequence[float]]]]) -> Figure:
    """Accuracy over time, a line per name: (seconds, fraction correct of each chip)."""
    colours = (VERMILLION, BLUE, GREEN, ORANGE)

    def draw(axes: Axes) -> None:
        for (name, points), colour in zip(lines.items(), colours, strict=False):
            times = [time for time, _ in points]
            axes.fill_between(times, [100 * min(values) for _, values in points],
                              [100 * max(values) for _, values in points], color=colour,
                              alpha=0.15, linewidth=0)
            axes.plot(times, [100 * sum(values) / len(values) for _, values in points], "o-",
                      color=colour, markersize=5, linewidth=1.4, label=name)
        axes.set_xscale("log")
        axes.set_xlabel("time after programming (s)")
        axes.set_ylabel("test images classified correctly (%)")
        axes.grid()
        axes.legend(frameon=False, title="mean of the chips; band: lowest to highest",
                    title_fontsize=8)
    return _figure(3.6, draw)


def accuracy_over_basis(points: Sequence[Mapping[str, Any]]) -> Figure:
    """Accuracy by basis size, a colour per coefficient width; dashed without training.

    A point has ``vectors``, ``bits``, and shares correct, ``fit`` and ``trained``.
    """
    widths = sorted({point["bits"] for point in points})
    colours = [VERMILLION, ORANGE, GREEN, BLUE, GREY]

    def draw(axes: Axes) -> None:
        for width, colour in zip(widths, colours, strict=False):
            chosen = sorted((p for p in points if p["bits"] == width),
                            key=lambda point: point["vectors"])
            sizes = [point["vectors"] for point in chosen]
            for name, style in (("fit", "--"), ("trained", "-")):
                axes.plot(sizes, [100 * point[name] for point in chosen], style, color=colour,
                          marker="o", markersize=4, linewidth=1.6,
                          label=f"{width} bits, {'trained' if name == 'trained' else 'fitted'}")
        sizes = sorted({point["vectors"] for point in points})
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel("basis vectors")
        axes.set_ylabel("correct / %")
        axes.grid(axis="y")
        axes.legend(frameon=False, loc="lower right", fontsize=8)

    return _figure(3.6, draw)


def clocks_by_layer(layers: Sequence[tuple[str, int]]) -> Figure:
    """Clocks of each (layer name, clocks of one image), in order of execution."""
    total = sum(clocks for _, clocks in layers)

    def draw(axes: Axes) -> None:
        rows = range(len(layers))
        values = [clocks / 1000 for _, clocks in layers]
        axes.barh(rows, values, height=0.62, color=BLUE)
        for row, value in zip(rows, values, strict=True):
            axes.annotate(f"{100 * value * 1000 / total:.1f} %", (value, row), xytext=(4, 0),
                          textcoords="offset points", va="center", fontsize=8)
        axes.set_yticks(rows, [name for name, _ in layers])
        axes.set_ylim(len(layers) - 0.4, -0.6)
        axes.margins(x=0.1)
        axes.set_xlabel("clocks per image (thousands), as counted by the RTL; labels: share")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    return _figure(0.8 + 0.27 * len(layers), draw)


def codes_by_layer(layers: Sequence[tuple[str, Sequence[int]]], lowest: int) -> Figure:
    """How often each layer's converters gave each code, from ``lowest`` on; darker is more often.

    ``layers`` are (name, conversions by code).
    """
    shares = [[count / max(sum(counts), 1) for count in counts] for _, counts in layers]
    codes = len(shares[0])

    def draw(axes: Axes) -> None:
        image = axes.imshow([[100 * share for share in row] for row in shares], aspect="auto",
                            cmap="Blues", norm=LogNorm(1e-3, 100, clip=True),
                            extent=(lowest - 0.5, lowest + codes - 0.5, len(layers) - 0.5, -0.5),
                            interpolation="nearest")
        axes.set_yticks(range(len(layers)), [name for name, _ in layers])
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("code of the converter")
        axes.figure.colorbar(image, ax=axes, label="share of codes (%)")
    return _figure(1.4 + 0.22 * len(layers), draw)


def converter_occupancy(layers: Sequence[str], busy: Sequence[Sequence[float]]) -> Figure:
    """Fraction of each layer's clocks in which each tile's converter works.

    ``busy`` is [layers][tiles], each from 0 to 1.
    """
    colours = (BLUE, ORANGE, GREEN, VERMILLION)

    def draw(axes: Axes) -> None:
        tiles = len(busy[0])
        for tile in range(tiles):
            offset = (tile - (tiles - 1) / 2) * 0.6 / max(tiles - 1, 1)
            axes.plot([100 * row[tile] for row in busy],
                      [place + offset for place in range(len(layers))], "o", markersize=5,
                      color=colours[tile % len(colours)], label=f"tile {tile}")
        axes.set_yticks(range(len(layers)), layers)
        axes.set_ylim(len(layers) - 0.4, -0.6)
        axes.set_xlim(0, 100)
        axes.set_xlabel("clocks of the layer in which the converter works (%)")
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=min(tiles, 8),
                    frameon=False, handletextpad=0.1)
    return _figure(1.1 + 0.34 * len(layers), draw)


def phase_diagram(pins: Mapping[str, Sequence[int]], first_clock: int,
                  groups: Mapping[str, str]) -> Figure:
    """Waveforms of pins, one value per clock, as an oscilloscope of the macro's pins shows them.

    One-bit pins are levels; wider ones are boxes that carry their value. ``groups`` gives each
    pin's colour. All sequences have the same length; the first value is of ``first_clock``.
    """
    def draw(axes: Axes) -> None:
        for row, (name, values) in enumerate(pins.items()):
            colour = groups.get(name, INK)
            if max(values) <= 1 and min(values) >= 0:
                _level(axes, values, row, first_clock, colour)
            else:
                _bus(axes, values, row, first_clock, colour)
        length = len(next(iter(pins.values())))
        axes.set_yticks(range(len(pins)), list(pins))
        axes.set_ylim(len(pins) - 0.3, -0.7)
        axes.set_xlim(first_clock, first_clock + length)
        axes.set_xlabel("clock")
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    return _figure(0.7 + 0.3 * len(pins), draw, width=9.6)


def _level(axes: Axes, values: Sequence[int], row: int, first: int, colour: str) -> None:
    base = row + 0.32
    clocks = [first + i for i in range(len(values) + 1)]
    heights = [base - 0.62 * value for value in (*values, values[-1])]
    axes.step(clocks, heights, where="post", color=colour, linewidth=1.2)
    axes.fill_between(clocks, heights, base, step="post", color=colour, alpha=0.22, linewidth=0)


def _bus(axes: Axes, values: Sequence[int], row: int, first: int, colour: str) -> None:
    start = 0
    for i in range(1, len(values) + 1):
        if i < len(values) and values[i] == values[start]:
            continue
        left, right = first + start, first + i
        axes.fill_between([left, right], row - 0.3, row + 0.32, facecolor=colour, alpha=0.12,
                          edgecolor="none")
        axes.plot([left, right, right, left, left],
                  [row - 0.3, row - 0.3, row + 0.32, row + 0.32, row - 0.3],
                  color=colour, linewidth=0.7)
        text = str(values[start])
        if right - left >= len(values) / 160 * (len(text) + 0.6):
            axes.text((left + right) / 2, row + 0.01, text, ha="center", va="center", fontsize=6.5)
        start = i
