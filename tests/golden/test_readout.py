"""Columns of memory technologies as tables, against solved columns, and in a network."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from golden.analog import conversion_statistics, map_network, only_effects
from golden.analog.columns import ColumnSums
from golden.arrays import BitSlicing
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
    states = torch.arange(17)
    driven = torch.full((17,), 16)
    for custom in (False, True):
        codes = replace(table, custom=custom).convert(states, driven, torch.zeros(17))
        assert torch.equal(codes, states)
    assert torch.allclose(table.mean[16], states.float(), atol=0.01)


@pytest.mark.parametrize("name", TECHNOLOGIES)
def test_custom_references_and_fewer_rows_help(name):
    """Mean error of the codes: custom references and partial activation lower it."""
    def error(table):
        side = table.active_rows + 1
        driven = torch.arange(side).repeat_interleave(40)
        states = (torch.rand(len(driven), generator=torch.Generator().manual_seed(1))
                  * (driven + 1)).long()
        noise = torch.randn(len(driven), generator=torch.Generator().manual_seed(2))
        return (table.convert(states, driven, noise) - states).abs().float().mean().item() / side

    full = readout_table(TECHNOLOGIES[name], 64, samples=4)
    assert error(replace(full, custom=True)) <= error(full)
    assert error(readout_table(TECHNOLOGIES[name], 64, 16, samples=4)) < error(full)


def test_cells_that_are_not_driven_leak_little():
    table = readout_table(TECHNOLOGIES["FeFET"], 64, 8)
    assert table.mean.shape == (9, 9) and table.mean[0].abs().max() < 0.3
    assert (table.references.diff() >= 0).all()


@pytest.mark.parametrize("custom", [False, True])
def test_moments_are_those_of_many_conversions(custom):
    table = readout_table(TECHNOLOGIES["SOT-MRAM"], 32, 16, custom, samples=6, levels=3)
    mean, variance = table.moments()
    assert mean.shape == (17, 49)
    noise = torch.randn(40_000, generator=torch.Generator().manual_seed(3))
    for driven, state in ((0, 0), (3, 4), (16, 1), (16, 20), (16, 48)):
        codes = table.convert(torch.full(noise.shape, state), torch.full(noise.shape, driven),
                              noise).double()
        assert abs(codes.mean() - mean[driven, state]) < 0.02
        assert abs(codes.var() - variance[driven, state]) < 0.02


@pytest.mark.parametrize("levels", [1, 3])
def test_sums_are_those_of_single_conversions(levels):
    """Both fast ways against a loop over groups of rows, slices and signs."""
    table = readout_table(TECHNOLOGIES["SOT-MRAM"], 16, 8, samples=3, levels=levels)
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randint(0, levels + 1, (2, 3, 21), generator=generator) for _ in range(2)]
    planes = [(worth, torch.randint(0, 2, (5, 21), generator=generator).float())
              for worth in (1.0, 2.0, -4.0)]
    base = levels + 1
    mean, variance = table.moments()
    expected = torch.zeros(2, 5, 3, dtype=torch.float64)
    for worth, bits in planes:
        for first in (0, 8, 16):
            rows = slice(first, first + 8)
            driven = bits[:, rows].sum(1).long()
            for sign, part in zip((1, -1), parts, strict=True):
                for number, level in enumerate(part[:, :, rows]):
                    states = (bits[:, rows].double() @ level.T.double()).long()
                    factor = worth * base ** number
                    expected[0] += sign * factor * mean[driven[:, None], states]
                    expected[1] += factor ** 2 * variance[driven[:, None], states]
    for ways in ({"patterns": True}, {"patterns": False, "joint": True},
                 {"patterns": False, "joint": False}):
        found = ColumnSums(*parts, base, table, **ways).moments(planes)
        assert torch.allclose(found.double(), expected, rtol=1e-5, atol=1e-4), ways


def test_in_a_network():
    """A technology without wires computes the model; with wires the larger array is worse."""
    torch.manual_seed(0)
    model = nn.Conv2d(14, 4, 3)
    images = torch.rand(4, 14, 6, 6)
    with torch.no_grad():
        expected = model(images)
    ideal = replace(TECHNOLOGIES["SRAM"], height=1e-4, on=6e5, degeneration=0.0)
    errors = []
    for cell, rows in ((ideal, 64), (TECHNOLOGIES["FeFET"], 64),
                       (TECHNOLOGIES["FeFET"], 128)):
        network = map_network(
            model, chip(rows), IdealDevice(), slicing=BitSlicing(1),
            bit_serial=True, readout=readout_table(cell, rows, samples=3))
        network.calibrate([images]).program(0)
        errors.append(((network(images) - expected).norm() / expected.norm()).item())
        assert torch.equal(network.at(0.0)(images), network.at(0.0)(images))
    assert errors[0] < 0.02 < errors[1] < errors[2]


def test_what_needs_single_conversions_is_refused():
    network = map_network(nn.Linear(4, 4), chip(64), IdealDevice(), slicing=BitSlicing(1),
                          bit_serial=True, active_rows=8,
                          readout=readout_table(TECHNOLOGIES["SRAM"], 64, 8, samples=2))
    for use in (lambda: conversion_statistics(network, []), lambda: only_effects(network, [])):
        with pytest.raises(ValueError, match="must not be read out as a memory technology"):
            use()


def test_kinds_of_layers():
    """Groups, dilation, strides, paddings by name and several dimensions: as the model does."""
    torch.manual_seed(0)
    ideal = replace(TECHNOLOGIES["SRAM"], height=1e-4, on=6e5, degeneration=0.0)
    table = readout_table(ideal, 16, samples=2)
    for model, shape in (
            (nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 7, 9)),
            (nn.Conv2d(3, 4, (3, 2), dilation=2, padding="same", bias=False), (2, 3, 6, 8)),
            (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), (2, 3, 6, 6)),
            (nn.Linear(20, 5), (2, 3, 20))):
        inputs = torch.randn(shape)
        network = map_network(model, chip(16), IdealDevice(), slicing=BitSlicing(1),
                              bit_serial=True, readout=table)
        network.calibrate([inputs]).program(0)
        with torch.no_grad():
            expected = model(inputs)
        found = network(inputs)
        assert found.shape == expected.shape
        assert (found - expected).norm() / expected.norm() < 0.03, model


@pytest.mark.parametrize("build, named", [
    (lambda: readout_table(TECHNOLOGIES["SRAM"], 64, 48), "active_rows"),
    (lambda: readout_table(TECHNOLOGIES["SRAM"], 1), "rows"),
    (lambda: readout_table(TECHNOLOGIES["SRAM"], 64, samples=1), "samples"),
    (lambda: map_network(nn.Linear(4, 4), chip(64), IdealDevice(),
                         readout=readout_table(TECHNOLOGIES["SRAM"], 8)), "readout needs")])
def test_bad_input_is_named(build, named):
    with pytest.raises(ValueError, match=named):
        build()
