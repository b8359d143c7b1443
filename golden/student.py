"""A mapped network that learns: a torch module over trainable vectors and coefficients.

Forward, weights are those of the chip: rounded vectors times rounded coefficients. Activations
are rounded to eight bits after every layer, and white noise stands for what the converters'
rounding, the held columns and the comparators add to a sum. Backward, rounding counts as the
identity (straight-through). Codes are not converted one by one, as in `golden.finetune`, so that
a step costs little more than one of the float network.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from .accumulate import NOISELESS, Noise, merge_masks
from .chip import Chip
from .graph import Add, Node, Pool, Weighted, convolve, evaluate
from .mapping import Layer, Mapping
from .quantise import CODE_LIMIT, rounded, unrounded

__all__ = ["Student", "sum_variance"]

#: Normal deviates that the noise of all layers is cut from, at a place drawn for each.
_DEVIATES = 1 << 22
#: Least gain relative to the first: the chip's multipliers are not negative.
_LEAST_GAIN = 1e-3


def sum_variance(layer: Layer, chip: Chip, noise: Noise) -> Tensor:
    """Variance of the accumulators about exact sums, in squared code steps, [kernels].

    A code's rounding is spread evenly over one step, so that it adds 1/12.
    """
    held, converted = ((sigma / layer.reference)**2 for sigma in (noise.hold, noise.conversion))
    converted /= 1 << layer.averaging
    squares = layer.coefficients.square().sum(dim=(0, 1))
    if layer.stream:
        return squares * (held + converted + 1 / 12)
    jobs = torch.zeros_like(squares)
    for weight, mask in merge_masks(layer.coefficients, chip):
        tiled = mask.reshape(mask.shape[0], chip.tiles, chip.array.columns, -1)
        jobs += weight**2 * tiled.ne(0).any(dim=2).sum(dim=(0, 1))
    return squares * held + jobs * (converted + 1 / 12)


def _sigma(layer: Layer, chip: Chip, noise: Noise) -> float:
    """Standard deviation of a layer's results in output steps, over all its kernels."""
    return float((sum_variance(layer, chip, noise) * layer.gain.square()).mean().sqrt())


class _Rounded(torch.autograd.Function):
    """Activations rounded and clipped to ``low`` ... 127; the gradient passes where not clipped."""

    @staticmethod
    def forward(context: Any, value: Tensor, low: float) -> Tensor:
        clipped = value.clamp(low, CODE_LIMIT)
        context.save_for_backward(clipped)
        context.low = low
        return clipped.round()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        clipped, = context.saved_tensors
        # A subsampled shortcut hands back its gradient in another memory format: a slow one here.
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        return torch.ops.aten.hardtanh_backward(gradient, clipped, context.low, CODE_LIMIT), None


