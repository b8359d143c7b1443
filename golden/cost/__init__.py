"""What a network costs, before anything is built: clocks, energy and area of four designs."""

from .content import cost_content, sweep_content
from .density import DENSE, Density, measured_density
from .designs import (
    DESIGNS, Assumptions, DesignCost, LayerCost, basis_design, digital_design, network_costs,
    reprogramming_design, resident_design,
)
from .networks import CIFAR, IMAGENET, NETWORKS, named_network
from .onnx_import import import_onnx
from .parameters import AreaParameters, EnergyParameters, WriteParameters
from .shapes import Network
from .sweep import CLAIM, break_even, write_sweep
from .timing import Mode
from .torch_import import shapes_of_graph, shapes_of_module

__all__ = [
    "CIFAR", "CLAIM", "DENSE", "DESIGNS", "IMAGENET", "NETWORKS", "AreaParameters", "Assumptions",
    "Density", "DesignCost", "EnergyParameters", "LayerCost", "Mode", "Network",
    "WriteParameters", "basis_design", "break_even", "cost_content", "digital_design",
    "import_onnx", "measured_density", "named_network", "network_costs", "reprogramming_design",
    "resident_design", "shapes_of_graph", "shapes_of_module", "sweep_content", "write_sweep",
]
