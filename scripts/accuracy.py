"""``crossloom accuracy``: what is left of a network's accuracy, stage by stage."""

from pathlib import Path
from typing import Annotated, Any
import statistics

import typer

from . import options, output

__all__ = ["measure"]


def measure(
        network: options.Network, preset: options.Preset = "default",
        settings: options.Settings = None, weights: options.Weights = None,
        calibration: options.Calibration = None,
        images: options.Images = None, labels: options.Labels = None, data: options.Data = None,
        count: Annotated[int | None, typer.Option(
            "--count", min=1, help="Images to classify; all of them if not given.")] = None,
        specimens: Annotated[int, typer.Option(
            "--specimens", min=1, help="Macros drawn, each with deviations of its own.")] = 5,
        epochs: options.Epochs = None, vectors_per_tile: options.VectorsPerTile = None,
        seed: options.Seed = 0, json: options.Json = None,
        plot: Annotated[Path | None, typer.Option(
            "--plot", metavar="FILE", help="Write a plot to FILE, SVG.")] = None) -> None:
    """Measure accuracy in float, in 8 bits, and over the basis on ideal and real macros."""
    chip = options.configured_chip(preset, settings)
    own = {"digits": "digits", "resnet20": "cifar10", "resnet32": "cifar10"}.get(network)
    if images is None and own is None:
        raise ValueError(f"images: the network {network!r} needs a .npy file of images, and labels")
    for path in filter(None, (json, plot)):
        output.check_file(path)

    from rich.console import Console
    from rich.table import Table

    from golden.compile import Options
    from golden.finetune import Training
    from golden.physics import MacroPhysics

    from .accuracies import compiled_stages, macro_accuracy
    from .networks import labelled_images, load_network
    from .progress import stages

    choices = Options(vectors_per_tile=vectors_per_tile,
                      training=Training() if epochs is None else Training(epochs=epochs))
    choices.check(chip)
    with stages() as report:
        shown, truth = labelled_images(images or own, labels, seed, data, count)
        given = load_network(network, weights=weights, calibration=calibration, data=data,
                             seed=seed, progress=report)
        # What stands in a user's file cannot be told from its name.
        key = f"{seed} {count}" if network == "digits" == (images or own) else None
        program, found = compiled_stages(given, chip, shown, truth, seed, choices, report, key)
        real: dict[str, list[float]] = {"uncompensated": [], "compensated": []}
        for specimen in range(specimens):
            for name, values in real.items():
                values.append(macro_accuracy(program, shown, truth, MacroPhysics(),
                                             seed + specimen, name == "compensated"))
            report("macros", (specimen + 1) / specimens)
    tested = len(truth)
    content: dict[str, Any] = {
        "network": given.name, "preset": chip.name, "chip_hash": chip.hash, "seed": seed,
        "images": tested,
        "accuracy": {"float": found.float, "int8": found.int8, "basis_ideal": found.basis_ideal,
                     **{f"basis_nonideal_{name}": {
                         "mean": statistics.mean(values), "specimens": values}
                        for name, values in real.items()}}}
    table = Table(title=f"{given.name} on chip {chip.name!r}, {tested} images, seed {seed}")
    table.add_column("stage")
    table.add_column("correct", justify="right")
    table.add_column("lowest to highest", justify="right")
    rows = [("float", [found.float]), ("8-bit", [found.int8]),
            ("basis, ideal macros", [found.basis_ideal]),
            ("basis, real macros", real["uncompensated"]),
            ("basis, real macros, compensated", real["compensated"])]
    for name, values in rows:
        span = f"{100 * min(values):.2f} to {100 * max(values):.2f} %" if len(values) > 1 else ""
        table.add_row(name, f"{100 * statistics.mean(values):.2f} %", span)
    Console().print(table)
    if json is not None:
        output.write_json(json, content)
    if plot is not None:
        from . import plots

        figure = plots.accuracy_by_stage([(name, statistics.mean(values), tested)
                                          for name, values in rows])
        output.write_text(plot, plots.svg(figure))
