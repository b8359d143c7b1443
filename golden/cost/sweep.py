"""BasisN against reprogramming over what writing a crossbar may take."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..chip import Chip
from .designs import (
    DEFAULTS, Assumptions, DesignCost, basis_design, reprogramming_design, rows_written,
    write_clocks,
)
from .parameters import WRITE_STYLES
from .shapes import Network

__all__ = ["PULSES", "PULSE_LENGTHS", "CLAIM", "SweepPoint", "write_sweep", "break_even"]

#: Pulses until a row is verified: the range of the reconstruction.
PULSES = (10, 32, 100)
#: ns per pulse: MNSIM's default; 50 ns, a SET pulse of phase-change memory; 3 us, a polarisation
#: write of a FeFET in NeuroSim V3; 300 ns between them.
PULSE_LENGTHS = (10.0, 50.0, 300.0, 3000.0)
#: The paper's headline: cycles and energy-delay product below this share of reprogramming.
CLAIM = 0.01


@dataclass(frozen=True)
class SweepPoint:
    """One way of writing; both ratios are BasisN over reprogramming."""

    style: str
    pulse: float
    pulses: int
    row_clocks: int
    clocks_ratio: float
    energy_delay_ratio: float

    @property
    def holds(self) -> bool:
        """Whether both ratios are below `CLAIM`."""
        return max(self.clocks_ratio, self.energy_delay_ratio) < CLAIM


def write_sweep(network: Network, chip: Chip, assumptions: Assumptions = DEFAULTS,
                basis: DesignCost | None = None, pulse_lengths: Sequence[float] = PULSE_LENGTHS,
                pulses: Sequence[int] = PULSES, styles: Sequence[str] = WRITE_STYLES
                ) -> list[SweepPoint]:
    """Ratios for every style, pulse length and number of pulses.

    ``basis`` is the basis design's cost, where the caller has it already.
    """
    basis = basis or basis_design(network, chip, assumptions)
    points = []
    for style in styles:
        for length in pulse_lengths:
            for count in pulses:
                write = replace(assumptions.write, style=style, pulse=length, pulses=count)
                changed = replace(assumptions, write=write)
                other = reprogramming_design(network, chip, changed)
                points.append(SweepPoint(
                    style, length, count, write_clocks(chip, changed),
                    basis.clocks / other.clocks, basis.energy_delay / other.energy_delay))
    return points


def break_even(network: Network, chip: Chip, share: float,
               assumptions: Assumptions = DEFAULTS, basis: DesignCost | None = None) -> float:
    """Clocks per row written from which BasisN takes less than ``share`` of the clocks.

    0 where it does however fast the rows are written; infinite where reprogramming writes none.
    """
    if not share > 0:
        raise ValueError(f"share must be more than 0, not {share!r}")
    basis = basis or basis_design(network, chip, assumptions)
    rows = rows_written(network, chip) / assumptions.write.images
    other = reprogramming_design(network, chip, assumptions)
    computing = sum(layer.clocks + layer.transfer_clocks for layer in other.layers
                    if layer.kind != "write")
    if not rows:
        return float("inf")
    return max(0.0, (basis.clocks / share - computing) / rows)
