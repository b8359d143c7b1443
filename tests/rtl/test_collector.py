"""Collector against sums, requantised words and clocks worked out in Python."""

from collections import deque
import random

import pytest

from golden.chip import PRESETS, multiplier_clocks
from golden.chip.descriptor import Opcode, encode
from golden.timing_convolution import COLLECT_CLOCKS
from rtl.collector import Collector
from rtl.drift_gain import DriftGain
from tests.rtl.simulation import simulate


def descriptor(width, height, kernels, relu, destination, pitch, constants):
    return encode(
        Opcode.CONVOLVE, relu=relu, source=0, destination=destination, in_width=width,
        in_height=height, out_width=width, out_height=height, kernel_width=1, kernel_height=1,
        stride=1, pad_left=0, pad_top=0, source_pixel_words=1, destination_pixel_words=pitch,
        stream=1, resolution=4, averaging=0, block_words=1, blocks=1, chunk_words=1,
        chunks=1, row_groups=1,
        group_granules=1, kernels=kernels, columns=1, constants=constants, coefficients=0,
        reference=1)


def requantised(total, multiplier, bias, shift, relu):
    value = min(max((total * multiplier + bias + (1 << shift >> 1)) >> shift, -128), 127)
    return max(value, 0) if relu else value


@pytest.mark.parametrize("name, width, height, kernels", [
    ("tiny", 1, 1, 1), ("tiny", 3, 2, 5), ("tiny", 2, 2, 8), ("default", 3, 1, 64),
    ("default", 2, 3, 10), ("large", 2, 1, 256)])
@pytest.mark.parametrize("relu", [0, 1])
@pytest.mark.parametrize("rate", [1.0, 0.05])
def test_positions(name, width, height, kernels, relu, rate):
    chip = PRESETS[name]
    generator = random.Random(f"{name} {width} {kernels} {relu} {rate}")
    dut = Collector(chip)
    lanes = chip.accumulator.lanes
    positions, destination, constants = width * height, 40, 7
    pitch = -(-kernels // 4) + generator.randint(0, 2)
    words = descriptor(width, height, kernels, relu, destination, pitch, constants)
    low, high = (-1 << (chip.accumulator_bits - 1)), (1 << (chip.accumulator_bits - 1)) - 1
    small = 1 << 12
    sums = [[[generator.choice((low, high, generator.randint(-small, small)))
              for _ in range(kernels)] for _ in range(chip.tiles)] for _ in range(positions)]
    table = [(generator.randrange(1 << 16), generator.randint(-1 << 31, (1 << 31) - 1) >> 8,
              generator.randrange(12, 32)) for _ in range(kernels)]
    finished = [0] * chip.tiles         # positions that each tile has announced
    drained = [0]
    written, traced, freed, begun, done, valid = [], [], [], [], [], []

    async def accumulators(context):
        """The drain ports: a word read, then one lane of it, a clock later each; the drift gain."""
        group = lane = position = 0
        answers = deque([None] * DriftGain.LATENCY)
        cleared = []
        while True:
            next_group, next_lane = context.get(dut.drain_group), context.get(dut.drain_lane)
            clear, free = context.get(dut.drain_clear), context.get(dut.position_freed)
            entry = context.get(dut.constant_address) - constants
            if clear:
                cleared.append(group)
            await context.tick()
            kernel = group * lanes + lane
            there = kernel < kernels and position < positions
            answers.append([sums[position][tile][kernel] for tile in range(chip.tiles)]
                           if there else None)
            for tile, value in enumerate(answers.popleft() or [0] * chip.tiles):
                context.set(dut.drain_sums[tile], value)
            valid.append(context.get(dut.drain_valid))
            if free:
                assert cleared == list(range(-(-kernels // lanes)))
                cleared = []
                position += 1
                drained[0] = position
            multiplier, bias, shift = table[entry] if 0 <= entry < kernels else (0, 0, 0)
            context.set(dut.constant, (shift << 16 | multiplier) << 32 | bias & 0xFFFF_FFFF)
            group, lane = next_group, next_lane

    async def testbench(context):
        for i, word in enumerate(words):
            context.set(dut.descriptor[i], word)
        context.set(dut.start, 1)
        await context.tick()
        context.set(dut.start, 0)
        for clock in range(1, 20_000):
            announce = 0
            for tile in range(chip.tiles):
                if finished[tile] < positions and finished[tile] - drained[0] < 2 and (
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
            if ending:
                assert context.get(dut.write_enable)
                written.append((context.get(dut.write_address), context.get(dut.write_data)))
                done.append(clock + 1)
                break

    simulate(dut, testbench, accumulators)
    outputs, expected_words = [], []
    for position in range(positions):
        values = []
        for kernel in range(kernels):
            total = sum(sums[position][tile][kernel] for tile in range(chip.tiles))
            values.append(requantised(total, *table[kernel], relu))
            outputs.append((position, kernel, total, values[-1]))
        values += [0] * (-kernels % 4)
        for i in range(0, len(values), 4):
            data = sum((v & 0xFF) << (8 * j) for j, v in enumerate(values[i:i + 4]))
            expected_words.append((destination + position * pitch + i // 4, data))
    assert traced == outputs
    assert written == expected_words
    assert sum(valid) == positions * kernels
    assert len(done) == 1 and len(freed) == positions
    # Clocks as golden.timing_convolution counts them.
    begin = -kernels - 1
    for at, ready in zip(freed, begun, strict=True):
        begin = max(ready + 1, begin + kernels + 1)
        assert at == begin + kernels + 1
    assert done[0] == begin + kernels + COLLECT_CLOCKS + multiplier_clocks(
        chip.requantizer.multiplier_bits)
