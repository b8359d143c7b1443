"""``crossloom block-mutants``: how many faults planted in single blocks their benches find."""

from typing import Annotated, Any
import warnings

import typer

from . import options, output

__all__ = ["block_mutants"]


def block_mutants(
        blocks: Annotated[list[str] | None, typer.Argument(
            metavar="[BLOCK]...", help="Names of blocks; all if not given.")] = None,
        count: Annotated[int, typer.Option(
            "--count", min=1, max=1023, help="Mutants of each block, each a random fault.")] = 100,
        mutant_seed: Annotated[int, typer.Option(
            "--mutant-seed", min=0, help="Seed that draws the faults.")] = 1,
        proofs: Annotated[bool, typer.Option(
            help="Prove of what no bench finds that it is no fault, where that can be.")] = True,
        json: options.Json = None) -> None:
    """Plant faults in the netlists of blocks, one at a time, and run the blocks' tests on each.

    A fault is found where a test fails. It is equivalent where it is proved that, used as it is
    to be, the block never shows a difference. The tests are those of a clone of the repository.
    """
    if json is not None:
        output.check_file(json)

    from amaranth.hdl import UnusedElaboratable

    from sim.block_mutants import BLOCKS, State, hunt

    from .progress import stages

    chosen = list(blocks or BLOCKS)
    for name in chosen:
        if name not in BLOCKS:
            raise ValueError(f"block must be one of {', '.join(BLOCKS)}, not {name!r}")
    # Components name the ports of netlists; Python says that they went unused as it ends.
    warnings.simplefilter("ignore", UnusedElaboratable)
    rows: list[dict[str, Any]] = []
    totals: dict[str, dict[str, int]] = {}
    with stages() as report:
        for name in chosen:
            def progress(share: float, name: str = name) -> None:
                report(name, share)

            findings = list(hunt(name, BLOCKS[name], count, mutant_seed, progress=progress,
                                 proofs=proofs))
            rows += [{"block": name, "number": finding.mutation.number,
                      "fault": str(finding.mutation), "state": finding.state.value,
                      "bench": finding.bench, "where": finding.where} for finding in findings]
            totals[name] = {state.value: sum(finding.state is state for finding in findings)
                            for state in State}
    for row in rows:
        if row["state"] != State.FOUND.value:
            typer.echo(f"{row['block']} {row['number']:3d} {row['state']}: {row['fault']}: "
                       f"{row['where']}")
    for name, total in totals.items():
        faults = sum(total.values()) - total[State.EQUIVALENT.value]
        share = 100 * total[State.FOUND.value] / faults if faults else 100.0
        typer.echo(f"{name:18s} " + ", ".join(f"{number} {state}" for state, number
                                              in total.items()) + f": {share:.1f} % of the faults")
    if json is not None:
        output.write_json(json, {"mutant_seed": mutant_seed, "count": count, "totals": totals,
                                 "mutants": rows})
