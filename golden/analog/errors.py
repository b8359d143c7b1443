"""How far a memory technology's columns take each layer's sums from the exact ones.

Accuracy needs many images before two technologies differ by more than chance; the error of the
sums, of which every image holds hundreds of thousands, tells them apart with a few.
"""

from dataclasses import dataclass

from torch import Tensor

from .layer import AnalogLayer
from .network import AnalogNetwork

__all__ = ["SumError", "sum_errors"]


@dataclass(frozen=True)
class SumError:
    """Error of a layer's sums, in standard deviations of the exact sums of each output.

    Attributes
    ----------
    error
        Root mean square, all of it.
    gain
        Slope of the error over the exact sum: -0.1 where sums come out a tenth too small.
    rest
        Root mean square of what neither a gain nor an offset for each output would correct.
    """

    error: float
    gain: float
    rest: float


def sum_errors(network: AnalogNetwork, images: Tensor) -> dict[str, SumError]:
    """Error of each layer alone: every layer gets what exact layers before it give.

    ``network`` is programmed, calibrated and read out as a memory technology, else ValueError;
    ``images`` as it takes them. A layer that is called more than once counts with its last call.
    """
    if network.mapping.readout is None:
        raise ValueError("network must be read out as a memory technology, with map_network's "
                         "readout")
    found: dict[str, SumError] = {}

    def compare(layer: AnalogLayer, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        layer.convert_outputs = False
        try:
            exact = layer.normalise(layer.raw(inputs[0]))
        finally:
            layer.convert_outputs = True
        found[layer.name] = _compared(exact, output)
        return exact

    hooks = [layer.register_forward_hook(compare) for layer in network.layers.values()]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _compared(exact: Tensor, output: Tensor) -> SumError:
    """Of outputs [images, outputs, ...]; each output is taken in its own standard deviations."""
    exact, output = (values.transpose(0, 1).flatten(1).double() for values in (exact, output))
    error = output - exact
    centred = exact - exact.mean(1, keepdim=True)
    # An output that is always the same, such as one without weights, has no scale of its own.
    varied = centred.square().mean(1) > 0
    error, centred = error[varied], centred[varied]
    scale = centred.square().mean(1, keepdim=True).sqrt()
    error, centred = error / scale, centred / scale
    gain = (error * centred).mean()
    rest = error - error.mean(1, keepdim=True) - gain * centred
    return SumError(error.square().mean().sqrt().item(), gain.item(),
                    rest.square().mean().sqrt().item())
