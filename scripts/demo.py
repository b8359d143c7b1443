"""``crossloom demo``: a trained network to Verilog, and a proof that both agree."""

from pathlib import Path
from typing import Annotated

import typer

from . import options, output

__all__ = ["demo"]


def demo(
        directory: Annotated[Path | None, typer.Option(
            "-o", "--output", metavar="DIRECTORY",
            help="Directory for report.html, result.json, figures, program and Verilog; "
                 "build/demo if not given.")] = None,
        images: Annotated[int, typer.Option(
            "--images", min=1, help="Test images that run through the RTL.")] = 16,
        preset: options.Preset = "default", settings: options.Settings = None,
        seed: options.Seed = 0) -> None:
    """Train a network, put it on the chip, run its RTL, compare every word, write a report.

    Ends with status 1, naming the first word that differs, if golden and RTL are not equal.
    """
    chip = options.configured_chip(preset, settings)
    if directory is not None:
        output.check_writable(directory)

    from sim.toolchain import build_directory

    from . import plots
    from .demo_report import demo_html, demo_sections
    from .demonstration import demonstrate
    from .progress import stages
    from .verilog import write_chip

    if directory is None:
        directory = build_directory() / "demo"
        directory.parent.mkdir(parents=True, exist_ok=True)
    with output.directory(directory) as place, stages() as report:
        done = demonstrate(chip, seed, images, f"crossloom demo --preset {preset} --seed {seed}",
                           report)
        report("Verilog and report", 0.0)
        (place / "verilog").mkdir()
        write_chip(chip, place / "verilog")
        done.program.save(place / "program.safetensors")
        output.write_json(place / "result.json", done.result)
        sections = demo_sections(done)
        output.write_text(place / "report.html", demo_html(done, sections))
        (place / "figures").mkdir()
        for section in sections:
            output.write_text(place / "figures" / f"{section.name}.svg", plots.svg(section.figure))
        report("Verilog and report", 1.0)
    rtl, accuracy = done.result["rtl"], done.result["accuracy"]
    typer.echo(
        f"{100 * accuracy['float']:.2f} % in float, {100 * accuracy['int8']:.2f} % in 8 bits, "
        f"{100 * accuracy['basis_ideal']:.2f} % over the basis, "
        f"{100 * accuracy['basis_nonideal']:.2f} % on non-ideal macros "
        f"({done.result['test_images']} images)\n"
        f"{rtl['images']} images through the RTL: {rtl['words_compared']:,} values compared, "
        f"{rtl['mismatches']} differ, {rtl['cycles']:,} clocks "
        f"(golden: {done.result['golden']['cycles']:,})\n"
        f"report: {directory / 'report.html'}")
    if rtl["mismatches"]:
        typer.echo(f"crossloom: golden and RTL differ: {rtl['first_mismatch']}", err=True)
        raise typer.Exit(1)
