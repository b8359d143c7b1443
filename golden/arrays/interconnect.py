"""Resistive interconnect of a crossbar with linear cells, solved exactly.

Row r is driven at its left end by a voltage source behind ``driver`` and runs as segments of
``row_segment``; column c runs as segments of ``column_segment`` down to its lower end, where
``sense`` leads to a virtual ground. A cell joins the two lines where they cross, through ``via``:

    v_r --driver-- (r,0) --row_segment-- (r,1) -- ...          row line
                     |                     |
                  via, cell             via, cell
                     |                     |
                   (0,c) --column_segment-- ... --sense-- 0 V  column line

Kirchhoff's current law at all nodes is one linear system. The network is linear, so its answers to
unit voltages on each row give the answer to any vector. Where both lines have resistance, rows
are eliminated one after the other, each as a dense block; otherwise nodes that no resistance
separates are merged and the sparse system is factored.
"""

from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csc_matrix
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu
import torch
from torch import Tensor

from golden.devices.checks import check_number

__all__ = ["SolvedCrossbar", "Wires"]

_MICRO = 1e-6


@dataclass(frozen=True)
class Wires:
    """Resistances of a crossbar's interconnect, ohm; any may be 0.

    Defaults: the 7 nm arrays of arXiv 2307.04261, driver 500, via 56, wire 182 ohm/um times the
    54 nm pitch of a cell one gate pitch high, 9.8 (that pitch is a reconstruction).

    Parameters
    ----------
    row_segment, column_segment
        Wire from one cell to the next.
    driver
        Between a row's source and its first cell.
    via
        In series with each cell.
    sense
        Between a column's last cell and the virtual ground. 0: an ideal one.
    """

    row_segment: float = 9.8
    column_segment: float = 9.8
    driver: float = 500.0
    via: float = 56.0
    sense: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            check_number(self, field.name, 0)

    def seen(self, conductances: Tensor) -> Tensor:
        """Conductances [rows, columns] (uS) as seen from the array's pins, uS.

        Entry (r, c) is the current out of column c for one volt on row r alone.
        """
        solved = SolvedCrossbar(conductances.double().numpy() * _MICRO, self)
        return torch.from_numpy(solved.transfer / _MICRO).to(conductances.dtype)


