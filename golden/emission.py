"""From a finished mapping to a program: descriptors, coefficients, constants, addresses."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from torch import Tensor

from .allocation import allocate, pixel_words, tensor_words
from .chip import ACTIVATIONS_PER_WORD, Chip
from .chip.descriptor import Opcode
from .graph import Add, Input, Node, Pool, Weighted
from .mapping import Layer, Mapping
from .program import Convolution, Elementwise, Program, ProgramError, Transfer, Window
from .program import Layer as ProgramLayer
from .quantise import elementwise_requantization, requantization
from .schedule import early_stops
from .timing_convolution import convolution_timing

__all__ = ["emit", "faster_mode", "mode_clocks"]


def _tiled(coefficients: Tensor, chip: Chip) -> np.ndarray:
    """int8 [chunks, tiles, columns, kernels] of [chunks, N, kernels]."""
    chunks, _, kernels = coefficients.shape
    return coefficients.numpy().astype(np.int8).reshape(chunks, chip.tiles, chip.array.columns,
                                                        kernels)


def _window(node: Node, source: Node, kernel: tuple[int, int] = (1, 1), stride: int = 1,
            pad_left: int = 0, pad_top: int = 0) -> Window:
    return Window(source.shape[2], source.shape[1], node.shape[2], node.shape[1], kernel[1],
                  kernel[0], stride, pad_left, pad_top)


def _passes_of(node: Weighted, source: Node, layer: Layer, chip: Chip, stream: bool
               ) -> Iterator[tuple[slice, Convolution]]:
    """Passes of a layer, one per range of kernels that the accumulators hold.

    Without addresses, requantizer constants and early stops, none of which sets their clocks.
    """
    chunking = layer.chunking
    kernel = tuple(node.weight.shape[2:])
    whole = (kernel, node.pad_top, node.pad_left) == (source.shape[1:], 0, 0)
    if whole and chunking.blocks == 1:
        # The window is the whole input, in the order of the buffer: read it as one pixel. So a
        # linear layer may be larger than the window fields of a descriptor.
        window = Window(1, 1, 1, 1)
        source_words, block_words, blocks = tensor_words(source), chunking.window_words, 1
    else:
        window = _window(node, source, kernel, node.stride, node.pad_left, node.pad_top)
        source_words = pixel_words(source)
        block_words, blocks = chunking.block_words, chunking.blocks
    coefficients = _tiled(layer.coefficients, chip)
    kernels, most = node.shape[0], chip.accumulator.kernels
    for start in range(0, kernels, most):
        part = slice(start, min(start + most, kernels))
        size = part.stop - part.start
        yield part, Convolution(
            name=node.name if kernels <= most else f"{node.name}[{start}:]",
            window=window, source=0, destination=0, source_pixel_words=source_words,
            destination_pixel_words=pixel_words(node), block_words=block_words, blocks=blocks,
            chunk_words=chunking.chunk_words, relu=node.relu, stream=stream,
            resolution=layer.resolution, reference=layer.reference, averaging=layer.averaging,
            coefficients=np.ascontiguousarray(coefficients[..., part]),
            multiplier=np.ones(size, np.int64), bias=np.zeros(size, np.int64),
            shift=np.zeros(size, np.int64), stop=np.zeros(size, bool))


def mode_clocks(node: Weighted, source: Node, layer: Layer, chip: Chip, stream: bool) -> int:
    """Clocks of a layer in merge or stream mode, exactly, if no conversion stops early.

    ``source`` is the node whose tensor the layer reads.
    """
    return sum(convolution_timing(chip, convolution).clocks
               for _, convolution in _passes_of(node, source, layer, chip, stream))


def faster_mode(node: Weighted, source: Node, layer: Layer, chip: Chip) -> bool:
    """Whether stream mode takes fewer clocks than merge mode, of which plain mapping is a case."""
    merge, stream = (mode_clocks(node, source, layer, chip, mode) for mode in (False, True))
    return stream < merge


def _convolutions(node: Weighted, source: Node, mapping: Mapping, addresses: dict[str, int]
                  ) -> Iterator[Convolution]:
    chip, layer = mapping.chip, mapping.layers[node.name]
    constants = requantization(layer.gain, layer.bias, chip.requantizer)
    for part, convolution in _passes_of(node, source, layer, chip, layer.stream):
        made = replace(
            convolution, source=addresses[source.name],
            destination=addresses[node.name] + part.start // ACTIVATIONS_PER_WORD,
            multiplier=constants.multiplier[part].numpy(), bias=constants.bias[part].numpy(),
            shift=constants.shift[part].numpy())
        yield replace(made, stop=early_stops(made, chip))


def _elementwise(node: Add | Pool, mapping: Mapping, addresses: dict[str, int]) -> Elementwise:
    graph, chip = mapping.graph, mapping.chip
    first = graph[node.inputs[0]]
    multipliers, shift = [1], 0
    second: dict[str, int] = {}
    if isinstance(node, Add) or not node.maximum:
        multipliers, shift = elementwise_requantization(node, mapping.scales, chip.requantizer)
    if isinstance(node, Add):
        opcode, window, other = Opcode.ADD, _window(node, first), graph[node.inputs[1]]
        second = dict(
            second_source=addresses[other.name], second_pixel_words=pixel_words(other),
            second_stride=node.second_stride, second_width=other.shape[2],
            second_offset=node.second_offset // ACTIVATIONS_PER_WORD,
            second_words=pixel_words(other), second_multiplier=multipliers[1])
    else:
        opcode = Opcode.MAX_POOL if node.maximum else Opcode.AVERAGE_POOL
        window = _window(node, first, node.kernel, node.stride, node.pad_left, node.pad_top)
    return Elementwise(
        name=node.name, opcode=opcode, window=window, source=addresses[first.name],
        destination=addresses[node.name], source_pixel_words=pixel_words(first),
        destination_pixel_words=pixel_words(node), channel_words=pixel_words(node),
        relu=node.relu, multiplier=multipliers[0], bias=0, shift=shift, **second)


def emit(mapping: Mapping, name: str) -> Program:
    """The program of a finished mapping; ProgramError if the chip is too small."""
    graph, chip = mapping.graph, mapping.chip
    addresses = dict(allocate(graph, chip))
    layers: list[ProgramLayer] = []
    for node in graph.nodes:
        if isinstance(node, Input):
            layers.append(Transfer(node.name, True, addresses[node.name], tensor_words(node)))
        elif isinstance(node, Weighted):
            layers += _convolutions(node, graph[node.inputs[0]], mapping, addresses)
        elif isinstance(node, (Add, Pool)):
            layers.append(_elementwise(node, mapping, addresses))
    output = graph.output
    layers.append(Transfer("output", False, addresses[output.name], tensor_words(output)))
    channels, height, width = graph.input.shape
    vectors = mapping.vectors.reshape(chip.tiles, chip.array.columns, chip.array.rows)
    program = Program(
        chip, np.ascontiguousarray(vectors.transpose(1, 2).numpy().astype(np.int8)),
        np.zeros((chip.tiles, 1 << chip.converter.bits), np.int64), tuple(layers),
        (height, width, channels), mapping.scales[graph.input.name],
        mapping.scales[output.name], int(np.prod(output.shape)), name)
    try:
        program.images()
    except ProgramError:
        raise
    except ValueError as error:  # a geometry that the descriptor's fields cannot hold
        raise ProgramError(f"network {name!r} does not fit the descriptors: {error}") from None
    return program
