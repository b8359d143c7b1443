"""Error of a layer's sums: none, a known gain and offset, and what is refused."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from golden.analog import map_network, sum_errors
from golden.analog.technologies import CASES
from golden.arrays import BitSlicing
from golden.devices import IdealDevice

CASE = CASES[0]


def mapped(readout):
    """Two layers on columns that read as ``readout`` says, and images."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)).eval()
    images = torch.rand(20, 2, 6, 6)
    network = map_network(model, CASE.chip, IdealDevice(), slicing=BitSlicing(1), bit_serial=True,
                          active_rows=CASE.active_rows, readout=readout)
    return network.calibrate([images]).program(0), images


def exact_readout(factor):
    """Columns whose mean code is the ideal state, times ``factor`` where that is an integer."""
    readout = CASE.readout()
    states = torch.arange(readout.mean.shape[1], dtype=torch.float32)
    driven = torch.arange(len(readout.mean), dtype=torch.float32)[:, None]
    return replace(readout, mean=torch.minimum(states, driven) * factor,
                   spread=torch.zeros_like(readout.spread))


def test_exact_columns_have_no_error():
    for error in sum_errors(*mapped(exact_readout(1))).values():
        assert abs(error.gain) < 1e-5 and error.error < 1e-5 and error.rest < 1e-5


def test_a_gain_is_told_apart_from_the_rest():
    found = sum_errors(*mapped(exact_readout(2)))
    assert list(found) == ["0", "3"]
    for error in found.values():
        assert error.gain == pytest.approx(1, abs=0.02)
        assert error.rest < 0.05 < 1 <= error.error


def test_the_network_is_left_as_it_was():
    network, images = mapped(CASE.readout())
    before = network.program(0)(images)
    sum_errors(network, images)
    assert torch.equal(network.program(0)(images), before)


def test_ideal_sums_are_refused():
    network = map_network(nn.Linear(4, 2), CASE.chip, IdealDevice())
    with pytest.raises(ValueError, match="read out as a memory technology"):
        sum_errors(network, torch.zeros(1, 4))
