"""``crossloom accuracy``: what is left of a network's accuracy on a chip, or on a device."""

from pathlib import Path
from typing import Annotated

import typer

from . import options, output

__all__ = ["measure"]


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"times must be numbers with commas between them, not {text!r}") from None


def measure(
        network: options.Network, preset: options.Preset = "default",
        settings: options.Settings = None, weights: options.Weights = None,
        calibration: options.Calibration = None,
        images: options.Images = None, labels: options.Labels = None, data: options.Data = None,
        count: Annotated[int | None, typer.Option(
            "--count", min=1, help="Images to classify; all of them if not given.")] = None,
        specimens: Annotated[int, typer.Option(
            "--specimens", min=1, help="Chips drawn, each with deviations of its own.")] = 5,
        device: Annotated[str | None, typer.Option(
            "--device", help="Memory devices instead of the charge-domain macro: ideal, pcm, "
                             "hermes, reram or reram_single.")] = None,
        times: Annotated[str, typer.Option(
            "--times", help="With --device: seconds after programming, commas between them.")]
        = "25,3600,86400",
        compensations: Annotated[str, typer.Option(
            "--compensations", help="With --device: of none, gdc and adabs, commas between.")]
        = "none,gdc",
        attribute: Annotated[bool, typer.Option(
            "--attribute", help="With --device: what each non-ideality alone costs, at the last "
                                "of --times, with the one of --compensations.")] = False,
        single_read: Annotated[bool, typer.Option(
            "--single-read", help="With --device: read all devices once at each time, not anew for "
                                  "every product.")] = False,
        scaling: Annotated[str | None, typer.Option(
            "--scaling", help="With --device: the largest weight of each column takes the whole "
                              "conductance (column), or that of each layer (layer); column if not "
                              "given.")] = None,
        checkpoint: Annotated[Path | None, typer.Option(
            "--checkpoint", metavar="FILE", help="With --device: keep each chip's result in FILE; "
                                                 "an interrupted run goes on from there.")] = None,
        epochs: options.Epochs = None, vectors_per_tile: options.VectorsPerTile = None,
        seed: options.Seed = 0, json: options.Json = None,
        plot: Annotated[Path | None, typer.Option(
            "--plot", metavar="FILE", help="Write a plot to FILE, SVG.")] = None) -> None:
    """Measure accuracy in float, 8 bits and over the basis; or on memory devices over time."""
    chip = options.configured_chip(preset, settings)
    source = options.images_of(network, images)
    for path in filter(None, (json, plot, checkpoint)):
        output.check_file(path)
    for name, value in (("attribute", attribute), ("checkpoint", checkpoint),
                        ("single-read", single_read), ("scaling", scaling)):
        if value and device is None:
            raise ValueError(f"{name} is for memory devices: give --device")
    if attribute and (checkpoint is not None or "," in compensations):
        raise ValueError("attribute takes one of --compensations and no --checkpoint, not "
                         f"{compensations!r} and {checkpoint}")

    from golden.compile import Options
    from golden.finetune import Training

    from . import accuracy_tables
    from .accuracies import digits_key
    from .networks import labelled_images, load_network
    from .on_device import Memory
    from .progress import stages

    choices = Options(vectors_per_tile=vectors_per_tile,
                      training=Training() if epochs is None else Training(epochs=epochs))
    choices.check(chip)
    memory = None if device is None else Memory(
        device, single_read, Memory.scaling if scaling is None else scaling)
    seeds = range(seed, seed + specimens)
    with stages() as report:
        shown, truth = labelled_images(source, labels, seed, data, count)
        given = load_network(network, weights=weights, calibration=calibration, data=data,
                             seed=seed, progress=report)
        if memory is None:
            # What stands in a user's file cannot be told from its name.
            named = network == "digits" == source and calibration is weights is None
            key = digits_key(seed, count) if named else None
            measured = accuracy_tables.by_stage(given, chip, shown, truth, seeds, choices, report,
                                                key)
        elif attribute:
            measured = accuracy_tables.by_effect(given, chip, memory, shown, truth, seeds,
                                                 _numbers(times)[-1], compensations, report)
        else:
            measured = accuracy_tables.over_time(given, chip, memory, shown, truth, seeds,
                                                 _numbers(times), compensations.split(","), report,
                                                 checkpoint)
    measured.show()
    if json is not None:
        output.write_json(json, {"network": given.name, "preset": chip.name,
                                 "chip_hash": chip.hash, "seed": seed, "images": len(truth),
                                 **measured.content})
    if plot is not None:
        output.write_text(plot, measured.svg())
