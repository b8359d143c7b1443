"""What both halves read: configuration, presets, descriptor layout, register map.

Plain Python with no third-party import, so that ``import golden.chip`` stays fast.
"""

from .configuration import (
    ACCUMULATOR_LIMIT_BITS, ACTIVATION_BITS, ACTIVATIONS_PER_WORD, AVERAGING_LIMIT, GAIN_BITS,
    GAIN_FRACTION_BITS, LEVEL_FRACTION_BITS, PRODUCT_BITS, PRODUCT_COUNT_BITS, TENANT_BITS,
    WORD_BITS,
    Accumulator, Array, Chip, Converter, Memories, Phases, Requantizer,
    bits_for, multiplier_clocks, signed_bits_for,
)
from .presets import PRESETS, preset

__all__ = [
    "ACCUMULATOR_LIMIT_BITS", "ACTIVATION_BITS", "ACTIVATIONS_PER_WORD", "AVERAGING_LIMIT",
    "GAIN_BITS", "GAIN_FRACTION_BITS", "LEVEL_FRACTION_BITS", "PRODUCT_BITS",
    "PRODUCT_COUNT_BITS", "TENANT_BITS", "WORD_BITS",
    "Accumulator", "Array", "Chip", "Converter", "Memories", "Phases", "Requantizer",
    "PRESETS", "preset", "bits_for", "multiplier_clocks", "signed_bits_for",
]
