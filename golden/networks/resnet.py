"""ResNet for CIFAR-10 with option-A shortcuts (He et al., 2016, section 4.2)."""

from pathlib import Path
import os

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["INPUT_SHAPE", "MEAN", "DEVIATION", "ResNet", "augmented", "load_resnet", "normalise"]

#: Height, width and channels of an image.
INPUT_SHAPE = (32, 32, 3)
#: Per channel, as the published weights were trained (github.com/akamaster/pytorch_resnet_cifar10).
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut without weights."""

    def __init__(self, channels: int, kernels: int) -> None:
        super().__init__()
        self.stride = 1 if channels == kernels else 2
        self.padding = (kernels - channels) // 2
        self.conv1 = nn.Conv2d(channels, kernels, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(kernels)
        self.conv2 = nn.Conv2d(kernels, kernels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(kernels)

    def forward(self, images: Tensor) -> Tensor:
        """The block's output, [batch, kernels, height, width]."""
        result = functional.relu(self.bn1(self.conv1(images)), inplace=True)
        result = self.bn2(self.conv2(result))
        if self.stride != 1:
            images = functional.pad(images[:, :, ::2, ::2],
                                    (0, 0, 0, 0, self.padding, self.padding))
        # In place: no gradient needs what a normalisation gives, and training peaks 30 MiB lower.
        result += images
        return functional.relu(result, inplace=True)


class ResNet(nn.Module):
    """ResNet of ``depth`` 6n + 2 layers: 16, 32 and 64 kernels, n blocks each.

    Takes normalised images [batch, 3, 32, 32], gives logits [batch, 10].
    """

    def __init__(self, depth: int = 20) -> None:
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"depth must be 6n + 2 with n at least 1, not {depth!r}")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, blocks)
        self.layer2 = self._stage(16, 32, blocks)
        self.layer3 = self._stage(32, 64, blocks)
        self.linear = nn.Linear(64, 10)

    @staticmethod
    def _stage(channels: int, kernels: int, blocks: int) -> nn.Sequential:
        return nn.Sequential(_Block(channels, kernels),
                             *(_Block(kernels, kernels) for _ in range(blocks - 1)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of ``images``."""
        result = functional.relu(self.bn1(self.conv1(images)), inplace=True)
        result = self.layer3(self.layer2(self.layer1(result)))
        return self.linear(result.mean((2, 3)))


def load_resnet(path: str | os.PathLike[str]) -> ResNet:
    """The network whose weights the safetensors file ``path`` holds; its depth is read off them.

    Raises ValueError, naming the file, for one that is missing or holds something else.
    """
    if not Path(path).is_file():
        raise ValueError(f"no weights file {str(path)!r}: give the path of a safetensors file "
                         "with the weights of a CIFAR-10 ResNet, option-A shortcuts")
    try:
        state = {name.removeprefix("module."): value for name, value in load_file(path).items()}
        blocks = len({name.split(".")[1] for name in state if name.startswith("layer1.")})
        network = ResNet(6 * blocks + 2)
        network.load_state_dict(state)
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise ValueError(f"{str(path)!r} does not hold a CIFAR-10 ResNet: {error}") from None
    return network.eval()


def normalise(images: Tensor) -> Tensor:
    """Float network input of uint8 images [batch, 3, 32, 32]."""
    mean = torch.tensor(MEAN)[:, None, None]
    return (images.float() / 255 - mean) / torch.tensor(DEVIATION)[:, None, None]


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """`normalise` of randomly flipped and shifted uint8 images [batch, 3, 32, 32].

    Black borders of four pixels and a random crop, as He et al. do, but the same crop for the
    whole batch, which is cheaper and over many batches as varied.
    """
    padded = functional.pad(images, (4, 4, 4, 4))
    top, left = torch.randint(0, 9, (2,), generator=generator).tolist()
    cropped = padded[:, :, top:top + images.shape[2], left:left + images.shape[3]]
    flipped = torch.rand(len(images), generator=generator) < 0.5
    return normalise(torch.where(flipped[:, None, None, None], cropped.flip(3), cropped))
