"""Eight-bit activations and weights, and the requantizer's integer constants.

Scales are static: chosen once on calibration images, for every tensor the one with the smallest
mean squared error, rounding and clipping together.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
import math

import torch
from torch import Tensor
from torch.nn import functional

from .chip import Requantizer
from .graph import (
    Add, Graph, Input, Node, Pool, Weighted, evaluate, float_operator, pad_image, select_second,
    window_maximum, window_sum,
)

__all__ = ["CODE_LIMIT", "Requantization", "activation_scales", "quantise_images",
           "requantization", "elementwise_gains", "elementwise_requantization", "elementwise",
           "eight_bit_operator", "rounded", "straight_through", "unrounded"]

#: Largest activation and weight magnitude: the symmetric range of eight signed bits.
CODE_LIMIT = 127
#: Scales tried for a tensor, as fractions of the one that just avoids clipping.
SCALE_CANDIDATES = torch.linspace(0.3, 1.0, 29, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Requantization:
    """``clamp((value * multiplier + bias + rounding) >> shift)``, per kernel, then ReLU.

    ``multiplier``, ``bias`` and ``shift`` are int64 [kernels].
    """

    multiplier: Tensor
    bias: Tensor
    shift: Tensor

    def apply(self, sums: Tensor, relu: bool) -> Tensor:
        """int64 images [batch, kernels, height, width] from the sums of the same shape."""
        m, b, s = (v[:, None, None] for v in (self.multiplier, self.bias, self.shift))
        scaled = sums * m + b + (torch.ones_like(s) << s >> 1)
        return (scaled >> s).clamp(0 if relu else -CODE_LIMIT - 1, CODE_LIMIT)


def requantization(gain: Tensor, bias: Tensor, limits: Requantizer) -> Requantization:
    """Constants for ``sum * gain + bias``, both float64 [kernels], in output steps.

    The shift of each kernel is the largest with which multiplier and bias fit their fields, so
    that the multiplier keeps as many bits as it can. Raises ValueError where none fits.
    """
    gain, bias = gain.double(), bias.double()
    if not bool(torch.isfinite(gain).all() and torch.isfinite(bias).all() and (gain >= 0).all()):
        raise ValueError("gain must be finite and not negative, and bias finite")
    largest = (1 << limits.shift_bits) - 1
    shift = torch.full(gain.shape, -1, dtype=torch.int64)
    for s in range(largest + 1):
        fits = ((gain * 2.0**s).round() < 2.0**limits.multiplier_bits) & (
            (bias * 2.0**s).round().abs() < 2.0**(limits.bias_bits - 1))
        shift[fits] = s
    if bool((shift < 0).any()):
        kernel = int((shift < 0).nonzero()[0])
        raise ValueError(f"kernel {kernel}: gain {gain[kernel]:.6g} and bias {bias[kernel]:.6g} "
                         f"do not fit a {limits.multiplier_bits}-bit multiplier and a "
                         f"{limits.bias_bits}-bit bias")
    power = torch.pow(2.0, shift.double())
    return Requantization((gain * power).round().long(), (bias * power).round().long(), shift)


def quantise(values: Tensor, scale: float) -> Tensor:
    """Integers of ``values`` in steps of ``scale``, clipped to eight bits, as the same dtype."""
    return (values / scale).round().clamp(-CODE_LIMIT, CODE_LIMIT)


def quantise_images(images: Tensor, scale: float) -> Tensor:
    """int8 [batch, height, width, channels] of float images [batch, channels, h, w]."""
    return quantise(images.double(), scale).to(torch.int8).permute(0, 2, 3, 1).contiguous()


def _best_scale(values: Tensor) -> float:
    """The step with the least mean squared error on ``values``."""
    top = float(values.abs().max())
    if top == 0.0:
        return 1.0
    sample = values.flatten().double()
    sample = sample[::max(1, sample.numel() // 100_000)]
    errors = [float((quantise(sample, float(c) * top / CODE_LIMIT) * float(c) * top / CODE_LIMIT
                     - sample).square().mean()) for c in SCALE_CANDIDATES]
    return float(SCALE_CANDIDATES[errors.index(min(errors))]) * top / CODE_LIMIT


def activation_scales(graph: Graph, images: Tensor) -> dict[str, float]:
    """Real value of one step of every tensor of ``graph``, from calibration images.

    A maximum pool keeps its operand's scale.
    """
    scales: dict[str, float] = {}

    def keep(node: Node, operands: tuple[Tensor, ...], result: Tensor) -> None:
        if isinstance(node, Pool) and node.maximum:
            scales[node.name] = scales[node.inputs[0]]
        else:
            scales[node.name] = _best_scale(result)

    with torch.no_grad():
        evaluate(graph, images, float_operator, keep)
    return scales


def elementwise_gains(node: Add | Pool, scales: Mapping[str, float]) -> list[float]:
    """Output steps per step of each operand; of an average pool, per step of the window sum."""
    out = scales[node.name]
    if isinstance(node, Add):
        return [scales[name] / out for name in node.inputs]
    return [scales[node.inputs[0]] / (out * node.kernel[0] * node.kernel[1])]


def elementwise_requantization(node: Add | Pool, scales: Mapping[str, float],
                               limits: Requantizer) -> tuple[list[int], int]:
    """Multipliers, one per operand, and the shift of an add or average pool (bias 0)."""
    gains = elementwise_gains(node, scales)
    top = max(gains)
    shift = min((1 << limits.shift_bits) - 1,
                limits.multiplier_bits - 1 - math.floor(math.log2(top)))
    if round(top * 2.0**shift) >= 1 << limits.multiplier_bits:
        shift -= 1
    if shift < 0:
        raise ValueError(f"layer {node.name!r}: gain {top:.6g} does not fit the requantizer")
    return [round(gain * 2.0**shift) for gain in gains], shift


def straight_through(value: Tensor, exact: Tensor) -> Tensor:
    """``exact`` forward, the gradient of ``value`` backward."""
    return value + (exact - value).detach()


def rounded(value: Tensor) -> Tensor:
    """``value`` rounded; backward, rounding counts as the identity."""
    return straight_through(value, value.round())


def unrounded(node: Add | Pool, operands: tuple[Tensor, ...], scales: Mapping[str, float]
              ) -> Tensor:
    """Add or pool in output steps before rounding and clipping, for training; differentiable."""
    first = operands[0]
    if isinstance(node, Add):
        gains = elementwise_gains(node, scales)
        return torch.add(first * gains[0], select_second(node, operands[1]), alpha=gains[1])
    if node.maximum:
        return window_maximum(node, first, -CODE_LIMIT - 1)
    return window_sum(node, first) * elementwise_gains(node, scales)[0]


def elementwise(node: Node, operands: tuple[Tensor, ...], scales: Mapping[str, float],
                limits: Requantizer) -> Tensor:
    """Input, add or pool on int64 images, exactly as the chip computes it."""
    first = operands[0]
    if isinstance(node, Input):
        return first
    if isinstance(node, Pool) and node.maximum:
        result = window_maximum(node, first.double(), -CODE_LIMIT - 1).long()
        return result.relu() if node.relu else result
    assert isinstance(node, (Add, Pool))
    multipliers, shift = elementwise_requantization(node, scales, limits)
    if isinstance(node, Add):
        scaled = first * multipliers[0] + select_second(node, operands[1]) * multipliers[1]
    else:
        scaled = window_sum(node, first.double()).long() * multipliers[0]
    scaled = (scaled + (1 << shift >> 1)) >> shift
    return scaled.clamp(0 if node.relu else -CODE_LIMIT - 1, CODE_LIMIT)


def eight_bit_operator(graph: Graph, scales: Mapping[str, float], limits: Requantizer
                       ) -> Callable[..., Tensor]:
    """Integer inference without a basis: int8 weights with one scale per kernel.

    The result takes int64 images for `golden.graph.evaluate`; every sum is exact (float64 holds
    integers below 2**53).
    """
    prepared = {}
    for node in graph.weighted:
        weight = node.weight.double()
        step = weight.abs().amax(dim=(1, 2, 3)) / CODE_LIMIT
        step = torch.where(step > 0, step, torch.ones_like(step))
        out = scales[node.name]
        prepared[node.name] = ((weight / step[:, None, None, None]).round(), requantization(
            step * scales[node.inputs[0]] / out, node.bias.double() / out, limits))

    def apply(node: Node, *operands: Tensor) -> Tensor:
        if not isinstance(node, Weighted):
            return elementwise(node, operands, scales, limits)
        weight, constants = prepared[node.name]
        padded = pad_image(node, operands[0].double(), tuple(weight.shape[2:]))
        sums = functional.conv2d(padded, weight, stride=node.stride)
        return constants.apply(sums.long(), node.relu)

    return apply
