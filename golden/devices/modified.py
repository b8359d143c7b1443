"""What devices that change another device have in common."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from .device import Device

__all__ = ["Modified"]


@dataclass(frozen=True)
class Modified(Device):
    """``device`` with one effect more, that the field called ``added`` switches."""

    device: Device

    #: Name of the effect, and of the field.
    added: ClassVar[str]

    @property
    def maximum_conductance(self) -> float:
        """That of ``device``, uS."""
        return self.device.maximum_conductance

    @property
    def first_time(self) -> float:
        """That of ``device``, s."""
        return self.device.first_time

    @property
    def effects(self) -> tuple[str, ...]:
        """Those of ``device``, and the one that is added."""
        return (*self.device.effects, self.added)

    def only(self, effects: Iterable[str]) -> Self:
        """See `Device.only`."""
        chosen = set(effects)
        return replace(self, device=self.device.only(chosen - {self.added}),
                       **{self.added: self.added in chosen})
