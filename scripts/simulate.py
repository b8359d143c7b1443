"""``crossloom simulate``: the cocotb bench of a block or of the chip."""

from pathlib import Path
from typing import Annotated

import typer

from . import options, output

__all__ = ["simulate"]

_BLOCKS = ("charge_controller", "converter", "accumulator", "window", "scheduler", "chip")
#: Designs whose bench runs a program.
_WITH_PROGRAM = ("scheduler", "chip")
_SIMULATORS = ("verilator", "icarus")


def simulate(
        block: Annotated[str, typer.Argument(
            metavar="BLOCK", help=f"One of {', '.join(_BLOCKS)}.")],
        simulator: Annotated[str, typer.Option(
            "--simulator", help="verilator or icarus.")] = "verilator",
        items: Annotated[int, typer.Option(
            "--items", min=1, help="Products, samples, positions or programs that a block's "
                                   "bench gives it.")] = 20,
        pause: Annotated[float, typer.Option(
            "--pause", min=0, max=0.9,
            help="Probability of a pause in each clock, on every handshake.")] = 0.0,
        program: Annotated[Path | None, typer.Option(
            "--program", metavar="FILE", help="Program that the scheduler or the chip runs.")]
        = None,
        images: options.Images = None, data: options.Data = None,
        count: Annotated[int, typer.Option(
            "--count", min=1, help="Images that the chip runs.")] = 1,
        preset: options.Preset = "tiny", settings: options.Settings = None,
        waves: Annotated[Path | None, typer.Option(
            "--waves", metavar="FILE", help="Write waves: .vcd from Verilator, .fst from Icarus.")]
        = None,
        seed: options.Seed = 0) -> None:
    """Simulate a block, or the chip with a program, against golden in cocotb.

    Ends with status 1, and the end of the bench's log, if the bench fails.
    """
    for name, value, allowed in (("block", block, _BLOCKS),
                                 ("simulator", simulator, _SIMULATORS)):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    if (program is not None) != (block in _WITH_PROGRAM):
        raise ValueError(f"program: the bench of {block} "
                         + ("runs one; give --program" if program is None else "takes none"))
    if (images is not None) != (block == "chip"):
        raise ValueError(f"images: the bench of {block} "
                         + ("runs some; give --images" if images is None else "takes none"))
    chip = options.configured_chip(preset, settings)
    if waves is not None:
        output.check_file(waves)

    from sim.runner import BenchFailure

    from .benches import simulate_block, simulate_chip

    try:
        if program is not None and images is not None:
            simulate_chip(chip, program, images, data, count, pause, simulator, seed, waves)
        else:
            simulate_block(block, chip, program, items, pause, simulator, seed, waves)
    except BenchFailure as failure:
        typer.echo(str(failure), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"the bench of {block} passed in {simulator}, seed {seed}"
               + (f"; waves in {waves}" if waves else ""))
