"""Noise-aware training: weights see in training what they will see on the chip.

Joshi et al. (Nat. Commun. 2020): Gaussian noise on the weights of the forward and backward pass,
updates on the clean weights, standard deviation ``noise`` times the layer's largest weight; the
weights are clipped at ``clip`` of their standard deviations. 3.8 % is what their chip showed (0.94
of 25 uS); training starts from trained weights.
"""

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite

import torch
from torch import nn
from torch.nn import functional

__all__ = ["NoiseAware", "Schedule", "fine_tune"]


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
        Standard deviation over a layer's largest weight.
    clip
        Weights are kept within this many of their layer's standard deviations; None: not clipped.
    seed
        Of the noise.
    """

    def __init__(self, model: nn.Module, noise: float = 0.038, clip: float | None = 2.0,
                 seed: int = 0) -> None:
        self.check(noise, clip)
        self.weights = [module.weight for module in model.modules()
                        if isinstance(module, nn.Conv2d | nn.Linear)]
        if not self.weights:
            raise ValueError("model has no Conv2d or Linear layer to train")
        self.noise, self.clip = noise, clip
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
                    weight.add_(noise.mul_(self.noise * weight.abs().max()))
            yield
        finally:
            with torch.no_grad():
                for weight, kept in zip(self.weights, clean, strict=True):
                    weight.copy_(kept)

    @torch.no_grad()
    def clip_weights(self) -> None:
        """Clip every layer's weights at ``clip`` of their standard deviations."""
        if self.clip is not None:
            for weight in self.weights:
                bound = self.clip * weight.std()
                weight.copy_(weight.clamp(-bound, bound))


@dataclass(frozen=True)
class Schedule:
    """Stochastic gradient descent with momentum, the rate divided by ten once.

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
        for name, allowed, what in (("epochs", self.epochs >= 1, "at least 1"),
                                    ("drop_epoch", self.drop_epoch >= 0, "0 or more"),
                                    ("rate", self.rate > 0, "positive")):
            if not allowed:
                raise ValueError(f"Schedule.{name} must be {what}, not {getattr(self, name)!r}")

    @classmethod
    def of(cls, epochs: int, rate: float) -> "Schedule":
        """Of the given length and first rate, which drops after two thirds."""
        return cls(epochs, rate, drop_epoch=-(-2 * epochs // 3))


def fine_tune(model: nn.Module, loader: Iterable, aware: NoiseAware,
              schedule: Schedule | None = None,
              progress: Callable[[str, float], None] | None = None,
              dtype: torch.dtype = torch.float32) -> None:
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

    The model is left in evaluation mode.
    """
    plan = schedule if schedule is not None else Schedule()
    steps = len(loader) if isinstance(loader, Sized) else 0
    optimiser = torch.optim.SGD(model.parameters(), plan.rate, plan.momentum,
                                weight_decay=plan.decay)
    model.train()
    for epoch in range(plan.epochs):
        if epoch == plan.drop_epoch:
            for group in optimiser.param_groups:
                group["lr"] = plan.rate / 10
        for step, (images, labels) in enumerate(loader, 1):
            with aware.noisy():
                with torch.autocast(labels.device.type, dtype, enabled=dtype != torch.float32):
                    logits = model(images)
                loss = functional.cross_entropy(logits.float(), labels)
                optimiser.zero_grad()
                loss.backward()
            optimiser.step()
            aware.clip_weights()
            if progress is not None and steps:
                progress("train", (epoch + step / steps) / plan.epochs)
        if progress is not None and not steps:
            progress("train", (epoch + 1) / plan.epochs)
    model.eval()
