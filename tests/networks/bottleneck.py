"""A network that Crossloom was not developed with: grouped and depthwise, with projections."""

import torch
from torch import Tensor, nn


class Bottleneck(nn.Module):
    """1x1, grouped 3x3, 1x1, with a projected shortcut."""

    def __init__(self, inputs: int, middle: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(inputs, middle, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(middle)
        self.grouped = nn.Conv2d(middle, middle, 3, stride, 1, groups=4, bias=False)
        self.norm2 = nn.BatchNorm2d(middle)
        self.expand = nn.Conv2d(middle, outputs, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                                      nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.norm1(self.reduce(x)))
        y = self.relu(self.norm2(self.grouped(y)))
        return self.relu(self.norm3(self.expand(y)) + self.shortcut(x))


class Network(nn.Module):
    """Stem of 5x5 and max pooling, two bottlenecks, a depthwise convolution, two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 5, 2, 2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.first = Bottleneck(12, 8, 24, 1)
        self.second = Bottleneck(24, 16, 40, 2)
        self.depthwise = nn.Conv2d(40, 40, 3, 1, 1, groups=40)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.hidden = nn.Linear(40, 20)
        self.classes = nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(torch.relu(self.stem(x)))
        x = self.second(self.first(x))
        x = torch.relu(self.depthwise(x))
        x = torch.flatten(self.average(x), 1)
        return self.classes(torch.relu(self.hidden(x)))


def bottleneck() -> nn.Module:
    """Random weights from seed 5."""
    torch.manual_seed(5)
    return Network().eval()
