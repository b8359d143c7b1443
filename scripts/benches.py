"""What each cocotb bench is given: the design's Verilog, and its parameters."""

from collections.abc import Callable
from pathlib import Path

from amaranth.lib.wiring import Component

from golden.chip import Chip
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.program import Program
from golden.quantise import quantise_images
from rtl.accumulator import BasisAccumulator
from rtl.charge_controller import ChargeController
from rtl.converter import Converter
from rtl.scheduler import TileScheduler
from rtl.verilog import TOP_NAME, chip_verilog, component_verilog
from rtl.window import WindowGenerator
from sim.benches.block import BlockParameters
from sim.benches.chip import ChipParameters
from sim.benches.scheduler import SchedulerParameters
from sim.runner import run_bench

from .networks import named_images

__all__ = ["simulate_block", "simulate_chip"]

_COMPONENTS: dict[str, Callable[[Chip], Component]] = {
    "charge_controller": ChargeController, "converter": Converter,
    "accumulator": BasisAccumulator, "window": WindowGenerator, "scheduler": TileScheduler}


def simulate_block(block: str, chip: Chip, program: Path | None, items: int, pause: float,
                   simulator: str, seed: int, waves: Path | None) -> str:
    """The log of a block's bench; ``program`` is the file that the scheduler fetches."""
    parameters = BlockParameters(chip, items, pause)
    if program is not None:
        words = Program.load(program, chip).images().program.tolist()
        parameters = SchedulerParameters(chip, items, pause, programs=(tuple(words),))
    return run_bench(block, component_verilog(_COMPONENTS[block](chip), block), block, parameters,
                     simulator, seed=seed, waves=waves)


def simulate_chip(chip: Chip, program: Path, images: str, data: Path | None, count: int,
                  pause: float, simulator: str, seed: int, waves: Path | None) -> str:
    """The log of the chip's bench: ``count`` of the named images, deviations and noise on."""
    loaded = Program.load(program, chip)
    shown, _ = named_images(images, seed, data)
    codes = quantise_images(shown[:count], loaded.input_scale).numpy()
    macro = Macro(chip, MacroPhysics(), loaded.weights, seed)
    parameters = ChipParameters(loaded, macro, codes, seed, pause=pause)
    return run_bench("chip", chip_verilog(chip), TOP_NAME, parameters, simulator, seed=seed,
                     waves=waves)
