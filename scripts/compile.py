"""``crossloom compile``: a network becomes a program."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import options, output

__all__ = ["compile_program"]

Mode = Annotated[str, typer.Option(
    "--mode", help="How basis results are combined: auto, merge or stream.")]


def compile_program(
        network: options.Network,
        file: Annotated[Path, typer.Option("-o", "--output", metavar="FILE",
                                           help="Program file to write.")],
        preset: options.Preset = "default", settings: options.Settings = None,
        weights: options.Weights = None, calibration: options.Calibration = None,
        data: options.Data = None,
        mode: Mode = "auto", vectors_per_tile: options.VectorsPerTile = None,
        epochs: options.Epochs = None, seed: options.Seed = 0,
        json: options.Json = None) -> None:
    """Compile a network into a program that runs on golden and on the RTL alike."""
    chip = options.configured_chip(preset, settings)
    for path in filter(None, (file, json)):
        output.check_file(path)

    from golden.compile import Options, compile_network
    from golden.finetune import Training
    from golden.program import Convolution

    from .accuracies import compiled_stages, digits_key
    from .networks import labelled_images, load_network
    from .progress import stages

    choices = Options(mode=mode, vectors_per_tile=vectors_per_tile,
                      training=Training() if epochs is None else Training(epochs=epochs))
    choices.check(chip)
    with stages() as report:
        given = load_network(network, weights=weights, calibration=calibration, data=data,
                             seed=seed, progress=report)
        if network == "digits" and calibration is None:
            # The demonstration and `crossloom accuracy` compile the same, once for all three.
            program, _ = compiled_stages(given, chip, *labelled_images(network, None, seed), seed,
                                         choices, report, digits_key(seed))
        else:
            program = compile_network(given.model, chip, given.calibration, seed=seed,
                                      options=choices, progress=report, name=given.name)
    program.save(file)
    images = program.images()
    content: dict[str, Any] = {
        "network": program.network, "preset": chip.name, "chip_hash": chip.hash, "seed": seed,
        "layers": [{"name": layer.name, "kind": type(layer).__name__.lower(),
                    **({"mode": "stream" if layer.stream else "merge", "chunks": layer.chunks,
                        "kernels": layer.kernels, "reference": layer.reference}
                       if isinstance(layer, Convolution) else {})}
                   for layer in program.layers],
        "words": {"program": len(images.program), "constants": len(images.constants),
                  "coefficients": len(images.coefficients[0])}}
    if json is not None:
        output.write_json(json, content)
    used = content["words"]
    typer.echo(f"wrote {file}: {program.network} on chip {chip.name!r}, "
               f"{len(program.layers)} layers, {used['coefficients']} of "
               f"{chip.memories.coefficient_words} coefficient words a tile")
