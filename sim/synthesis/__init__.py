"""Blocks and chip through synthesis, place and route: area and clock frequency."""

from .blocks import BLOCKS, Block
from .flow import Measurement, measure

__all__ = ["BLOCKS", "Block", "Measurement", "measure"]