class SolvedCrossbar:
    """The solved network of one array.

    Parameters
    ----------
    conductances
        Cells in siemens, [rows, columns], not negative.
    wires
        Resistances of the lines.
    """

    def __init__(self, conductances: NDArray[np.float64], wires: Wires) -> None:
        if conductances.ndim != 2 or not conductances.size:
            raise ValueError(f"conductances must be [rows, columns], not {conductances.shape}")
        if not (np.isfinite(conductances) & (conductances >= 0)).all():
            raise ValueError("conductances must be finite and not negative, not "
                             f"{conductances.min()!r} to {conductances.max()!r}")
        self.wires = wires
        self.cells = conductances / (1 + conductances * wires.via)

    @cached_property
    def transfer(self) -> NDArray[np.float64]:
        """Column currents per volt on each row, siemens, [rows, columns]."""
        if self.wires.row_segment and self.wires.column_segment:
            return self._transfer_backwards()
        rows, columns = self.cells.shape
        unit = self._unit_voltages
        drop = unit[:rows * columns] - unit[rows * columns:]
        return np.einsum("rc,rcv->vc", self.cells, drop.reshape(rows, columns, rows))

    def column_currents(self, voltages: NDArray[np.float64]) -> NDArray[np.float64]:
        """Currents out of the columns, A, [vectors, columns], for [vectors, rows] volt."""
        return self._checked(voltages) @ self.transfer

    def cell_currents(self, voltages: NDArray[np.float64]) -> NDArray[np.float64]:
        """Current through every cell, A, [vectors, rows, columns], for [vectors, rows] volt."""
        rows, columns = self.cells.shape
        drop = (self._unit_voltages[:rows * columns] - self._unit_voltages[rows * columns:])
        per_volt = self.cells.reshape(-1, 1) * drop
        return (self._checked(voltages) @ per_volt.T).reshape(-1, rows, columns)

    def _checked(self, voltages: NDArray[np.float64]) -> NDArray[np.float64]:
        if voltages.ndim != 2 or voltages.shape[1] != self.cells.shape[0]:
            raise ValueError(f"voltages must be [vectors, {self.cells.shape[0]}], "
                             f"not {voltages.shape}")
        return voltages

    @cached_property
    def _unit_voltages(self) -> NDArray[np.float64]:
        """Voltages of all row nodes, then all column nodes, per volt on each row.

        [2 * rows * columns, rows].
        """
        if self.wires.row_segment and self.wires.column_segment:
            return self._eliminated()
        return self._merged()

    def _eliminated(self) -> NDArray[np.float64]:
        """`_unit_voltages` by block elimination, for lines with resistance.

        A row line's nodes a follow from its column nodes b and its source:
        ``T a = g b + source``. With them gone, column nodes of neighbouring rows are joined by
        ``w`` only: ``(diag(g + wires) - g T^-1 g) b_i - w b_(i-1) - w b_(i+1) = g T^-1 source``.
        """
        rows, columns = self.cells.shape
        wire = 1 / self.wires.column_segment
        from_source, from_columns, blocks = self._without_row_nodes(slice(None))
        solved = self._solved_rows
        # Right-hand sides, one per source: row i's is not 0 in block i only.
        right = np.zeros((rows, columns, rows))
        for i in range(rows):
            right[i, :, i] = self.cells[i] * from_source[i]
        pivots = np.empty((solved, columns, columns))
        for i in range(solved):
            if i:
                blocks[i] -= wire * wire * pivots[i - 1]
                right[i, :, :i] += wire * (pivots[i - 1] @ right[i - 1, :, :i])
            pivots[i] = np.linalg.inv(blocks[i])
        column = np.zeros((rows, columns, rows))
        for i in reversed(range(solved)):
            if i + 1 < rows:
                right[i] += wire * column[i + 1]
            column[i] = pivots[i] @ right[i]
        row = from_columns @ column
        row[np.arange(rows), :, np.arange(rows)] += from_source
        return np.concatenate([row, column]).reshape(-1, rows)

    @property
    def _solved_rows(self) -> int:
        """Rows whose column nodes are unknown: those of an ideal ground stand at 0 V."""
        return len(self.cells) - (self.wires.sense == 0)

    def _without_row_nodes(self, chosen: slice) -> tuple[NDArray[np.float64], ...]:
        """Rows of the linear system after their row nodes are eliminated.

        For the ``chosen`` rows: row nodes per volt of the source, [rows, columns]; row nodes per
        volt of the column nodes, [rows, columns, columns]; and the blocks of the system in the
        column nodes, likewise.
        """
        cells = self.cells[chosen]
        rows, columns = cells.shape
        along, wire = 1 / self.wires.row_segment, 1 / self.wires.column_segment
        line = np.zeros((columns, columns))
        inner = np.arange(columns - 1)
        np.add.at(line, (inner, inner), along)
        np.add.at(line, (inner + 1, inner + 1), along)
        line[inner, inner + 1] = line[inner + 1, inner] = -along
        matrices = np.repeat(line[None], rows, 0)
        diagonal = np.arange(columns)
        matrices[:, diagonal, diagonal] += cells
        joining = cells.copy()  # current into a row node per volt of its column node
        if self.wires.driver:
            matrices[:, 0, 0] += 1 / self.wires.driver
            entering = 1 / self.wires.driver
        else:  # the first node stands at the source's voltage
            matrices[:, 0] = 0
            matrices[:, 0, 0] = entering = 1.0
            joining[:, 0] = 0
        inverse = np.linalg.inv(matrices)
        from_source = inverse[:, :, 0] * entering
        from_columns = inverse * joining[:, None]
        blocks = -cells[:, :, None] * from_columns
        ends = np.full((len(self.cells), 1), 2 * wire)
        ends[0] -= wire
        ends[-1] -= wire
        if self.wires.sense:
            ends[-1] += 1 / self.wires.sense
        blocks[:, diagonal, diagonal] += cells + ends[chosen]
        return from_source, from_columns, blocks

    def _transfer_backwards(self) -> NDArray[np.float64]:
        """`transfer` by reciprocity, for lines with resistance.

        The current that row r's volt sends out of column c is the one that a volt at the end of
        column c sends into the source of row r. Seen from there only the last row's block has a
        right-hand side, so nothing but the blocks' inverses has to be kept.
        """
        rows, columns = self.cells.shape
        wire, solved = 1 / self.wires.column_segment, self._solved_rows
        pivots = np.empty((solved, columns, columns))
        into_source = np.empty((rows, columns))  # current per volt of the row's column nodes
        for i in range(rows):
            _, (row,), (block,) = self._without_row_nodes(slice(i, i + 1))
            if self.wires.driver:
                into_source[i] = row[0] / self.wires.driver
            else:
                into_source[i] = row[1] / self.wires.row_segment if columns > 1 else 0
                into_source[i, 0] += self.cells[i, 0]
            if i < solved:
                if i:
                    block -= wire * wire * pivots[i - 1]
                pivots[i] = np.linalg.inv(block)
        transfer = np.empty((rows, columns))
        if self.wires.sense:
            column = pivots[-1] / self.wires.sense
        else:
            column = np.eye(columns)
        transfer[-1] = into_source[-1] @ column
        for i in reversed(range(rows - 1)):
            column = wire * (pivots[i] @ column)
            transfer[i] = into_source[i] @ column
        return transfer

    def _merged(self) -> NDArray[np.float64]:
        """`_unit_voltages` by a sparse factorisation, for any resistances."""
        rows, columns = self.cells.shape
        size = rows * columns
        on_row = np.arange(size).reshape(rows, columns)
        on_column = on_row + size
        sources = 2 * size + np.arange(rows)
        ground = 2 * size + rows
        # Edges as (nodes, nodes, resistance); the cells follow as conductances.
        wires = self.wires
        edges = [(on_row[:, :-1], on_row[:, 1:], wires.row_segment),
                 (on_column[:-1], on_column[1:], wires.column_segment),
                 (sources, on_row[:, 0], wires.driver),
                 (np.full(columns, ground), on_column[-1], wires.sense)]
        first = np.concatenate([on_row.ravel(), *(a.ravel() for a, _, r in edges if r > 0)])
        second = np.concatenate([on_column.ravel(), *(b.ravel() for _, b, r in edges if r > 0)])
        weight = np.concatenate([self.cells.ravel(),
                                 *(np.full(a.size, 1 / r) for a, _, r in edges if r > 0)])
        label, count = _joined([(a, b) for a, b, r in edges if r == 0], ground + 1)
        first, second = label[first], label[second]
        laplacian = csc_matrix(coo_matrix(
            (np.concatenate([weight, weight, -weight, -weight]),
             (np.concatenate([first, second, first, second]),
              np.concatenate([first, second, second, first]))), shape=(count, count)))
        fixed = label[np.append(sources, ground)]
        free = np.setdiff1d(np.arange(count), fixed)
        voltages = np.zeros((count, rows))
        voltages[fixed[:-1], np.arange(rows)] = 1.0
        if free.size:
            known = -(laplacian[free][:, fixed[:-1]]).toarray()
            factors = splu(laplacian[free][:, free].tocsc(), permc_spec="MMD_AT_PLUS_A",
                           diag_pivot_thresh=0.0, options={"SymmetricMode": True})
            voltages[free] = factors.solve(known)
        return voltages[label[:2 * size]]


def _joined(pairs: list[tuple[NDArray[np.int64], NDArray[np.int64]]], count: int
            ) -> tuple[NDArray[np.int64], int]:
    """Number of the merged node of each of ``count`` nodes, and how many there are.

    Nodes of a pair stand at one potential: nothing but a zero resistance lies between them.
    """
    if not pairs:
        return np.arange(count), count
    first = np.concatenate([a.ravel() for a, _ in pairs])
    second = np.concatenate([b.ravel() for _, b in pairs])
    graph = coo_matrix((np.ones(first.size), (first, second)), shape=(count, count))
    joined, label = connected_components(graph, directed=False)
    return label.astype(np.int64), joined
