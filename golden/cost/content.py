"""A cost as plain data: what ``crossloom cost --json`` writes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..chip import Chip
from .designs import Assumptions, DesignCost, LayerCost
from .events import energy_by_block
from .parameters import described
from .shapes import Network
from .sweep import CLAIM, SweepPoint, break_even

__all__ = ["cost_content", "sweep_content"]

#: What the paper's abstract says, and what is known of how it was found.
PAPER = {
    "statement": "cycles per inference and energy-delay product below 1 % of reprogramming, for "
                 "DenseNet and ResNet on CIFAR-100 and ImageNet",
    "source": "BasisN, Eldebiky et al., ICCAD 2024, arXiv 2407.03738, abstract",
    "unknown": "crossbar size, converters, number of basis vectors, coefficient bits, write time",
}


def _layer(layer: LayerCost, cost: DesignCost) -> dict[str, Any]:
    picojoules = sum(energy_by_block(layer.events, cost.energy).values())
    return {"name": layer.name, "kind": layer.kind, "mode": layer.mode, "macs": layer.macs,
            "clocks": layer.clocks, "transfer_clocks": layer.transfer_clocks,
            "conversions": layer.events.conversions, "joules": picojoules * 1e-12}


def _design(cost: DesignCost) -> dict[str, Any]:
    return {
        "tiles": cost.tiles, "clocks": cost.clocks, "seconds": cost.seconds,
        "joules": cost.joules, "energy_delay_joule_seconds": cost.energy_delay,
        "square_millimetres": cost.square_millimetres,
        "conversions": cost.events.conversions,
        "energy_picojoules": cost.energy_by_block, "area_square_micrometres": cost.area,
        "layers": [_layer(layer, cost) for layer in cost.layers],
    }


def sweep_content(points: Sequence[SweepPoint]) -> list[dict[str, Any]]:
    """Points of a sweep, each with whether the paper's claim holds there."""
    return [{**asdict(point), "holds": point.holds} for point in points]


def cost_content(network: Network, chip: Chip, assumptions: Assumptions,
                 costs: Mapping[str, DesignCost], points: Sequence[SweepPoint] | None = None
                 ) -> dict[str, Any]:
    """Everything about the cost of ``network``; ``points`` None leaves the sweep out.

    Numbers that are infinite (nothing is written, so nothing breaks even) are None.
    """
    basis, other = costs["basis"], costs["reprogramming"]
    even = {}
    for name, share in (("equal", 1.0), ("claim", CLAIM)):
        clocks = break_even(network, chip, share, assumptions, basis)
        even[name] = clocks if clocks != float("inf") else None
    content: dict[str, Any] = {
        "network": network.name, "chip": chip.name, "configuration": chip.hash,
        "macs": network.macs, "parameters": network.parameters, "free": list(network.free),
        "density": asdict(assumptions.density),
        "assumed": {
            part: {name: {"value": value, "unit": unit, "source": source}
                   for name, value, unit, source in described(getattr(assumptions, part))}
            for part in ("energy", "area", "write")},
        "designs": {name: _design(cost) for name, cost in costs.items()},
        "ratio": {"clocks": basis.clocks / other.clocks,
                  "energy_delay": basis.energy_delay / other.energy_delay},
        "break_even_clocks_per_row": even,
        "paper": PAPER,
    }
    if points is not None:
        content["sweep"] = sweep_content(points)
    return content
