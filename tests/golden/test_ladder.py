"""Gate-input columns and the cells of the technology comparison, against ngspice and facts."""

from dataclasses import replace
import shutil

import pytest
import torch

from golden.arrays.ladder import Ladder
from golden.arrays.spice import run_ngspice
from golden.devices.technology import TECHNOLOGIES, MemoryTechnology

needs_ngspice = pytest.mark.skipif(shutil.which("ngspice") is None, reason="ngspice is missing")


def netlist(ladder: Ladder, cells: torch.Tensor) -> str:
    """The column with degenerated cells as current sources that follow both node voltages."""
    count = len(cells)
    lines = ["column", f"V1 supply 0 {ladder.supply}",
             f"Rd supply b0 {ladder.driver + ladder.via}", f"Rv s{count - 1} 0 {ladder.via}"]
    for i, cell in enumerate(cells.tolist()):
        lines.append(f"B{i} b{i} s{i} i={cell!r}*(1-{ladder.degeneration!r}*v(s{i}))"
                     f"*(v(b{i})-v(s{i}))")
        if i + 1 < count:
            lines += [f"Rb{i} b{i} b{i + 1} {ladder.segment}", f"Rs{i} s{i} s{i + 1} "
                      f"{ladder.segment}"]
    return "\n".join([*lines, ".options reltol=1e-9 vntol=1e-12 abstol=1e-18", ".op", ".end", ""])


@needs_ngspice
@pytest.mark.parametrize("technology", TECHNOLOGIES)
@pytest.mark.parametrize("count", [1, 2, 64])
def test_against_ngspice(technology, count):
    cell = TECHNOLOGIES[technology]
    ladder = Ladder(segment=182 * cell.wire_length, degeneration=cell.degeneration)
    generator = torch.Generator().manual_seed(count)
    inputs, levels = (torch.randint(0, 2, (count,), generator=generator) for _ in range(2))
    inputs[0] = levels[0] = 1
    cells = cell.conductances(inputs, levels)
    nodes = run_ngspice(netlist(ladder, cells))
    expected = nodes[f"v(s{count - 1})"][0] / ladder.via
    assert ladder.currents(cells).item() == pytest.approx(expected, rel=1e-6)


def test_batch_is_each_alone():
    cells = torch.rand(3, 4, 16) * 2e-5
    ladder = Ladder(degeneration=2.2)
    whole = ladder.currents(cells)
    alone = torch.stack([ladder.currents(column) for column in cells.flatten(0, 1)])
    assert whole.shape == (3, 4) and torch.allclose(whole.flatten(), alone, rtol=1e-9)


def test_one_cell_is_a_series_circuit():
    current = Ladder(driver=500, via=56, supply=0.25).currents(torch.tensor([1 / 60e3]))
    assert current.item() == pytest.approx(0.25 / (60e3 + 500 + 56 + 56), rel=1e-12)


def test_small_resistances_give_the_ideal_sum():
    cells = torch.rand(64, dtype=torch.float64) * 1e-5
    ladder = Ladder(segment=1e-6, driver=1e-6, via=1e-6)
    assert ladder.currents(cells).item() == pytest.approx(0.25 * cells.sum().item(), rel=1e-6)
    assert ladder.currents(torch.zeros(5)).item() == 0


@pytest.mark.parametrize("technology", TECHNOLOGIES)
def test_larger_columns_lose_more(technology):
    """The share of current lost to wires grows with the column and with degeneration."""
    cell = TECHNOLOGIES[technology]
    ladder = Ladder(segment=182 * cell.wire_length, degeneration=cell.degeneration)
    lost = []
    for count in (32, 64, 128):
        cells = torch.full((count,), 1 / (cell.on * 1e3), dtype=torch.float64)
        lost.append(1 - ladder.currents(cells).item() / (0.25 * cells.sum().item()))
    assert 0 < lost[0] < lost[1] < lost[2]
    full = torch.full((64,), 1 / (cell.on * 1e3), dtype=torch.float64)
    assert replace(ladder, degeneration=0.0).currents(full) > ladder.currents(full)


@pytest.mark.parametrize("name, ratio_high, ratio_off", [
    ("SRAM", 3.5e6, 2.5e6), ("FeFET", 66, 3.8e2), ("ReRAM", 38.3, 3.5e3), ("SOT-MRAM", 5, 1.0e4)])
def test_published_ratios(name, ratio_high, ratio_off):
    cell = TECHNOLOGIES[name]
    table = cell.conductances(torch.tensor([[0], [1]]), torch.tensor([0, 1]))
    assert (table[1, 1] / table[1, 0]).item() == pytest.approx(ratio_high, rel=0.02)
    assert (table[1, 1] / table[0, 1]).item() == pytest.approx(ratio_off, rel=0.06)
    assert 1e-3 / table[1, 1].item() == pytest.approx(cell.on)
    assert (cell.conductances(torch.tensor(1), torch.tensor(3)) / table[1, 1]).item() == \
        pytest.approx(3)


@pytest.mark.parametrize("height, ohm", [(1, 9.8), (1.5, 14.7), (2, 19.7)])
def test_wire_resistance_per_cell(height, ohm):
    cell = MemoryTechnology("x", 60, 100, 100, 100, height, 0)
    assert 182 * cell.wire_length == pytest.approx(ohm, abs=0.06)


@pytest.mark.parametrize("build, named", [
    (lambda: Ladder(via=0), "via"), (lambda: Ladder(supply=-1), "supply"),
    (lambda: Ladder().currents(torch.tensor([-1.0])), "not negative"),
    (lambda: MemoryTechnology("x", 0, 1, 1, 1, 1, 0), "on")])
def test_bad_input_is_named(build, named):
    with pytest.raises(ValueError, match=named):
        build()
