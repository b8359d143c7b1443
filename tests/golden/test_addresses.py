"""Words that layers read and write, and programs whose addresses make no sense."""

from dataclasses import replace

import numpy as np
import pytest

from golden.addresses import check_addresses, convolution_reads, layer_writes, window_pixels
from golden.chip import preset
from golden.chip.descriptor import Opcode
from golden.program import Convolution, Elementwise, Program, Transfer, Window
from sim.random_programs import chips, random_program


def test_window_pixels_by_hand():
    """3x3 window, stride 2, one pixel of padding, on an image two high and three wide."""
    window = Window(3, 2, 2, 1, 3, 3, 2, 1, 1)
    assert window_pixels(window).tolist() == [[-1, -1, -1, -1, 0, 1, -1, 3, 4],
                                              [-1, -1, -1, 1, 2, -1, 4, 5, -1]]


def convolution(window: Window, blocks: int, block_words: int, chunk_words: int, kernels: int = 1,
                **changes: int) -> Convolution:
    words = blocks * block_words * window.kernel_width * window.kernel_height
    chunks = -(-words // chunk_words)
    layer = Convolution(
        "convolution", window, 10, 100, blocks * block_words, 1, block_words, blocks, chunk_words,
        False, False, 6, 1, np.zeros((chunks, 2, 8, kernels), np.int8), np.ones(kernels, int),
        np.zeros(kernels, int), np.zeros(kernels, int), np.zeros(kernels, bool))
    return replace(layer, **changes)


def test_convolution_reads_by_hand():
    """Nest: block, ky, kx, word in block; chunks of three words, the last not full."""
    layer = convolution(Window(2, 1, 1, 1, 2, 1), blocks=2, block_words=2, chunk_words=3,
                        source_pixel_words=5)
    pixel0, pixel1 = 10, 15
    assert convolution_reads(layer).tolist() == [[
        [pixel0, pixel0 + 1, pixel1], [pixel1 + 1, pixel0 + 2, pixel0 + 3],
        [pixel1 + 2, pixel1 + 3, -1]]]


def test_convolution_writes_whole_words():
    layer = convolution(Window(2, 1, 2, 1), 1, 1, 1, kernels=5, destination_pixel_words=3)
    assert layer_writes(layer).tolist() == [[100, 101], [103, 104]]


def program(*layers: Convolution | Elementwise | Transfer) -> Program:
    chip = preset("tiny")
    return Program(chip, np.zeros((2, 16, 8), np.int8), np.zeros((2, 64), np.int64), layers,
                   (1, 1, 4), 1.0, 1.0, 1)


@pytest.mark.parametrize("chip", chips(), ids=lambda chip: chip.name)
def test_good_programs_pass(chip):
    for seed in range(3):
        check_addresses(random_program(chip, seed))


LOAD = Transfer("load", True, 10, 4)


def pool(window: Window, source: int, destination: int, words: int = 1) -> Elementwise:
    return Elementwise("pool", Opcode.MAX_POOL, window, source, destination, words, words, words,
                       False, 1, 0, 0)


@pytest.mark.parametrize("layers, message", [
    ((Transfer("load", True, 250, 7),), "layer 'load' writes word 256; .* has 256"),
    ((LOAD, Transfer("store", False, 254, 3)), "layer 'store' reads word 256"),
    ((LOAD, Transfer("store", False, 9, 2)), "layer 'store' reads word 9 .* nothing wrote"),
    ((LOAD, convolution(Window(5, 1, 5, 1), 1, 1, 1)), "'convolution' reads word 14 .* nothing"),
    ((LOAD, convolution(Window(4, 1, 4, 1), 1, 1, 1, destination=254)),
     "'convolution' writes word 257"),
    ((LOAD, convolution(Window(4, 1, 4, 1), 1, 1, 1, kernels=5)),
     "'convolution' writes a word of the activation buffer twice"),
    ((LOAD, convolution(Window(4, 1, 2, 1, 3, 1), 1, 1, 3, destination=11)),
     "'convolution' reads word 11 .* after writing it"),
    ((LOAD, pool(Window(2, 1, 2, 1), 10, 11, words=2)), "'pool' reads word 11 .* after writing"),
])
def test_bad_programs_are_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        check_addresses(program(*layers))


def test_working_in_place_is_allowed():
    """Each word is read before it is overwritten."""
    check_addresses(program(LOAD, pool(Window(4, 1, 4, 1), 10, 10),
                            convolution(Window(4, 1, 4, 1), 1, 1, 1, destination=10)))


def test_second_operand_is_checked():
    add = Elementwise("add", Opcode.ADD, Window(4, 1, 4, 1), 10, 20, 1, 1, 1, False, 1, 0, 0,
                      11, 1, 1, 4, 0, 1, 1)
    with pytest.raises(ValueError, match="layer 'add' reads word 14"):
        check_addresses(program(LOAD, add))
    check_addresses(program(LOAD, replace(add, second_words=0)))
