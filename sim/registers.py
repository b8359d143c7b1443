"""What the registers of a chip hold, from what its host has written and what its programs did."""

from collections.abc import Mapping

from golden.chip import Chip
from golden.chip.registers import COUNTERS, Bits, registers, tenant_prefix

__all__ = ["RegisterModel"]


class RegisterModel:
    """A register file as its host knows it. Names are those of golden.chip.registers."""

    def __init__(self, chip: Chip) -> None:
        self._registers = {register.name: register for register in registers(chip)}
        self._by_offset = {register.offset: register for register in self._registers.values()}
        self._values = {
            name: sum(bits.reset << bits.low for bits in register.bits)
            for name, register in self._registers.items()}

    def values(self) -> Mapping[str, int]:
        """What each register reads."""
        return self._values

    def address(self, name: str) -> int:
        """Byte address of register ``name``."""
        return self._registers[name].offset

    def field(self, register: str, name: str) -> Bits:
        """Field ``name`` of ``register``."""
        return next(bits for bits in self._registers[register].bits if bits.name == name)

    def mask(self, register: str, name: str) -> int:
        """Field ``name`` of ``register``, all bits set, in place."""
        bits = self.field(register, name)
        return ((1 << bits.width) - 1) << bits.low

    def write(self, address: int, data: int) -> None:
        """A write of the host; one that is not to a register, or starts something, is nothing."""
        register = self._by_offset.get(address)
        for bits in register.bits if register is not None else ():
            mask = self.mask(register.name, bits.name)
            if bits.holds:
                self._values[register.name] = self._values[register.name] & ~mask | data & mask
            elif bits.access == "W1C":
                self._values[register.name] &= ~(data & mask)

    def ran(self, tenant: int, cause: int, layer: int, counters: Mapping[str, int]) -> None:
        """A program of ``tenant`` ended at descriptor ``layer``; ``cause`` 0: without an error.

        ``counters`` that are not given have counted nothing.
        """
        own = tenant_prefix(tenant)
        status = f"{own}status"
        self._values[status] = (self.mask(status, "error" if cause else "done")
                                | cause << self.field(status, "cause").low
                                | layer << self.field(status, "layer").low)
        for name in COUNTERS:
            self._values[own + name] = counters.get(name, 0)
