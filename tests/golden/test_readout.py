"""Columns of memory technologies as tables, against solved columns, and in a network."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from golden.analog import map_network
from golden.arrays import BitSlicing, DummyColumn
from golden.arrays.readout import readout_table, technology_ladder
from golden.chip import PRESETS
from golden.devices import IdealDevice
from golden.devices.technology import TECHNOLOGIES

LARGE = PRESETS["large"]


def chip(rows):
    return replace(LARGE, name="test", array=replace(LARGE.array, rows=rows, row_granule=rows))


@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_table_holds_the_currents_of_new_columns(name):
    """Fresh random columns lie around the table's means, with its spreads."""
    cell, table = TECHNOLOGIES[name], readout_table(TECHNOLOGIES[name], 32, samples=16)
    generator = torch.Generator().manual_seed(9)
    inputs, weights = (torch.randint(0, 2, (800, 32), generator=generator) for _ in range(2))
    ladder = technology_ladder(cell)
    current = ladder.currents(cell.conductances(inputs, weights)) - ladder.currents(
        cell.conductances(inputs, torch.zeros_like(weights)))
    one = cell.conductances(torch.tensor([1, 1]), torch.tensor([0, 1]))
    value = current / (ladder.supply * (one[1] - one[0]))
    driven, state = inputs.sum(1), (inputs * weights).sum(1)
    deviate = (value - table.mean[driven, state]) / table.spread[driven, state].clamp(min=1e-9)
    assert abs(deviate.mean().item()) < 0.2
    assert 0.8 < deviate.std().item() < 1.3


def test_no_wires_no_error():
    """With a hundredth of the wires every state is read right."""
    cell = replace(TECHNOLOGIES["SRAM"], height=0.01, on=6e4, degeneration=0.0)
    table = readout_table(cell, 16)
    states = torch.arange(17).float()
    driven = torch.full((17,), 16.0)
    for custom in (False, True):
        codes = replace(table, custom=custom).convert(states, driven, torch.zeros(17))
        assert torch.equal(codes, states)
    assert torch.allclose(table.mean[16], states, atol=0.01)


@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_custom_references_and_fewer_rows_help(name):
    """Mean error of the codes: custom references and partial activation lower it."""
    def error(table):
        side = table.active_rows + 1
        driven = torch.arange(side).repeat_interleave(40)
        states = (torch.rand(len(driven), generator=torch.Generator().manual_seed(1))
                  * (driven + 1)).floor()
        noise = torch.randn(len(driven), generator=torch.Generator().manual_seed(2))
        return (table.convert(states, driven.float(), noise) - states).abs().mean().item() / side

    full = readout_table(TECHNOLOGIES[name], 64, samples=4)
    assert error(replace(full, custom=True)) <= error(full)
    assert error(readout_table(TECHNOLOGIES[name], 64, 16, samples=4)) < error(full)


def test_cells_that_are_not_driven_leak_little():
    table = readout_table(TECHNOLOGIES["FeFET"], 64, 8)
    assert table.mean.shape == (9, 9) and table.mean[0].abs().max() < 0.3
    assert (table.references.diff() >= 0).all()


def test_layout_of_channels_is_kept():
    table = readout_table(TECHNOLOGIES["SOT-MRAM"], 16)
    states = torch.randint(0, 9, (2, 3, 4, 5)).float()
    driven = states.amax(1, keepdim=True) + 2
    noise = torch.randn(2, 3, 4, 5)
    expected = table.convert(states, driven, noise)
    last = torch.channels_last
    result = table.convert(*(x.contiguous(memory_format=last) for x in (states, driven, noise)))
    assert torch.equal(result, expected)
    for index in ((0, 0, 0, 0), (1, 2, 3, 4)):
        row, column = int(driven[index[0], 0, index[2], index[3]]), int(states[index])
        value = table.mean[row, column] + table.spread[row, column] * noise[index]
        assert expected[index] == value.round().clamp(0, 16)


def test_in_a_network():
    """A technology without wires computes the model; with wires the larger array is worse."""
    torch.manual_seed(0)
    model = nn.Conv2d(14, 4, 3)
    images = torch.rand(4, 14, 6, 6) * (torch.rand(4, 14, 6, 6) < 0.1)
    with torch.no_grad():
        expected = model(images)
    ideal = replace(TECHNOLOGIES["SRAM"], height=1e-4, on=6e5, degeneration=0.0)
    errors = []
    for cell, rows in ((ideal, 64), (TECHNOLOGIES["FeFET"], 64),
                       (TECHNOLOGIES["FeFET"], 128)):
        network = map_network(
            model, chip(rows), IdealDevice(), encoding=DummyColumn(), slicing=BitSlicing(1),
            bit_serial=True, readout=readout_table(cell, rows, samples=3))
        network.calibrate([images]).program(0)
        errors.append(((network(images) - expected).norm() / expected.norm()).item())
        assert torch.equal(network.at(0.0)(images), network.at(0.0)(images))
    assert errors[0] < 0.03 < errors[1] < errors[2]


@pytest.mark.parametrize("build, named", [
    (lambda: readout_table(TECHNOLOGIES["SRAM"], 64, 48), "active_rows"),
    (lambda: readout_table(TECHNOLOGIES["SRAM"], 1), "rows"),
    (lambda: readout_table(TECHNOLOGIES["SRAM"], 64, samples=1), "samples"),
    (lambda: map_network(nn.Linear(4, 4), chip(64), IdealDevice(),
                         readout=readout_table(TECHNOLOGIES["SRAM"], 8)), "readout needs")])
def test_bad_input_is_named(build, named):
    with pytest.raises(ValueError, match=named):
        build()
