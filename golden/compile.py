"""From a torch module to a program: import, quantisation, basis, calibration, memory layout."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from .accumulate import NOISELESS, Noise
from .allocation import allocate
from .basis import Combination, Target, fit_basis, normalised
from .chip import AVERAGING_LIMIT, Chip
from .chunks import choose_chunking
from .emission import emit, faster_mode
from .finetune import Training, finetune
from .graph import Graph, Node, Weighted, evaluate, float_operator, import_graph
from .improvement import Improvement, float_distance
from .layer_errors import layer_errors
from .mapping import Layer, Mapping, calibrate, integer_operator
from .physics import MacroPhysics
from .program import Program
from .quantise import activation_scales, eight_bit_operator, quantise_images
from .training import JointTraining, calibrated

__all__ = ["Options", "Compilation", "compile_network", "compile_stages", "train_further"]

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Options:
    """Choices of the compiler.

    Parameters
    ----------
    mode
        "merge", "stream", or "auto": per layer, whichever takes fewer clocks.
    resolution
        Bits of every conversion; None for the converter's highest.
    averaging
        Every code is the mean of ``2**averaging`` conversions.
    vectors_per_tile
        Basis vectors per tile; None for all columns.
    coefficient_bits
        Bits of a coefficient; None for all that the chip has.
    rounds
        Rounds of alternating least squares.
    images
        Calibration images used for scales, moments and references (fine-tuning uses all).
    training
        Fine-tuning.
    """

    mode: str = "auto"
    resolution: int | None = None
    averaging: int = 0
    vectors_per_tile: int | None = None
    coefficient_bits: int | None = None
    rounds: int = 6
    images: int = 256
    training: Training = Training()

    def __post_init__(self) -> None:
        if self.mode not in ("auto", "merge", "stream"):
            raise ValueError(f"Options.mode must be auto, merge or stream, not {self.mode!r}")
        for name in ("rounds", "images"):
            if getattr(self, name) < 1:
                raise ValueError(f"Options.{name} must be at least 1, "
                                 f"not {getattr(self, name)!r}")

    def check(self, chip: Chip) -> None:
        """ValueError if a choice does not suit ``chip``."""
        for name, low, high in (
                ("resolution", chip.converter.minimum_bits, chip.converter.bits),
                ("averaging", 0, AVERAGING_LIMIT),
                ("vectors_per_tile", 1, chip.array.columns),
                ("coefficient_bits", 2, chip.accumulator.coefficient_bits)):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"Options.{name} must be {low} to {high} on chip "
                                 f"{chip.name!r}, not {value!r}")

    def coefficient_limit(self, chip: Chip) -> int:
        """Largest magnitude of a coefficient on ``chip``, the range being symmetric."""
        bits = self.coefficient_bits or chip.accumulator.coefficient_bits
        return (1 << bits - 1) - 1


@dataclass(frozen=True, eq=False)
class Compilation:
    """A program and what it was made from, for accuracy stage by stage.

    ``improvement`` says what joint training gained, where there was one.
    """

    graph: Graph
    mapping: Mapping
    program: Program
    improvement: Improvement | None = None

    def images(self, images: Tensor) -> np.ndarray:
        """int8 [batch, height, width, channels], as the program takes them, of float images."""
        return quantise_images(images, self.program.input_scale).numpy()

    def _codes(self, images: Tensor) -> Tensor:
        return torch.from_numpy(self.images(images)).permute(0, 3, 1, 2).long()

    @torch.no_grad()
    def float_outputs(self, images: Tensor) -> Tensor:
        """Outputs [batch, classes] of the imported float graph."""
        return evaluate(self.graph, images, float_operator).flatten(1)

    @torch.no_grad()
    def eight_bit_outputs(self, images: Tensor) -> Tensor:
        """int64 outputs with 8-bit activations and weights, exact integers, no basis."""
        operator = eight_bit_operator(self.graph, self.mapping.scales,
                                      self.mapping.chip.requantizer)
        return evaluate(self.graph, self._codes(images), operator).flatten(1)

    @torch.no_grad()
    def basis_outputs(self, images: Tensor, noise: Noise = NOISELESS, seed: int = 0) -> Tensor:
        """int64 outputs over the basis on ideal macros, plus white noise.

        Without noise equal, bit for bit, to the program on ideal macros.
        """
        return evaluate(self.graph, self._codes(images),
                        integer_operator(self.mapping, noise, seed)).flatten(1)

    def layer_errors(self, images: Tensor) -> dict[str, float]:
        """Relative output error that the basis makes in each layer: see `golden.layer_errors`."""
        return layer_errors(self.mapping, self._codes(images))


def _second_moments(patches: Tensor) -> Tensor:
    return torch.einsum("pcr,pcs->crs", patches, patches) / len(patches)


def _targets(graph: Graph, chip: Chip, operands: dict[str, Tensor], resolution: int,
             averaging: int, noise: Noise) -> list[Target]:
    """What each layer asks of the basis, from its int64 input images."""
    targets = []
    for node in graph.weighted:
        chunking = choose_chunking(node, chip)
        patches = chunking.patches(operands[node.name].double())
        kernels = chunking.kernels().double()
        columns = normalised(kernels.flatten(0, 1)).reshape(kernels.shape)
        largest = max(float((patches[:, c] @ columns[:, c].T).abs().max())
                      for c in range(chunking.chunks))
        step = largest / ((1 << (resolution - 1)) - 0.5)
        # A converter's rounding is spread evenly over one step: variance step**2 / 12.
        variance = step**2 / 12 + noise.hold**2 + noise.conversion**2 / (1 << averaging)
        targets.append(Target(kernels, _second_moments(patches), variance))
    return targets


def _placed(chip: Chip, count: int) -> Tensor:
    """Column index, tile * columns + column, of each of ``count`` vectors: tiles in turn."""
    order = torch.arange(count)
    return order % chip.tiles * chip.array.columns + order // chip.tiles


def _on_chip(values: Tensor, chip: Chip, count: int) -> Tensor:
    """[count, ...] placed among all columns, [tiles * columns, ...]; the rest zero."""
    result = values.new_zeros(chip.tiles * chip.array.columns, *values.shape[1:])
    result[_placed(chip, count)] = values
    return result


def _layer(node: Weighted, combination: Combination, scales: dict[str, float], chip: Chip,
           resolution: int, averaging: int, count: int) -> Layer:
    """A layer before calibration: reference 1 and its exact gain."""
    coefficients = torch.stack([_on_chip(c, chip, count) for c in combination.coefficients])
    out = scales[node.name]
    return Layer(choose_chunking(node, chip), coefficients,
                 combination.scale * scales[node.inputs[0]] / out, node.bias.double() / out,
                 False, resolution, 1, averaging)


def _with_modes(mapping: Mapping, mode: str) -> Mapping:
    """``mapping`` with each layer in ``mode``; "auto": in the one that takes fewer clocks."""
    graph, layers = mapping.graph, {}
    for node in graph.weighted:
        layer = mapping.layers[node.name]
        stream = (faster_mode(node, graph[node.inputs[0]], layer, mapping.chip)
                  if mode == "auto" else mode == "stream")
        layers[node.name] = replace(layer, stream=stream)
    return replace(mapping, layers=layers)


def _captured(graph: Graph, images: Tensor, codes: Tensor, scales: dict[str, float], chip: Chip
              ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Per layer: int64 input images of the eight-bit network, and the float results.

    The results are before ReLU, in output steps, [positions, kernels].
    """
    operands: dict[str, Tensor] = {}
    wanted: dict[str, Tensor] = {}

    def keep_operand(node: Node, given: tuple[Tensor, ...], result: Tensor) -> None:
        if isinstance(node, Weighted):
            operands[node.name] = given[0]

    def keep_result(node: Node, given: tuple[Tensor, ...], result: Tensor) -> None:
        if isinstance(node, Weighted):
            linear = float_operator(replace(node, relu=False), given[0]).double()
            wanted[node.name] = linear.permute(0, 2, 3, 1).flatten(0, 2) / scales[node.name]

    with torch.no_grad():
        evaluate(graph, codes, eight_bit_operator(graph, scales, chip.requantizer), keep_operand)
        evaluate(graph, images, float_operator, keep_result)
    return operands, wanted


