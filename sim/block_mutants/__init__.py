"""Faults planted in single blocks, and whether the blocks' own benches find them."""

from .blocks import BLOCKS, Block
from .hunt import Finding, State, hunt

__all__ = ["BLOCKS", "Block", "Finding", "State", "hunt"]
