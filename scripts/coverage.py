"""``crossloom coverage``: lines, branches and bits of a chip's Verilog that simulations reach."""

from collections import Counter
from typing import Annotated, Any

import typer

from . import options, output

__all__ = ["coverage"]


def coverage(
        long: Annotated[bool, typer.Option(
            "--long", help="Run ten times as much: minutes.")] = False,
        missing: Annotated[bool, typer.Option(
            "--missing", help="List what is not reached and not waived.")] = False,
        seed: options.Seed = 1, json: options.Json = None) -> None:
    """Measure what programs, tenants and faults reach of a small chip with large memories.

    Every run is compared with golden. Waivers, with their reasons, are listed.
    """
    if json is not None:
        output.check_file(json)

    from sim.coverage.counts import BRANCH, KINDS, LINE, TOGGLE
    from sim.coverage.run import LONG, SHORT, cover, covered_chip

    from .progress import stages

    with stages() as report:
        found = cover(LONG if long else SHORT, seed, report)
    modules = sorted({part.module for part in found.modules})
    rows: list[dict[str, Any]] = []
    for module in [*modules, None]:
        row: dict[str, Any] = {"module": module or "all"}
        for kind in KINDS:
            reached, missed, waived = found.points(kind, module)
            row[kind] = {"reached": reached, "missed": missed, "waived": waived,
                         "share": found.share(kind, module)}
        rows.append(row)
    plural = {LINE: "lines", BRANCH: "branches", TOGGLE: "toggles"}
    typer.echo(f"{'module':42}" + "".join(f"{plural[kind]:>10}" for kind in KINDS))
    for row in rows:
        typer.echo(f"{row['module']:42}"
                   + "".join(f"{row[kind]['share']:10.1%}" for kind in KINDS))
    waivers = [{"kind": waiver.kind, "module": waiver.module, "name": waiver.name,
                "points": points, "reason": waiver.reason}
               for waiver, points in found.waived.items()]
    reasons: Counter[tuple[str, str]] = Counter()
    for waiver, points in found.waived.items():
        reasons[plural[waiver.kind], waiver.reason] += points
    for (kinds, reason), points in reasons.most_common():
        typer.echo(f"waived {points:6d} {kinds}: {reason}")
    unreached = [{"kind": point.kind, "module": point.module, "line": point.line,
                  "name": point.name,
                  **({"bit": point.bit, "from": point.start} if point.kind == TOGGLE else {})}
                 for part in found.modules for point in part.missing]
    for point in unreached if missing else ():
        typer.echo(" ".join(f"{name} {value}" for name, value in point.items()))
    if json is not None:
        chip = covered_chip()
        output.write_json(json, {"chip": chip.name, "chip_hash": chip.hash, "seed": seed,
                                 "modules": rows, "waivers": waivers, "missing": unreached})
