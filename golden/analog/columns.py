"""Sums of a layer whose columns are those of a memory technology: their moments, fast.

Every array holds ``active_rows`` neighbouring rows of the layer at a time. A conversion of one
input plane and one slice of the weights has an ideal state, and `Readout.moments` says what code
that gives on average and with what variance. The sum over all conversions has the sum of the means
and, with each product's worth squared, of the variances: exact in both moments, and Gaussian like
any sum of many independent errors. One deviate for each sum then stands for all its conversions.

Positive and negative parts of the weights lie in columns of their own. Two ways compute the same:

- One matrix product of the driven rows with ``(highest state + 1)**2 + positive * (highest state
  + 1) + negative`` gives the address of a pair of columns in a table, for all slices at once.
  Where that table would be too large, each column has an address of its own.
- Where few rows are driven together there are few patterns of them. The sum over the slices is
  taken once for each pattern, and a group of rows costs one line of that table.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from golden.arrays.readout import Readout

__all__ = ["ColumnSums"]

#: The most rows of which all patterns are tabulated.
_MOST_PATTERN_ROWS = 8
#: Conversions worked on together; keeps them in the second-level cache.
_CHUNK = 1 << 16
#: Integers below are exact in float32, in which addresses are computed.
_EXACT = 1 << 24


class ColumnSums(nn.Module):
    """The columns of one group of a layer's outputs.

    Parameters
    ----------
    positive, negative
        What the cells of the pair of columns hold, integers [slices, outputs, rows], least
        significant slice first.
    base
        Worth of a slice over that of the one before.
    readout
        The columns' statistics.
    patterns, joint
        Whether to go by patterns and, otherwise, whether a pair of columns has one address; None:
        by patterns where these are few, one address where its table is not too large.
    """

    def __init__(self, positive: Tensor, negative: Tensor, base: int, readout: Readout, *,
                 patterns: bool | None = None, joint: bool | None = None) -> None:
        super().__init__()
        slices, self.outputs, rows = positive.shape
        self.rows, self.groups = readout.active_rows, -(-rows // readout.active_rows)
        self.patterns = self.rows <= _MOST_PATTERN_ROWS if patterns is None else patterns
        mean, variance = readout.moments()
        driven, states = mean.shape
        if joint is None:
            joint = driven * states ** 2 <= _EXACT
        missing = self.groups * self.rows - rows
        positive, negative = (functional.pad(part.double(), (0, missing))
                              for part in (positive, negative))
        worths = torch.tensor([float(base ** number) for number in range(slices)])
        if self.patterns:
            self.register_buffer("lines", self._lines(positive, negative, worths.double(), mean,
                                                      variance), persistent=False)
            return
        scale = torch.stack([worths, worths.square()], 1)
        if joint:
            mean = (mean[:, :, None] - mean[:, None]).flatten()
            variance = (variance[:, :, None] + variance[:, None]).flatten()
            address = states ** 2 + positive * states + negative
        else:
            address = states + torch.cat([positive, negative])
            scale = torch.cat([scale, scale * torch.tensor([-1.0, 1.0])])
        # Repeated for each output: a short inner dimension would be multiplied without vectors.
        self.register_buffer("scale", scale[:, None].repeat(1, self.outputs, 1), persistent=False)
        self.register_buffer("table", torch.complex(mean.flatten().float(),
                                                    variance.flatten().float()), persistent=False)
        # [groups, rows, columns or pairs of them]
        weights = address.unflatten(2, (self.groups, self.rows)).permute(2, 3, 0, 1).flatten(2)
        self.register_buffer("weights", weights.float().contiguous(), persistent=False)

    def _lines(self, positive: Tensor, negative: Tensor, worths: Tensor, mean: Tensor,
               variance: Tensor) -> Tensor:
        """Sums over the slices for every pattern: [groups * patterns, 2 * outputs]."""
        count = 1 << self.rows
        bits = (torch.arange(count)[:, None] >> torch.arange(self.rows) & 1).double()
        driven = bits.sum(1).long()[:, None]
        lines = torch.empty(self.groups, count, 2, self.outputs)
        for group in range(self.groups):
            rows = slice(group * self.rows, (group + 1) * self.rows)
            # States of [slices, patterns, outputs].
            plus, minus = ((bits @ part[:, :, rows].transpose(1, 2)).long()
                           for part in (positive, negative))
            lines[group, :, 0] = torch.einsum(
                "spo,s->po", mean[driven, plus] - mean[driven, minus], worths)
            lines[group, :, 1] = torch.einsum(
                "spo,s->po", variance[driven, plus] + variance[driven, minus], worths.square())
        return lines.flatten(2).flatten(0, 1)

    def moments(self, planes: Iterable[tuple[float, Tensor]]) -> Tensor:
        """Mean and variance of the sums of all conversions, [2, vectors, outputs].

        ``planes`` are the inputs, bits [vectors, rows] each with its worth.
        """
        total: Tensor | None = None
        for worth, bits in planes:
            found = self._by_patterns(bits) if self.patterns else self._by_address(bits)
            factors = found.new_tensor([worth, worth * worth])[:, None, None]
            total = found.mul_(factors) if total is None else total.add_(found.mul_(factors))
        return total

    def _by_patterns(self, bits: Tensor) -> Tensor:
        grouped = self._padded(bits).view(len(bits), self.groups, self.rows)
        places = torch.pow(2, torch.arange(self.rows, device=bits.device)).float()
        first = torch.arange(self.groups, device=bits.device) << self.rows
        address = (grouped @ places).int() + first.int()
        lines = functional.embedding_bag(address, self.lines, mode="sum")
        return lines.view(len(bits), 2, self.outputs).transpose(0, 1).contiguous()

    def _by_address(self, bits: Tensor) -> Tensor:
        result = bits.new_empty(2, len(bits), self.outputs)
        chunk = max(1, _CHUNK // self.weights.shape[2])
        done = 0
        for part in bits.float().split(chunk):
            total: Tensor | None = None
            for group, rows in enumerate(part.split(self.rows, 1)):
                address = (rows @ self.weights[group, :rows.shape[1]]).int()
                found = self.table.index_select(0, address.view(-1)).view(address.shape)
                total = found if total is None else total.add_(found)
            both = torch.view_as_real(total.view(len(part), -1, self.outputs))
            both = both.mul_(self.scale).sum(1)
            result[:, done:done + len(part)] = both.permute(2, 0, 1)
            done += len(part)
        return result

    def _padded(self, bits: Tensor) -> Tensor:
        """``bits`` with rows that are never driven, so that they fill the last group."""
        return functional.pad(bits.float(), (0, self.groups * self.rows - bits.shape[1]))
