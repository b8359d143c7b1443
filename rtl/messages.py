"""What the blocks of a tile hand to each other, as layouts and signatures."""

from amaranth.hdl import signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out, Signature

from golden.chip import PRODUCT_BITS, Chip, Phases, bits_for
from golden.chip.descriptor import FIELDS

__all__ = ["AVERAGING_BITS", "CONVERSION_BITS", "PhaseLengths", "product_layout", "job_layout",
           "tag_layout", "code_layout", "macro_signature", "trace_signature"]

#: Width of the logarithm of the conversions that are averaged.
AVERAGING_BITS = FIELDS["averaging"].width
#: Width of the conversion number within a product.
CONVERSION_BITS = 16

#: Phase lengths in clocks, each at least 1.
PhaseLengths = data.StructLayout({
    name: Phases.BITS for name in ("reset", "drive", "share", "hold", "clear", "add", "gap")})


def product_layout(chip: Chip) -> data.StructLayout:
    """One product: which latch bank, which rows, and what ends with it."""
    return data.StructLayout({
        "bank": 1,
        "row_enable": chip.array.granules,
        "number": PRODUCT_BITS,
        "release": 1,    # the last product that needs this bank (last row group of its chunk)
        "final": 1,      # the last product of an output position
    })


def _job_fields(chip: Chip) -> dict[str, int]:
    return {
        "index": max(bits_for(chip.accumulator.kernels - 1), bits_for(chip.array.columns - 1)),
        "plane": bits_for(chip.planes - 1),
        "stop": 1,       # may stop after the sign
        "void": 1,       # converts nothing, only ends its product
        "last": 1,       # the last job of its product
    }


def job_layout(chip: Chip) -> data.StructLayout:
    """One conversion job: the columns to sum, and where the code goes."""
    return data.StructLayout({
        "select": chip.array.columns, "negate": chip.array.columns, **_job_fields(chip)})


def tag_layout(chip: Chip) -> data.StructLayout:
    """What travels with a sample from the adder to the accumulator."""
    return data.StructLayout({
        **_job_fields(chip), "release": 1, "final": 1,
        "partial": 1,    # more conversions of the same job follow, to be averaged with this one
        "product": PRODUCT_BITS, "conversion": CONVERSION_BITS})


def code_layout(chip: Chip) -> data.StructLayout:
    """A converted sample."""
    return data.StructLayout({
        "code": signed(chip.converter.bits), "stopped": 1, "tag": tag_layout(chip)})


def macro_signature(chip: Chip) -> Signature:
    """Pins of a tile's analog macro, seen from the chip (docs/architecture.md)."""
    return Signature({
        "write_enable": Out(1),
        "write_row": Out(bits_for(chip.array.rows - 1)),
        "write_group": Out(bits_for(chip.array.columns // 4 - 1)),
        "write_data": Out(32),
        "load_enable": Out(1),
        "load_bank": Out(1),
        "load_clear": Out(1),
        "load_row": Out(bits_for(chip.array.row_words - 1)),
        "load_codes": Out(32),
        "bank": Out(1),
        "row_enable": Out(chip.array.granules),
        "reset": Out(1), "drive": Out(1), "share": Out(1), "hold": Out(1),
        "clear": Out(1), "add": Out(1), "side": Out(1),
        "select": Out(chip.array.columns), "negate": Out(chip.array.columns),
        "convert": Out(1), "convert_side": Out(1),
        "trial": Out(signed(chip.converter.bits)),
        "level": Out(signed(chip.converter.level_bits)),
        "reference": Out(chip.reference_bits),
        "product": Out(PRODUCT_BITS), "conversion": Out(CONVERSION_BITS),
        "comparator": In(1), "decided": In(1),
    })


def trace_signature(chip: Chip) -> Signature:
    """Trace port of a tile: each code as it enters the accumulator."""
    fields = _job_fields(chip)
    return Signature({
        "valid": Out(1), "product": Out(PRODUCT_BITS), "conversion": Out(CONVERSION_BITS),
        "index": Out(fields["index"]), "plane": Out(fields["plane"]),
        "code": Out(signed(chip.converter.bits)),
        "compensated": Out(signed(chip.converter.compensated_bits)),
        "stopped": Out(1), "void": Out(1),
    })
