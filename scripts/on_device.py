"""A network on the memory devices that a command names."""

from collections.abc import Callable

from torch import Tensor

from golden.analog import AnalogNetwork, map_network
from golden.chip import Chip
from golden.devices import (
    Device, IdealDevice, PhaseChangeMemory, hermes, reram_wan, reram_wan_single,
)

from .networks import Network

__all__ = ["BATCH", "DEVICES", "check_device", "on_device", "programmed"]

#: Devices by the name that ``--device`` takes.
DEVICES: dict[str, Callable[[], Device]] = {
    "ideal": IdealDevice, "pcm": PhaseChangeMemory, "hermes": hermes, "reram": reram_wan,
    "reram_single": reram_wan_single}
#: Images that are evaluated at once.
BATCH = 128


def check_device(name: str) -> None:
    """ValueError for a device that there is not."""
    if name not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(DEVICES)}, not {name!r}")


def on_device(network: Network, chip: Chip, device: str, single_read: bool = False
              ) -> tuple[AnalogNetwork, list[Tensor]]:
    """``network`` on ``device``, calibrated but not programmed; and batches to adapt it to.

    ValueError for a device that there is not.
    """
    check_device(device)
    analog = map_network(network.model, chip, DEVICES[device](), single_read=single_read)
    return analog.calibrate(network.calibration.split(BATCH)), list(
        network.adaptation.split(BATCH))


def programmed(network: Network, chip: Chip, device: str, seed: int, time: float | None
               ) -> AnalogNetwork:
    """``network`` on the chip ``seed`` of ``device``, ``time`` s after programming.

    ``time`` None: at the device's first.
    """
    analog, _ = on_device(network, chip, device)
    analog.program(seed)
    return analog if time is None else analog.at(time)
