"""Faults of programs, macros and hosts: never a hang, always a cause, and the next run is right."""

from collections import Counter
import json

import pytest

from scripts.__main__ import main
from sim.faults import KINDS, MISDEEDS, run_campaign, run_tenant_campaign


def report(monkeypatch, tmp_path, count, seed):
    """How often each kind of fault ended how; all were met, and errors of every cause."""
    path = tmp_path / "faults.json"
    monkeypatch.setattr("sys.argv", ["crossloom", "faults", "--count", str(count), "--seed",
                                     str(seed), "--json", str(path)])
    with pytest.raises(SystemExit) as ending:
        main()
    assert not ending.value.code
    table = Counter()
    for row in json.loads(path.read_text())["outcomes"]:
        table[row["campaign"], row["fault"], row["ended"]] += row["cases"]
    for (campaign, kind, ended), cases in sorted(table.items()):
        print(f"{campaign:12} {kind:12} {ended:8} {cases}")
    assert {(campaign, kind) for campaign, kind, _ in table} == {
        *(("one tenant", kind) for kind in KINDS), *(("two tenants", kind) for kind in MISDEEDS)}
    assert {"done", "aborted", "reset", "cause 1", "cause 2", "cause 3", "cause 4"} <= {
        ended for _, _, ended in table}
    assert sum(table.values()) == count
    return table


def test_random_faults(monkeypatch, tmp_path):
    table = report(monkeypatch, tmp_path, 264, seed=1)
    # An opcode that does not exist is always told; a comparator that never decides, almost always
    # (the fault may come after the last conversion).
    assert table["one tenant", "opcode", "cause 1"] == 12
    assert table["two tenants", "opcode", "cause 1"] == 11
    assert table["one tenant", "undecided", "cause 3"] >= 6


@pytest.mark.slow
def test_two_thousand_random_faults(monkeypatch, tmp_path):
    report(monkeypatch, tmp_path, 2300, seed=1)


@pytest.mark.parametrize("campaign", [run_campaign, run_tenant_campaign])
def test_nothing_to_run_is_refused(campaign):
    with pytest.raises(ValueError, match="cases must be at least 1, not 0"):
        campaign([], 0, 1)
    with pytest.raises(ValueError, match="must hold at least one"):
        campaign([], 1, 1)
