"""Where a program's clocks go: by layer, and by what the converters do or wait for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .causes import Cause
from .chip import Phases
from .program import Program, Transfer
from .timing import FETCH_CLOCKS, convolution_timings, layer_clocks
from .trace import LayerTrace

__all__ = ["LayerProfile", "Profile", "profile"]


@dataclass(frozen=True)
class LayerProfile:
    """One layer: its ``clocks``, descriptor fetch included, and what was done in them.

    ``spent`` are converter clocks by cause, the sum over the tiles: ``clocks`` times tiles in all.
    """

    name: str
    clocks: int
    spent: Mapping[Cause, int]

    @property
    def occupancy(self) -> float:
        """Share of the converter clocks in which a converter worked."""
        return self.spent.get(Cause.CONVERTING, 0) / sum(self.spent.values())


@dataclass(frozen=True)
class Profile:
    """A whole program, the fetch of its END in the last entry."""

    tiles: int
    layers: tuple[LayerProfile, ...]

    @property
    def clocks(self) -> int:
        """Clocks of the program, as the chip's cycle counter reads them."""
        return sum(layer.clocks for layer in self.layers)

    @property
    def spent(self) -> Mapping[Cause, int]:
        """Converter clocks by cause, over all layers."""
        total: Counter[Cause] = Counter()
        for layer in self.layers:
            total.update(layer.spent)
        return total

    @property
    def occupancy(self) -> float:
        """Share of the converter clocks in which a converter worked."""
        return self.spent.get(Cause.CONVERTING, 0) / (self.clocks * self.tiles)

    def largest_waits(self, count: int = 10) -> Sequence[tuple[str, Cause, float]]:
        """The ``count`` largest (layer, cause, share of all converter clocks), converting apart."""
        waits = [(layer.name, cause, clocks / (self.clocks * self.tiles))
                 for layer in self.layers for cause, clocks in layer.spent.items()
                 if cause is not Cause.CONVERTING]
        return sorted(waits, key=lambda wait: -wait[2])[:count]


def profile(program: Program, phases: Phases | None = None,
            traces: Sequence[LayerTrace] | None = None, image: int = 0) -> Profile:
    """Profile of ``program``, from the same recurrences as its clocks.

    Arguments as for `golden.timing.layer_clocks`: where conversions may stop early, the traces of
    a golden run and the image are needed.
    """
    tiles = len(program.used_tiles)
    timings = convolution_timings(program, phases, traces, image)
    layers = []
    for i, (layer, clocks) in enumerate(zip(
            program.layers, layer_clocks(program, phases, traces, image), strict=True)):
        spent = Counter({Cause.FETCH: FETCH_CLOCKS * tiles})
        if i in timings:
            for tile in timings[i].spent:
                spent.update(tile)
        else:
            kind = Cause.TRANSFER if isinstance(layer, Transfer) else Cause.ELEMENTWISE
            spent[kind] = (clocks - FETCH_CLOCKS) * tiles
        layers.append(LayerProfile(layer.name, clocks, spent))
    layers.append(LayerProfile("END", FETCH_CLOCKS, Counter({Cause.FETCH: FETCH_CLOCKS * tiles})))
    return Profile(tiles, tuple(layers))
