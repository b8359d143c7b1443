"""The network on the macros, as the compiler sees it: integers for every layer, in torch.

A `Mapping` is what calibration and fine-tuning work on; `golden.compile` turns it into a program.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .accumulate import NOISELESS, Noise, accumulate, held, merge_masks, merge_sums
from .chip import Chip
from .chunks import Chunking
from .graph import Graph, Node, Weighted, evaluate
from .quantise import CODE_LIMIT, elementwise, requantization

__all__ = ["Layer", "Mapping", "integer_operator", "calibrate"]

#: References tried, as fractions of the one that just avoids clipping: steps of a quarter octave.
REFERENCE_CANDIDATES = tuple(2.0 ** (-i / 4) for i in range(13))
#: Positions that the choice of a reference looks at.
SAMPLE_POSITIONS = 4096
#: Positions whose columns are held at once: few enough for a processor's cache.
BLOCK_POSITIONS = 1024


@dataclass(frozen=True, eq=False)
class Layer:
    """One convolution or linear layer over the basis.

    ``coefficients`` [chunks, N, kernels] holds integers. One accumulator step is worth ``gain``
    [kernels] output steps; ``bias`` [kernels] is in output steps. Both float64.
    """

    chunking: Chunking
    coefficients: Tensor
    gain: Tensor
    bias: Tensor
    stream: bool
    resolution: int
    reference: int
    averaging: int = 0


@dataclass(frozen=True, eq=False)
class Mapping:
    """A network over a basis: ``vectors`` [N, rows] and `Layer` by name of the node."""

    chip: Chip
    graph: Graph
    scales: dict[str, float]
    vectors: Tensor
    layers: dict[str, Layer]


def integer_operator(mapping: Mapping, noise: Noise = NOISELESS, seed: int = 0,
                     dtype: torch.dtype = torch.float64) -> Callable[..., Tensor]:
    """Integer inference on ideal macros, plus white noise, for `golden.graph.evaluate`.

    Takes int64 images [batch, channels, height, width]. In float64 and without noise this is, bit
    for bit, what the compiled program computes on ideal macros: products and sums are exact.
    float32 takes less than half the time, and rounds sums of columns beyond 2**24.
    """
    generator = torch.Generator().manual_seed(seed)
    chip, vectors = mapping.chip, mapping.vectors.to(dtype)

    def sums_of(layer: Layer, patches: Tensor) -> Tensor:
        columns = held(patches, vectors, noise, generator)
        return accumulate(columns, layer.coefficients, chip, stream=layer.stream,
                          resolution=layer.resolution, reference=layer.reference, noise=noise,
                          generator=generator, averaging=layer.averaging)

    def apply(node: Node, *operands: Tensor) -> Tensor:
        if not isinstance(node, Weighted):
            return elementwise(node, operands, mapping.scales, chip.requantizer)
        layer = mapping.layers[node.name]
        patches = layer.chunking.patches(operands[0].to(dtype))
        sums = torch.cat([sums_of(layer, part) for part in patches.split(BLOCK_POSITIONS)])
        constants = requantization(layer.gain, layer.bias, chip.requantizer)
        return constants.apply(layer.chunking.outputs(sums.long(), len(operands[0])), node.relu)

    return apply


def _regress(sums: Tensor, wanted: Tensor, nominal: Tensor) -> tuple[Tensor, Tensor]:
    """Gain and bias per kernel with the least square error of ``sums * gain + bias``.

    A kernel whose sums do not vary, or fall when they should rise, keeps the nominal gain.
    """
    centred = sums - sums.mean(dim=0)
    variance = centred.square().mean(dim=0)
    slope = (centred * wanted).mean(dim=0) / variance.clamp_min(1e-12)
    gain = torch.where((variance > 0) & (slope > 0), slope, nominal)
    return gain, wanted.mean(dim=0) - gain * sums.mean(dim=0)


def _visible(values: Tensor, relu: bool) -> Tensor:
    return values.clamp(0 if relu else -CODE_LIMIT - 1, CODE_LIMIT)


def largest_value(columns: Tensor, layer: Layer, chip: Chip) -> float:
    """Largest magnitude that the converter meets in this layer, product units."""
    if layer.stream:
        used = layer.coefficients.ne(0).any(dim=2)
        return float((columns * used).abs().max())
    return max((float(merge_sums(columns, mask, chip).abs().max())
                for _, mask in merge_masks(layer.coefficients, chip) if bool(mask.any())),
               default=0.0)


def _calibrated(layer: Layer, node: Weighted, patches: Tensor, vectors: Tensor, wanted: Tensor,
                chip: Chip, noise: Noise, seed: int) -> tuple[Layer, Tensor]:
    """``layer`` with reference, gain and bias chosen; and its sums, float64 [positions, kernels].

    ``patches`` float32 [positions, chunks, rows]: with noise in every sum, its rounding of a sum
    beyond 2**24 does not matter.
    """
    def sums_at(reference: int, columns: Tensor, generator: torch.Generator) -> Tensor:
        return accumulate(columns, layer.coefficients, chip, stream=layer.stream,
                          resolution=layer.resolution, reference=reference, noise=noise,
                          generator=generator, averaging=layer.averaging).double()

    stride = max(1, len(patches) // SAMPLE_POSITIONS)
    target = wanted[::stride]
    generator = torch.Generator().manual_seed(seed)
    sample = held(patches[::stride], vectors, noise, generator)
    # Step with which the largest value just keeps its code: (2**(r-1) - 1/2) steps.
    top = largest_value(sample, layer, chip) / ((1 << (layer.resolution - 1)) - 0.5)
    highest = (1 << chip.reference_bits) - 1
    best = None
    for factor in REFERENCE_CANDIDATES:
        reference = min(max(1, round(top * factor)), highest)
        sums = sums_at(reference, sample, torch.Generator().manual_seed(seed))
        gain, bias = _regress(sums, target, layer.gain * reference / layer.reference)
        error = float((_visible(sums * gain + bias, node.relu)
                       - _visible(target, node.relu)).square().mean())
        if best is None or error < best[0]:
            best = error, reference
    assert best is not None
    reference = best[1]
    sums = torch.cat([sums_at(reference, held(part, vectors, noise, generator), generator)
                      for part in patches.split(BLOCK_POSITIONS)])
    gain, bias = _regress(sums, wanted, layer.gain * reference / layer.reference)
    return replace(layer, gain=gain, bias=bias, reference=reference), sums


def calibrate(mapping: Mapping, images: Tensor, wanted: dict[str, Tensor], noise: Noise,
              seed: int) -> Mapping:
    """References, gains and biases for ``images``, int64 [batch, channels, height, width].

    ``wanted`` holds, for each layer, the float network's result before ReLU in output steps,
    [positions, kernels]. Layers are done in order, each on what the layers before it give, so
    that gain and bias also make good what came before.
    """
    layers: dict[str, Layer] = {}
    vectors = mapping.vectors.float()
    chip = mapping.chip

    def apply(node: Node, *operands: Tensor) -> Tensor:
        if not isinstance(node, Weighted):
            return elementwise(node, operands, mapping.scales, chip.requantizer)
        layer = mapping.layers[node.name]
        layer, sums = _calibrated(layer, node, layer.chunking.patches(operands[0].float()),
                                  vectors, wanted[node.name], chip, noise, seed)
        layers[node.name] = layer
        constants = requantization(layer.gain, layer.bias, chip.requantizer)
        return constants.apply(layer.chunking.outputs(sums.long(), len(operands[0])), node.relu)

    with torch.no_grad():
        evaluate(mapping.graph, images, apply)
    return Mapping(chip, mapping.graph, mapping.scales, mapping.vectors, layers)
