"""What a column of a memory technology reads, state by state, and its references.

A column of binary cells whose inputs are bits has an ideal *state*: the number of driven cells
that hold a one. Wires and source degeneration move the current that a state gives, by how many
cells are driven and where they lie. `readout_table` solves sampled columns exactly (`Ladder`) and
keeps, for every number of driven cells and every state, mean and spread of

    (data column's current - dummy column's) / (what one cell in state one adds ideally)

A network then converts mean + spread * deviate instead of solving each column: exact in its first
two moments for random positions. Linear references stand half way between ideal states; custom
ones (arXiv 2408.05857) half way between the largest current of a state and the least of the next.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from golden.devices.technology import MemoryTechnology

from .ladder import Ladder

__all__ = ["Readout", "readout_table", "technology_ladder"]

#: Wire of the 7 nm arrays, ohm/um (arXiv 2307.04261).
WIRE = 182.0

_CHUNK = 8192  # columns solved together


@dataclass(frozen=True, eq=False)
class Readout:
    """Statistics of a technology's columns.

    Attributes
    ----------
    active_rows
        Word lines driven at a time.
    mean, spread
        float32 [active_rows + 1, active_rows + 1], by driven cells and state, in states; where
        the state exceeds the driven cells they repeat the largest possible one.
    references
        Custom references, float32 [active_rows], rising: state x is at least references[x - 1].
    custom
        Whether the custom references are used; the linear ones otherwise.
    """

    active_rows: int
    mean: Tensor
    spread: Tensor
    references: Tensor
    custom: bool = False

    def convert(self, states: Tensor, driven: Tensor, noise: Tensor) -> Tensor:
        """Codes for ideal ``states`` with ``driven`` cells (broadcast) and normal ``noise``."""
        side = self.active_rows + 1
        index = (driven * side + states).to(torch.int32)
        values = self._look_up(self.spread, index).mul_(noise).add_(self._look_up(self.mean, index))
        if self.custom:
            return torch.bucketize(values, self.references.to(values.device),
                                   right=True).to(values.dtype)
        return values.round_().clamp_(0, self.active_rows)

    @staticmethod
    def _look_up(table: Tensor, index: Tensor) -> Tensor:
        flat = table.flatten().to(index.device)
        # Permuted to memory order, so that the result keeps the layout of channels.
        if index.dim() == 4 and index.is_contiguous(memory_format=torch.channels_last):
            ordered = index.permute(0, 2, 3, 1)
            found = flat.index_select(0, ordered.reshape(-1)).view(ordered.shape)
            return found.permute(0, 3, 1, 2)
        return flat.index_select(0, index.reshape(-1)).view(index.shape)


def technology_ladder(technology: MemoryTechnology, supply: float = 0.25) -> Ladder:
    """The bit and source line of a column of ``technology``; driver 500 and via 56 ohm."""
    return Ladder(segment=WIRE * technology.wire_length, supply=supply,
                  degeneration=technology.degeneration)


def readout_table(technology: MemoryTechnology, rows: int, active_rows: int | None = None,
                  custom: bool = False, variation: float = 0.0, samples: int = 12,
                  seed: int = 0) -> Readout:
    """Solve ``samples`` random columns for each number of driven cells and each state.

    Parameters
    ----------
    technology
        The cell.
    rows
        Cells of a column.
    active_rows
        Neighbouring rows driven at a time, a divisor of ``rows``; all by default. Which group is
        driven is random; its state comes from it alone, the others leak.
    custom
        Use custom references.
    variation
        Relative standard deviation of each cell's conductance; drawn per sample.
    """
    active = rows if active_rows is None else active_rows
    for name, value, good in (("rows", rows, 2 <= rows <= 1024),
                              ("active_rows", active, 1 <= active <= rows and not rows % active),
                              ("samples", samples, samples >= 2),
                              ("variation", variation, variation >= 0)):
        if not good:
            raise ValueError(f"{name} is out of its range: {value!r}")
    generator = torch.Generator().manual_seed(seed)
    ladder = technology_ladder(technology)
    side = active + 1
    pairs = torch.tril_indices(side, side).repeat_interleave(samples, 1)
    one = technology.conductances(torch.tensor([1, 1]), torch.tensor([0, 1]))
    unit = ladder.supply * (one[1] - one[0])
    value = torch.cat([
        _differences(technology, ladder, *_columns(*part, rows, active, generator), variation,
                     generator) for part in pairs.split(_CHUNK, 1)]).view(-1, samples) / unit
    driven, states = pairs[:, ::samples]
    mean, spread = torch.zeros(side, side), torch.zeros(side, side)
    mean[driven, states], spread[driven, states] = value.mean(1).float(), value.std(1).float()
    beyond = torch.arange(side).clamp(max=torch.arange(side)[:, None])
    mean, spread = mean.gather(1, beyond), spread.gather(1, beyond)
    least = torch.full((side,), float("inf"), dtype=torch.float64).scatter_reduce_(
        0, states, value.amin(1), "amin")
    most = torch.full((side,), -float("inf"), dtype=torch.float64).scatter_reduce_(
        0, states, value.amax(1), "amax")
    references = ((most[:-1] + least[1:]) / 2).cummax(0).values.float()
    return Readout(active, mean, spread, references, custom)


def _differences(technology: MemoryTechnology, ladder: Ladder, inputs: Tensor, weights: Tensor,
                 variation: float, generator: torch.Generator) -> Tensor:
    """Current of each column less that of a dummy column with the same inputs, A."""
    currents = []
    for levels in (weights, torch.zeros_like(weights)):
        cells = technology.conductances(inputs, levels)
        if variation:
            noise = torch.randn(cells.shape, generator=generator, dtype=cells.dtype)
            cells = cells * (1 + variation * noise).clamp_(min=0)
        currents.append(ladder.currents(cells))
    return currents[0] - currents[1]


def _columns(driven: Tensor, states: Tensor, rows: int, active: int, generator: torch.Generator
             ) -> tuple[Tensor, Tensor]:
    """Inputs and weights, [columns, rows]: ``driven`` cells of one group, ``states`` hold a one.

    What cells that are not driven hold is random.
    """
    columns = len(states)
    rank = torch.rand(columns, active, generator=generator).argsort(1).argsort(1)
    group = torch.randint(0, rows // active, (columns,), generator=generator)
    inputs = torch.zeros(columns, rows // active, active, dtype=torch.int64)
    weights = torch.randint(0, 2, inputs.shape, generator=generator)
    column = torch.arange(columns)
    inside = rank < driven[:, None]
    inputs[column, group] = inside.to(torch.int64)
    weights[column, group] = torch.where(inside, (rank < states[:, None]).to(torch.int64),
                                         weights[column, group])
    return inputs.flatten(1), weights.flatten(1)
