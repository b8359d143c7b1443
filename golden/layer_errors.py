"""What basis and coefficients make of each layer's output."""

import torch
from torch import Tensor

from .graph import Node, Weighted, convolve, evaluate
from .mapping import Mapping
from .quantise import eight_bit_operator

__all__ = ["layer_errors"]


@torch.no_grad()
def layer_errors(mapping: Mapping, images: Tensor) -> dict[str, float]:
    """Mean square error of each layer's output over its mean square, by name of the node.

    The error is that of the kernels which the calibrated layer stands for (vectors, coefficients
    and gains), before bias and ReLU, on the inputs that the network with eight-bit weights gives
    the layer: neither conversion nor the errors of other layers are in it. ``images`` int64
    [batch, channels, height, width].
    """
    scales, vectors = mapping.scales, mapping.vectors.double()
    errors: dict[str, float] = {}

    def compare(node: Node, given: tuple[Tensor, ...], result: Tensor) -> None:
        if not isinstance(node, Weighted):
            return
        layer = mapping.layers[node.name]
        # Output steps per input step, of which the float weights have the second factor.
        unit = layer.gain / layer.reference
        chunks = torch.einsum("cnk,nr,k->kcr", layer.coefficients.double(), vectors, unit)
        built = chunks.flatten(1)[:, layer.chunking.places()].reshape(node.weight.shape)
        wanted = node.weight.double() * (scales[node.inputs[0]] / scales[node.name])
        codes = given[0].double()
        power = convolve(node, codes, wanted).square().sum()
        error = convolve(node, codes, built - wanted).square().sum()
        errors[node.name] = float(error / power) if power > 0 else 0.0

    evaluate(mapping.graph, images, eight_bit_operator(mapping.graph, scales,
                                                       mapping.chip.requantizer), compare)
    return errors
