"""The host of one tenant: its registers by name, and what its program's status says."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.chip.descriptor import DESCRIPTOR_WORDS
from sim.host import RegisterMap
from sim.record import RtlImage, registers_read

from .library import FaultChip, FaultError

__all__ = ["Status", "TenantHost"]


@dataclass(frozen=True)
class Status:
    """The status register: flags, and the cause of an error."""

    busy: bool
    done: bool
    error: bool
    cause: int

    def __str__(self) -> str:
        return f"busy {self.busy}, done {self.done}, error {self.error}, cause {self.cause}"

    def ending(self) -> str:
        """How a program ended: done or its cause; FaultError if it did not, or both ways."""
        if self.busy or self.done == self.error or bool(self.cause) != self.error:
            raise FaultError(f"at the end of a program: {self}")
        return f"cause {self.cause}" if self.error else "done"


class TenantHost:
    """Reads and writes the registers of ``tenant`` of ``chip``; FaultError if refused."""

    def __init__(self, chip: FaultChip, tenant: int = 0) -> None:
        self.chip, self.tenant = chip, tenant
        self.map = RegisterMap(chip.chip, tenant)

    def write(self, register: str, value: int) -> None:
        """Write ``register``, named as the first tenant's."""
        if self.chip.write(self.map.address(register), value):
            raise FaultError(f"a write of register {register} is refused")

    def control(self, name: str) -> None:
        """Pulse "start" or "abort"."""
        self.write("control", self.map.mask("control", name))

    def status(self) -> Status:
        """What the status register says."""
        value = self.chip.read(self.map.address("status"))
        flags = (bool(value & self.map.mask("status", name)) for name in ("busy", "done", "error"))
        cause = self.map.field("status", "cause")
        return Status(*flags, value >> cause.low & ((1 << cause.width) - 1))

    def clear(self) -> None:
        """Clear done and error."""
        self.write("status", self.map.mask("status", "done") | self.map.mask("status", "error"))

    def interrupts(self, enabled: bool) -> None:
        """Let both done and error raise the interrupt, or neither."""
        both = self.map.mask("interrupt", "done") | self.map.mask("interrupt", "error")
        self.write("interrupt", both if enabled else 0)

    def abort(self, clocks: int = 0) -> None:
        """Abort; FaultError if the tenant is not idle ``clocks`` clocks later."""
        self.control("abort")
        self.chip.run(clocks)
        status = self.status()
        if status.busy or status.error or not status.done:
            raise FaultError(f"after an abort: {status}")

    def write_program(self, words: NDArray[np.uint32], first: int = 0) -> None:
        """Write descriptor ``words`` from descriptor ``first`` of the program memory on."""
        window = self.map.window("program")
        address = window.offset + 4 * (first * DESCRIPTOR_WORDS + np.arange(len(words)))
        self.chip.write_all(np.stack([address, words], axis=1).astype(np.uint32))

    def image(self, clocks: int = 0) -> RtlImage:
        """What the tenant's program did since its begin."""
        codes, sums, words, layers, outputs = self.chip.traces(self.tenant)
        counters = {name: self.chip.read(self.map.address(name))
                    for name in registers_read(self.chip.chip)}
        return RtlImage(outputs, codes, sums, words, layers, counters, clocks)
