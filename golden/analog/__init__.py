"""Whole networks on analog arrays: mapped, programmed, calibrated, compensated, measured.

::

    network = map_network(model, chip, PhaseChangeMemory()).calibrate(training_images)
    network.program(seed=0).at(86400)
    compensate(network, "adabs", training_images)
    logits = network(images)
"""

from .accuracy import accuracy, attribute, only_effects
from .compensation import COMPENSATIONS, compensate
from .errors import SumError, sum_errors
from .export import export_state, tile_map
from .mapping import Mapping, Scaling
from .network import AnalogNetwork, map_network
from .state import load_state, save_state
from .statistics import LayerStatistics, conversion_statistics
from .technologies import CASES, technology_accuracy
from .training import CosineSchedule, NoiseAware, Schedule, Teacher, fine_tune

__all__ = [
    "AnalogNetwork", "CASES", "COMPENSATIONS", "CosineSchedule", "LayerStatistics", "Mapping",
    "NoiseAware", "Scaling", "Schedule", "SumError", "Teacher", "accuracy", "attribute",
    "compensate", "conversion_statistics", "export_state", "fine_tune", "load_state",
    "map_network", "only_effects", "save_state", "sum_errors", "technology_accuracy", "tile_map",
]
