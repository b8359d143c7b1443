"""Which waves the fast path writes."""

from dataclasses import dataclass
from pathlib import Path

from golden.program import Convolution, Program
from sim.products import product_ranges

__all__ = ["Waves", "WavesWindow"]

#: Stands for no bound in a `WavesWindow`.
_NEVER = (1 << 64) - 1


@dataclass(frozen=True)
class WavesWindow:
    """When waves are written: in layer number ``layer`` of the program, or in all (None); once
    ``products`` products of the image have begun, until ``sums`` sums have left."""

    layer: int | None
    products: int
    sums: int


@dataclass(frozen=True)
class Waves:
    """Waves of all signals, or of a part of each image.

    Parameters
    ----------
    path
        File to write; ``.vcd``, or ``.fst``, which needs the headers of zlib and lz4.
    layer
        Only while the layer of this name runs; None for everything.
    position
        Only this output position of the layer, a convolution: from the product before its first
        one until its last output. Positions count row by row, y * width + x.
    """

    path: Path
    layer: str | None = None
    position: int | None = None

    def __post_init__(self) -> None:
        if Path(self.path).suffix not in (".fst", ".vcd"):
            raise ValueError(f"Waves.path must end in .fst or .vcd, not {str(self.path)!r}")
        if self.position is not None and self.layer is None:
            raise ValueError("Waves.layer must be given with a position")

    @property
    def format(self) -> str:
        """"fst" or "vcd"."""
        return Path(self.path).suffix[1:]

    def window(self, program: Program) -> WavesWindow:
        """The part of a run; ValueError for a layer or position that ``program`` lacks."""
        if self.layer is None:
            return WavesWindow(None, 0, _NEVER)
        names = [layer.name for layer in program.layers]
        if self.layer not in names:
            raise ValueError(f"Waves.layer must be one of {', '.join(names)}, "
                             f"not {self.layer!r}")
        index = names.index(self.layer)
        if self.position is None:
            return WavesWindow(index, 0, _NEVER)
        layer = program.layers[index]
        positions = layer.window.positions if isinstance(layer, Convolution) else 0
        if not 0 <= self.position < positions:
            allowed = (f"0 to {positions - 1} in layer {self.layer!r}" if positions
                       else f"left out: layer {self.layer!r} is no convolution")
            raise ValueError(f"Waves.position must be {allowed}, not {self.position!r}")
        assert isinstance(layer, Convolution)
        before = [each for each in program.layers[:index] if isinstance(each, Convolution)]
        first = (product_ranges(program)[len(before)].first
                 + self.position * layer.chunks * layer.row_groups)
        sums = sum(each.window.positions * each.kernels for each in before)
        return WavesWindow(index, first, sums + (self.position + 1) * layer.kernels)
