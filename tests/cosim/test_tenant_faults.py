"""Two tenants of which one misbehaves: never a hang, always a cause, the other as if alone."""

from collections import Counter

import pytest

from sim.faults import MISDEEDS, run_tenant_campaign
from sim.random_programs import random_pair
from tests.cosim.test_tenants import CHIP

#: Tiles of their own: what a macro does for the one is not excused by the other's faults.
TILES = [((0, 1), (2,)), ((1,), (0, 2)), ((2,), (0, 1))]


def pairs(count):
    return [random_pair(CHIP, seed, TILES[seed % len(TILES)]) for seed in range(count)]


def report(outcomes):
    """How often each kind ended how; every kind was met, and errors of every cause."""
    table = Counter((outcome.kind, outcome.ended) for outcome in outcomes)
    for (kind, ended), count in sorted(table.items()):
        print(f"{kind:12} {ended:8} {count}")
    assert {kind for kind, _ in table} == set(MISDEEDS)
    assert {"aborted", "cause 1", "cause 2", "cause 3", "cause 4"} <= {
        ended for _, ended in table}


def test_one_of_two_misbehaves():
    report(run_tenant_campaign(pairs(6), 120, seed=1))


@pytest.mark.slow
def test_two_thousand_misdeeds():
    report(run_tenant_campaign(pairs(40), 2004, seed=2))
