"""Clocks: the recurrences of golden.timing against the chip's counters, layer by layer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from golden.chip import Phases, preset
from golden.chip.descriptor import Opcode
from golden.execute import execute
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.program import Calibration, Convolution, Elementwise, Program, Transfer, Window
from golden.timing import convolution_timings, layer_clocks, program_clocks
from sim.fast import run_on_rtl
from sim.random_programs import random_images, random_program

#: Phase lengths, shortest, the reset values, and such that each phase stands out.
PHASES = (Phases(1, 1, 1, 1, 1, 1, 1), None, Phases(5, 9, 3, 7, 4, 6, 2))
RANDOM_PROGRAMS = 60
#: The trained programs.
PROGRAMS = Path(__file__).parents[2] / "programs"


def kind(layer):
    """What a layer's clocks depend on beside its sizes."""
    if isinstance(layer, Convolution):
        return "stream" if layer.stream else "merge"
    if isinstance(layer, Elementwise):
        return layer.opcode.name
    if isinstance(layer, Calibration):
        return layer.measure.name
    return "load" if layer.load else "store"


def shape(layer):
    """A key that tells layers of different shape apart."""
    if isinstance(layer, Transfer):
        return kind(layer), layer.count
    if isinstance(layer, Calibration):
        return kind(layer), layer.words, layer.columns, layer.resolution, layer.averaging
    window = layer.window
    if isinstance(layer, Elementwise):
        return kind(layer), window, layer.channel_words
    return (kind(layer), window, layer.chunks, layer.row_groups, layer.chunk_words,
            layer.kernels, layer.columns, layer.resolution, layer.averaging,
            layer.coefficients.tobytes())


def compare(program, images, phases, seed):
    """Run ``images`` and compare every counter that tells of time; what the RTL did."""
    macro = Macro(program.chip, MacroPhysics(), program.weights, seed)
    golden = execute(program, macro, images, seed, trace=True)
    rtl = run_on_rtl(program, macro, images, seed, phases=phases)
    for index, image in enumerate(rtl.images):
        expected = layer_clocks(program, phases, golden.layers, index)
        timings = convolution_timings(program, phases, golden.layers, index).values()
        assert image.layers["cycles"][:-1].tolist() == expected
        assert image.counters["cycles"] == program_clocks(expected)
        assert image.counters["converting"] == sum(t.converting[0] for t in timings)
        assert image.counters["conversions"] == sum(t.conversions for t in timings)
        assert image.counters["products"] == sum(t.products for t in timings)
    return rtl.images


def test_random_layers():
    """At least 200 different layer shapes of every kind, difference zero."""
    chip = preset("tiny")
    shapes, kinds = set(), set()
    for seed in range(RANDOM_PROGRAMS):
        program = random_program(chip, seed)
        assert len(compare(program, random_images(program, 2, seed), PHASES[seed % 3], seed)) == 2
        shapes |= {shape(layer) for layer in program.layers}
        kinds |= {kind(layer) for layer in program.layers}
    assert kinds == {"merge", "stream", "load", "store", "ADD", "AVERAGE_POOL", "MAX_POOL",
                     "OFFSET", "REFERENCE", "GAIN"}
    assert len(shapes) >= 200


def sampled(program):
    """``program`` with every image shrunk fourfold in both directions: a corner of each layer."""
    def shrunk(window):
        names = ["in_width", "in_height", "out_width", "out_height"]
        if window.kernel_width > 3:  # a pool over the whole image
            names += ["kernel_width", "kernel_height"]
        return replace(window, **{name: -(-getattr(window, name) // 4) for name in names})

    layers = []
    for layer in program.layers:
        if isinstance(layer, Transfer):
            layers.append(replace(layer, count=layer.count // 16) if layer.load else layer)
            continue
        changes = {"window": shrunk(layer.window)}
        if isinstance(layer, Elementwise) and layer.opcode is Opcode.ADD:
            changes["second_width"] = layer.second_width // 4
        layers.append(replace(layer, **changes))
    height, width, channels = program.input_shape
    return replace(program, layers=tuple(layers), input_shape=(height // 4, width // 4, channels))


@pytest.mark.parametrize("name", ["resnet20_256", "resnet20_256_contest"])
def test_layers_of_resnet20(name):
    """Every layer of the trained programs, a sixteenth of its positions; merge and stream."""
    whole = Program.load(PROGRAMS / f"{name}.safetensors", preset("default"))
    program = sampled(whole)
    image, = compare(program, random_images(program, 1, 0), None, 0)
    weighted = [layer for layer in program.layers if isinstance(layer, Convolution)]
    assert len(weighted) == 20 and {layer.stream for layer in weighted} == {False, True}
    positions = [layer.window.positions for layer in weighted]
    assert positions == [-(-layer.window.positions // 16) for layer in whole.layers
                         if isinstance(layer, Convolution)]
    assert image.counters["cycles"] > 100_000


def steady_program(chip, stream, size, channels=16, kernels=16):
    """A 3x3 convolution over ``size * size`` positions, dense enough to keep a converter busy."""
    rng = np.random.default_rng(3)
    words = channels // 4
    window = Window(size, size, size, size, 3, 3, 1, 1, 1)
    columns = chip.array.columns
    coefficients = np.zeros((1, chip.tiles, columns, kernels), np.int8)
    coefficients[0] = rng.integers(-chip.accumulator.coefficient_limit,
                                   chip.accumulator.coefficient_limit + 1,
                                   coefficients.shape[1:])
    count = size * size * words
    layer = Convolution(
        "convolution", window, 0, count, words, kernels // 4, words, 1, 9 * words, False, stream,
        chip.converter.bits, 1 << 14, coefficients, np.full(kernels, 40), np.zeros(kernels, int),
        np.full(kernels, 12), np.zeros(kernels, bool))
    weights = rng.integers(-128, 128, (chip.tiles, chip.array.rows, columns)).astype(np.int8)
    return Program(chip, weights, np.zeros((chip.tiles, 1 << chip.converter.bits), np.int64),
                   (Transfer("load", True, 0, count), layer,
                    Transfer("store", False, count, kernels // 4)),
                   (size, size, channels), 1.0, 1.0, kernels)


@pytest.mark.parametrize("mode", ("stream", "merge"))
def test_converters_are_never_idle(mode):
    """ADC busy in at least 99 % of the clocks inside a convolution of 64 positions, `default`.

    The share holds for the whole layer, descriptor fetch to drain, and for what a larger image
    adds: the steady state alone.
    """
    chip = preset("default")
    clocks, converting = [], []
    for size in (8, 10):
        program = steady_program(chip, mode == "stream", size)
        image, = compare(program, random_images(program, 1, size), None, size)
        clocks.append(int(image.layers["cycles"][1]))
        converting.append(image.counters["converting"])
        assert convolution_timings(program)[1].occupancy >= 0.99
        assert converting[-1] / clocks[-1] >= 0.99
    steady = (converting[1] - converting[0]) / (clocks[1] - clocks[0])
    assert steady >= 0.99
