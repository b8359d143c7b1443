"""The demonstration: digits from training to the chip's RTL, every word compared."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
import platform
import tempfile
import time

import numpy as np

from golden.chip import Chip
from golden.chip.descriptor import Opcode
from golden.compile import Options
from golden.data import digits
from golden.execute import execute
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.program import Calibration, Convolution, Elementwise, Layer, Program
from golden.quantise import quantise_images
from golden.timing import convolution_timings, layer_clocks, program_clocks
from sim.fast import Waves, verify_on_rtl
from sim.fast.library import build_harness

from . import __version__
from .accuracies import compensated, compiled_stages, digits_key
from .networks import Network, trained_digits
from .vcd import signals_by_clock

__all__ = ["Demonstration", "demonstrate"]

#: The kernels of the digits network have 74 chunks: with all 256 columns of the default chip each
#: would get a column of its own. 32 vectors have to be shared.
_VECTORS_PER_TILE = 8

#: Pins of tile 0 that the phase diagram shows, and whether each is signed.
_PINS = {"reset": False, "drive": False, "share": False, "hold": False, "clear": False,
         "add": False, "side": False, "convert": False, "trial": True, "comparator": False,
         "product": False, "conversion": False}


@dataclass(frozen=True, eq=False)
class Demonstration:
    """``result``, the content of the JSON file; ``program``; and what the pins of tile 0 did.

    ``pins`` has a value per clock and pin, from ``first_clock`` of the simulation on, around one
    output position of the layer ``pins_layer``.
    """

    result: dict[str, Any]
    program: Program
    pins: dict[str, list[int]]
    first_clock: int
    pins_layer: str


class _Stopwatch:
    """Seconds of each stage, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 2)


def _operation(layer: Layer) -> str:
    if isinstance(layer, Convolution):
        return f"convolution, {'stream' if layer.stream else 'merge'}"
    if isinstance(layer, Elementwise):
        return {Opcode.ADD: "add", Opcode.AVERAGE_POOL: "average pool",
                Opcode.MAX_POOL: "maximum pool"}[layer.opcode]
    if isinstance(layer, Calibration):
        return f"calibration, {layer.measure.name.lower()}"
    return "load" if layer.load else "store"


def demonstrate(chip: Chip, seed: int, images: int, command: str,
                report: Callable[[str, float], None]) -> Demonstration:
    """Train, compile, evaluate and simulate ``images`` held-out digits on ``chip``."""
    watch, split = _Stopwatch(), digits(seed)
    if not 1 <= images <= len(split.held_labels):
        raise ValueError(f"images must be 1 to {len(split.held_labels)}, not {images}")
    with watch.measure("training"):
        network = Network("digits", trained_digits(seed, report), split.images, split.images)
    with watch.measure("compiling"):
        program, stages = compiled_stages(network, chip, split.held_images, split.held_labels,
                                          seed, Options(vectors_per_tile=_VECTORS_PER_TILE), report,
                                          digits_key(seed))
    codes = quantise_images(split.held_images, program.input_scale).numpy()
    truth = split.held_labels.numpy()
    with watch.measure("golden run"):
        report("golden", 0.0)
        macro = Macro(chip, MacroPhysics(), program.weights, seed)
        program = compensated(program, macro, seed)
        outputs = execute(program, macro, codes, seed).outputs
        report("golden", 1.0)
    with watch.measure("golden trace"):
        traced = execute(program, macro, codes[:images], seed, trace=True)
        assert traced.layers is not None
        clocks = [layer_clocks(program, traces=traced.layers, image=i) for i in range(images)]
        timings = convolution_timings(program, traces=traced.layers, image=0)
    shown = next(layer for layer in program.layers if isinstance(layer, Convolution))
    # An inner position: its window is whole, and the one before it is under way.
    position = shown.window.positions // 2 + shown.window.out_width // 2
    with watch.measure("Verilator build"):
        report("Verilator build", 0.0)
        build_harness(chip, "vcd")
        report("Verilator build", 1.0)
    with watch.measure("RTL run"), tempfile.TemporaryDirectory() as scratch:
        waves = Waves(Path(scratch) / "waves.vcd", shown.name, position)
        found = verify_on_rtl(program, macro, codes[:images], seed, cycles=clocks, waves=waves,
                              progress=lambda done, total: report("RTL", done / total))
        first_clock, pins = signals_by_clock(
            waves.path, {f"macro0__{name}": signed for name, signed in _PINS.items()}, "aclk")
    golden = [program_clocks(layers) for layers in clocks]
    cycles = found.cycles.tolist()
    comparison = found.comparison
    mismatches = [str(mismatch) for mismatch in comparison.mismatches]
    mismatches += [f"clocks of image {i}: expected {expected}, got {got}"
                   for i, (expected, got) in enumerate(zip(golden, cycles, strict=True))
                   if expected != got]
    result = {
        "command": command, "network": "digits", "preset": chip.name, "seed": seed,
        "chip": {"tiles": chip.tiles, "rows": chip.array.rows, "columns": chip.array.columns,
                 "bits": chip.converter.bits, "hash": chip.hash},
        "test_images": len(truth),
        "accuracy": {"float": stages.float32, "int8": stages.int8,
                     "basis_ideal": stages.basis_ideal,
                     "basis_nonideal": float(np.mean(outputs.argmax(axis=1) == truth))},
        "rtl": {"images": images, "words_compared": sum(comparison.compared.values()) + images,
                "words": dict(comparison.compared), "mismatches": len(mismatches),
                "first_mismatch": mismatches[0] if mismatches else "",
                "cycles": sum(cycles), "cycles_per_image": cycles,
                "correct": int(np.sum(found.outputs.argmax(axis=1) == truth[:images]))},
        "golden": {"cycles": sum(golden), "cycles_per_image": golden},
        "layers": [{
            "name": layer.name, "operation": _operation(layer),
            "cycles_rtl": int(found.layer_cycles[0][i]), "cycles_golden": clocks[0][i],
            "conversions": timings[i].conversions if i in timings else 0,
            "early_stops": timings[i].early_stops if i in timings else 0,
            "converting": list(timings[i].converting) if i in timings else []}
            for i, layer in enumerate(program.layers)],
        "versions": {"crossloom": __version__, "Python": platform.python_version(),
                     **{name: version(name)
                        for name in ("torch", "numpy", "amaranth", "verilator")}},
        "timings": watch.seconds}
    return Demonstration(result, program,
                         {name.removeprefix("macro0__"): row for name, row in pins.items()},
                         first_clock, shown.name)
