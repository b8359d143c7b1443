"""The solved crossbar against ngspice, dense algebra and its limits."""

import shutil

import numpy as np
import pytest
import torch

from golden.arrays.interconnect import SolvedCrossbar, Wires
from golden.arrays.spice import crossbar_netlist, run_ngspice

WIRES = Wires(sense=20.0)
needs_ngspice = pytest.mark.skipif(shutil.which("ngspice") is None, reason="ngspice is missing")


def random_array(rows, columns, seed=0):
    random = np.random.default_rng(seed)
    return 10 ** random.uniform(-7, -4, (rows, columns)), random.uniform(-0.25, 0.25, (3, rows))


def dense_currents(conductances, wires, voltages):
    """Cell currents by Kirchhoff's law written node by node, dense."""
    rows, columns = conductances.shape
    size = rows * columns
    matrix, right = np.zeros((2 * size, 2 * size)), np.zeros(2 * size)

    def join(a, b, conductance):
        matrix[[a, b], [a, b]] += conductance
        matrix[[a, b], [b, a]] -= conductance

    for i in range(rows):
        for j in range(columns):
            node = i * columns + j
            join(node, size + node, 1 / (1 / conductances[i, j] + wires.via))
            if j + 1 < columns:
                join(node, node + 1, 1 / wires.row_segment)
            if i + 1 < rows:
                join(size + node, size + node + columns, 1 / wires.column_segment)
        matrix[i * columns, i * columns] += 1 / wires.driver
        right[i * columns] += voltages[i] / wires.driver
    for j in range(columns):
        matrix[2 * size - columns + j, 2 * size - columns + j] += 1 / wires.sense
    nodes = np.linalg.solve(matrix, right)
    drop = (nodes[:size] - nodes[size:]).reshape(rows, columns)
    return drop / (1 / conductances + wires.via)


@pytest.mark.parametrize("rows, columns", [(1, 1), (1, 5), (6, 1), (7, 4), (10, 12)])
def test_against_dense_algebra(rows, columns):
    conductances, voltages = random_array(rows, columns)
    solved = SolvedCrossbar(conductances, WIRES)
    currents = solved.cell_currents(voltages)
    for vector, result in zip(voltages, currents, strict=True):
        expected = dense_currents(conductances, WIRES, vector)
        assert np.allclose(result, expected, rtol=1e-8, atol=1e-9 * np.abs(expected).max())
    assert np.allclose(solved.column_currents(voltages), currents.sum(1), rtol=1e-9, atol=1e-16)


@needs_ngspice
@pytest.mark.parametrize("size", [16, 64, pytest.param(128, marks=pytest.mark.slow)])
def test_against_ngspice(size):
    conductances, voltages = random_array(size, size, size)
    nodes = run_ngspice(crossbar_netlist(conductances, WIRES, voltages[0]))
    row, column = (np.array([[nodes[f"v({line}{i}_{j})"][0] for j in range(size)]
                             for i in range(size)]) for line in "rc")
    expected = (row - column) / (1 / conductances + WIRES.via)
    result = SolvedCrossbar(conductances, WIRES).cell_currents(voltages[:1])[0]
    # Relative to each cell's own current, but for those that cross zero.
    scale = np.maximum(np.abs(expected), 1e-4 * np.abs(expected).max())
    assert (np.abs(result - expected) / scale).max() < 1e-6


@pytest.mark.parametrize("driver", [0.0, 500.0])
@pytest.mark.parametrize("sense", [0.0, 20.0])
@pytest.mark.parametrize("rows, columns", [(1, 1), (1, 4), (5, 1), (9, 6), (24, 32)])
def test_elimination_equals_the_sparse_solution(rows, columns, driver, sense):
    conductances, _ = random_array(rows, columns)
    solved = SolvedCrossbar(conductances, Wires(driver=driver, sense=sense))
    assert np.allclose(solved._eliminated(), solved._merged(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("driver", [0.0, 500.0])
@pytest.mark.parametrize("sense", [0.0, 20.0])
@pytest.mark.parametrize("rows, columns", [(1, 1), (1, 4), (5, 1), (9, 6), (24, 32)])
def test_transfer_is_what_the_cells_of_a_column_carry(rows, columns, driver, sense):
    conductances, _ = random_array(rows, columns)
    conductances[0, 0] = 0
    solved = SolvedCrossbar(conductances, Wires(driver=driver, sense=sense))
    currents = solved.cell_currents(np.eye(rows)).sum(1)
    assert np.allclose(solved.transfer, currents, rtol=1e-9, atol=1e-15)


def test_cells_that_do_not_conduct():
    conductances, voltages = random_array(6, 5)
    conductances[:, 2] = 0
    conductances[3] = 0
    currents = SolvedCrossbar(conductances, WIRES).cell_currents(voltages)
    assert (currents[:, :, 2] == 0).all() and (currents[:, 3] == 0).all()
    assert np.isfinite(currents).all()


def test_ideal_wires_change_nothing():
    conductances, voltages = random_array(5, 4)
    ideal = Wires(0, 0, 0, 0, 0)
    assert np.allclose(SolvedCrossbar(conductances, ideal).transfer, conductances, rtol=1e-12)
    assert np.allclose(SolvedCrossbar(conductances, ideal).cell_currents(voltages),
                       voltages[:, :, None] * conductances, rtol=1e-12)


@pytest.mark.parametrize("zero", ["row_segment", "column_segment", "driver", "via", "sense"])
def test_zero_is_the_limit_of_small(zero):
    conductances, voltages = random_array(6, 5)
    resistances = {"row_segment": 9.8, "column_segment": 5.0, "driver": 500.0, "via": 56.0,
                   "sense": 20.0}
    exact = SolvedCrossbar(conductances, Wires(**resistances | {zero: 0.0}))
    near = SolvedCrossbar(conductances, Wires(**resistances | {zero: 1e-6}))
    assert np.allclose(exact.column_currents(voltages), near.column_currents(voltages), rtol=1e-6)


def test_single_cell_is_a_series_circuit():
    wires = Wires(driver=100.0, via=10.0, sense=5.0)
    transfer = SolvedCrossbar(np.array([[1e-3]]), wires).transfer
    assert transfer[0, 0] == pytest.approx(1 / (1000 + 115), rel=1e-12)


def test_seen_is_in_microsiemens():
    conductances = 5 + 20 * torch.rand(8, 6, generator=torch.Generator().manual_seed(0))
    seen = Wires().seen(conductances)
    assert seen.dtype == torch.float32 and seen.shape == (8, 6)
    assert ((seen < conductances) & (seen > 0.9 * conductances)).all()
    assert (Wires().seen(torch.zeros(3, 2)) == 0).all()


@pytest.mark.parametrize("build, named", [
    (lambda: Wires(driver=-1), "driver"), (lambda: Wires(via=float("inf")), "via"),
    (lambda: SolvedCrossbar(np.zeros(3), WIRES), "rows, columns"),
    (lambda: SolvedCrossbar(np.full((2, 2), -1.0), WIRES), "not negative"),
    (lambda: SolvedCrossbar(np.full((2, 2), np.nan), WIRES), "finite"),
    (lambda: SolvedCrossbar(np.ones((2, 2)), WIRES).column_currents(np.ones((1, 3))), "voltages")])
def test_bad_input_is_named(build, named):
    with pytest.raises(ValueError, match=named):
        build()
