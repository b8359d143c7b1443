"""How signed weights become conductances: columns, slices, and what is subtracted.

A product of codes x with weights w, both per row, is taken from conductances g (fractions of the
maximum) as ``sum over slices of significance * (sum over parts of coefficient * x . g)``, plus a
digital term ``offset * sum(x)``. What stands in the inner bracket reaches one converter. Parts
that are *shared* are reference columns, one for all columns of an array.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from golden.devices.checks import check_number

__all__ = ["BitSlicing", "DifferentialPair", "DummyColumn", "Encoded", "Encoding", "OffsetColumn",
           "Part", "Slice"]


@dataclass(frozen=True, eq=False)
class Part:
    """Devices that enter a column's current with one coefficient.

    ``fractions`` are targets over the maximum conductance, [outputs, ...] like the weights, or
    [groups, ...] where ``shared``.
    """

    coefficient: float
    fractions: Tensor
    shared: bool = False


@dataclass(frozen=True, eq=False)
class Slice:
    """The parts that one conversion reads, and what the result is worth."""

    significance: float
    parts: tuple[Part, ...]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Weights as slices, least significant first, and the digital factor on the sum of inputs."""

    slices: tuple[Slice, ...]
    offset: float = 0.0


@dataclass(frozen=True)
class BitSlicing:
    """Weights as integers, spread over devices of few bits each.

    Parameters
    ----------
    bits_per_device
        1, 2 or 4.
    weight_bits
        Bits of the signed integer weight, 2 to 16; the symmetric range is used.
    """

    bits_per_device: int = 2
    weight_bits: int = 8

    def __post_init__(self) -> None:
        if self.bits_per_device not in (1, 2, 4):
            raise ValueError(f"BitSlicing.bits_per_device must be 1, 2 or 4, "
                             f"not {self.bits_per_device!r}")
        if isinstance(self.weight_bits, bool) or self.weight_bits not in range(2, 17):
            raise ValueError(f"BitSlicing.weight_bits must be 2 to 16, not {self.weight_bits!r}")

    @property
    def largest(self) -> int:
        """Largest integer weight."""
        return (1 << (self.weight_bits - 1)) - 1

    def digits(self, unsigned: Tensor, bits: int) -> list[Tensor]:
        """Digits, least significant first, that hold ``bits`` bits of non-negative integers."""
        base = 1 << self.bits_per_device
        count = -(-bits // self.bits_per_device)
        values = unsigned.to(torch.int64)
        return [(values >> (self.bits_per_device * i)) & (base - 1) for i in range(count)]


@dataclass(frozen=True)
class Encoding(ABC):
    """A way to store signed weights.

    Parameters
    ----------
    floor
        Lowest conductance that is programmed, as a fraction of the maximum: 0 to below 1. A
        weight uses the range from there to the maximum. 0: devices can be switched off (Joshi et
        al. program the unused device of a pair to 0).
    """

    floor: float = 0.0

    def __post_init__(self) -> None:
        check_number(self, "floor", 0, 1)
        if self.floor == 1:
            raise ValueError("Encoding.floor must be below 1, not 1")

    def encode(self, weights: Tensor, groups: int = 1,
               slicing: BitSlicing | None = None) -> Encoded:
        """Conductances of ``weights`` [outputs, ...], each -1 to 1.

        ``groups`` is the number of reference columns where the encoding has one: outputs of one
        group share it. With ``slicing`` the weights are rounded to its integers first.
        """
        if slicing is None:
            return self._analog(weights, groups)
        integers = torch.round(weights.double() * slicing.largest).to(torch.int64)
        return self._sliced(integers, groups, slicing, weights.dtype)

    @abstractmethod
    def _analog(self, weights: Tensor, groups: int) -> Encoded: ...

    @abstractmethod
    def _sliced(self, integers: Tensor, groups: int, slicing: BitSlicing,
                dtype: torch.dtype) -> Encoded: ...

    def _fractions(self, values: Tensor) -> Tensor:
        """Programmed fractions of values from 0 to 1."""
        return self.floor + (1 - self.floor) * values

    def _slice(self, digits: Tensor, reference: Tensor, significance: float, base: int,
               dtype: torch.dtype) -> Slice:
        """A slice of ``digits`` less a shared column of ``reference`` digits."""
        step = (base - 1) / (1 - self.floor)
        fractions = [self._fractions(part.to(dtype) / (base - 1)) for part in (digits, reference)]
        return Slice(significance, (Part(step, fractions[0]), Part(-step, fractions[1], True)))


def _like_groups(values: Tensor, groups: int) -> Tensor:
    """Zeros of the shape of a reference column per group."""
    return torch.zeros((groups, *values.shape[1:]), dtype=values.dtype)


@dataclass(frozen=True)
class DifferentialPair(Encoding):
    """Two columns per output; the sign chooses the device, the other is at the floor."""

    def _analog(self, weights: Tensor, groups: int) -> Encoded:
        step = 1 / (1 - self.floor)
        return Encoded((Slice(1.0, (Part(step, self._fractions(weights.clamp(min=0))),
                                    Part(-step, self._fractions((-weights).clamp(min=0))))),))

    def _sliced(self, integers: Tensor, groups: int, slicing: BitSlicing,
                dtype: torch.dtype) -> Encoded:
        base = 1 << slicing.bits_per_device
        step = (base - 1) / (1 - self.floor)
        digits = [slicing.digits(part, slicing.weight_bits - 1)
                  for part in (integers.clamp(min=0), (-integers).clamp(min=0))]
        slices = []
        for i, pair in enumerate(zip(*digits, strict=True)):
            plus, minus = (self._fractions(part.to(dtype) / (base - 1)) for part in pair)
            slices.append(Slice(base ** i / slicing.largest,
                                (Part(step, plus), Part(-step, minus))))
        return Encoded(tuple(slices))


@dataclass(frozen=True)
class OffsetColumn(Encoding):
    """One column per output, shifted to be positive; a reference column holds the shift."""

    def _analog(self, weights: Tensor, groups: int) -> Encoded:
        reference = torch.full_like(_like_groups(weights, groups), 0.5)
        step = 2 / (1 - self.floor)
        return Encoded((Slice(1.0, (Part(step, self._fractions((weights + 1) / 2)),
                                    Part(-step, self._fractions(reference), True))),))

    def _sliced(self, integers: Tensor, groups: int, slicing: BitSlicing,
                dtype: torch.dtype) -> Encoded:
        base, shift = 1 << slicing.bits_per_device, 1 << (slicing.weight_bits - 1)
        shifted = slicing.digits(integers + shift, slicing.weight_bits)
        references = slicing.digits(_like_groups(integers, groups) + shift, slicing.weight_bits)
        return Encoded(tuple(
            self._slice(digits, reference, base ** i / slicing.largest, base, dtype)
            for i, (digits, reference) in enumerate(zip(shifted, references, strict=True))))


@dataclass(frozen=True)
class DummyColumn(Encoding):
    """One column per output, shifted to be positive; a column at the floor is subtracted.

    The dummy column takes away what cells in their lowest state conduct. The shift itself is
    subtracted digitally, from the sum of the inputs, which the periphery knows exactly.
    """

    def _analog(self, weights: Tensor, groups: int) -> Encoded:
        step = 2 / (1 - self.floor)
        dummy = self._fractions(_like_groups(weights, groups))
        return Encoded((Slice(1.0, (Part(step, self._fractions((weights + 1) / 2)),
                                    Part(-step, dummy, True))),), offset=-1.0)

    def _sliced(self, integers: Tensor, groups: int, slicing: BitSlicing,
                dtype: torch.dtype) -> Encoded:
        base, shift = 1 << slicing.bits_per_device, 1 << (slicing.weight_bits - 1)
        shifted = slicing.digits(integers + shift, slicing.weight_bits)
        dummy = _like_groups(integers, groups)
        slices = tuple(self._slice(digits, dummy, base ** i / slicing.largest, base, dtype)
                       for i, digits in enumerate(shifted))
        return Encoded(slices, offset=-shift / slicing.largest)
