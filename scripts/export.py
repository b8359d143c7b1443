"""``crossloom export``: a network's state on memory devices, written out for hardware."""

from pathlib import Path
from typing import Annotated

import typer

from . import options, output

__all__ = ["export"]


def export(
        network: options.Network,
        directory: Annotated[Path, typer.Option("-o", "--output", metavar="DIRECTORY",
                                                help="New directory to write.")],
        preset: options.Preset = "default", settings: options.Settings = None,
        weights: options.Weights = None, calibration: options.Calibration = None,
        images: options.Images = None, data: options.Data = None,
        count: Annotated[int, typer.Option(
            "--count", min=1, help="Images of the test vectors.")] = 4,
        device: options.Device = "pcm", time: options.Time = None, seed: options.Seed = 0) -> None:
    """Write conductance targets, tile map, registers and test vectors of a network.

    conductances.safetensors: targets in uS and what was programmed; tiles.json: which rows and
    columns of which array hold what; registers.json: converter ranges and scales; vectors.
    safetensors: input codes, and the codes of every conversion.
    """
    chip = options.configured_chip(preset, settings)
    source = options.images_of(network, images, labelled=False)
    output.check_writable(directory)
    if directory.exists():
        raise ValueError(f"output {str(directory)!r} must be new, and it exists")

    from golden.analog import export_state

    from .networks import load_network, named_images
    from .on_device import Memory, programmed
    from .progress import stages

    memory = Memory(device)
    with stages() as report:
        shown = named_images(source, seed, data)[0][:count]
        given = load_network(network, weights=weights, calibration=calibration, data=data,
                             seed=seed, progress=report)
        analog = programmed(given, chip, memory, seed, time)
        export_state(analog, directory, shown)
    typer.echo(f"wrote {directory}: {given.name} on {device}, {len(analog.layers)} layers, "
               f"vectors of {len(shown)} images")
