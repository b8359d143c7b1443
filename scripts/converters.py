"""``crossloom converters``: what the converters of each layer see, clipping and codes."""

from pathlib import Path
from typing import Annotated

import typer

from . import options, output

__all__ = ["converters"]


def converters(
        network: options.Network, preset: options.Preset = "default",
        settings: options.Settings = None, weights: options.Weights = None,
        calibration: options.Calibration = None, images: options.Images = None,
        data: options.Data = None,
        count: Annotated[int, typer.Option(
            "--count", min=1, help="Images to run.")] = 128,
        device: options.Device = "pcm", time: options.Time = None, seed: options.Seed = 0,
        json: options.Json = None,
        plot: Annotated[Path | None, typer.Option(
            "--plot", metavar="FILE", help="Write a plot of the codes to FILE, SVG.")] = None
        ) -> None:
    """Show each layer's clipping, and how often its converters give each code.

    The ranges are those that calibration chose; too narrow ones clip, too wide ones waste codes.
    """
    chip = options.configured_chip(preset, settings)
    source = options.images_of(network, images, labelled=False)
    for path in filter(None, (json, plot)):
        output.check_file(path)

    from rich.console import Console
    from rich.table import Table

    from golden.analog import conversion_statistics

    from . import plots
    from .networks import load_network, named_images
    from .on_device import BATCH, Memory, programmed
    from .progress import stages

    memory = Memory(device)
    with stages() as report:
        shown = named_images(source, seed, data)[0][:count]
        given = load_network(network, weights=weights, calibration=calibration, data=data,
                             seed=seed, progress=report)
        analog = programmed(given, chip, memory, seed, time)
        found = conversion_statistics(analog, shown.split(BATCH))
    table = Table("layer", title=f"{given.name} on {device}, {len(shown)} images")
    for heading in ("inputs clipped", "outputs clipped", "output codes used"):
        table.add_column(heading, justify="right")
    for name, layer in found.items():
        table.add_row(name, f"{100 * layer.inputs_clipped:.3f} %",
                      f"{100 * layer.outputs_clipped:.3f} %",
                      f"{int((layer.output_codes > 0).sum())} of {len(layer.output_codes)}")
    Console().print(table)
    if json is not None:
        output.write_json(json, {
            "network": given.name, "preset": chip.name, "chip_hash": chip.hash, "device": device,
            "time": time, "seed": seed, "images": len(shown), "layers": {
                name: {"inputs_clipped": layer.inputs_clipped,
                       "outputs_clipped": layer.outputs_clipped,
                       "lowest_input_code": layer.lowest_input_code,
                       "input_codes": layer.input_codes.tolist(),
                       "lowest_output_code": layer.lowest_output_code,
                       "output_codes": layer.output_codes.tolist()}
                for name, layer in found.items()}})
    if plot is not None:
        lowest = next(iter(found.values())).lowest_output_code
        output.write_text(plot, plots.svg(plots.codes_by_layer(
            [(name, layer.output_codes.tolist()) for name, layer in found.items()], lowest)))
