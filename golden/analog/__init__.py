"""Whole networks on analog arrays: mapped, programmed, calibrated, compensated, measured."""

from .mapping import Mapping
from .network import AnalogNetwork, map_network

__all__ = ["AnalogNetwork", "Mapping", "map_network"]
