"""``crossloom technologies``: a network on SRAM, FeFET, ReRAM and SOT-MRAM cells."""

from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer

from . import options, output

__all__ = ["technologies"]

#: Images that choose the inputs' ranges.
_CALIBRATION = 128


def technologies(
        network: options.Network, weights: options.Weights = None,
        calibration: options.Calibration = None,
        images: options.Images = None, labels: options.Labels = None, data: options.Data = None,
        count: Annotated[int | None, typer.Option(
            "--count", min=1, help="Images to classify; all of them if not given.")] = None,
        specimens: Annotated[int, typer.Option(
            "--specimens", min=1, help="Draws of the columns' deviations.")] = 1,
        rows: Annotated[str, typer.Option(
            "--rows", help="Array sizes: of 64, 128 and 256, commas between.")] = "64,128,256",
        checkpoint: Annotated[Path | None, typer.Option(
            "--checkpoint", metavar="FILE", help="Keep each result in FILE; an interrupted run "
                                                 "goes on from there.")] = None,
        seed: options.Seed = 0, json: options.Json = None,
        plot: Annotated[Path | None, typer.Option(
            "--plot", metavar="FILE", help="Write a plot to FILE, SVG.")] = None) -> None:
    """Compare memory technologies: array sizes, partial activation, custom references."""
    source = options.images_of(network, images)
    sizes = rows.split(",")
    if not set(sizes) <= {"64", "128", "256"} or len(set(sizes)) < len(sizes):
        raise ValueError(f"rows must be different ones of 64,128,256, not {rows!r}")
    for path in filter(None, (json, plot, checkpoint)):
        output.check_file(path)

    from golden.analog import CASES, technology_accuracy
    from golden.analog.accuracy import correct_of

    from . import plots
    from .networks import labelled_images, load_network, network_settings
    from .on_device import BATCH
    from .progress import stages

    cases = [case for case in CASES if str(case.rows) in sizes]
    with stages() as report:
        shown, truth = labelled_images(source, labels, seed, data, count)
        given = load_network(network, weights=weights, calibration=calibration, data=data,
                             seed=seed, progress=report)
        tested = list(zip(shown.split(BATCH), truth.split(BATCH), strict=True))
        correct, total = correct_of(given.model, tested)
        found = technology_accuracy(
            given.model, [given.calibration[:_CALIBRATION]], tested,
            range(seed, seed + specimens), cases, checkpoint,
            network_settings(given, shown, truth),
            lambda text, share: report(f"technologies: {text}", share))
    names = [(case.technology, case.label) for case in cases]
    values = [[row["accuracy"] for row in found[i * specimens:(i + 1) * specimens]]
              for i in range(len(cases))]
    errors = [mean(row["error"] for row in found[i * specimens:(i + 1) * specimens])
              for i in range(len(cases))]
    _show(f"{given.name}, {total} images, float {100 * correct / total:.2f} %", cases, values,
          errors, correct / total)
    if json is not None:
        output.write_json(json, {"network": given.name, "seed": seed, "images": total,
                                 "float": correct / total, "rows": found})
    if plot is not None:
        output.write_text(plot, plots.svg(plots.accuracy_by_technology(
            [(*name, mean(each)) for name, each in zip(names, values, strict=True)])))


def _show(title: str, cases: Any, values: list[list[float]], errors: list[float],
          software: float) -> None:
    """Print the table; a published drop stands beside ours.

    ``errors`` are those of a layer's sums, relative to their spread (`golden.analog.SumError`).
    """
    from golden.analog.technologies import PUBLISHED_SOFTWARE
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, caption="error: of a layer's sums, over the spread of the sums; "
                                       "published: drop")
    for name in ("technology", "array"):
        table.add_column(name)
    for name in ("error", "correct", "drop", "published"):
        table.add_column(name, justify="right")
    for case, each, error in zip(cases, values, errors, strict=True):
        published = ("" if case.published is None
                     else f"{PUBLISHED_SOFTWARE - case.published:.1f}")
        table.add_row(case.technology, case.label, f"{error:.3f}", f"{100 * mean(each):.2f} %",
                      f"{100 * (software - mean(each)):.1f}", published)
    Console().print(table)
