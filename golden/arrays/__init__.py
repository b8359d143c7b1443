"""Arrays of devices: encodings, slices, tiles, converters, interconnect."""

from .encoding import BitSlicing, DifferentialPair, DummyColumn, Encoding, OffsetColumn
from .tiling import RowTile, row_tiles

__all__ = ["BitSlicing", "DifferentialPair", "DummyColumn", "Encoding", "OffsetColumn", "RowTile",
           "row_tiles"]
