"""``crossloom compile``: a network becomes a program."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from . import options, output

__all__ = ["compile_program"]

Mode = Annotated[str, typer.Option(
    "--mode", help="How basis results are combined: auto, merge or stream.")]

Averaging = Annotated[int, typer.Option(
    "--averaging", help="Every code is the mean of 2**AVERAGING conversions, 0 to 3.")]


def compile_program(
        network: options.Network,
        file: Annotated[Path, typer.Option("-o", "--output", metavar="FILE",
                                           help="Program file to write.")],
        preset: options.Preset = "default", settings: options.Settings = None,
        weights: options.Weights = None, calibration: options.Calibration = None,
        data: options.Data = None,
        mode: Mode = "auto", averaging: Averaging = 0,
        vectors_per_tile: options.VectorsPerTile = None,
        coefficient_bits: options.CoefficientBits = None,
        epochs: options.Epochs = None,
        train: Annotated[float | None, typer.Option(
            "--train", metavar="EPOCHS", help="Train basis and coefficients jointly for so many "
            "passes over the training images; such as 6, or 0.5.")] = None,
        training_images: Annotated[Path | None, typer.Option(
            "--training-images", metavar="FILE", help=".npy file of float images to train with, "
            "no labels; if not given, those of the data set, or those to calibrate with.")] = None,
        loop: Annotated[str | None, typer.Option(
            "--loop", metavar="FILE:FUNCTION", help="Your own training loop instead: a function "
            "that is given the student, a torch module, and trains it in place.")] = None,
        rate: options.Rate = 1.0,
        contest: Annotated[float | None, typer.Option(
            "--contest", metavar="TILES", help="With --train: tiles that a kernel may use on "
            "average, so that kernels convert side by side; 1 is fewest clocks.")] = None,
        precision: options.Precision = "float32",
        checkpoint: Annotated[Path | None, typer.Option(
            "--checkpoint", metavar="FILE", help="With --train: keep the run here every minute, "
            "and take it up from here if it was interrupted.")] = None,
        start: Annotated[Path | None, typer.Option(
            "--start", metavar="FILE", help="With --train: begin where the run of this "
            "checkpoint, of the same network and chip, stands.")] = None,
        device: Annotated[str, typer.Option(
            "--device", help="Where to train: cpu or cuda.")] = "cpu",
        seed: options.Seed = 0,
        json: options.Json = None) -> None:
    """Compile a network into a program that runs on golden and on the RTL alike."""
    chip = options.configured_chip(preset, settings)
    for path in filter(None, (file, json, checkpoint)):
        output.check_file(path)
    if train is None and loop is None:
        for name, value in (("contest", contest), ("checkpoint", checkpoint), ("start", start),
                            ("training-images", training_images)):
            if value is not None:
                raise ValueError(f"{name} belongs to training: give --train EPOCHS")
    if train is not None and loop is not None:
        raise ValueError("train and loop exclude each other: a loop decides itself how long")

    from golden.compile import Options, compile_stages
    from golden.contest import Contest
    from golden.finetune import Training
    from golden.program import Convolution
    from golden.training import JointTraining, Recipe

    from . import networks
    from .accuracies import ERROR_IMAGES, compiled_stages, digits_key
    from .networks import labelled_images, load_network
    from .progress import stages

    jointly = train is not None or loop is not None
    if epochs is None and jointly:
        epochs = 0  # after joint training the fine-tuning, slower by far, has little left to do
    fine = Training() if epochs is None else Training(epochs=epochs)
    choices = Options(mode=mode, averaging=averaging, vectors_per_tile=vectors_per_tile,
                      coefficient_bits=coefficient_bits, training=fine)
    choices.check(chip)
    recipe = Recipe(epochs=Recipe.epochs if train is None else train, rate=rate,
                    precision=precision)
    regulariser = None if contest is None else Contest(contest)
    own_loop = None if loop is None else networks.named_loop(loop)
    joint = improvement = None
    with stages() as report:
        given = load_network(network, weights=weights, calibration=calibration, data=data,
                             seed=seed, progress=report)
        if jointly:
            joint = JointTraining(networks.training_images(given, training_images, data), recipe,
                                  regulariser, checkpoint, start, device, own_loop)
        if joint is None and network == "digits" and calibration is weights is None:
            # The demonstration and `crossloom accuracy` compile the same, once for all three.
            program, found = compiled_stages(given, chip, *labelled_images(network, None, seed),
                                             seed, choices, report, digits_key(seed))
            errors = found.layer_errors
        else:
            made = compile_stages(given.model, chip, given.calibration, seed=seed,
                                  options=choices, joint=joint, progress=report, name=given.name)
            program, improvement = made.program, made.improvement
            errors = made.layer_errors(given.calibration[:ERROR_IMAGES])
    program.save(file)
    images = program.images()
    content: dict[str, Any] = {
        "network": program.network, "preset": chip.name, "chip_hash": chip.hash, "seed": seed,
        "layers": [{"name": layer.name, "kind": type(layer).__name__.lower(),
                    **({"mode": "stream" if layer.stream else "merge", "chunks": layer.chunks,
                        "kernels": layer.kernels, "reference": layer.reference,
                        "error": errors[layer.name.split("[")[0]]}
                       if isinstance(layer, Convolution) else {})}
                   for layer in program.layers],
        "words": {"program": len(images.program), "constants": len(images.constants),
                  "coefficients": len(images.coefficients[0])}}
    _show(program.network, [layer for layer in content["layers"] if "error" in layer])
    if improvement is not None:
        content["training"] = {"before": improvement.before, "after": improvement.after,
                               "images": improvement.images}
        typer.echo(f"distance to the float network on {improvement.images} images: "
                   f"{improvement.before:.4g} fitted, {improvement.after:.4g} trained"
                   + ("" if improvement.found or contest is not None else "; the fit is kept"))
    if json is not None:
        output.write_json(json, content)
    used = content["words"]
    typer.echo(f"wrote {file}: {program.network} on chip {chip.name!r}, "
               f"{len(program.layers)} layers, {used['coefficients']} of "
               f"{chip.memories.coefficient_words} coefficient words a tile")


def _show(network: str, layers: Sequence[Mapping[str, Any]]) -> None:
    """Print mode and error of every layer with weights."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{network}: error of the basis, mean square over that of the output")
    for title in ("layer", "mode", "chunks", "kernels", "error %"):
        table.add_column(title, justify="left" if title in ("layer", "mode") else "right")
    for layer in layers:
        table.add_row(layer["name"], layer["mode"], str(layer["chunks"]), str(layer["kernels"]),
                      f"{100 * layer['error']:.3g}")
    Console().print(table)
