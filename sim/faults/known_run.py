"""A program of which every word, code and clock is known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.chip import Phases
from golden.execute import execute
from golden.macro import Macro
from golden.placement import Placement
from golden.program import Program
from golden.timing import layer_clocks
from golden.trace import LayerTrace
from sim.compare import compare_image
from sim.host import input_words, load_writes

from .tenant_host import TenantHost

__all__ = ["KnownRun", "known_run"]


@dataclass(frozen=True, eq=False)
class KnownRun:
    """A program on one image, and what golden makes of it.

    ``placement``: whose it is and where it lies; None if the first tenant has all of the chip.
    ``words``: the image's stream. ``writes``: what loads it. ``layers``, ``clocks``: golden's
    trace and the clocks of each layer.
    """

    program: Program
    macro: Macro
    seed: int
    placement: Placement | None
    words: NDArray[np.uint32]
    writes: NDArray[np.uint32]
    layers: Sequence[LayerTrace]
    clocks: Sequence[int]

    @property
    def tenant(self) -> int:
        """Whose it is."""
        return 0 if self.placement is None else self.placement.tenant

    @property
    def tiles(self) -> int:
        """Its tiles, a bit each."""
        used = self.program.used_tiles if self.placement is None else self.placement.tiles
        return sum(1 << tile for tile in used)

    def compare(self, host: TenantHost, clocks: int = 0, hindered: bool = False) -> None:
        """AssertionError if any word, sum, code, counter or layer's clocks are not golden's.

        ``clocks`` it took with its bus transactions; ``hindered`` if it may have waited, so that
        the clocks of its layers tell nothing.
        """
        compare_image(self.program, self.layers, 0, host.image(clocks),
                      None if hindered else self.clocks).check()


def known_run(program: Program, image: NDArray[np.int8], macro: Macro, seed: int,
              placement: Placement | None = None, phases: Phases | None = None) -> KnownRun:
    """``program`` on ``image``, int8 [height, width, channels], run by golden.

    ``phases``: lengths other than the chip's reset values.
    """
    tenant = 0 if placement is None else placement.tenant
    golden = execute(program, macro, image[None], seed, tenant=tenant, trace=True)
    assert golden.layers is not None
    return KnownRun(program, macro, seed, placement, input_words(program, image[None])[0],
                    load_writes(program, phases, placement), golden.layers,
                    layer_clocks(program, phases, golden.layers))
