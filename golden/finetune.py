"""Fine-tuning of basis and coefficients, with the integers of the chip in the loop.

Forward, every layer computes exactly what the chip does: rounded vectors and coefficients, the
converter's codes and its noise. Backward, rounding and conversion count as the identity
(straight-through). The teacher is the float network: no labels are needed. A coefficient that is
zero stays zero, so that training adds no conversion.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from .accumulate import Noise, accumulate, held
from .distillation import distillation_loss
from .graph import Add, Node, Pool, Weighted, evaluate
from .mapping import Mapping
from .quantise import CODE_LIMIT, rounded, straight_through, unrounded

__all__ = ["Training", "finetune"]

#: Softmax temperature of the distillation.
_TEMPERATURE = 2.0


@dataclass(frozen=True)
class Training:
    """Length and step sizes of the fine-tuning.

    Parameters
    ----------
    epochs
        Passes over the calibration images; 0 leaves the fit as it is.
    batch
        Images per step.
    vector_rate, coefficient_rate, gain_rate
        Adam's step for vector entries (in weight steps), coefficients (in coefficient steps) and
        the relative step for gains; biases move by ``gain_rate`` in units of ten output steps.
    """

    epochs: int = 4
    batch: int = 64
    vector_rate: float = 0.3
    coefficient_rate: float = 0.01
    gain_rate: float = 0.003

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch < 1:
            raise ValueError(f"Training.epochs must be at least 0 and batch at least 1, "
                             f"not {self.epochs!r} and {self.batch!r}")
        for name in ("vector_rate", "coefficient_rate", "gain_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"Training.{name} must be positive, "
                                 f"not {getattr(self, name)!r}")


class _Student(nn.Module):
    """The mapped network with trainable vectors, coefficients, gains and biases."""

    def __init__(self, mapping: Mapping, limit: int, noise: Noise, generator: torch.Generator
                 ) -> None:
        super().__init__()
        self.mapping, self.limit, self.noise, self.generator = mapping, limit, noise, generator
        self.names = list(mapping.layers)
        layers = list(mapping.layers.values())
        self.vectors = nn.Parameter(mapping.vectors.float().clone())
        self.coefficients = nn.ParameterList(
            nn.Parameter(layer.coefficients.float().clone()) for layer in layers)
        for coefficients in self.coefficients:
            used = coefficients.detach().ne(0)
            coefficients.register_hook(lambda gradient, used=used: gradient * used)
        self.gains = nn.ParameterList(nn.Parameter(torch.ones_like(layer.gain).float())
                                      for layer in layers)
        self.biases = nn.ParameterList(nn.Parameter(layer.bias.float() / 10) for layer in layers)

    def integers(self, index: int) -> tuple[Tensor, Tensor]:
        """Vectors and coefficients of a layer as the chip has them."""
        vectors = rounded(self.vectors.clamp(-CODE_LIMIT, CODE_LIMIT))
        coefficients = rounded(self.coefficients[index].clamp(-self.limit, self.limit))
        return vectors, coefficients

    def weighted(self, node: Weighted, images: Tensor) -> Tensor:
        index = self.names.index(node.name)
        layer = self.mapping.layers[node.name]
        vectors, coefficients = self.integers(index)
        patches = layer.chunking.patches(images)
        kernels = torch.einsum("cnk,nr->crk", coefficients, vectors)
        smooth = torch.einsum("pcr,crk->pk", patches, kernels) / layer.reference
        with torch.no_grad():
            columns = held(patches, vectors, self.noise, self.generator)
            exact = accumulate(columns, coefficients, self.mapping.chip, stream=layer.stream,
                               resolution=layer.resolution, reference=layer.reference,
                               noise=self.noise, generator=self.generator,
                               averaging=layer.averaging)
        sums = straight_through(smooth, exact)
        result = sums * layer.gain.float() * self.gains[index] + 10 * self.biases[index]
        return layer.chunking.outputs(result, len(images))

    def apply_node(self, node: Node, *operands: Tensor) -> Tensor:
        """One node, on float images that hold integers."""
        first = operands[0]
        if isinstance(node, Weighted):
            result = self.weighted(node, first)
        elif isinstance(node, Add | Pool):
            result = unrounded(node, operands, self.mapping.scales)
        else:
            return first
        return rounded(result.clamp(0 if node.relu else -CODE_LIMIT - 1, CODE_LIMIT))

    def forward(self, images: Tensor) -> Tensor:
        """Real logits [batch, classes] of integer images."""
        graph = self.mapping.graph
        steps = evaluate(graph, images, self.apply_node)
        return steps.flatten(1) * self.mapping.scales[graph.output.name]

    @torch.no_grad()
    def result(self) -> Mapping:
        """The mapping with the present integers."""
        layers = {}
        for i, name in enumerate(self.names):
            vectors, coefficients = self.integers(i)
            layer = self.mapping.layers[name]
            layers[name] = replace(layer, coefficients=coefficients.double(),
                                   gain=layer.gain * self.gains[i].double().clamp_min(0),
                                   bias=10 * self.biases[i].double())
        return replace(self.mapping, vectors=vectors.double(), layers=layers)


def finetune(mapping: Mapping, images: Tensor, teacher: Tensor, training: Training, limit: int,
             noise: Noise, seed: int, progress: Callable[[str, float], None] | None = None
             ) -> Mapping:
    """The best mapping met, by distance to the teacher over all images.

    Parameters
    ----------
    mapping
        Start; its references stay.
    images
        int64 [batch, channels, height, width].
    teacher
        Logits of the float network, [batch, classes].
    limit
        Largest magnitude of a coefficient.
    """
    generator = torch.Generator().manual_seed(seed)
    student = _Student(mapping, limit, noise, generator)
    floats = images.float()
    optimiser = torch.optim.Adam([
        {"params": [student.vectors], "lr": training.vector_rate},
        {"params": student.coefficients, "lr": training.coefficient_rate},
        {"params": [*student.gains, *student.biases], "lr": training.gain_rate}])

    @torch.no_grad()
    def error() -> float:
        generator.manual_seed(seed)
        parts = zip(floats.split(256), teacher.split(256), strict=True)
        return sum(float(distillation_loss(student(x), y, _TEMPERATURE)) * len(x)
                   for x, y in parts) / len(floats)

    steps = max(1, training.epochs * -(-len(floats) // training.batch))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    least, best = error(), mapping
    order = torch.Generator().manual_seed(seed + 1)
    for epoch in range(training.epochs):
        for part in torch.randperm(len(floats), generator=order).split(training.batch):
            loss = distillation_loss(student(floats[part]), teacher[part], _TEMPERATURE)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        found = error()
        if found < least:
            least, best = found, student.result()
        if progress is not None:
            progress("fine-tune", (epoch + 1) / training.epochs)
    return best
