"""Statistics of memory devices: one small dataclass each, every constant with unit and source."""

from .device import Cells, Device, read, read_moments
from .faults import Faulty
from .ideal import IdealDevice
from .pcm import PhaseChangeMemory, hermes
from .pulsed_pcm import PulsedPCM, PulsedState
from .reram import ReRAM, reram_wan, reram_wan_single
from .table import MeasuredDevice
from .variation import Varied

__all__ = [
    "Cells", "Device", "Faulty", "IdealDevice", "MeasuredDevice", "PhaseChangeMemory",
    "PulsedPCM", "PulsedState", "ReRAM", "Varied", "hermes", "read", "read_moments",
    "reram_wan", "reram_wan_single",
]
