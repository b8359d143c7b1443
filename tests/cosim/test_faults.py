"""Faults of programs, macros and hosts: never a hang, always a cause, and the next run is right."""

from collections import Counter

import pytest

from golden.chip import preset
from sim.faults import KINDS, run_campaign
from tests.golden.random_programs import random_images, random_program


def programs(count):
    made = [random_program(preset("tiny"), seed) for seed in range(count)]
    return [(program, random_images(program, 3, seed)[2]) for seed, program in enumerate(made)]


def report(outcomes):
    """How often each kind ended how; every kind was met, and errors of every cause."""
    table = Counter((outcome.kind, outcome.ended) for outcome in outcomes)
    for (kind, ended), count in sorted(table.items()):
        print(f"{kind:10} {ended:8} {count}")
    assert {kind for kind, _ in table} == set(KINDS)
    assert {"done", "aborted", "reset", "cause 1", "cause 2", "cause 3"} <= {
        ended for _, ended in table}
    return table


def test_random_faults():
    table = report(run_campaign(programs(6), 132, seed=1))
    # An opcode that does not exist is always told; a comparator that never decides, almost always
    # (the fault may come after the last conversion).
    assert table["opcode", "cause 1"] == 12
    assert table["undecided", "cause 3"] >= 6


@pytest.mark.slow
def test_two_thousand_random_faults():
    assert sum(report(run_campaign(programs(40), 2200, seed=2)).values()) == 2200
