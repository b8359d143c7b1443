"""``crossloom bench``: how fast the analog model and the simulated chip are, side by side."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from . import options, output

__all__ = ["bench"]

Report = Callable[[str, float], None]


def _analog(threads: int, seed: int, report: Report) -> list[dict[str, Any]]:
    from golden.analog.benchmark import benchmark

    return benchmark(threads=threads, progress=lambda stage, share: report("analog", share))


def _simulation(threads: int, seed: int, report: Report) -> list[dict[str, Any]]:
    """Clocks per second of the fast path, and of cocotb on the first row of the same layer.

    Two convolutions of the size of ResNet-20's first stage, with random weights; one process.
    """
    import torch
    from torch import nn

    from golden.chip import preset
    from golden.compile import Options, compile_network
    from golden.finetune import Training
    from golden.macro import Macro
    from golden.physics import MacroPhysics
    from golden.quantise import quantise_images
    from sim.fast.guided import build_guided_harness
    from sim.fast.library import build_harness
    from sim.speed import cocotb_speed, cut, fast_speed

    chip = preset("default")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
                                nn.Conv2d(16, 16, 3, padding=1)).eval()
        shown = torch.rand(2, 16, 32, 32)
    # Few vectors, so that kernels are combined and not mapped plainly.
    options = Options(rounds=1, images=2, vectors_per_tile=4, training=Training(epochs=0))
    program = compile_network(network, chip, shown, seed=seed, options=options)
    macro = Macro(chip, MacroPhysics(), program.weights, seed)
    images = quantise_images(shown, program.input_scale).numpy()
    report("simulation", 0.2)
    speeds = {"fast path": fast_speed(build_harness(chip), program, macro, images, seed)}
    report("simulation", 0.4)
    speeds["fast path, built for long runs"] = fast_speed(
        build_guided_harness(program), program, macro, images, seed)
    report("simulation", 0.7)
    speeds["cocotb on Verilator"] = cocotb_speed(cut(program, 1), macro, images[:1], seed)
    report("simulation", 1.0)
    return [{"case": name, "clocks": speed.clocks, "seconds": speed.seconds,
             "clocks_per_second": speed.rate} for name, speed in speeds.items()]


_SUITES = {"analog": _analog, "simulation": _simulation}


def bench(
        suites: Annotated[list[str] | None, typer.Argument(
            metavar="[SUITE]...", help=f"Of {', '.join(_SUITES)}; all if not given.")] = None,
        threads: Annotated[int, typer.Option(
            "--threads", min=1, help="Threads of the analog model.")] = 2,
        seed: options.Seed = 0, json: options.Json = None) -> None:
    """Measure speeds: analog model against the plain float network, simulators in clocks."""
    chosen = list(suites or _SUITES)
    for name in chosen:
        if name not in _SUITES:
            raise ValueError(f"suite must be one of {', '.join(_SUITES)}, not {name!r}")
    if json is not None:
        output.check_file(json)

    from rich import box
    from rich.console import Console
    from rich.table import Table

    from .progress import stages

    with stages() as report:
        found = {name: _SUITES[name](threads, seed, report) for name in chosen}
    console = Console()
    for name, rows in found.items():
        # Within 80 columns; the rest is in the JSON.
        columns = [column for column in rows[0] if column not in ("description", "threads")]
        table = Table(*columns, title=name, box=box.SIMPLE_HEAD,
                      padding=(0, 1, 0, 0))
        for row in rows:
            table.add_row(*(f"{row[column]:.4g}" if isinstance(row.get(column), float)
                            else str(row.get(column, "")) for column in columns))
        console.print(table)
    if json is not None:
        output.write_json(json, found)
