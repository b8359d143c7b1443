"""Noise-aware training: weights see in training what they will see on the chip.

Joshi et al. (Nat. Commun. 2020): Gaussian noise on the weights of the forward and backward pass,
updates on the clean weights, standard deviation ``noise`` times the largest weight; the weights
are clipped at ``clip`` of their standard deviations. 3.8 % is what their chip showed (0.94 of
25 uS); training starts from trained weights. They take both from all weights of a layer, we from
those that share a scale on the arrays (`golden.analog.Scaling`), and for the standard deviation the
root mean square, which says something of few weights, too. The network as it was before may teach
it: its logits say more than labels that it knows by heart.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from math import cos, isfinite, pi
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from golden.distillation import distillation_loss

from .mapping import Scaling

__all__ = ["CosineSchedule", "Descent", "NoiseAware", "Schedule", "Teacher", "fine_tune"]


class NoiseAware:
    """Weight noise and clipping for the user's own training loop.

    ::

        aware = NoiseAware(model)
        for images, labels in loader:
            with aware.noisy():
                loss = criterion(model(images), labels)
                optimiser.zero_grad()
                loss.backward()
            optimiser.step()
            aware.clip_weights()

    Parameters
    ----------
    model
        Its Conv2d and Linear layers are the noisy ones.
    noise
        Standard deviation over the largest of the weights that share a scale.
    clip
        Weights are kept within this many times the root mean square of those that share their
        scale; None: not clipped.
    seed
        Of the noise.
    scaling
        Which weights share a scale, as when the network is mapped.
    """

    def __init__(self, model: nn.Module, noise: float = 0.038, clip: float | None = 2.0,
                 seed: int = 0, scaling: Scaling = Scaling.COLUMN) -> None:
        self.check(noise, clip)
        if not isinstance(scaling, Scaling):
            raise ValueError(f"scaling must be a Scaling, not {scaling!r}")
        self.weights = [module.weight for module in model.modules()
                        if isinstance(module, nn.Conv2d | nn.Linear)]
        if not self.weights:
            raise ValueError("model has no Conv2d or Linear layer to train")
        self.noise, self.clip, self.scaling = noise, clip, scaling
        self.generator = torch.Generator(self.weights[0].device).manual_seed(seed)

    @staticmethod
    def check(noise: float, clip: float | None) -> None:
        """ValueError for a noise or clip that `NoiseAware` would refuse."""
        for name, value, allowed in (("noise", noise, noise >= 0),
                                     ("clip", clip, clip is None or clip > 0)):
            if not allowed or (value is not None and not isfinite(value)):
                raise ValueError(f"{name} must be finite and positive, not {value!r}")

    @contextmanager
    def noisy(self) -> Iterator[None]:
        """Within it all weights carry one fresh draw of noise; after it they are as before.

        The gradients taken within are those at the noisy weights.
        """
        clean = [weight.detach().clone() for weight in self.weights]
        try:
            with torch.no_grad():
                for weight in self.weights:
                    noise = torch.randn(weight.shape, generator=self.generator,
                                        device=weight.device, dtype=weight.dtype)
                    largest = self.scaling.sharing(weight).abs().amax(1)
                    weight.add_(noise.mul_(self.noise * self.scaling.spread(largest, weight)))
            yield
        finally:
            with torch.no_grad():
                for weight, kept in zip(self.weights, clean, strict=True):
                    weight.copy_(kept)

    @torch.no_grad()
    def clip_weights(self) -> None:
        """Clip weights at ``clip`` times the root mean square of those that share their scale."""
        if self.clip is not None:
            for weight in self.weights:
                size = self.scaling.sharing(weight).square().mean(1).sqrt()
                bound = self.scaling.spread(self.clip * size, weight)
                weight.copy_(weight.clamp(-bound, bound))


class Descent(ABC):
    """Stochastic gradient descent with momentum, at a rate that changes as the training goes on."""

    epochs: int
    rate: float
    momentum: float
    decay: float

    #: Whether the momentum is Nesterov's.
    nesterov: ClassVar[bool] = False

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.epochs < 1:
            raise ValueError(f"{name}.epochs must be at least 1, not {self.epochs!r}")
        if not self.rate > 0:
            raise ValueError(f"{name}.rate must be positive, not {self.rate!r}")

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """What takes the steps."""
        return torch.optim.SGD(parameters, self.rate, self.momentum, weight_decay=self.decay,
                               nesterov=self.nesterov)

    @abstractmethod
    def rate_at(self, epoch: int, step: int, steps: int | None) -> float:
        """Rate of ``step``, in ``epoch``, of all ``steps``, None where they are not known."""


@dataclass(frozen=True)
class Schedule(Descent):
    """The rate divided by ten once.

    Defaults are those of a published re-implementation for CIFAR-10 (github.com/lciric/
    pcm-bitslicing): rate 0.01, momentum 0.9, weight decay 1e-4, 15 epochs, a tenth of the rate
    from epoch 10 on.
    """

    epochs: int = 15
    rate: float = 0.01
    drop_epoch: int = 10
    momentum: float = 0.9
    decay: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.drop_epoch < 0:
            raise ValueError(f"Schedule.drop_epoch must be 0 or more, not {self.drop_epoch!r}")

    @classmethod
    def of(cls, epochs: int, rate: float) -> "Schedule":
        """Of the given length and first rate, which drops after two thirds."""
        return cls(epochs, rate, drop_epoch=-(-2 * epochs // 3))

    def rate_at(self, epoch: int, step: int, steps: int | None) -> float:
        """See `Descent.rate_at`."""
        return self.rate if epoch < self.drop_epoch else self.rate / 10


@dataclass(frozen=True)
class CosineSchedule(Descent):
    """The rate falling along a half cosine to zero, with Nesterov's momentum.

    It rises over the first ``warm_up`` steps. The loader must have a length.
    """

    epochs: int = 16
    rate: float = 0.02
    warm_up: int = 200
    momentum: float = 0.9
    decay: float = 1e-4

    nesterov: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warm_up < 1:
            raise ValueError(f"CosineSchedule.warm_up must be at least 1, not {self.warm_up!r}")

    def rate_at(self, epoch: int, step: int, steps: int | None) -> float:
        """See `Descent.rate_at`; ValueError where ``steps`` are not known, or none."""
        if not steps:
            raise ValueError("loader must have a length, above 0, for a cosine schedule")
        rise = min(1.0, (step + 1) / self.warm_up)
        return self.rate * rise * 0.5 * (1 + cos(pi * step / steps))


@dataclass(frozen=True, eq=False)
class Teacher:
    """A network whose logits the trained one is pulled towards (Hinton et al., 2015).

    Parameters
    ----------
    model
        Left as it is; in evaluation mode.
    weight
        Of the distance between softened logits, beside the labels' cross entropy.
    temperature
        Of the softmax.
    """

    model: nn.Module
    weight: float = 0.2
    temperature: float = 4.0

    def __post_init__(self) -> None:
        self.check(self.weight)
        if not self.temperature > 0:
            raise ValueError(f"Teacher.temperature must be positive, not {self.temperature!r}")

    @staticmethod
    def check(weight: float) -> None:
        """ValueError for a weight that `Teacher` would refuse."""
        if not (weight > 0 and isfinite(weight)):
            raise ValueError(f"Teacher.weight must be finite and positive, not {weight!r}")

    @torch.no_grad()
    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """What the teacher says of ``images``, float32."""
        return self.model(images).float()

    def loss(self, logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """``weight`` times the distance of ``logits`` from the teacher's."""
        return self.weight * distillation_loss(logits, wanted, self.temperature)


