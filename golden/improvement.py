"""Whether training has brought a mapped network nearer to its float network."""

from dataclasses import dataclass

import torch

from .accumulate import Noise
from .distillation import distillation_loss
from .graph import evaluate, float_operator
from .mapping import Mapping, integer_operator
from .quantise import quantise_images
from .training import ImageSet

__all__ = ["Improvement", "float_distance"]

#: Images that are evaluated at once.
_BATCH = 64


@dataclass(frozen=True)
class Improvement:
    """Distance to the float network before and after a training, on ``images`` images."""

    before: float
    after: float
    images: int

    @property
    def found(self) -> bool:
        """Whether the training came nearer."""
        return self.after < self.before


@torch.no_grad()
def float_distance(mapping: Mapping, images: ImageSet, temperature: float, noise: Noise, seed: int
                   ) -> float:
    """`distillation_loss` of a calibrated mapping on ideal macros with white ``noise``.

    Codes are converted one by one, as on the chip, unlike in training. Augmentation and noise are
    drawn from ``seed``.
    """
    graph, scales = mapping.graph, mapping.scales
    generator = torch.Generator().manual_seed(seed)
    operator = integer_operator(mapping, noise, seed, torch.float32)
    total = 0.0
    for part in images.images.split(_BATCH):
        shown = images.prepare(part, generator).float()
        codes = quantise_images(shown, scales[graph.input.name]).permute(0, 3, 1, 2).long()
        outputs = evaluate(graph, codes, operator).flatten(1) * scales[graph.output.name]
        teacher = evaluate(graph, shown, float_operator).flatten(1)
        total += float(distillation_loss(outputs.float(), teacher, temperature)) * len(part)
    return total / len(images.images)
