"""Residual add and pooling against plain loops: every word written, every clock counted."""

from collections import deque
from dataclasses import replace
from functools import partial
import random

import pytest

from golden.chip import PRESETS
from golden.chip.descriptor import FIELDS, Opcode, encode
from golden.program import Elementwise, Window
from golden.timing_elementwise import ELEMENTWISE_OVERHEAD, elementwise_clocks
from rtl.buffer import READ_CLOCKS
from rtl.elementwise import ElementwiseUnit
from tests.rtl.image_sizes import often_one, random_images
from tests.rtl.simulation import simulate

SIZE = 1 << 16
CHIP = PRESETS["tiny"]


def signed_bytes(word):
    return [((word >> (8 * i) & 0xFF) ^ 0x80) - 0x80 for i in range(4)]


def layer_of(opcode, window=None, **given):
    values = dict(name="layer", opcode=opcode, window=Window(**dict(
        dict(in_width=1, in_height=1, out_width=1, out_height=1), **(window or {}))),
        source=0, destination=0x8000, source_pixel_words=1, destination_pixel_words=1,
        channel_words=1, relu=False, multiplier=1, bias=0, shift=0)
    if opcode is Opcode.ADD:
        values.update(second_source=0x4000, second_pixel_words=1, second_stride=1,
                      second_width=1, second_offset=0, second_words=1, second_multiplier=1)
    values.update(given)
    return Elementwise(**values)


def descriptor(layer):
    window = layer.window
    values = {name: getattr(window, name) for name in (
        "in_width", "in_height", "out_width", "out_height", "kernel_width", "kernel_height",
        "stride", "pad_left", "pad_top")}
    names = ["source", "destination", "source_pixel_words", "destination_pixel_words",
             "channel_words", "multiplier", "bias", "shift"]
    if layer.opcode is Opcode.ADD:
        names += ["second_source", "second_pixel_words", "second_stride", "second_width",
                  "second_offset", "second_words", "second_multiplier"]
    values.update({name: getattr(layer, name) for name in names})
    return encode(layer.opcode, relu=int(layer.relu), **values)


def tap_words(layer, y, x, word):
    """Address of each tap, None where it is padding, with its multiplier."""
    window = layer.window
    add = layer.opcode is Opcode.ADD
    taps = []
    for ky in range(1 if add else window.kernel_height):
        for kx in range(1 if add else window.kernel_width):
            row = y * window.stride - window.pad_top + ky
            column = x * window.stride - window.pad_left + kx
            inside = 0 <= row < window.in_height and 0 <= column < window.in_width
            address = (layer.source + (row * window.in_width + column) * layer.source_pixel_words
                       + word) % SIZE
            taps.append((address if inside else None, layer.multiplier))
    if add:
        pixel = (y * layer.second_width + x) * layer.second_stride
        there = 0 <= word - layer.second_offset < layer.second_words
        address = (layer.second_source + pixel * layer.second_pixel_words + word
                   - layer.second_offset) % SIZE
        taps.append((address if there else None, layer.second_multiplier))
    return taps


def expected_writes(layer, memory):
    writes = []
    window = layer.window
    for y in range(window.out_height):
        for x in range(window.out_width):
            for word in range(layer.channel_words):
                taps = tap_words(layer, y, x, word)
                data = 0
                for lane in range(4):
                    padding = -128 if layer.opcode is Opcode.MAX_POOL else 0
                    values = [(padding if address is None else signed_bytes(memory[address])[lane],
                               multiplier) for address, multiplier in taps]
                    if layer.opcode is Opcode.MAX_POOL:
                        value = max(v for v, _ in values)
                    else:
                        total = sum(v * m for v, m in values) + layer.bias
                        value = (total + (1 << layer.shift >> 1)) >> layer.shift
                    value = min(max(value, -128), 127)
                    value = max(value, 0) if layer.relu else value
                    data |= (value & 0xFF) << (8 * lane)
                address = (layer.destination + word + (y * window.out_width + x)
                           * layer.destination_pixel_words) % SIZE
                writes.append((address, data))
    return writes


class Buffer:
    """Activation buffer: data `READ_CLOCKS` after the read, junk when nothing was read."""

    def __init__(self, dut, memory):
        self.dut, self.memory = dut, memory
        self.reads, self.writes = [], []

    async def serve(self, context):
        dut = self.dut
        ports = context.tick().sample(dut.read_enable, dut.read_address, dut.write_enable,
                                      dut.write_address, dut.write_data)
        arriving = deque([0x5A5A_A5A5] * (READ_CLOCKS - 1))
        async for _, _, reading, read_address, writing, write_address, data in ports:
            arriving.append(self.memory[read_address] if reading else 0x5A5A_A5A5)
            context.set(dut.read_data, arriving.popleft())
            if reading:
                self.reads.append(read_address)
            if writing:
                self.writes.append((write_address, data))