def _jointly_trained(mapping: Mapping, joint: JointTraining, images: Tensor, limit: int, mode: str,
                     noise: Noise, seed: int, progress: Progress | None
                     ) -> tuple[Mapping, Improvement | None]:
    """What was trained, or ``mapping`` if that is nearer to the float network.

    A contest is not asked for the sake of accuracy, and a loop of the user's own may want other
    things than the float network's outputs: what they give is taken.
    """
    student = joint.train(mapping, noise, limit, seed, progress)
    trained = calibrated(student, _with_modes(student.mapping(), mode), images, noise, seed)
    if progress is not None:
        progress("calibrate again", 1.0)
    if joint.loop is not None:
        return trained, None
    _, shown = joint.parts(seed)
    improvement = Improvement(*(
        float_distance(each, shown, joint.recipe.temperature, noise, seed)
        for each in (mapping, trained)), len(shown.images))
    if progress is not None:
        progress("compare", 1.0)
    taken = improvement.found or joint.contest is not None
    return (trained if taken else mapping), improvement


def train_further(made: Compilation, joint: JointTraining, calibration: Tensor, *, seed: int,
                  options: Options = Options(), physics: MacroPhysics | None = None,
                  progress: Progress | None = None) -> Compilation:
    """``made`` with its basis and coefficients trained jointly; arguments as `compile_stages`.

    The same as giving ``joint`` to `compile_stages`, but for what is compiled already.
    """
    chip = made.mapping.chip
    noise = Noise.of(MacroPhysics() if physics is None else physics, chip)
    mapping, improvement = _jointly_trained(
        made.mapping, joint, calibration[:options.images].float(),
        options.coefficient_limit(chip), options.mode, noise, seed, progress)
    return Compilation(made.graph, mapping, emit(mapping, made.program.network), improvement)


