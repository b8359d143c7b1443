"""``crossloom faults``: random faults of programs, macros and hosts, and how they end."""

from collections import Counter
from dataclasses import replace
from typing import Annotated

import typer

from golden.chip import Chip

from . import options, output

__all__ = ["faults"]

#: Programs that the cases are drawn from, for each of the campaigns.
_PROGRAMS = 40


def faults(
        count: Annotated[int, typer.Option(
            "--count", min=2, help="Cases: one half with one tenant, one half with two.")] = 2300,
        preset: options.Preset = "tiny", settings: options.Settings = None,
        seed: options.Seed = 1, json: options.Json = None) -> None:
    """Put random faults to a chip, and see that it never hangs and always says what is wrong.

    After each fault with one tenant a program must run as golden does; beside each with two
    tenants the other tenant's program must. Every word, code, sum and clock of it is compared.
    """
    chip = _shared(options.configured_chip(preset, settings))
    if json is not None:
        output.check_file(json)

    from sim.faults import FaultError, run_campaign, run_tenant_campaign
    from sim.random_programs import random_case, random_pair

    from .progress import stages

    programs = [random_case(chip, number) for number in range(_PROGRAMS)]
    pairs = [random_pair(chip, number) for number in range(_PROGRAMS)]
    try:
        with stages() as report:
            outcomes = {
                "one tenant": run_campaign(
                    programs, count - count // 2, seed,
                    lambda done, of: report("one tenant", done / of)),
                "two tenants": run_tenant_campaign(
                    pairs, count // 2, seed, lambda done, of: report("two tenants", done / of))}
    except FaultError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    rows = [{"campaign": campaign, "fault": kind, "ended": ended, "cases": cases}
            for campaign, cases_of in outcomes.items()
            for (kind, ended), cases in sorted(
                Counter((outcome.kind, outcome.ended) for outcome in cases_of).items())]
    for row in rows:
        typer.echo(f"{row['campaign']:12}{row['fault']:14}{row['ended']:9}{row['cases']:6d}")
    typer.echo(f"{count} cases, 0 hangs, 0 words that differ")
    if json is not None:
        output.write_json(json, {"preset": chip.name, "chip_hash": chip.hash, "seed": seed,
                                 "cases": count, "outcomes": rows})


def _shared(chip: Chip) -> Chip:
    """``chip`` with two tenants, and memories for both if it had but one."""
    if chip.tiles < 2:
        raise ValueError(f"tiles must be at least 2, one for each tenant, not {chip.tiles}")
    if chip.tenants > 1:
        return chip
    memories = chip.memories
    return replace(chip, name=f"{chip.name}_shared", tenants=2, memories=replace(
        memories, **{name: 2 * getattr(memories, name) for name in (
            "program_words", "coefficient_words", "constant_entries", "activation_words")}))
