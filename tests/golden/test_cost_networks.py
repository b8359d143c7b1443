"""Shapes of the named networks: published counts, layers by hand, what the chip can hold."""

from dataclasses import fields

import pytest

from golden.chip import preset
from golden.chip.descriptor import Opcode, encode
from golden.cost import NETWORKS, named_network, shapes_of_module
from golden.cost.cuts import cut_layer, partial_sums
from golden.cost.shapes import (
    AddShape, ConvolutionShape, MatmulShape, Network, PoolShape, linear_shape,
)
from golden.networks.digits import DigitsNetwork
from golden.program import Window

# Parameters as torchvision and timm state them (and He et al.'s 0.27 M and 0.46 M); million MACs
# as published, to the digits given there.
PUBLISHED = {
    "resnet18": (11_689_512, 1_814, 1), "resnet34": (21_797_672, 3_664, 1),
    "resnet50": (25_557_032, 4_089, 1), "densenet121": (7_978_856, 2_834, 1),
    "densenet169": (14_149_480, 3_360, 1), "mobilenet_v2": (3_504_872, 301, 1),
    "vgg16": (138_357_544, 15_470, 1), "vit_small": (22_050_664, 4_599, 1),
    "resnet18_cifar100": (11_220_132, 555, 1), "resnet34_cifar100": (21_328_292, 1_159, 1),
    "densenet121_cifar100": (7_048_548, 888, 1), "resnet20": (269_722, 40.6, 0.1),
    "resnet32": (464_154, 68.9, 0.1),
}


def test_every_network_has_a_published_count():
    assert set(PUBLISHED) == set(NETWORKS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name):
    network, (parameters, macs, digit) = named_network(name), PUBLISHED[name]
    assert network.name == name
    assert network.parameters == parameters
    assert abs(network.macs / 1e6 - macs) < digit


def test_resnet20_by_hand():
    """Weights and MACs written out layer by layer."""
    weights = [16 * 3 * 9] + [16 * 16 * 9] * 6 + [32 * 16 * 9] + [32 * 32 * 9] * 5
    weights += [64 * 32 * 9] + [64 * 64 * 9] * 5 + [640]
    pixels = [1024] * 7 + [256] * 6 + [64] * 6 + [1]
    layers = named_network("resnet20").convolutions
    assert [layer.weights for layer in layers] == weights
    assert [layer.macs for layer in layers] == [
        w * p for w, p in zip(weights, pixels, strict=True)]


def test_unknown_name():
    with pytest.raises(ValueError, match="network must be one of resnet18, .*, not 'alexnet'"):
        named_network("alexnet")


def test_convolution_geometry():
    layer = ConvolutionShape("x", 3, 64, 224, 224, 7, 7, 2, 3, 3, 3, 3)
    assert (layer.out_height, layer.out_width, layer.weights) == (112, 112, 64 * 147)
    assert linear_shape("x", 10, 5, 3).macs == 150 and linear_shape("x", 10, 5).parameters == 55
    depthwise = ConvolutionShape("x", 32, 32, 8, 8, 3, 3, 1, 1, 1, 1, 1, groups=32)
    assert depthwise.weights == 32 * 9 and depthwise.macs == 64 * 32 * 9
    assert MatmulShape("x", 2, 3, 5, 7).macs == 210


@pytest.mark.parametrize("values, message", [
    (dict(channels=0), "channels must be an integer of at least 1, not 0"),
    (dict(groups=2), "groups must divide channels"),
    (dict(kernel_height=9), "a window of 9x1 does not fit an image of 8x8"),
    (dict(stride=1.5), "stride must be an integer of at least 1, not 1.5"),
])
def test_bad_convolutions(values, message):
    given = dict(name="x", channels=3, kernels=4, in_height=8, in_width=8) | values
    with pytest.raises(ValueError, match=message):
        ConvolutionShape(**given)


def test_a_network_needs_layers():
    with pytest.raises(ValueError, match="'x' has no layer"):
        Network("x", (1, 1, 1), ())


@pytest.mark.parametrize("chip", ["default", "large"])
@pytest.mark.parametrize("name", NETWORKS)
def test_cuts_cover_the_layer_and_fit_the_descriptor(name, chip):
    chip = preset(chip)
    for layer in named_network(name).convolutions:
        cuts = cut_layer(layer, chip)
        covered = sum(cut.count * cut.kernels for cut in cuts)
        assert covered == layer.kernels * partial_sums(layer, chip)
        weights = sum(cut.count * cut.kernels * cut.window_words * 4 for cut in cuts)
        assert weights >= layer.weights
        for cut in cuts:
            assert cut.window.positions == layer.positions
            assert cut.kernels <= chip.accumulator.kernels
            assert cut.chunks <= chip.accumulator.products
            assert cut.chunk_words <= chip.array.row_words
            assert (cut.chunks - 1) * cut.chunk_words < cut.window_words
            assert cut.window_words <= cut.chunks * cut.chunk_words
            encode(Opcode.CONVOLVE, relu=0, stream=1, resolution=8, averaging=0, source=0,
                   destination=0,
                   source_pixel_words=cut.source_pixel_words,
                   destination_pixel_words=cut.destination_pixel_words,
                   block_words=cut.block_words, blocks=cut.blocks, chunk_words=cut.chunk_words,
                   chunks=cut.chunks, row_groups=1, group_granules=1, kernels=cut.kernels,
                   columns=1, constants=0, coefficients=0, reference=1,
                   **{f.name: getattr(cut.window, f.name) for f in fields(Window)})


def test_cuts_by_hand():
    chip = preset("default")  # 36 words a chunk, 64 kernels, 64 products

    def cuts(*args, **more):
        return [(cut.count, cut.chunks, cut.chunk_words, cut.kernels)
                for cut in cut_layer(ConvolutionShape("x", *args, **more), chip)]

    assert cuts(16, 16, 8, 8, 3, 3) == [(1, 1, 36, 16)]
    assert cuts(64, 130, 8, 8, 3, 3) == [(2, 4, 36, 64), (1, 4, 36, 2)]
    # 16 channels of a depthwise layer fill a chunk: 24 words of 4 channels in 6 packs.
    assert cuts(96, 96, 8, 8, 3, 3, groups=96) == [(6, 1, 36, 16)]
    assert cuts(8, 8, 8, 8, 3, 3, groups=8) == [(1, 1, 18, 8)]
    # 25,088 inputs are 6,272 words, 175 chunks: three parts of at most 64.
    assert cuts(25088, 64, 1, 1) == [(2, 59, 36, 64), (1, 59, 36, 64)]
    assert partial_sums(ConvolutionShape("x", 25088, 64, 1, 1), chip) == 3


def test_windows_that_do_not_fit():
    chip = preset("default")
    with pytest.raises(ValueError, match="a window of 17x17, stride 1"):
        cut_layer(ConvolutionShape("x", 3, 8, 32, 32, 17, 17), chip)
    with pytest.raises(ValueError, match="needs more than the 16 products"):
        cut_layer(ConvolutionShape("x", 4, 8, 32, 32, 9, 9), preset("tiny"))


def test_shapes_of_a_module():
    network = shapes_of_module(DigitsNetwork(), (8, 8, 1))
    found = [(type(layer), layer.macs) for layer in network.layers]
    assert found == [
        (ConvolutionShape, 64 * 16 * 9), (ConvolutionShape, 64 * 16 * 144), (AddShape, 0),
        (PoolShape, 0), (ConvolutionShape, 4 * 32 * 144), (PoolShape, 0),
        (ConvolutionShape, 320)]
    assert network.input_shape == (1, 8, 8)
