"""Clocks of a whole program, layer by layer, exactly as the chip's counters read them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .chip import Phases
from .chip.descriptor import DESCRIPTOR_WORDS
from .program import Calibration, Convolution, Elementwise, Program, Transfer
from .timing_convolution import Timing, calibration_timing, convolution_timing
from .timing_elementwise import elementwise_clocks
from .timing_transfer import transfer_clocks
from .trace import LayerTrace

__all__ = ["FETCH_CLOCKS", "convolution_timings", "layer_clocks", "program_clocks"]

#: Clocks to fetch a descriptor, check it and start its unit.
FETCH_CLOCKS = DESCRIPTOR_WORDS + 2


def _stopped(tiles: Sequence[int], trace: LayerTrace, image: int) -> list[NDArray[np.bool_]]:
    conversions = trace.conversions
    if conversions is None:
        raise ValueError(f"layer {trace.name!r} was traced without conversions")
    real = ~conversions.void
    return [conversions.stopped[image][real & (conversions.tile == tile)]
            for tile in tiles]


def convolution_timings(program: Program, phases: Phases | None = None,
                        traces: Sequence[LayerTrace] | None = None,
                        image: int = 0) -> dict[int, Timing]:
    """Timing of each convolution and calibration, by its place in the program.

    Arguments as `layer_clocks`.
    """
    result = {}
    for i, layer in enumerate(program.layers):
        if isinstance(layer, Convolution):
            early = not layer.stream and bool(layer.stop.any())
            if early and traces is None:
                raise ValueError(f"layer {layer.name!r} has early stops: its clocks depend on the "
                                 "image, give the traces of a run")
            stopped = _stopped(program.used_tiles, traces[i], image) if early else None
            result[i] = convolution_timing(program.chip, layer, phases, stopped,
                                           program.used_tiles)
        elif isinstance(layer, Calibration):
            result[i] = calibration_timing(program.chip, layer, phases, program.used_tiles)
    return result


def layer_clocks(program: Program, phases: Phases | None = None,
                 traces: Sequence[LayerTrace] | None = None, image: int = 0) -> list[int]:
    """Clocks of each layer of ``program``, descriptor fetch included, if no stream ever waits.

    Parameters
    ----------
    phases
        Phase lengths; the chip's reset values if None.
    traces, image
        A traced golden run and the image of it; needed where conversions stop early, since their
        clocks depend on the data.
    """
    timings = convolution_timings(program, phases, traces, image)
    clocks = []
    for i, layer in enumerate(program.layers):
        if isinstance(layer, Transfer):
            unit = transfer_clocks(layer)
        elif isinstance(layer, Elementwise):
            unit = elementwise_clocks(layer)
        else:
            unit = timings[i].clocks
        clocks.append(FETCH_CLOCKS + unit)
    return clocks


def program_clocks(layers: Sequence[int]) -> int:
    """The chip's cycle counter after a program whose layers take ``layers`` clocks."""
    return sum(layers) + FETCH_CLOCKS
