"""Collector against sums, requantised words and clocks worked out in Python."""

from collections import deque
from dataclasses import dataclass
import random

from amaranth.hdl import Signal
import pytest

from golden.chip import PRESETS, multiplier_clocks
from golden.chip.descriptor import Opcode, encode
from golden.timing_convolution import COLLECT_CLOCKS
from rtl.collector import Collector
from rtl.drift_gain import DriftGain
from tests.rtl.simulation import simulate


@dataclass
class Layer:
    """What a convolution leaves in the accumulators, and what becomes of it.

    ``sums``: by position, tile and kernel. ``table``: multiplier, bias and shift by kernel.
    """

    width: int
    height: int
    kernels: int
    relu: int
    destination: int
    pitch: int
    constants: int
    sums: list[list[list[int]]]
    table: list[tuple[int, int, int]]

    @property
    def positions(self):
        return self.width * self.height

    def descriptor(self):
        return encode(
            Opcode.CONVOLVE, relu=self.relu, source=0, destination=self.destination,
            in_width=self.width, in_height=self.height, out_width=self.width,
            out_height=self.height, kernel_width=1, kernel_height=1, stride=1, pad_left=0,
            pad_top=0, source_pixel_words=1, destination_pixel_words=self.pitch, stream=1,
            resolution=4, averaging=0, block_words=1, blocks=1, chunk_words=1, chunks=1,
            row_groups=1, group_granules=1, kernels=self.kernels, columns=1,
            constants=self.constants, coefficients=0, reference=1)

    def sums_and_words(self):
        """Sums with their outputs, as they are traced, and the words written."""
        outputs, words = [], []
        for position in range(self.positions):
            values = []
            for kernel in range(self.kernels):
                total = sum(tile[kernel] for tile in self.sums[position])
                values.append(requantised(total, *self.table[kernel], self.relu))
                outputs.append((position, kernel, total, values[-1]))
            values += [0] * (-self.kernels % 4)
            for i in range(0, len(values), 4):
                data = sum((v & 0xFF) << (8 * j) for j, v in enumerate(values[i:i + 4]))
                words.append(((self.destination + position * self.pitch + i // 4) % (1 << 16),
                              data))
        return outputs, words


def requantised(total, multiplier, bias, shift, relu):
    value = min(max((total * multiplier + bias + (1 << shift >> 1)) >> shift, -128), 127)
    return max(value, 0) if relu else value


def random_layer(chip, generator, width, height, kernels, relu):
    low, high = (-1 << (chip.accumulator_bits - 1)), (1 << (chip.accumulator_bits - 1)) - 1
    small = 1 << 12
    return Layer(
        width, height, kernels, relu, destination=generator.randrange(1 << 16),
        pitch=generator.choice((-(-kernels // 4), generator.randint(-(-kernels // 4), 4095))),
        constants=generator.randint(0, chip.memories.constant_entries - kernels),
        sums=[[[generator.choice((low, high, generator.randint(low, high),
                                  generator.randint(-small, small)))
                for _ in range(kernels)] for _ in range(chip.tiles)]
              for _ in range(width * height)],
        table=[(generator.randrange(1 << 16), generator.randint(-1 << 31, (1 << 31) - 1) >> 8,
                generator.randrange(12, 32)) for _ in range(kernels)])


class Collecting:
    """A collector with the accumulators and the constants around it, one layer at a time."""

    def __init__(self, chip):
        self.chip, self.dut = chip, Collector(chip)
        self.layer = None
        self.drained = 0        # positions of the layer
        self.valid = 0          # sums of it that were said to be so
        self.cleared = []       # words of the present position

    async def accumulators(self, context):
        """The drain ports: a word read, then one lane of it, a clock later each; the drift gain."""
        dut, chip = self.dut, self.chip
        group = lane = 0
        answers = deque([None] * DriftGain.LATENCY)
        while True:
            next_group, next_lane = context.get(dut.drain_group), context.get(dut.drain_lane)
            clear, free = context.get(dut.drain_clear), context.get(dut.position_freed)
            address = context.get(dut.constant_address)
            if clear:
                self.cleared.append(group)
            await context.tick()
            layer = self.layer
            if layer is None:
                continue
            kernel = group * chip.accumulator.lanes + lane
            there = kernel < layer.kernels and self.drained < layer.positions
            answers.append([tile[kernel] for tile in layer.sums[self.drained]]
                           if there else None)
            for tile, value in enumerate(answers.popleft() or [0] * chip.tiles):
                context.set(dut.drain_sums[tile], value)
            self.valid += context.get(dut.drain_valid)
            if free:
                assert self.cleared == list(range(-(-layer.kernels // chip.accumulator.lanes)))
                self.cleared = []
                self.drained += 1
            # Neither a layer's entry nor what it should hold, before and after its own.
            entry = address - layer.constants
            multiplier, bias, shift = (layer.table[entry] if 0 <= entry < layer.kernels
                                       else (0xA5A5, 0x5A5A, 5))
            context.set(dut.constant, (shift << 16 | multiplier) << 32 | bias & 0xFFFF_FFFF)
            group, lane = next_group, next_lane

    async def run(self, context, layer, generator, rate):
        """Run ``layer``, whose positions are finished as late as ``rate`` tells."""
        dut, chip = self.dut, self.chip
        self.layer, self.drained, self.valid, self.cleared = layer, 0, 0, []
        finished = [0] * chip.tiles         # positions that each tile has announced
        written, traced, freed, begun = [], [], [], []
        for i, word in enumerate(layer.descriptor()):
            context.set(dut.descriptor[i], word)
        context.set(dut.start, 1)
        await context.tick()
        context.set(dut.start, 0)
        clock, ending = 0, False
        while not ending:
            clock += 1
            announce = 0
            for tile in range(chip.tiles):
                if finished[tile] < layer.positions and finished[tile] - self.drained < 2 and (
                        generator.random() < rate):
                    announce |= 1 << tile
                    finished[tile] += 1
            context.set(dut.position_done, announce)
            if announce and min(finished) > len(begun):
                begun.append(clock)
            if context.get(dut.write_enable):
                written.append((context.get(dut.write_address), context.get(dut.write_data)))
            if context.get(dut.sum_valid):
                traced.append(tuple(context.get(v) for v in (
                    dut.sum_position, dut.sum_kernel, dut.sum_value, dut.sum_output)))
            if context.get(dut.position_freed):
                freed.append(clock)
            ending = context.get(dut.ending)
            await context.tick()
        context.set(dut.position_done, 0)
        assert context.get(dut.write_enable) and not context.get(dut.ending)
        written.append((context.get(dut.write_address), context.get(dut.write_data)))
        outputs, words = layer.sums_and_words()
        assert traced == outputs
        assert written == words
        assert self.valid == layer.positions * layer.kernels
        assert len(freed) == layer.positions
        # Clocks as golden.timing_convolution counts them.
        begin = -layer.kernels - 1
        for at, ready in zip(freed, begun, strict=True):
            begin = max(ready + 1, begin + layer.kernels + 1)
            assert at == begin + layer.kernels + 1
        assert clock + 1 == begin + layer.kernels + COLLECT_CLOCKS + multiplier_clocks(
            chip.requantizer.multiplier_bits)
        # Nothing comes after the last word.
        for _ in range(generator.randint(1, 12)):
            await context.tick()
            assert not (context.get(dut.write_enable) or context.get(dut.sum_valid)
                        or context.get(dut.ending) or context.get(dut.position_freed)
                        or context.get(dut.drain_valid) or context.get(dut.drain_clear))


@pytest.mark.parametrize("name, width, height, kernels", [
    ("tiny", 1, 1, 1), ("tiny", 3, 2, 5), ("tiny", 2, 2, 8), ("default", 3, 1, 64),
    ("default", 2, 3, 10), ("large", 2, 1, 256)])
@pytest.mark.parametrize("relu", [0, 1])
@pytest.mark.parametrize("rate", [1.0, 0.05])
def test_positions(name, width, height, kernels, relu, rate):
    """The same device runs three layers of which the others have another shape."""
    generator = random.Random(f"{name} {width} {kernels} {relu} {rate}")
    bench = Collecting(PRESETS[name])
    shapes = [(width, height, kernels, relu), (height, width, max(1, kernels - 3), 1 - relu),
              (width, height, kernels, relu)]
    layers = [random_layer(bench.chip, generator, *shape) for shape in shapes]

    async def testbench(context):
        for layer in layers:
            await bench.run(context, layer, generator, rate)

    simulate(bench.dut, testbench, bench.accumulators)


@pytest.mark.parametrize("width, height", [(4095, 1), (1, 4095), (97, 61)])
def test_many_positions(width, height):
    """All bits of the sizes, and of an address."""
    generator = random.Random(f"{width} {height}")
    bench = Collecting(PRESETS["tiny"])
    layer = random_layer(bench.chip, generator, width, height, 1, 0)

    async def testbench(context):
        await bench.run(context, layer, generator, 1.0)

    simulate(bench.dut, testbench, bench.accumulators)


def test_every_size():
    """Of few positions, one after the other."""
    generator = random.Random(3)
    bench = Collecting(PRESETS["tiny"])

    async def testbench(context):
        for size in range(1, 36):
            for shape in ((size, 1), (1, size)):
                await bench.run(context, random_layer(bench.chip, generator, *shape, 1, 1),
                                generator, 1.0)

    simulate(bench.dut, testbench, bench.accumulators)


def test_a_reset_in_mid_layer():
    """As an abort is one; positions that were announced are forgotten."""
    generator = random.Random(7)
    bench = Collecting(PRESETS["tiny"])
    dut, chip, reset = bench.dut, bench.chip, Signal()

    async def testbench(context):
        for clocks in range(1, 40):
            bench.layer, layer = None, random_layer(chip, generator, 2, 2, 5, 0)
            for i, word in enumerate(layer.descriptor()):
                context.set(dut.descriptor[i], word)
            context.set(dut.start, 1)
            await context.tick()
            context.set(dut.start, 0)
            context.set(dut.position_done, (1 << chip.tiles) - 1)
            await context.tick()
            context.set(dut.position_done, generator.getrandbits(chip.tiles))
            await context.tick()
            context.set(dut.position_done, 0)
            for _ in range(clocks):
                await context.tick()
            context.set(reset, 1)
            await context.tick()
            context.set(reset, 0)
            for _ in range(3):
                await context.tick()
            await bench.run(context, random_layer(chip, generator, 2, 1, 3, 1), generator, 0.5)

    simulate(dut, testbench, bench.accumulators, reset=reset)
