"""A column whose inputs drive gates: bit line and source line as a resistive ladder.

Both lines run along the column. The bit line is fed at the top through ``driver`` and ``via``, the
source line leaves at the bottom through ``via`` into a virtual ground; each has one ``segment``
per cell. A cell conducts g between the two lines, less where its source has risen:

    V --driver+via-- B0 --segment-- B1 -- ... -- B(n-1)
                     |g0            |g1           |g(n-1)
                     S0 --segment-- S1 -- ... -- S(n-1) --via-- 0 V

    g_i = nominal_i * max(0, 1 - degeneration * V(S_i))

That the two lines end on opposite sides follows arXiv 2408.05857, where the source line of the
lower half of a column still degenerates the upper half.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from golden.devices.checks import check_number

__all__ = ["Ladder"]

_TOLERANCE = 1e-12
_MOST_ITERATIONS = 60


@dataclass(frozen=True)
class Ladder:
    """Resistances of one column, ohm, and its supply.

    Parameters
    ----------
    segment
        Of bit line and of source line, per cell. 182 ohm/um times the cell's height
        (arXiv 2307.04261) is 9.8 for a cell of one gate pitch.
    driver, via
        500 and 56 in arXiv 2307.04261.
    supply
        Bit line voltage, V; 0.25.
    degeneration
        Relative loss of conductance per volt of source voltage.
    """

    segment: float = 9.8
    driver: float = 500.0
    via: float = 56.0
    supply: float = 0.25
    degeneration: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            check_number(self, field.name, 0)
        if self.driver + self.via == 0 or self.via == 0 or self.segment == 0:
            raise ValueError("Ladder.segment and via must be above 0, not "
                             f"{self.segment!r} and {self.via!r}")

    def currents(self, conductances: Tensor) -> Tensor:
        """Output current of each column, A, [...], for nominal ``conductances`` [..., cells] in S.

        Exact: Kirchhoff's law with all cells, iterated until the degenerated conductances agree
        with the voltages they cause.
        """
        if conductances.dim() < 1 or not bool((conductances >= 0).all()):
            raise ValueError("conductances must be [..., cells] and not negative")
        nominal = conductances.double().movedim(-1, 0)
        cells = nominal
        for _ in range(_MOST_ITERATIONS):
            bit, source = self._voltages(cells)
            if self.degeneration == 0:
                break
            weakened = nominal * (1 - self.degeneration * source).clamp(min=0)
            change = ((weakened - cells).abs().amax() / nominal.amax().clamp(min=1e-300)).item()
            cells = weakened
            if change < _TOLERANCE:
                break
        else:
            raise ValueError("conductances are too high for the source degeneration to settle: "
                             f"largest {conductances.max().item():g} S")
        return (cells * (bit - source)).sum(0)

    def _voltages(self, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Node voltages of bit and source line, each [cells, ...], for linear ``cells``.

        Block Gaussian elimination from top to bottom, blocks of the two nodes at a cell, all
        columns at once.
        """
        count, wire = len(cells), 1 / self.segment
        feed, end = 1 / (self.driver + self.via), 1 / self.via
        # Pivot blocks [[a, -b], [-b, d]] and right-hand sides (p, q), one per cell.
        pivots: list[tuple[Tensor, ...]] = []
        for i in range(count):
            own_bit = cells[i] + (feed if i == 0 else wire) + (wire if i + 1 < count else 0)
            own_source = cells[i] + (wire if i else 0) + (wire if i + 1 < count else end)
            cross = cells[i]
            first = torch.full_like(cells[i], self.supply * feed if i == 0 else 0.0)
            second = torch.zeros_like(cells[i])
            if i:
                a, b, d, p, q = pivots[-1]
                factor = wire / (a * d - b * b)
                own_bit = own_bit - wire * d * factor
                own_source = own_source - wire * a * factor
                cross = cross + wire * b * factor
                first = first + (d * p + b * q) * factor
                second = second + (b * p + a * q) * factor
            pivots.append((own_bit, cross, own_source, first, second))
        bit, source = [], []
        below_bit = below_source = torch.zeros_like(cells[0])
        for i in reversed(range(count)):
            a, b, d, p, q = pivots[i]
            if i + 1 < count:
                p, q = p + wire * below_bit, q + wire * below_source
            scale = 1 / (a * d - b * b)
            below_bit, below_source = (d * p + b * q) * scale, (b * p + a * q) * scale
            bit.append(below_bit)
            source.append(below_source)
        return torch.stack(bit[::-1]), torch.stack(source[::-1])