def compile_stages(model: nn.Module, chip: Chip, calibration: Tensor, *, seed: int,
                   options: Options = Options(), joint: JointTraining | None = None,
                   physics: MacroPhysics | None = None, progress: Progress | None = None,
                   name: str | None = None) -> Compilation:
    """Compile ``model`` for ``chip``, and keep what the program was made from.

    Parameters
    ----------
    model
        An unmodified module that takes [batch, channels, height, width].
    calibration
        Images without labels, float [batch, channels, height, width], as the model takes them.
    seed
        Fixes every choice: the same inputs and seed give the same program.
    joint
        Joint training of basis and coefficients, before the fine-tuning. If it does not come
        nearer to the float network on images held out of it, the fit is kept.
    physics
        Noise that calibration and training reckon with; None for the default `MacroPhysics`.
    progress
        Called with (stage, share done).

    Raises UnmappableError for a network with an operator that the chip lacks, ProgramError where
    a memory is too small, ValueError for arguments that do not fit.
    """
    if calibration.dim() != 4 or len(calibration) == 0:
        raise ValueError("calibration must hold images [batch, channels, height, width], "
                         f"not shape {tuple(calibration.shape)}")
    options.check(chip)
    tell = progress or (lambda stage, share: None)
    physics = MacroPhysics() if physics is None else physics
    noise = Noise.of(physics, chip)
    resolution = options.resolution or chip.converter.bits
    count = chip.tiles * (options.vectors_per_tile or chip.array.columns)
    limit = options.coefficient_limit(chip)
    calibration = calibration.float()
    _, channels, height, width = calibration.shape
    graph = import_graph(model, (height, width, channels))
    allocate(graph, chip)
    few = calibration[:options.images]
    scales = activation_scales(graph, few)
    tell("quantise", 1.0)
    codes = quantise_images(calibration, scales[graph.input.name]).permute(0, 3, 1, 2).long()
    operands, wanted = _captured(graph, few, codes[:options.images], scales, chip)
    targets = _targets(graph, chip, operands, resolution, options.averaging, noise)
    with torch.no_grad():
        basis = fit_basis(targets, count, limit, torch.Generator().manual_seed(seed),
                          options.rounds, progress)
        teacher = evaluate(graph, calibration, float_operator).flatten(1)
    layers = {node.name: _layer(node, combination, scales, chip, resolution,
                                 options.averaging, count)
              for node, combination in zip(graph.weighted, basis.combinations, strict=True)}
    mapping = Mapping(chip, graph, scales, _on_chip(basis.vectors, chip, count), layers)
    mapping = _with_modes(mapping, options.mode)
    mapping = calibrate(mapping, codes[:options.images], wanted, noise, seed)
    tell("calibrate", 1.0)
    improvement = None
    if joint is not None:
        mapping, improvement = _jointly_trained(mapping, joint, few, limit, options.mode, noise,
                                                seed, progress)
    if options.training.epochs:
        mapping = finetune(mapping, codes, teacher, options.training, limit, noise, seed,
                           progress)
    program = emit(mapping, name or type(model).__name__)
    return Compilation(graph, mapping, program, improvement)


def compile_network(model: nn.Module, chip: Chip, calibration: Tensor, *, seed: int,
                    options: Options = Options(), joint: JointTraining | None = None,
                    physics: MacroPhysics | None = None, progress: Progress | None = None,
                    name: str | None = None) -> Program:
    """The program of ``model`` on ``chip``; see `compile_stages`, whose arguments it takes."""
    return compile_stages(model, chip, calibration, seed=seed, options=options, joint=joint,
                          physics=physics, progress=progress, name=name).program