def fine_tune(model: nn.Module, loader: Iterable, aware: NoiseAware,
              schedule: Descent | None = None,
              progress: Callable[[str, float], None] | None = None,
              dtype: torch.dtype = torch.float32, teacher: Teacher | None = None) -> None:
    """Train ``model`` in place with weight noise.

    Parameters
    ----------
    loader
        Gives (images, labels) anew per epoch.
    progress
        Called with a text and the share done after each step where ``loader`` has a length,
        after each epoch where it has none.
    dtype
        Of the layers' arithmetic: torch.bfloat16 is faster on some processors. Weights, their
        noise and their updates are float32 in any case.
    teacher
        Another network to learn from, beside the labels.

    The model is left in evaluation mode.
    """
    plan = schedule if schedule is not None else Schedule()
    length = len(loader) if isinstance(loader, Sized) else None
    steps = None if length is None else plan.epochs * length
    plan.rate_at(0, 0, steps)  # refuses a loader that it cannot use, before any work
    optimiser = plan.optimiser(model.parameters())
    model.train()
    done = 0
    for epoch in range(plan.epochs):
        for images, labels in loader:
            for group in optimiser.param_groups:
                group["lr"] = plan.rate_at(epoch, done, steps)
            with aware.noisy():
                with torch.autocast(labels.device.type, dtype, enabled=dtype != torch.float32):
                    logits = model(images)
                    wanted = None if teacher is None else teacher.logits(images)
                loss = functional.cross_entropy(logits.float(), labels)
                if teacher is not None:
                    loss = loss + teacher.loss(logits.float(), wanted)
                optimiser.zero_grad()
                loss.backward()
            optimiser.step()
            aware.clip_weights()
            done += 1
            if progress is not None and steps:
                progress("train", done / steps)
        if progress is not None and not steps:
            progress("train", (epoch + 1) / plan.epochs)
    model.eval()
