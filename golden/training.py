"""Joint training of basis vectors and coefficients, with distillation from the float network.

The student (`golden.student`) is pulled towards the float network's logits and towards its
activations after every residual add; no labels are needed. A run is a pure function of its
arguments: order of the images, augmentation and noise are drawn from the seed and the number of
the step alone, so that a run resumed from a checkpoint ends where an uninterrupted one does.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
import hashlib

import torch
from torch import Tensor

from .accumulate import Noise
from .checkpoint import Checkpoint, load_parameters
from .contest import Contest
from .distillation import distillation_loss
from .graph import Add, Graph, Node, Weighted, evaluate, float_operator
from .mapping import Mapping, calibrate
from .student import Student

__all__ = ["ImageSet", "Recipe", "JointTraining", "calibrated", "train"]

Progress = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images to train with; labels are not needed.

    Parameters
    ----------
    images
        [images, ...], of any type.
    prepare
        Makes of some of them what the model takes, float [batch, channels, height, width];
        augmentation draws from the generator it is given.
    """

    images: Tensor
    prepare: Callable[[Tensor, torch.Generator], Tensor] = lambda images, generator: images

    def __post_init__(self) -> None:
        if len(self.images) == 0:
            raise ValueError("ImageSet.images must hold at least one image, not 0")

    def split(self, count: int, seed: int) -> tuple["ImageSet", "ImageSet"]:
        """All images but ``count`` of them, drawn from ``seed``; and those ``count``."""
        order = torch.randperm(len(self.images), generator=_generator(seed, 3))
        return tuple(replace(self, images=self.images[part.sort().values])
                     for part in (order[count:], order[:count]))


@dataclass(frozen=True)
class Recipe:
    """Length and step sizes of the training.

    Parameters
    ----------
    epochs
        Passes over the images; fractions are allowed.
    batch
        Images per step.
    vector_rate, coefficient_rate, gain_rate
        Adam's first step for vector entries (in weight steps), coefficients (in coefficient
        steps), and gains and biases (relative; biases in units of 127 output steps). All fall to
        zero along a half cosine, after a linear rise over ``warm_up`` steps, a tenth at most.
    rate
        Factor on all three; below 1 where the fit is good to begin with.
    temperature
        Of the softmax in the distillation (Hinton et al., 2015, use 1 to 20).
    features
        Weight of the distance between activations, relative to their mean square.
    precision
        "float32", or "bfloat16", faster where the processor has instructions for it.
    """

    epochs: float = 6
    batch: int = 128
    vector_rate: float = 1.0
    coefficient_rate: float = 0.05
    gain_rate: float = 0.004
    rate: float = 1.0
    warm_up: int = 100
    temperature: float = 4.0
    features: float = 1.0
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name in ("epochs", "vector_rate", "coefficient_rate", "gain_rate", "rate",
                     "temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"Recipe.{name} must be positive, not {getattr(self, name)!r}")
        for name, low in (("batch", 1), ("warm_up", 0), ("features", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"Recipe.{name} must be at least {low}, "
                                 f"not {getattr(self, name)!r}")
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"Recipe.precision must be float32 or bfloat16, "
                             f"not {self.precision!r}")

    @property
    def dtype(self) -> torch.dtype:
        """Type of the activations."""
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    def steps(self, images: int) -> int:
        """Steps of the training, at least one."""
        return max(1, round(self.epochs * images / self.batch))

    def factor(self, step: int, steps: int) -> float:
        """Factor on the step sizes at ``step``."""
        rise = min(1.0, (step + 1) / (min(self.warm_up, steps // 10) + 1))
        fall = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / steps)).item())
        return self.rate * rise * fall


class _Features:
    """Keeps what a network computes at the nodes that are compared."""

    def __init__(self, graph: Graph) -> None:
        adds = [node.name for node in graph.nodes if isinstance(node, Add)]
        layers = [node.name for node in graph.weighted if node is not graph.output]
        self.names = set(adds or layers)
        self.kept: dict[str, Tensor] = {}

    def __call__(self, node: Node, operands: tuple[Tensor, ...], result: Tensor) -> None:
        if node.name in self.names:
            self.kept[node.name] = result


def _cast(graph: Graph, device: torch.device, dtype: torch.dtype) -> Graph:
    """``graph`` with its weights on ``device`` as ``dtype``."""
    return Graph(tuple(
        replace(node, weight=node.weight.to(device, dtype), bias=node.bias.to(device, dtype))
        if isinstance(node, Weighted) else node for node in graph.nodes))


def _half_square_ratio(student: Tensor, scale: float, teacher: Tensor) -> Tensor:
    """Mean square of ``student * scale - teacher`` over that of ``teacher``."""
    power = teacher.square().mean(dtype=torch.float32).clamp_min(1e-12)
    return torch.sub(student * scale, teacher).square().mean(dtype=torch.float32) / power


def calibrated(student: Student, mapping: Mapping, images: Tensor, noise: Noise, seed: int
               ) -> Mapping:
    """``mapping``, a state of ``student``, with references, gains and biases chosen anew.

    What the macros give is fitted to what the student computes with exact sums. ``images`` are
    float, [batch, channels, height, width].
    """
    images = images.to(student.vectors.device)
    wanted: dict[str, Tensor] = {}

    def keep(node: Node, operands: tuple[Tensor, ...], result: Tensor) -> None:
        if isinstance(node, Weighted):
            linear = student.linear(node, operands[0]).double().cpu()
            wanted[node.name] = linear.permute(0, 2, 3, 1).flatten(0, 2)

    dtype, student.dtype = student.dtype, torch.float32
    student.eval()
    with torch.no_grad():
        student(images, keep)
        codes = student.codes(images).cpu().long()
    student.dtype = dtype
    return calibrate(mapping, codes, wanted, noise, seed)


def train(student: Student, images: ImageSet, recipe: Recipe, seed: int, *,
          contest: Contest | None = None, checkpoint: Checkpoint | None = None,
          progress: Progress | None = None) -> None:
    """Train ``student`` in place, on the device where it is.

    Parameters
    ----------
    student
        Its float network, the teacher, is the graph that its mapping was made from.
    contest
        Regulariser, if any.
    checkpoint
        Where the run is kept from time to time, and taken up again.
    progress
        Called with (stage, share done).
    """
    device = student.vectors.device
    graph = _cast(student.start.graph, device, student.dtype)
    seen, shown = _Features(graph), _Features(graph)
    scales = student.start.scales
    count, steps = len(images.images), recipe.steps(len(images.images))
    optimiser = torch.optim.Adam([
        {"params": [student.vectors], "lr": recipe.vector_rate},
        {"params": list(student.coefficients), "lr": recipe.coefficient_rate},
        {"params": [*student.gains, *student.biases], "lr": recipe.gain_rate}])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser,
                                                 lambda step: recipe.factor(step, steps))
    first = 0
    if checkpoint is not None:
        first = checkpoint.restore(student, optimiser, schedule)
    student.train()
    order, epoch = torch.empty(0, dtype=torch.int64), -1
    for step in range(first, steps):
        start = step * recipe.batch
        if start // count != epoch:
            epoch = start // count
            order = torch.cat([torch.randperm(count, generator=_generator(seed, 1, e))
                               for e in (epoch, epoch + 1)])
        chosen = order[start % count:start % count + recipe.batch]
        generator = _generator(seed, 2, step)
        batch = images.prepare(images.images[chosen], generator).to(device)
        with torch.no_grad():
            casted = batch.to(student.dtype, memory_format=torch.channels_last)
            teacher = evaluate(graph, casted, float_operator, seen).flatten(1).float()
        student.generator = generator
        loss = distillation_loss(student(batch, shown), teacher, recipe.temperature)
        if recipe.features:
            loss = loss + recipe.features / len(seen.names) * sum(
                _half_square_ratio(shown.kept[name], scales[name], seen.kept[name])
                for name in seen.names)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if contest is not None:
            contest.apply(student, step, steps)
        if checkpoint is not None:
            checkpoint.save(student, optimiser, step + 1, last=step + 1 == steps)
        if progress is not None:
            progress("train", (step + 1) / steps)