class Student(nn.Module):
    """The mapped network with trainable vectors, coefficients, gains and biases.

    It takes what the model took that was compiled, float [batch, channels, height, width], and
    gives what that gave, [batch, classes]; so any training loop for the one trains the other.

    Parameters
    ----------
    mapping
        Start. Columns without a vector and coefficients outside ``allowed`` stay zero.
    noise
        White noise of the macros; `golden.accumulate.NOISELESS` leaves the rounding of the
        converters only. No noise at all in evaluation mode. How large it is in each layer is
        taken from ``mapping`` once.
    limit
        Largest magnitude of a coefficient; that of the chip if None.
    dtype
        Of the activations. torch.bfloat16 holds all codes exactly, and weights to eight bits.
    """

    def __init__(self, mapping: Mapping, noise: Noise = NOISELESS, limit: int | None = None,
                 dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.start, self.noise, self.dtype = mapping, noise, dtype
        self.limit = mapping.chip.accumulator.coefficient_limit if limit is None else limit
        layers = list(mapping.layers.values())
        self.index = {name: i for i, name in enumerate(mapping.layers)}
        self.vectors = nn.Parameter(mapping.vectors.float().clone())
        self.coefficients = nn.ParameterList(
            nn.Parameter(layer.coefficients.float().clone()) for layer in layers)
        self.gains = nn.ParameterList(
            nn.Parameter(torch.ones_like(layer.gain).float()) for layer in layers)
        self.biases = nn.ParameterList(
            nn.Parameter(layer.bias.float() / CODE_LIMIT) for layer in layers)
        present = mapping.vectors.ne(0).any(dim=1)
        for i, layer in enumerate(layers):
            self.register_buffer(f"allowed{i}", present[:, None].expand_as(
                layer.coefficients).clone())
            # Output steps of one product unit, and where each weight stands in the chunks.
            self.register_buffer(f"unit{i}", (layer.gain / layer.reference).float())
            self.register_buffer(f"place{i}", layer.chunking.places())
        # Drawn when they are first needed, where and as the activations are then.
        self._deviates = torch.empty(0)
        self.generator = torch.Generator().manual_seed(0)
        #: Standard deviation of the noise of each layer, in output steps.
        self.sigmas = [_sigma(layer, mapping.chip, noise) for layer in layers]

    def allowed(self, index: int) -> Tensor:
        """Bool [chunks, N, kernels]: the coefficients of layer ``index`` that may differ from 0."""
        return getattr(self, f"allowed{index}")

    def integers(self, index: int) -> tuple[Tensor, Tensor]:
        """Vectors [N, rows] and coefficients [chunks, N, kernels] as the chip has them."""
        vectors = rounded(self.vectors.clamp(-CODE_LIMIT, CODE_LIMIT))
        coefficients = self.coefficients[index] * self.allowed(index)
        return vectors, rounded(coefficients.clamp(-self.limit, self.limit))

    def _kernels(self, node: Weighted, index: int) -> Tensor:
        """Weights of a layer in output steps per input step, of the shape of ``node.weight``."""
        vectors, coefficients = self.integers(index)
        chunks = torch.einsum("cnk,nr->kcr", coefficients, vectors).flatten(1)
        scale = getattr(self, f"unit{index}") * self.gains[index].clamp_min(_LEAST_GAIN)
        weights = chunks[:, getattr(self, f"place{index}")] * scale[:, None]
        return weights.reshape(node.weight.shape)

    def _noisy(self, sums: Tensor, index: int) -> Tensor:
        batch, kernels, height, width = sums.shape
        kept = self._deviates
        if kept.numel() == 0 or (kept.device, kept.dtype) != (sums.device, sums.dtype):
            drawn = torch.randn(_DEVIATES, generator=torch.Generator().manual_seed(0))
            self._deviates = drawn.to(sums.device, sums.dtype)
        half, count = _DEVIATES // 2, sums.numel()
        first = int(torch.randint(half, (), generator=self.generator))
        part = self._deviates[first:first + min(count, half)]
        if count > half:
            part = part.repeat(-(-count // half))[:count]
        # In the order of channels_last, the memory format of the sums.
        part = part.reshape(batch, height, width, kernels).permute(0, 3, 1, 2)
        return torch.add(sums, part, alpha=self.sigmas[index])

    def linear(self, node: Weighted, images: Tensor) -> Tensor:
        """Result of a layer before rounding and ReLU, in output steps; without noise."""
        index = self.index[node.name]
        weights = self._kernels(node, index).to(self.dtype)
        biases = (CODE_LIMIT * self.biases[index]).to(self.dtype)
        return convolve(node, images, weights, biases)

    def apply_node(self, node: Node, *operands: Tensor) -> Tensor:
        """One node, on images that hold integers, for `golden.graph.evaluate`."""
        first = operands[0]
        if isinstance(node, Weighted):
            result = self.linear(node, first)
            if self.training:
                result = self._noisy(result, self.index[node.name])
        elif isinstance(node, Add | Pool):
            result = unrounded(node, operands, self.start.scales)
        else:
            return first
        return _Rounded.apply(result, 0 if node.relu else -CODE_LIMIT - 1)

    def codes(self, images: Tensor) -> Tensor:
        """Integer images, as the chip takes them, of float ones."""
        scale = self.start.scales[self.start.graph.input.name]
        codes = (images / scale).round().clamp(-CODE_LIMIT, CODE_LIMIT)
        return codes.to(self.dtype, memory_format=torch.channels_last)

    def forward(self, images: Tensor,
                keep: Callable[[Node, tuple[Tensor, ...], Tensor], None] | None = None) -> Tensor:
        """Logits [batch, classes] of float images; ``keep`` as in `golden.graph.evaluate`."""
        graph = self.start.graph
        result = evaluate(graph, self.codes(images), self.apply_node, keep)
        return result.flatten(1).float() * self.start.scales[graph.output.name]

    @torch.no_grad()
    def mapping(self) -> Mapping:
        """The mapping with the present integers, gains and biases; references as they were."""
        layers = {}
        for name, i in self.index.items():
            vectors, coefficients = self.integers(i)
            layer = self.start.layers[name]
            gains = self.gains[i].clamp_min(_LEAST_GAIN).double().cpu()
            layers[name] = replace(layer, coefficients=coefficients.double().cpu(),
                                   gain=layer.gain * gains,
                                   bias=CODE_LIMIT * self.biases[i].double().cpu())
        return replace(self.start, vectors=vectors.double().cpu(), layers=layers)
