"""Access to the fields of a descriptor held in registers."""

from amaranth.hdl import Value
from amaranth.lib import data

from golden.chip.descriptor import DESCRIPTOR_WORDS, FIELDS, Opcode

__all__ = ["COMBINING", "DescriptorLayout", "read_field"]

#: What the elementwise unit runs.
COMBINING = (Opcode.ADD, Opcode.AVERAGE_POOL, Opcode.MAX_POOL)

#: A descriptor as an array of words; every unit takes it as an input that is stable while it runs.
DescriptorLayout = data.ArrayLayout(32, DESCRIPTOR_WORDS)


def read_field(descriptor: data.View, name: str) -> Value:
    """The bits of field ``name`` (golden.chip.descriptor), signed where the field is."""
    position = FIELDS[name]
    word = descriptor[position.word]
    bits = (word if isinstance(word, Value) else Value.cast(word))[
        position.low:position.low + position.width]
    return bits.as_signed() if position.signed else bits