def _generator(*numbers: int) -> torch.Generator:
    """A generator whose seed is a function of ``numbers``."""
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number + 1) % (1 << 63)
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True, eq=False)
class JointTraining:
    """A training run as `golden.compile.compile_stages` takes it.

    Parameters
    ----------
    images
        What to train with.
    recipe, contest
        How.
    checkpoint
        File to keep the run in, and to take it up from, if it is there.
    start
        Checkpoint of another run of the same network and chip, to begin with its parameters.
    device
        "cpu", or "cuda".
    loop
        The user's own training loop in place of `train`: called with the student, whose
        parameters it trains in place.
    held_out
        Images that are not trained with, a tenth of all at most: on them the compiler compares
        what was trained with the fit it began from. Fewer than ten images, or ``held_out`` 0, are
        both trained with and compared on.
    """

    images: ImageSet
    recipe: Recipe = Recipe()
    contest: Contest | None = None
    checkpoint: Path | None = None
    start: Path | None = None
    device: str = "cpu"
    loop: Callable[[Student], None] | None = None
    held_out: int = 256

    def __post_init__(self) -> None:
        if self.held_out < 0:
            raise ValueError(f"JointTraining.held_out must be at least 0, not {self.held_out!r}")
        if self.device not in ("cpu", "cuda"):
            raise ValueError(f"JointTraining.device must be cpu or cuda, not {self.device!r}")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("JointTraining.device is cuda, but PyTorch finds no such device: "
                             "use cpu")

    def parts(self, seed: int) -> tuple[ImageSet, ImageSet]:
        """What is trained with, and what the result is compared on."""
        count = min(self.held_out, len(self.images.images) // 10)
        return self.images.split(count, seed) if count else (self.images, self.images)

    def train(self, mapping: Mapping, noise: Noise, limit: int, seed: int,
              progress: Progress | None = None) -> Student:
        """A student that starts from ``mapping``, trained; arguments as for `Student`."""
        student = Student(mapping, noise, limit, self.recipe.dtype).to(self.device)
        if self.start is not None:
            load_parameters(student, self.start)
        if self.loop is not None:
            student.train()
            self.loop(student)
            return student
        images, _ = self.parts(seed)
        checkpoint = None
        if self.checkpoint is not None:
            run = hashlib.sha256(repr((self.recipe, self.contest, noise, limit, seed,
                                       tuple(images.images.shape))).encode())
            for name, value in student.state_dict().items():
                run.update(name.encode() + value.cpu().float().numpy().tobytes())
            checkpoint = Checkpoint(self.checkpoint, run.hexdigest())
        train(student, images, self.recipe, seed, contest=self.contest,
              checkpoint=checkpoint, progress=progress)
        return student
