"""``crossloom sweep``: accuracy against the size of the basis and the bits of its coefficients."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from golden.chip import Chip

from . import options, output

if TYPE_CHECKING:
    from torch import Tensor

    from .networks import Network

__all__ = ["point_chip", "sweep"]

#: Calibration images per point: a point need not be as good as a compiled program.
_CALIBRATION = 32


def _whole(name: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{name} must be integers with commas between them, not {text!r}"
                         ) from None


def point_chip(chip: Chip, vectors: int, bits: int) -> tuple[Chip, int]:
    """``chip`` with the fewest tiles that hold ``vectors``, and the vectors of each tile.

    Its accumulators get eight-bit coefficients where ``bits`` is more than they have.
    """
    tiles = -(-vectors // chip.array.columns)
    if vectors < 1 or vectors % tiles:
        raise ValueError(f"vectors must divide evenly over tiles of {chip.array.columns} "
                         f"columns, not {vectors!r}")
    if bits > chip.accumulator.coefficient_bits:
        chip = replace(chip, accumulator=replace(chip.accumulator, coefficient_bits=8))
    return replace(chip, name="custom", tiles=tiles), vectors // tiles


def sweep(
        network: options.Network, preset: options.Preset = "default",
        weights: options.Weights = None, calibration: options.Calibration = None,
        images: options.Images = None, labels: options.Labels = None, data: options.Data = None,
        count: Annotated[int | None, typer.Option(
            "--count", min=1, help="Images to classify; all of them if not given.")] = None,
        vectors: Annotated[str, typer.Option(
            "--vectors", help="Sizes of the basis, commas between them.")] = "32,64,128,256",
        bits: Annotated[str, typer.Option(
            "--bits", help="Coefficient bits, commas between them.")] = "2,3,4",
        train: Annotated[float, typer.Option(
            "--train", metavar="EPOCHS", help="Joint training of each point.")] = 0.25,
        rate: options.Rate = 1.0, precision: options.Precision = "float32",
        checkpoint: Annotated[Path | None, typer.Option(
            "--checkpoint", metavar="FILE", help="Keep each point in FILE; an interrupted run "
                                                 "goes on from there.")] = None,
        seed: options.Seed = 0, json: options.Json = None,
        plot: Annotated[Path | None, typer.Option(
            "--plot", metavar="FILE", help="Write a plot to FILE, SVG.")] = None) -> None:
    """Measure accuracy on ideal macros over basis size and coefficient bits, trained and not."""
    chip = options.configured_chip(preset)
    source = options.images_of(network, images)
    places = [(size, width) for width in _whole("bits", bits)
              for size in _whole("vectors", vectors)]
    chips = [point_chip(chip, size, width) for size, width in places]
    for path in filter(None, (json, plot, checkpoint)):
        output.check_file(path)

    from golden.analog.rows import store_rows, stored_rows
    from golden.compile import Options
    from golden.training import Recipe

    from . import plots
    from .networks import labelled_images, load_network, network_settings
    from .progress import stages

    for (_, width), (custom, _) in zip(places, chips, strict=True):
        Options(coefficient_bits=width).check(custom)
    recipe = Recipe(epochs=train, rate=rate, precision=precision)
    rows: list[dict[str, Any]] = []
    with stages() as report:
        shown, truth = labelled_images(source, labels, seed, data, count)
        given = load_network(network, weights=weights, calibration=calibration, data=data,
                             seed=seed, progress=report)
        settings = {**network_settings(given, shown, truth), "chip": chip.hash, "epochs": train,
                    "rate": rate, "precision": precision, "seed": seed}
        known = stored_rows(checkpoint, settings) if checkpoint is not None else []
        for (size, width), (custom, each) in zip(places, chips, strict=True):
            row = next((r for r in known if (r["vectors"], r["bits"]) == (size, width)), None)
            if row is None:
                row = {"vectors": size, "bits": width, **_point(
                    given, custom, each, width, recipe, seed, shown, truth, data)}
                known.append(row)
                if checkpoint is not None:
                    store_rows(checkpoint, settings, known)
            rows.append(row)
            report("points", len(rows) / len(places))
    for row in rows:
        typer.echo(f"{row['vectors']:4d} vectors, {row['bits']} bits: "
                   f"{100 * row['fit']:.2f} % fitted, {100 * row['trained']:.2f} % trained; "
                   f"distance to the float network {row['before']:.3g} and {row['after']:.3g}")
    if json is not None:
        output.write_json(json, {"network": given.name, "preset": chip.name, "seed": seed,
                                 "images": len(truth), "epochs": train, "rate": rate,
                                 "points": rows})
    if plot is not None:
        output.write_text(plot, plots.svg(plots.accuracy_over_basis(rows)))


def _point(network: "Network", chip: Chip, vectors_per_tile: int, bits: int, recipe: Any,
           seed: int, images: "Tensor", labels: "Tensor", data: Path | None) -> dict[str, float]:
    """Shares correct, ``fit`` without training and ``trained``; distances to the float network.

    ``before`` and ``after`` the training, on images held out of it; where it came no nearer the
    fit is kept.
    """
    from golden.compile import Options, compile_stages, train_further
    from golden.finetune import Training
    from golden.physics import MacroPhysics
    from golden.training import JointTraining

    from .accuracies import macro_accuracy
    from .networks import training_images

    choices = Options(vectors_per_tile=vectors_per_tile, coefficient_bits=bits,
                      images=_CALIBRATION, training=Training(epochs=0))
    joint = JointTraining(training_images(network, None, data), recipe)
    fit = compile_stages(network.model, chip, network.calibration, seed=seed, options=choices)
    made = train_further(fit, joint, network.calibration, seed=seed, options=choices)
    improvement = made.improvement
    assert improvement is not None
    right = [macro_accuracy(each.program, images, labels, MacroPhysics.ideal(), seed, False)
             for each in ((fit, made) if improvement.found else (fit,))]
    return {"fit": right[0], "trained": right[-1], "before": improvement.before,
            "after": improvement.after}
