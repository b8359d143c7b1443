"""Accuracy of a network stage by stage, from float to the macro with its deviations."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
import json
import tempfile

import numpy as np
import torch
from torch import Tensor

from golden.chip import Chip
from golden.compensation import calibrate
from golden.compile import Options, compile_stages
from golden.execute import execute
from golden.macro import Macro
from golden.networks.digits import accuracy
from golden.physics import MacroPhysics
from golden.program import Convolution, Program
from golden.quantise import quantise_images
from sim.toolchain import cached_build

from .networks import Network, golden_digest

__all__ = ["ERROR_IMAGES", "Stages", "compensated", "compiled_stages", "digits_key",
           "macro_accuracy"]

Report = Callable[[str, float], None]

#: Calibration images on which the layers' errors are measured.
ERROR_IMAGES = 64
#: Images that are evaluated at once.
_BATCH = 256


@dataclass(frozen=True)
class Stages:
    """Shares of the images classified correctly before the macro's deviations come in.

    ``float32``: as trained; ``int8``: 8-bit weights and activations, exact sums; ``basis_ideal``:
    on the chip with ideal macros, bit for bit what the program computes there. ``layer_errors``:
    relative output error that the basis makes in each layer (`golden.layer_errors`).
    """

    float32: float
    int8: float
    basis_ideal: float
    layer_errors: dict[str, float]


def digits_key(seed: int, count: int | None = None) -> str:
    """Stands for the digits network of ``seed`` and the first ``count`` held-out images."""
    return f"digits {seed} {count}"


def compiled_stages(network: Network, chip: Chip, images: Tensor, labels: Tensor, seed: int,
                    options: Options, report: Report | None = None, key: str | None = None
                    ) -> tuple[Program, Stages]:
    """Compile ``network``; the program, and the stages on ``images`` with int64 ``labels``.

    With ``key``, which must stand for the model and the images, the result is kept and found
    again as long as golden's sources, chip, seed and options are the same.
    """
    def make(place: Path) -> None:
        made = compile_stages(network.model, chip, network.calibration, seed=seed,
                              options=options, progress=report,
                              name=network.name)
        float32, int8, basis_ideal = (_accuracy(outputs, images, labels) for outputs in (
            made.float_outputs, made.eight_bit_outputs, made.basis_outputs))
        found = Stages(float32, int8, basis_ideal,
                       made.layer_errors(network.calibration[:ERROR_IMAGES]))
        made.program.save(place / "program.safetensors")
        (place / "stages.json").write_text(json.dumps(asdict(found)))

    if key is None:
        with tempfile.TemporaryDirectory() as name:
            make(Path(name))
            return _read(Path(name), chip)
    settings = [golden_digest(), Path(__file__).read_text(), key, chip.name, chip.hash, str(seed),
                repr(options)]
    return _read(cached_build(f"compiled-{network.name}", {}, settings, make), chip)


def _accuracy(outputs: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> float:
    # In batches: what a convolution unfolds takes much more memory than the images.
    return accuracy(torch.cat([outputs(part) for part in images.split(_BATCH)]), labels)


def _read(place: Path, chip: Chip) -> tuple[Program, Stages]:
    return (Program.load(place / "program.safetensors", chip),
            Stages(**json.loads((place / "stages.json").read_text())))


def compensated(program: Program, macro: Macro, seed: int) -> Program:
    """``program`` with the code compensation that measuring the specimen ``macro`` gives.

    The table serves all layers, so it is measured at the middle one of their references.
    """
    layers = sorted((layer for layer in program.layers if isinstance(layer, Convolution)),
                    key=lambda layer: layer.reference)
    middle = layers[len(layers) // 2]
    return replace(program, corrections=calibrate(macro, middle.resolution, middle.reference,
                                                  seed))


def macro_accuracy(program: Program, images: Tensor, labels: Tensor, physics: MacroPhysics,
                   seed: int, compensate: bool) -> float:
    """Share of the images right on the specimen ``seed`` of the macros, noise included."""
    macro = Macro(program.chip, physics, program.weights, seed)
    if compensate:
        program = compensated(program, macro, seed)
    codes = quantise_images(images, program.input_scale).numpy()
    outputs = execute(program, macro, codes, seed).outputs
    return float(np.mean(outputs.argmax(axis=1) == labels.numpy()))
