"""Packed structures on a port: fields by name to one integer and back."""

from collections.abc import Mapping

from amaranth.hdl import Shape
from amaranth.lib import data

__all__ = ["pack", "unpack"]


def pack(layout: data.StructLayout, values: Mapping[str, int]) -> int:
    """The integer whose fields are ``values``; every field must be given."""
    if set(values) != set(layout.members):
        raise ValueError(f"values must be for the fields {sorted(layout.members)}, "
                         f"not {sorted(values)}")
    result = 0
    for name, value in values.items():
        field = layout[name]
        result |= (int(value) & ((1 << field.width) - 1)) << field.offset
    return result


def unpack(layout: data.StructLayout, word: int) -> dict[str, int]:
    """Fields of ``word``, signed where the layout says so; a structure inside as its integer."""
    values = {}
    for name, shape in layout.members.items():
        field = layout[name]
        value = word >> field.offset & ((1 << field.width) - 1)
        if isinstance(shape, Shape) and shape.signed and value >> (field.width - 1):
            value -= 1 << field.width
        values[name] = value
    return values
