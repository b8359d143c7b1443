"""Drift compensation: a gain per layer, and adapted batch normalisation.

* ``gdc``, global drift compensation (Joshi et al. 2020; aihwkit's GlobalDriftCompensation): the
  rows of a layer are driven one by one and the magnitudes of all columns' currents averaged, right
  after programming and again now. The ratio of the two, one number per layer, is a digital factor
  on its output.
* ``adabs``, adaptive batch normalisation statistics (Joshi et al. 2020): on top of that, means and
  variances of all batch normalisations are measured anew on calibration images, layer by layer,
  so that later layers see corrected earlier ones. Joshi et al. use 2,600 images of CIFAR-10. The
  statistics are exact sums over all images (the paper's momentum is not known to us).

A layer without normalisation after it, such as the last, keeps the gain.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, fx, nn

from .layer import AnalogLayer
from .network import AnalogNetwork, images_of
from .normal import key_of

__all__ = ["COMPENSATIONS", "adapt_normalisation", "compensate", "readout"]

COMPENSATIONS = ("none", "gdc", "adabs")

#: Calibration images are numbered from here, so that their noise is not that of later images.
_FIRST_IMAGE = 1 << 40


def compensate(network: AnalogNetwork, method: str, loader: Iterable | None = None) -> None:
    """Set gains and normalisation statistics of ``network`` for the state of its devices now.

    They stay, like registers, until this is called again or the chip is programmed.

    Parameters
    ----------
    method
        ``none`` (gain one and the trained statistics), ``gdc`` or ``adabs``.
    loader
        Batches of calibration images; ``adabs`` needs them, the others do not take them.
    """
    if method not in COMPENSATIONS:
        raise ValueError(f"compensation must be {', '.join(COMPENSATIONS)}, not {method!r}")
    if (loader is not None) != (method == "adabs"):
        raise ValueError(f"loader must be {'given' if method == 'adabs' else 'None'} for "
                         f"compensation {method!r}")
    network.restore_normalisation()
    for layer in network.layers.values():
        layer.require_programmed()
        layer.gain = 1.0
        if method != "none":
            layer.gain = readout(layer, layer.mapping.device.first_time) / readout(layer,
                                                                                   layer.time)
    if loader is not None:
        adapt_normalisation(network, loader)


def readout(layer: AnalogLayer, time: float) -> float:
    """Mean magnitude of the layer's column currents when its rows are read one by one.

    In units of the maximum conductance, with the read noise of ``time``; at least 1e-4, as in
    aihwkit, so that a ratio stays finite.
    """
    total, count = 0.0, 0
    for number, piece in enumerate(layer.encoded.slices):
        mean, own, shared = layer.moments(number, time)
        generator = torch.Generator().manual_seed(
            key_of(layer.seed, layer.name, "readout", repr(time), number))
        for variance in (own, shared):
            if variance is not None:
                noise = torch.randn(variance.shape, generator=generator) * variance.sqrt()
                mean = mean + noise.repeat_interleave(len(mean) // len(noise), 0)
        total += piece.significance * mean.abs().sum().item()
        count += mean.numel()
    return max(total / count, 1e-4)


@torch.no_grad()
def adapt_normalisation(network: AnalogNetwork, loader: Iterable) -> None:
    """Measure means and variances of all batch normalisations of ``network`` on its arrays.

    All images go through one operation before the next, so each normalisation sees inputs that
    went through the new statistics of those before it. The activations of all images are held at
    a time: for ResNets on 2,600 CIFAR-10 images up to half a gigabyte.
    """
    batches = list(images_of(loader))
    if not batches:
        raise ValueError("loader must give at least one batch, not none")
    graph = network.graph
    modules = dict(graph.named_modules())
    runs = [fx.Interpreter(graph, garbage_collect_values=False) for _ in batches]
    starts = [_FIRST_IMAGE + sum(map(len, batches[:i])) for i in range(len(batches))]
    for layer in network.layers.values():
        layer.begin(_FIRST_IMAGE)
    last_use = _last_uses(graph.graph)
    for node in graph.graph.nodes:
        module = modules[node.target] if node.op == "call_module" else None
        if node.op == "placeholder":
            for run, images in zip(runs, batches, strict=True):
                run.env[node] = images
        elif isinstance(module, AnalogLayer) and module.norm is not None:
            raws = []
            for run, start in zip(runs, starts, strict=True):
                module.begin(start)
                raws.append(module.raw(run.env[node.args[0]]))
            mean, variance = _statistics(raws)
            bias = 0.0 if module.bias is None else module.bias
            module.norm.running_mean.copy_(mean * module.unit + bias)
            module.norm.running_var.copy_(variance * module.unit ** 2)
            for run, raw in zip(runs, raws, strict=True):
                run.env[node] = module.normalise(raw)
        else:
            if isinstance(module, nn.modules.batchnorm._BatchNorm) \
                    and module.running_mean is not None:
                mean, variance = _statistics([run.env[node.args[0]] for run in runs])
                module.running_mean.copy_(mean)
                module.running_var.copy_(variance)
            for run, start in zip(runs, starts, strict=True):
                if isinstance(module, AnalogLayer):
                    module.begin(start)
                run.env[node] = run.run_node(node)
        for used in last_use.get(node, ()):
            for run in runs:
                del run.env[used]


def _last_uses(graph: fx.Graph) -> dict[fx.Node, list[fx.Node]]:
    """For each node, the values that nothing after it reads."""
    seen: set[fx.Node] = set()
    uses: dict[fx.Node, list[fx.Node]] = {}
    for node in reversed(graph.nodes):
        for used in node.all_input_nodes:
            if used not in seen:
                seen.add(used)
                uses.setdefault(node, []).append(used)
    return uses


def _statistics(chunks: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and variance per channel (dimension 1), float32, of all values together."""
    axes = [axis for axis in range(chunks[0].dim()) if axis != 1]
    count = sum(chunk.numel() // chunk.shape[1] for chunk in chunks)
    mean = sum(chunk.double().sum(axes) for chunk in chunks) / count
    shape = [1, -1] + [1] * (chunks[0].dim() - 2)
    square = sum((chunk.double() - mean.view(shape)).square().sum(axes) for chunk in chunks)
    return mean.float(), (square / max(count - 1, 1)).float()
