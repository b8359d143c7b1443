"""``crossloom mutants``: how many faults planted in the chip a single image finds."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import options, output

__all__ = ["mutants"]


def mutants(
        program: Annotated[Path, typer.Argument(metavar="PROGRAM", help="Program file.")],
        images: options.Images = None, data: options.Data = None,
        first: Annotated[int, typer.Option("--first", min=0, help="The image to run.")] = 0,
        count: Annotated[int, typer.Option(
            "--count", min=1, help="Mutants, each a random fault.")] = 60,
        mutant_seed: Annotated[int, typer.Option(
            "--mutant-seed", min=0, help="Seed that draws the faults.")] = 1,
        preset: options.Preset = "default", settings: options.Settings = None,
        seed: options.Seed = 0, json: options.Json = None) -> None:
    """Plant faults in the chip's netlist, one at a time, and see whether an image finds them.

    A fault is found where a word, a pin or a count of clocks is not golden's, in the bring-up or in
    the image. Of the others, those are equivalent that are proved to change nothing whatever the
    chip's state; those dormant that changed no bit in any clock of the run.
    """
    if images is None:
        raise ValueError("images must be digits, cifar10 or a .npy file; give --images")
    chip = options.configured_chip(preset, settings)
    if json is not None:
        output.check_file(json)

    from golden.program import Program

    loaded = Program.load(program, chip)

    from golden.macro import Macro
    from golden.physics import MacroPhysics
    from golden.quantise import quantise_images
    from sim.mutants import hunt

    from .networks import named_images
    from .progress import stages

    shown, _ = named_images(images, seed, data)
    if first >= len(shown):
        raise ValueError(f"first must be 0 to {len(shown) - 1}, not {first}")
    image = quantise_images(shown[first:first + 1], loaded.input_scale).numpy()[0]
    macro = Macro(chip, MacroPhysics(), loaded.weights, seed)
    rows: list[dict[str, Any]] = []
    with stages() as report:
        report("mutants", 0)
        for finding in hunt(loaded, macro, image, seed, count, mutant_seed):
            state = ("found" if finding.found else "equivalent" if finding.equivalent else
                     "missed" if finding.excited else "dormant")
            rows.append({"number": finding.mutation.number, "fault": str(finding.mutation),
                         "state": state, "layer": finding.layer, "word": finding.word,
                         "where": finding.where})
            report("mutants", len(rows) / count)
    for row in rows:
        typer.echo(f"{row['number']:4d} {row['state']:11s}{row['fault']}"
                   + (f": {row['where']}" if row["where"] else ""))
    totals = {state: sum(row["state"] == state for row in rows)
              for state in ("found", "equivalent", "missed", "dormant")}
    typer.echo(", ".join(f"{number} {state}" for state, number in totals.items()))
    if json is not None:
        output.write_json(json, {
            "network": loaded.network, "preset": chip.name, "chip_hash": chip.hash, "seed": seed,
            "image": first, "mutant_seed": mutant_seed, **totals, "mutants": rows})
