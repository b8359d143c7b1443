"""What memories are read and written at the same place in the same clock."""

__all__ = ["COLLISIONS_ARE_AVOIDED"]

#: Attribute of a memory of which nobody makes use of what a port reads of a word in the clock that
#: writes it: yosys adds no logic beside a memory that cannot tell (attribute ``no_rw_check``).
COLLISIONS_ARE_AVOIDED = {"no_rw_check": 1}
