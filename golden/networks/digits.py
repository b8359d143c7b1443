"""A small residual network for 8x8 digits, trained in seconds."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data import Split

__all__ = ["INPUT_SHAPE", "DigitsNetwork", "train", "accuracy"]

#: Height, width and channels of an image.
INPUT_SHAPE = (8, 8, 1)


class DigitsNetwork(nn.Module):
    """Three convolutions, a residual add, maximum and average pooling, and a linear layer.

    Takes images [batch, 1, 8, 8] of 0 to 1, gives logits [batch, 10].
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(16)
        self.pool = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(32)
        self.linear = nn.Linear(32, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of ``images``."""
        first = functional.relu(self.norm1(self.conv1(images)))
        second = functional.relu(first + self.norm2(self.conv2(first)))
        third = functional.relu(self.norm3(self.conv3(self.pool(second))))
        return self.linear(third.mean((2, 3)))


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of ``labels`` that the largest of ``logits`` [images, classes] hits."""
    return float((logits.argmax(dim=1) == labels).double().mean())


def _shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Every image moved by -1, 0 or 1 pixel both ways, zeros moved in."""
    height, width = images.shape[2:]
    padded = functional.pad(images, (1, 1, 1, 1))
    offset = torch.randint(0, 3, (2, len(images), 1), generator=generator)
    rows = (offset[0] + torch.arange(height))[:, None, :, None]
    columns = (offset[1] + torch.arange(width))[:, None, None, :]
    batch = torch.arange(len(images))[:, None, None, None]
    channel = torch.arange(images.shape[1])[None, :, None, None]
    return padded[batch, channel, rows, columns]


def train(split: Split, seed: int = 0, epochs: int = 60,
          progress: Callable[[str, float], None] | None = None) -> DigitsNetwork:
    """A trained network in evaluation mode, float32; the same for the same ``seed``.

    Trained in float64: what number of threads and which instructions sum in which order then
    disappears when the weights are rounded, where in float32 it gave another network.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, not {epochs!r}")
    generator = torch.Generator().manual_seed(seed)
    network = DigitsNetwork()
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, generator=generator)
    nn.init.zeros_(network.linear.bias)
    network.double()
    images = split.images.double()
    batch = 64
    steps = -(-len(split.labels) // batch)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, epochs * steps)
    network.train()
    for epoch in range(epochs):
        order = torch.randperm(len(split.labels), generator=generator)
        for part in order.split(batch):
            loss = functional.cross_entropy(network(_shifted(images[part], generator)),
                                            split.labels[part])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        if progress is not None:
            progress("train", (epoch + 1) / epochs)
    return network.float().eval()