async def run(context, dut, layer, restart=False):
    """Start ``layer`` and wait for its end; the clocks up to the one after it.

    ``restart`` pulses `start` again now and then, which must change nothing.
    """
    for i, word in enumerate(descriptor(layer)):
        context.set(dut.descriptor[i], word)
    context.set(dut.start, 1)
    await context.tick()
    context.set(dut.start, 0)
    clocks = 1
    ending = False
    while not ending:
        assert context.get(dut.busy)
        ending = context.get(dut.ending)
        context.set(dut.start, restart and clocks % 3 == 0)
        await context.tick()
        context.set(dut.start, 0)
        clocks += 1
    assert not context.get(dut.busy)
    return clocks


def random_scale(generator, opcode):
    """Multipliers, shift and bias: of any size, or so that outputs are seldom at an end."""
    bits = generator.randint(1, 16)
    shift, bias_bits = generator.randrange(32), generator.randrange(32)
    if generator.random() < 0.8:
        shift = min(max(bits + generator.randint(-3, 3), 0), 31)
        bias_bits = min(shift + generator.randint(0, 7), 31)
    scale = dict(multiplier=generator.getrandbits(bits), shift=shift,
                 bias=generator.randrange(-(1 << bias_bits), 1 << bias_bits))
    if opcode is Opcode.ADD:
        scale["second_multiplier"] = generator.getrandbits(bits)
    return scale


def random_layer(generator, opcode):
    """Sizes are often one, and the image often ends within the last windows."""
    size = partial(often_one, generator)
    add = opcode is Opcode.ADD
    kernel_width, kernel_height = (1, 1) if add else (size(5), size(5))
    out_width, out_height, stride = size(3), size(3), generator.choice((1, 2, 3, size(15)))
    pad_left, pad_top = generator.randrange(3), generator.randrange(3)
    in_width, in_height = random_images(generator, stride, (out_width, pad_left, kernel_width),
                                        (out_height, pad_top, kernel_height))
    given = {}
    if add:
        given = dict(second_source=generator.randrange(SIZE),
                     second_pixel_words=generator.randint(1, 9),
                     second_stride=generator.randint(1, 3), second_width=generator.randint(1, 9),
                     second_offset=generator.randint(0, 3), second_words=generator.randint(0, 5))
    return layer_of(
        opcode, dict(
            in_width=in_width, in_height=in_height, out_width=out_width, out_height=out_height,
            kernel_width=kernel_width, kernel_height=kernel_height,
            stride=stride, pad_left=pad_left, pad_top=pad_top),
        source=generator.randrange(SIZE), destination=generator.randrange(SIZE),
        source_pixel_words=generator.randint(1, 9),
        destination_pixel_words=generator.randint(1, 9), channel_words=size(4),
        relu=bool(generator.randrange(2)), **random_scale(generator, opcode), **given)


LARGE = dict(in_width=15, in_height=15, kernel_width=15, kernel_height=15)
EXTREMES = [layer_of(opcode) for opcode in (Opcode.ADD, Opcode.AVERAGE_POOL, Opcode.MAX_POOL)]
EXTREMES += [
    # Largest magnitudes of the sum, both ways, with the largest rounding; all taps padding.
    *(layer_of(Opcode.AVERAGE_POOL, LARGE, multiplier=0xFFFF, bias=bias, shift=shift)
      for bias, shift in (((1 << 31) - 1, 31), (-(1 << 31), 31), (0, 0), (0, 24))),
    layer_of(Opcode.MAX_POOL, dict(pad_left=15, pad_top=15, kernel_width=15, kernel_height=15)),
    layer_of(Opcode.MAX_POOL, dict(pad_left=2, kernel_width=2), relu=True),
    layer_of(Opcode.AVERAGE_POOL, dict(pad_left=2, kernel_width=2), bias=-3),
    layer_of(Opcode.ADD, multiplier=0xFFFF, second_multiplier=0xFFFF, bias=(1 << 31) - 1, shift=31),
    layer_of(Opcode.ADD, channel_words=4, second_offset=4095, second_words=4095),
    layer_of(Opcode.ADD, dict(out_width=2, out_height=2, in_width=4095, stride=15),
             source_pixel_words=4095, second_pixel_words=4095, second_width=4095,
             second_stride=15, source=0xFFFF, second_source=0xFFFF),
]


def balanced(generator, layer, memory):
    """``layer`` with a bias and a shift that show the low bits of one of its sums."""
    if layer.opcode is Opcode.MAX_POOL:
        return layer
    taps = tap_words(layer, *(generator.randrange(size) for size in (
        layer.window.out_height, layer.window.out_width, layer.channel_words)))
    lane = generator.randrange(4)
    total = sum(signed_bytes(memory[address])[lane] * multiplier
                for address, multiplier in taps if address is not None)
    return replace(layer, bias=generator.randint(-100, 100) - total, shift=generator.randrange(3))


