"""Clocks of residual adds and pools, from the unit's pipeline. The RTL's tests count the same."""

from .chip.descriptor import Opcode
from .program import Elementwise

__all__ = ["ELEMENTWISE_OVERHEAD", "elementwise_clocks"]

#: Clocks beside the taps: 18 for the pitches, 1 to the first tap, 14 from a tap to the write of
#: its output (address, read in 3, operand, product in 3, sum, choice, shift and clamp in 4).
ELEMENTWISE_OVERHEAD = 18 + 1 + 14


def elementwise_clocks(layer: Elementwise) -> int:
    """Clocks from the start of the elementwise unit to its `done`: one per tap, and overhead.

    Every channel word of every position reads all taps of its window, whether inside the image
    or not; an add has two taps, its operands.
    """
    window = layer.window
    add = layer.opcode is Opcode.ADD
    taps = 2 if add else window.kernel_width * window.kernel_height
    return window.positions * layer.channel_words * taps + ELEMENTWISE_OVERHEAD
