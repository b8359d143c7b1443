"""What a column of a memory technology reads, state by state, and its references.

A column whose inputs are bits has an ideal *state*: the sum of the levels that its driven cells
hold, which for binary cells is the number of driven ones. Wires and source degeneration move the
current that a state gives, by how many cells are driven and where they lie. `readout_table` solves
sampled columns exactly (`Ladder`) and keeps, for every number of driven cells and every state, mean
and spread of

    (data column's current - dummy column's) / (what one cell in level one adds ideally)

A network then uses these instead of solving each column: exact in the first two moments for
random positions. Linear references stand half way between ideal states; custom ones
(arXiv 2408.05857) half way between the largest current of a state and the least of the next.
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
    levels
        Highest level of a cell.
    mean, spread
        float32 [active_rows + 1, levels * active_rows + 1], by driven cells and state, in states;
        where the state exceeds what the driven cells hold they repeat the largest possible one.
    references
        Custom references, float32 [levels * active_rows], rising: state x is at least
        references[x - 1].
    custom
        Whether the custom references are used; the linear ones otherwise.
    """

    active_rows: int
    levels: int
    mean: Tensor
    spread: Tensor
    references: Tensor
    custom: bool = False

    @property
    def thresholds(self) -> Tensor:
        """The references in use, in states, float32 [levels * active_rows]."""
        return self.references if self.custom else torch.arange(len(self.references)) + 0.5

    def convert(self, states: Tensor, driven: Tensor, noise: Tensor) -> Tensor:
        """Codes of single conversions: ideal ``states``, ``driven`` cells, normal ``noise``.

        Integers, integers and deviates of one shape; the codes are int64.
        """
        values = self.mean[driven, states] + self.spread[driven, states] * noise
        return torch.bucketize(values, self.thresholds, right=True)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of `convert` over the noise, float64, each indexed like ``mean``.

        With P_x the probability that a code is at least x, the mean is the sum of all P_x and the
        mean square the sum of (2 x - 1) P_x.
        """
        thresholds = self.thresholds.double()
        weights = 2 * torch.arange(1, len(thresholds) + 1, dtype=torch.float64) - 1
        means, variances = [], []
        for mean, spread in zip(self.mean.double(), self.spread.double(), strict=True):
            reached = torch.special.ndtr((mean[:, None] - thresholds)
                                         / spread[:, None].clamp(min=1e-9))
            means.append(reached.sum(1))
            variances.append((reached @ weights - means[-1].square()).clamp_(min=0))
        return torch.stack(means), torch.stack(variances)


def technology_ladder(technology: MemoryTechnology, supply: float = 0.25) -> Ladder:
    """The bit and source line of a column of ``technology``; driver 500 and via 56 ohm."""
    return Ladder(segment=WIRE * technology.wire_length, supply=supply,
                  degeneration=technology.degeneration)


def readout_table(technology: MemoryTechnology, rows: int, active_rows: int | None = None,
                  custom: bool = False, variation: float = 0.0, samples: int = 12,
                  seed: int = 0, levels: int = 1) -> Readout:
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
    levels
        Highest level of a cell: 1, or 3 for two bits per cell. A state is spread over the driven
        cells unit by unit at random (the weights' own statistics are not known here).
    """
    active = rows if active_rows is None else active_rows
    for name, value, good in (("rows", rows, 2 <= rows <= 1024),
                              ("active_rows", active, 1 <= active <= rows and not rows % active),
                              ("samples", samples, samples >= 2),
                              ("levels", levels, 1 <= levels <= 15),
                              ("variation", variation, variation >= 0)):
        if not good:
            raise ValueError(f"{name} is out of its range: {value!r}")
    generator = torch.Generator().manual_seed(seed)
    ladder = technology_ladder(technology)
    counts = torch.arange(active + 1)
    highest = levels * counts  # state by driven cells
    pairs = torch.stack([counts.repeat_interleave(highest + 1),
                         torch.cat([torch.arange(int(top) + 1) for top in highest])])
    pairs = pairs.repeat_interleave(samples, 1)
    one = technology.conductances(torch.tensor([1, 1]), torch.tensor([0, 1]))
    unit = ladder.supply * (one[1] - one[0])
    value = torch.cat([
        _differences(technology, ladder, *_columns(*part, rows, active, levels, generator),
                     variation, generator)
        for part in pairs.split(_CHUNK, 1)]).view(-1, samples) / unit
    driven, states = pairs[:, ::samples]
    side = levels * active + 1
    mean, spread = torch.zeros(active + 1, side), torch.zeros(active + 1, side)
    mean[driven, states], spread[driven, states] = value.mean(1).float(), value.std(1).float()
    beyond = torch.minimum(torch.arange(side), highest[:, None])
    mean, spread = mean.gather(1, beyond), spread.gather(1, beyond)
    least = torch.full((side,), float("inf"), dtype=torch.float64).scatter_reduce_(
        0, states, value.amin(1), "amin")
    most = torch.full((side,), -float("inf"), dtype=torch.float64).scatter_reduce_(
        0, states, value.amax(1), "amax")
    references = ((most[:-1] + least[1:]) / 2).cummax(0).values.float()
    return Readout(active, levels, mean, spread, references, custom)


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


def _columns(driven: Tensor, states: Tensor, rows: int, active: int, levels: int,
             generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs and levels, [columns, rows]: ``driven`` cells of one group, which hold ``states``.

    What cells that are not driven hold is random.
    """
    columns = len(states)
    rank = torch.rand(columns, active, generator=generator).argsort(1).argsort(1)
    group = torch.randint(0, rows // active, (columns,), generator=generator)
    inputs = torch.zeros(columns, rows // active, active, dtype=torch.int64)
    weights = torch.randint(0, levels + 1, inputs.shape, generator=generator)
    column = torch.arange(columns)
    inside = rank < driven[:, None]
    inputs[column, group] = inside.to(torch.int64)
    # Of the units that the driven cells have room for, the first ``states`` in a random order.
    order = torch.rand(columns, active, levels, generator=generator)
    order[~inside] = 2.0
    chosen = order.flatten(1).argsort(1).argsort(1) < states[:, None]
    weights[column, group] = torch.where(inside, chosen.view(order.shape).sum(2),
                                         weights[column, group])
    return inputs.flatten(1), weights.flatten(1)