def compare(layers, memory):
    dut = ElementwiseUnit(CHIP)
    buffer = Buffer(dut, memory)

    async def testbench(context):
        for layer in layers:
            buffer.reads.clear()
            buffer.writes.clear()
            assert await run(context, dut, layer) == elementwise_clocks(layer), layer
            assert buffer.writes == expected_writes(layer, memory), layer
            window = layer.window
            assert buffer.reads == [
                address for y in range(window.out_height) for x in range(window.out_width)
                for word in range(layer.channel_words)
                for address, _ in tap_words(layer, y, x, word) if address is not None]

    simulate(dut, testbench, buffer.serve)


@pytest.mark.parametrize("fill", [0x80808080, 0x7F7F7F7F, 0xFFFFFFFF, 0, 0x807F00FF])
def test_extremes(fill):
    compare(EXTREMES, [fill] * SIZE)


def test_random():
    generator = random.Random(21)
    memory = [generator.getrandbits(32) for _ in range(SIZE)]
    opcodes = (Opcode.ADD, Opcode.AVERAGE_POOL, Opcode.MAX_POOL)
    layers = [random_layer(generator, opcodes[i % 3]) for i in range(240)]
    compare(layers, memory)
    compare([balanced(generator, layer, memory) for layer in layers], memory)


def wide_layer(generator, opcode, long, most):
    """Fields of all their bits, and few outputs in each direction but ``long``: ``most``."""
    def any_of(name, low=1):
        return generator.randint(low, FIELDS[name].mask)

    sizes = {name: generator.randint(1, 2) for name in ("out_width", "out_height",
                                                        "channel_words")}
    sizes[long] = generator.randint(most // 2, most)
    channel_words = sizes.pop("channel_words")
    add = opcode is Opcode.ADD
    given = {name: any_of(name, low) for name, low in (
        ("second_source", 0), ("second_pixel_words", 1), ("second_stride", 1),
        ("second_width", 1), ("second_offset", 0), ("second_words", 0))} if add else {}
    return layer_of(
        opcode, sizes | {"stride": generator.choice((1, any_of("stride")))} | {
            name: any_of(name, 2049) for name in ("in_width", "in_height")} | {
                name: generator.choice((0, any_of(name, 0)))
                for name in ("pad_left", "pad_top")} | {
                    "kernel_width": 1 if add else 2},
        channel_words=channel_words, relu=bool(generator.randrange(2)),
        **random_scale(generator, opcode),
        **{name: any_of(name, 0) for name in ("source", "destination")},
        **{name: any_of(name) for name in ("source_pixel_words", "destination_pixel_words")},
        **given)


@pytest.mark.parametrize("opcode, long", [
    (Opcode.ADD, "out_width"), (Opcode.ADD, "out_height"), (Opcode.ADD, "channel_words"),
    (Opcode.AVERAGE_POOL, "channel_words"), (Opcode.MAX_POOL, "out_width")])
def test_all_bits(opcode, long):
    generator = random.Random(f"{opcode} {long}")
    memory = [generator.getrandbits(32) for _ in range(SIZE)]
    compare([wide_layer(generator, opcode, long, 4095)], memory)


def test_all_bits_in_few_outputs():
    generator = random.Random(5)
    memory = [generator.getrandbits(32) for _ in range(SIZE)]
    compare([wide_layer(generator, opcode, long, 20) for _ in range(12)
             for opcode in (Opcode.ADD, Opcode.AVERAGE_POOL, Opcode.MAX_POOL)
             for long in ("out_width", "out_height", "channel_words")], memory)


def test_overhead_of_the_unit_is_the_one_of_the_cost_model():
    assert ElementwiseUnit.OVERHEAD == ELEMENTWISE_OVERHEAD


def test_abort_and_start_while_busy():
    generator = random.Random(2)
    memory = [generator.getrandbits(32) for _ in range(SIZE)]
    layer = layer_of(Opcode.MAX_POOL, dict(in_width=4, in_height=4, out_width=2, out_height=2,
                                           kernel_width=2, kernel_height=2, stride=2))
    dut = ElementwiseUnit(CHIP)
    buffer = Buffer(dut, memory)

    async def testbench(context):
        for clocks in range(1, elementwise_clocks(layer)):
            for i, word in enumerate(descriptor(layer)):
                context.set(dut.descriptor[i], word)
            context.set(dut.start, 1)
            for _ in range(clocks):
                await context.tick()
                context.set(dut.start, 0)
            context.set(dut.abort, 1)
            await context.tick()
            context.set(dut.abort, 0)
            buffer.reads.clear()
            buffer.writes.clear()
            for _ in range(dut.OVERHEAD):
                assert not (context.get(dut.busy) or context.get(dut.ending)
                            or context.get(dut.write_enable) or context.get(dut.read_enable))
                await context.tick()
            assert await run(context, dut, layer, restart=True) == elementwise_clocks(layer)
            assert buffer.writes == expected_writes(layer, memory)

    simulate(dut, testbench, buffer.serve)
