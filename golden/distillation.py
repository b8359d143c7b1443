"""The distance between a student's logits and its teacher's (Hinton et al., 2015)."""

from torch import Tensor
from torch.nn import functional

__all__ = ["distillation_loss"]


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Cross entropy of softened logits, [batch, classes] both, less its least value."""
    return functional.kl_div(functional.log_softmax(student / temperature, dim=1),
                             functional.softmax(teacher / temperature, dim=1),
                             reduction="batchmean") * temperature**2
