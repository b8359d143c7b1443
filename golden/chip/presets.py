"""Named chips that every command takes with ``--preset``."""

from .configuration import Accumulator, Array, Chip, Converter, Memories

__all__ = ["PRESETS", "preset"]

#: ``tiny`` is small enough for proofs; ``default`` holds ResNet-20 for 32x32 images: chunks of
#: 144 rows are 3x3 windows over 16 channels; ``large`` shows where the widths end.
PRESETS: dict[str, Chip] = {
    chip.name: chip for chip in (
        Chip("tiny", tiles=2,
             array=Array(rows=16, columns=8, row_granule=8),
             converter=Converter(bits=6, correction_bits=4),
             accumulator=Accumulator(coefficient_bits=4, lanes=2, kernels=8, products=16),
             memories=Memories(program_words=256, coefficient_words=512, constant_entries=64,
                               activation_words=256)),
        Chip("default", tiles=4,
             array=Array(rows=144, columns=64, row_granule=16),
             converter=Converter(bits=8, correction_bits=6),
             accumulator=Accumulator(coefficient_bits=4, lanes=8, kernels=64, products=64),
             memories=Memories(program_words=1024, coefficient_words=1 << 15,
                               constant_entries=2048, activation_words=1 << 14), tenants=2),
        Chip("large", tiles=8,
             array=Array(rows=256, columns=128, row_granule=32),
             converter=Converter(bits=10, correction_bits=8),
             accumulator=Accumulator(coefficient_bits=4, lanes=16, kernels=256, products=128),
             memories=Memories(program_words=4096, coefficient_words=1 << 16,
                               constant_entries=8192, activation_words=1 << 16)),
    )
}


def preset(name: str) -> Chip:
    """The preset called ``name``; ValueError, naming what there is, for any other."""
    try:
        return PRESETS[name]
    except KeyError:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, not {name!r}") from None
