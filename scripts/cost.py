"""``crossloom cost``: clocks, energy and area of a network in four designs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import options, output

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["cost"]


def _designs(console: "Console", content: Mapping[str, Any]) -> None:
    from rich.table import Table

    table = Table(title=f"{content['network']} on chip {content['chip']!r}: "
                        f"{content['macs'] / 1e6:,.1f} M MACs, "
                        f"{content['parameters'] / 1e6:,.2f} M parameters, one image")
    for title in ("design", "tiles", "M clocks", "ms", "mJ", "mJ s", "mm2"):
        table.add_column(title, justify="left" if title == "design" else "right")
    for name, made in content["designs"].items():
        table.add_row(name, str(made["tiles"]), f"{made['clocks'] / 1e6:,.2f}",
                      f"{made['seconds'] * 1e3:,.2f}", f"{made['joules'] * 1e3:,.3f}",
                      f"{made['energy_delay_joule_seconds'] * 1e3:.3g}",
                      f"{made['square_millimetres']:,.2f}")
    console.print(table)


def _layers(console: "Console", content: Mapping[str, Any]) -> None:
    from rich.table import Table

    table = Table(title="layers: clocks in each design, transfers included")
    table.add_column("layer", overflow="fold")
    table.add_column("mode")
    for title in ("M MACs", *content["designs"], "basis mJ"):
        table.add_column(title, justify="right")
    by_name = {name: {layer["name"]: layer for layer in made["layers"]}
               for name, made in content["designs"].items()}
    names = dict.fromkeys(layer for made in by_name.values() for layer in made)
    for name in names:
        found = [made.get(name) for made in by_name.values()]
        first = next(layer for layer in found if layer is not None)
        own = by_name["basis"].get(name)
        macs = f"{first['macs'] / 1e6:,.2f}" if first["macs"] else ""
        table.add_row(
            name, own["mode"] if own else "", macs,
            *(f"{layer['clocks'] + layer['transfer_clocks']:,}" if layer else ""
              for layer in found), f"{own['joules'] * 1e3:.4f}" if own else "")
    console.print(table)


def _sweep(console: "Console", points: Sequence[Mapping[str, Any]]) -> None:
    from rich.table import Table

    table = Table(title="basis over reprogramming, by the way a row is written")
    for title in ("style", "pulse ns", "pulses", "clocks/row", "clocks %", "energy-delay %",
                  "below 1 %"):
        table.add_column(title, justify="left" if title == "style" else "right")
    for point in points:
        table.add_row(point["style"], f"{point['pulse']:g}", str(point["pulses"]),
                      f"{point['row_clocks']:,}", f"{100 * point['clocks_ratio']:.3g}",
                      f"{100 * point['energy_delay_ratio']:.3g}",
                      "yes" if point["holds"] else "no")
    console.print(table)
    clocks, products = ([point[name] for point in points]
                        for name in ("clocks_ratio", "energy_delay_ratio"))
    typer.echo(f"Of {len(points)} ways of writing: fewer clocks in "
               f"{sum(ratio < 1 for ratio in clocks)} ({100 * min(clocks):.1g} to "
               f"{100 * max(clocks):.3g} %), energy-delay product below 1 % in "
               f"{sum(ratio < 0.01 for ratio in products)} ({100 * min(products):.1g} to "
               f"{100 * max(products):.3g} %), both below 1 % in "
               f"{sum(point['holds'] for point in points)}.")


def _claim(content: Mapping[str, Any]) -> str:
    ratio, even = content["ratio"], content["break_even_clocks_per_row"]
    text = (f"basis over reprogramming: {100 * ratio['clocks']:.3g} % of the clocks, "
            f"{100 * ratio['energy_delay']:.3g} % of the energy-delay product "
            f"(paper: below 1 % of both, on a chip it does not describe).\n")
    if even["equal"] is None:
        return text + "All weights fit the crossbars at once: nothing is ever reprogrammed."
    return text + (f"Fewer clocks where writing a row takes more than {even['equal']:,.0f} "
                   f"clocks, below 1 % from {even['claim']:,.0f}.")


def cost(
        network: Annotated[str, typer.Argument(
            metavar="MODEL", help="Published network, such as resnet50, or file.onnx.")],
        preset: options.Preset = "default", settings: options.Settings = None,
        assume: Annotated[list[str] | None, typer.Option(
            "--assume", metavar="PART.NAME=VALUE",
            help="Change an assumption, such as write.pulse=300, energy.external=10 or "
                 "density.planes=0.5; may be repeated.")] = None,
        program: Annotated[Path | None, typer.Option(
            "--program", metavar="FILE",
            help="Take the density of the coefficients from a compiled program.")] = None,
        mode: Annotated[str, typer.Option(
            "--mode", help="Basis design: auto, merge or stream.")] = "auto",
        sweep: Annotated[bool, typer.Option(
            "--sweep", help="Also sweep over the ways of writing a crossbar.")] = False,
        json: options.Json = None,
        plot: Annotated[Path | None, typer.Option(
            "--plot", metavar="FILE", help="Write stacked plots to FILE, SVG.")] = None) -> None:
    """Clocks, energy, area: this chip, reprogramming, all weights resident, digital."""
    chip = options.configured_chip(preset, settings)
    for path in filter(None, (json, plot)):
        output.check_file(path)
    if mode not in ("auto", "merge", "stream"):
        raise ValueError(f"--mode must be auto, merge or stream, not {mode!r}")

    from rich.console import Console

    from golden import cost as model
    from golden.cost.settings import with_settings

    if network.lower().endswith(".onnx"):
        shapes = model.import_onnx(network)
    else:
        shapes = model.named_network(network)
    density = model.DENSE
    if program is not None:
        from golden.program import Program

        density = model.measured_density(Program.load(program, chip))
    assumptions = with_settings(model.Assumptions(
        density=density, mode=None if mode == "auto" else model.Mode(mode)), assume or ())
    costs = model.network_costs(shapes, chip, assumptions)
    points = model.write_sweep(shapes, chip, assumptions, costs["basis"]) if sweep else None
    content = model.cost_content(shapes, chip, assumptions, costs, points)

    console = Console()
    _layers(console, content)
    _designs(console, content)
    if points is not None:
        _sweep(console, content["sweep"])
    typer.echo(_claim(content))
    if shapes.free:
        typer.echo(f"taken to cost nothing: {', '.join(shapes.free)}")
    if json is not None:
        output.write_json(json, content)
    if plot is not None:
        from . import cost_plots, plots

        output.write_text(plot, plots.svg(cost_plots.stacked(content)))
