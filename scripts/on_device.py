"""A network on the memory devices that a command names."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from golden.analog import AnalogNetwork, Scaling, map_network
from golden.chip import Chip
from golden.devices import (
    Device, IdealDevice, PhaseChangeMemory, hermes, reram_wan, reram_wan_single,
)

from .networks import Network

__all__ = ["BATCH", "DEVICES", "Memory", "on_device", "programmed", "scaling_of"]

#: Devices by the name that ``--device`` takes.
DEVICES: dict[str, Callable[[], Device]] = {
    "ideal": IdealDevice, "pcm": PhaseChangeMemory, "hermes": hermes, "reram": reram_wan,
    "reram_single": reram_wan_single}
#: Images that are evaluated at once.
BATCH = 128


def scaling_of(name: str) -> Scaling:
    """The `Scaling` of that value; ValueError for one that there is not."""
    allowed = [scaling.value for scaling in Scaling]
    if name not in allowed:
        raise ValueError(f"scaling must be one of {', '.join(allowed)}, not {name!r}")
    return Scaling(name)


@dataclass(frozen=True)
class Memory:
    """Memory devices and how a network lies on them, as a command's options name them.

    ``scaling`` is a value of `golden.analog.Scaling`, ``single_read`` as in
    `golden.analog.Mapping`. ValueError for a device or a scaling that there is not.
    """

    device: str
    single_read: bool = False
    scaling: str = Scaling.COLUMN.value

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}, not {self.device!r}")
        scaling_of(self.scaling)


def on_device(network: Network, chip: Chip, memory: Memory
              ) -> tuple[AnalogNetwork, list[Tensor]]:
    """``network`` on ``memory``, calibrated but not programmed; and batches to adapt it to."""
    analog = map_network(network.model, chip, DEVICES[memory.device](),
                         single_read=memory.single_read, scaling=scaling_of(memory.scaling))
    return analog.calibrate(network.calibration.split(BATCH)), list(
        network.adaptation.split(BATCH))


def programmed(network: Network, chip: Chip, memory: Memory, seed: int, time: float | None
               ) -> AnalogNetwork:
    """``network`` on the chip ``seed`` of ``memory``, ``time`` s after programming.

    ``time`` None: at the device's first.
    """
    analog, _ = on_device(network, chip, memory)
    analog.program(seed)
    return analog if time is None else analog.at(time)
