"""Shapes of published networks, by name.

ImageNet size means 224x224 pixels and 1000 classes, as in the papers and in torchvision; CIFAR
size 32x32. Residual networks: He et al., "Deep Residual Learning for Image Recognition", 2016.
Densely connected: Huang et al., 2017. MobileNetV2: Sandler et al., 2018. VGG: Simonyan and
Zisserman, 2015. Vision transformer: Dosovitskiy et al., 2021, in the small size (384 wide, 6
heads) of Touvron et al., 2021.
"""

from collections.abc import Callable, Sequence
from functools import partial

from .shapes import (
    AddShape, ConvolutionShape, LayerShape, MatmulShape, Network, PoolShape, linear_shape,
)

__all__ = ["NETWORKS", "IMAGENET", "CIFAR", "named_network"]


class _Builder:
    """Layers so far, and the shape of the tensor that the next one takes."""

    def __init__(self, name: str, size: int, channels: int = 3) -> None:
        self.name = name
        self.input_shape = (channels, size, size)
        self.channels, self.height, self.width = self.input_shape
        self.layers: list[LayerShape] = []
        self.other_parameters = 0

    def convolution(self, name: str, kernels: int, size: int = 1, stride: int = 1, groups: int = 1,
                    norm: bool = True, bias: bool = False) -> None:
        """With padding (size - 1) / 2; the batch norm after it folds into the weights."""
        pad = (size - 1) // 2
        layer = ConvolutionShape(name, self.channels, kernels, self.height, self.width, size, size,
                                 stride, pad, pad, pad, pad, groups, bias)
        self.layers.append(layer)
        if norm:
            self.other_parameters += 2 * kernels
        self.channels, self.height, self.width = kernels, layer.out_height, layer.out_width

    def pool(self, name: str, size: int, stride: int, pad: int = 0) -> None:
        height, width = ((n + 2 * pad - size) // stride + 1 for n in (self.height, self.width))
        self.layers.append(PoolShape(name, self.channels, self.height, self.width, height, width,
                                     size, size, stride))
        self.height, self.width = height, width

    def global_pool(self, name: str = "pool") -> None:
        self.layers.append(PoolShape(name, self.channels, self.height, self.width, 1, 1,
                                     self.height, self.width))
        self.height = self.width = 1

    def separate_norm(self, name: str) -> None:
        """A norm that no convolution absorbs: one pass over the tensor."""
        self.other_parameters += 2 * self.channels
        self.layers.append(PoolShape(name, self.channels, self.height, self.width, self.height,
                                     self.width))

    def add(self, name: str) -> None:
        self.layers.append(AddShape(name, self.channels, self.height, self.width))

    def linear(self, name: str, outputs: int) -> None:
        self.layers.append(linear_shape(name, self.channels * self.height * self.width, outputs))
        self.channels, self.height, self.width = outputs, 1, 1

    def network(self) -> Network:
        return Network(self.name, self.input_shape, tuple(self.layers), self.other_parameters)


def _projection(build: _Builder, name: str, source: tuple[int, int, int], kernels: int,
                stride: int) -> None:
    """The 1x1 convolution of a shortcut, from ``source``; the main path's shape stays."""
    kept = build.channels, build.height, build.width
    build.channels, build.height, build.width = source
    build.convolution(name, kernels, stride=stride)
    build.channels, build.height, build.width = kept


def _resnet(name: str, blocks: Sequence[int], bottleneck: bool, imagenet: bool, classes: int
            ) -> Network:
    build = _Builder(name, 224 if imagenet else 32)
    if imagenet:
        build.convolution("conv1", 64, 7, 2)
        build.pool("maxpool", 3, 2, 1)
    else:
        build.convolution("conv1", 64, 3)
    for stage, count in enumerate(blocks):
        width = 64 << stage
        out = 4 * width if bottleneck else width
        for block in range(count):
            at = f"layer{stage + 1}.{block}"
            stride = 2 if stage and not block else 1
            source = build.channels, build.height, build.width
            if bottleneck:
                build.convolution(f"{at}.conv1", width)
                build.convolution(f"{at}.conv2", width, 3, stride)
                build.convolution(f"{at}.conv3", out)
            else:
                build.convolution(f"{at}.conv1", width, 3, stride)
                build.convolution(f"{at}.conv2", width, 3)
            if source != (build.channels, build.height, build.width):
                _projection(build, f"{at}.downsample", source, out, stride)
            build.add(f"{at}.add")
    build.global_pool()
    build.linear("fc", classes)
    return build.network()


def _thin_resnet(name: str, depth: int) -> Network:
    """The networks for CIFAR-10, whose shortcuts subsample and pad with zeros (option A)."""
    build = _Builder(name, 32)
    build.convolution("conv1", 16, 3)
    for stage in range(3):
        for block in range((depth - 2) // 6):
            at = f"layer{stage + 1}.{block}"
            build.convolution(f"{at}.conv1", 16 << stage, 3, 2 if stage and not block else 1)
            build.convolution(f"{at}.conv2", 16 << stage, 3)
            build.add(f"{at}.add")
    build.global_pool()
    build.linear("linear", 10)
    return build.network()


def _densenet(name: str, blocks: Sequence[int], imagenet: bool, classes: int) -> Network:
    growth = 32
    build = _Builder(name, 224 if imagenet else 32)
    if imagenet:
        build.convolution("conv0", 2 * growth, 7, 2)
        build.pool("pool0", 3, 2, 1)
    else:
        build.convolution("conv0", 2 * growth, 3, norm=False)
    for number, count in enumerate(blocks):
        for layer in range(count):
            at = f"denseblock{number + 1}.{layer + 1}"
            channels = build.channels
            build.separate_norm(f"{at}.norm1")
            build.convolution(f"{at}.conv1", 4 * growth)
            build.convolution(f"{at}.conv2", growth, 3, norm=False)
            build.channels = channels + growth
        if number < len(blocks) - 1:
            build.separate_norm(f"transition{number + 1}.norm")
            build.convolution(f"transition{number + 1}.conv", build.channels // 2, norm=False)
            build.pool(f"transition{number + 1}.pool", 2, 2)
    build.separate_norm("norm5")
    build.global_pool()
    build.linear("classifier", classes)
    return build.network()


def _mobilenet_v2() -> Network:
    build = _Builder("mobilenet_v2", 224)
    build.convolution("features.0", 32, 3, 2)
    number = 0
    for expansion, kernels, count, first_stride in (
            (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
            (6, 160, 3, 2), (6, 320, 1, 1)):
        for block in range(count):
            number += 1
            at, stride = f"features.{number}", 1 if block else first_stride
            source = build.channels, build.height, build.width
            hidden = build.channels * expansion
            if expansion > 1:
                build.convolution(f"{at}.expand", hidden)
            build.convolution(f"{at}.depthwise", hidden, 3, stride, groups=hidden)
            build.convolution(f"{at}.project", kernels)
            if source == (build.channels, build.height, build.width):
                build.add(f"{at}.add")
    build.convolution("features.18", 1280)
    build.global_pool()
    build.linear("classifier", 1000)
    return build.network()


def _vgg16() -> Network:
    build = _Builder("vgg16", 224)
    for stage, (kernels, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        for layer in range(count):
            build.convolution(f"conv{stage + 1}_{layer + 1}", kernels, 3, norm=False, bias=True)
        build.pool(f"pool{stage + 1}", 2, 2)
    for layer, outputs in enumerate((4096, 4096, 1000)):
        build.linear(f"fc{layer + 1}", outputs)
    return build.network()


def _vit_small() -> Network:
    width, heads, depth, patch = 384, 6, 12, 16
    tokens = (224 // patch) ** 2 + 1
    layers: list[LayerShape] = [ConvolutionShape(
        "patches", 3, width, 224, 224, patch, patch, patch, bias=True)]
    # Class token and position embeddings; then two numbers per channel of each layer norm.
    other = width + tokens * width + (2 * depth + 1) * 2 * width
    for block in range(depth):
        at = f"block{block + 1}"
        layers += [
            PoolShape(f"{at}.norm1", width, 1, tokens, 1, tokens),
            linear_shape(f"{at}.qkv", width, 3 * width, tokens),
            MatmulShape(f"{at}.scores", tokens, width // heads, tokens, heads),
            MatmulShape(f"{at}.mixture", tokens, tokens, width // heads, heads),
            linear_shape(f"{at}.projection", width, width, tokens),
            AddShape(f"{at}.add1", width, 1, tokens),
            PoolShape(f"{at}.norm2", width, 1, tokens, 1, tokens),
            linear_shape(f"{at}.mlp1", width, 4 * width, tokens),
            linear_shape(f"{at}.mlp2", 4 * width, width, tokens),
            AddShape(f"{at}.add2", width, 1, tokens),
        ]
    layers += [PoolShape("norm", width, 1, 1, 1, 1), linear_shape("head", width, 1000)]
    return Network("vit_small", (3, 224, 224), tuple(layers), other)


#: Networks at ImageNet size, and at CIFAR size, each a function that builds it.
IMAGENET: dict[str, Callable[[], Network]] = {
    "resnet18": partial(_resnet, "resnet18", (2, 2, 2, 2), False, True, 1000),
    "resnet34": partial(_resnet, "resnet34", (3, 4, 6, 3), False, True, 1000),
    "resnet50": partial(_resnet, "resnet50", (3, 4, 6, 3), True, True, 1000),
    "densenet121": partial(_densenet, "densenet121", (6, 12, 24, 16), True, 1000),
    "densenet169": partial(_densenet, "densenet169", (6, 12, 32, 32), True, 1000),
    "mobilenet_v2": _mobilenet_v2,
    "vgg16": _vgg16,
    "vit_small": _vit_small,
}
CIFAR: dict[str, Callable[[], Network]] = {
    "resnet18_cifar100": partial(_resnet, "resnet18_cifar100", (2, 2, 2, 2), False, False, 100),
    "resnet34_cifar100": partial(_resnet, "resnet34_cifar100", (3, 4, 6, 3), False, False, 100),
    "densenet121_cifar100": partial(_densenet, "densenet121_cifar100", (6, 12, 24, 16), False,
                                    100),
    "resnet20": partial(_thin_resnet, "resnet20", 20),
    "resnet32": partial(_thin_resnet, "resnet32", 32),
}
NETWORKS: dict[str, Callable[[], Network]] = IMAGENET | CIFAR


def named_network(name: str) -> Network:
    """The network called ``name``; ValueError, naming what there is, for any other."""
    if name not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(NETWORKS)}, not {name!r}")
    return NETWORKS[name]()
