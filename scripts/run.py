"""``crossloom run``: a program on golden, on the RTL, or on both with every word compared."""

from pathlib import Path
from typing import Annotated, Any

import typer

from . import options, output

__all__ = ["run_program"]

_PLACES = ("golden", "rtl", "both")
_MACROS = ("ideal", "default")


def run_program(
        program: Annotated[Path, typer.Argument(metavar="PROGRAM", help="Program file.")],
        images: options.Images = None, labels: options.Labels = None, data: options.Data = None,
        place: Annotated[str, typer.Option(
            "--on", help="golden, rtl (Verilator), or both, with every word compared.")] = "golden",
        first: Annotated[int, typer.Option("--first", min=0, help="First image to run.")] = 0,
        count: Annotated[int | None, typer.Option(
            "--count", min=1, help="Images to run; all of them if not given.")] = None,
        macro: options.Physics = "default",
        specimen: Annotated[int, typer.Option(
            "--specimen", min=0, help="Seed of the macros' static deviations.")] = 0,
        preset: options.Preset = "default", settings: options.Settings = None,
        seed: options.Seed = 0, json: options.Json = None,
        processes: Annotated[int, typer.Option(
            "--processes", min=1, help="Simulations at once.")] = 2,
        profile: Annotated[bool, typer.Option(
            "--profile", help="Where the first image's clocks go, by layer and cause.")] = False,
        waves: Annotated[Path | None, typer.Option(
            "--waves", help="Waves of the first image on the RTL: a .vcd or .fst file.")] = None,
        layer: Annotated[str | None, typer.Option(
            "--layer", help="Waves of this layer only.")] = None,
        position: Annotated[int | None, typer.Option(
            "--position", min=0, help="Waves of this output position of --layer only: "
            "y * width + x.")] = None) -> None:
    """Run a program on golden, on the RTL, or on both with every word compared.

    Ends with status 1 if golden and RTL differ.
    """
    for name, value, allowed in (("on", place, _PLACES), ("macro", macro, _MACROS)):
        if value not in allowed:
            raise ValueError(f"{name} must be {', '.join(allowed)}, not {value!r}")
    if images is None:
        raise ValueError("images must be digits, cifar10 or a .npy file; give --images")
    chip = options.configured_chip(preset, settings)
    for file in (json, waves):
        if file is not None:
            output.check_file(file)
    if waves is None and (layer is not None or position is not None):
        raise ValueError("layer and position choose waves: give --waves FILE")
    if waves is not None and place == "golden":
        raise ValueError("waves are of the RTL: give --on rtl or --on both")

    from golden.program import Program

    # Before the imports that take seconds.
    loaded = Program.load(program, chip)

    from golden.macro import Macro
    from golden.physics import MacroPhysics
    from golden.quantise import quantise_images

    from . import execution
    from .networks import load_labels, named_images
    from .profiling import counters_text, profile_content, profile_text
    from .progress import stages

    shown, truth = named_images(images, seed, data)
    if labels is not None:
        truth = load_labels(labels, len(shown))
    if first >= len(shown):
        raise ValueError(f"first must be 0 to {len(shown) - 1}, not {first}")
    last = len(shown) if count is None else min(len(shown), first + count)
    codes = quantise_images(shown[first:last], loaded.input_scale).numpy()
    physics = MacroPhysics.ideal() if macro == "ideal" else MacroPhysics()
    specimens = Macro(chip, physics, loaded.weights, specimen)
    shown_waves = execution.chosen_waves(loaded, waves, layer, position)
    with stages() as report:
        result = execution.run(loaded, specimens, codes, seed, first, place, processes, report)
        if shown_waves is not None:
            execution.write_waves(loaded, specimens, codes[:1], seed, first, shown_waves, report)
    content: dict[str, Any] = {
        "network": loaded.network, "preset": chip.name, "chip_hash": chip.hash, "on": place,
        "macro": macro, "specimen": specimen, "seed": seed, "first": first,
        "images": last - first, "classes": result.outputs.argmax(axis=1).tolist(),
        **result.content}
    if truth is not None:
        right = result.outputs.argmax(axis=1) == truth[first:last].numpy()
        content["accuracy"] = float(right.mean())
    if profile:
        found = execution.first_profile(loaded, specimens, codes[:1], seed, first)
        content["profile"] = profile_content(found)
        typer.echo(profile_text(found))
        if "rtl" in result.content:
            typer.echo(counters_text(result.content["rtl"]["counters"]))
    if json is not None:
        output.write_json(json, content)
    typer.echo(result.summary + (f"; {100 * content['accuracy']:.2f} % correct"
                                 if "accuracy" in content else ""))
    if result.first_mismatch:
        typer.echo(f"crossloom: golden and RTL differ: {result.first_mismatch}", err=True)
        raise typer.Exit(1)
