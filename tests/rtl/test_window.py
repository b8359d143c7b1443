"""Window generator in lock-step with a plain loop nest."""

from functools import partial
import random

import pytest

from golden.chip import PRESETS
from golden.chip.descriptor import Opcode, encode
from rtl.window import WindowGenerator
from tests.rtl.image_sizes import often_one, random_images
from tests.rtl.simulation import simulate

CHIP = PRESETS["default"]
OUTPUTS = ("address", "pad", "row_word", "first", "last", "last_chunk", "last_position")


def words(shape):
    """What the generator must emit, by the loops of docs/architecture.md."""
    result = []
    window_words = (shape["blocks"] * shape["kernel_height"] * shape["kernel_width"]
                    * shape["block_words"])
    for oy in range(shape["out_height"]):
        for ox in range(shape["out_width"]):
            index = 0
            for block in range(shape["blocks"]):
                for ky in range(shape["kernel_height"]):
                    for kx in range(shape["kernel_width"]):
                        for word in range(shape["block_words"]):
                            y = oy * shape["stride"] - shape["pad_top"] + ky
                            x = ox * shape["stride"] - shape["pad_left"] + kx
                            address = (shape["source"]
                                       + (y * shape["in_width"] + x) * shape["source_pixel_words"]
                                       + block * shape["block_words"] + word)
                            chunk, row_word = divmod(index, shape["chunk_words"])
                            last = (row_word == shape["chunk_words"] - 1
                                    or index == window_words - 1)
                            result.append((
                                address % (1 << 16),
                                not (0 <= y < shape["in_height"] and 0 <= x < shape["in_width"]),
                                row_word, row_word == 0, last, chunk == shape["chunks"] - 1,
                                (oy, ox) == (shape["out_height"] - 1, shape["out_width"] - 1)))
                            index += 1
    return [tuple(map(int, entry)) for entry in result]


def shaped(**given):
    """A shape with the number of chunks that it implies; what is not given is one or zero."""
    shape = dict(source=0, in_width=1, in_height=1, out_width=1, out_height=1, kernel_width=1,
                 kernel_height=1, stride=1, pad_left=0, pad_top=0, source_pixel_words=1,
                 block_words=1, blocks=1, chunk_words=1)
    shape.update(given)
    total = (shape["blocks"] * shape["kernel_height"] * shape["kernel_width"]
             * shape["block_words"])
    shape["chunks"] = -(-total // shape["chunk_words"])
    return shape


def random_shape(generator):
    """Sizes are often one, and the image often ends within the last windows."""
    size = partial(often_one, generator)
    while True:
        kernel_width, kernel_height = size(7), size(7)
        out_width, out_height, stride = size(4), size(4), generator.choice((1, 2, 3, size(15)))
        pad_left, pad_top = generator.randrange(kernel_width), generator.randrange(kernel_height)
        in_width, in_height = random_images(generator, stride, (out_width, pad_left, kernel_width),
                                            (out_height, pad_top, kernel_height))
        shape = shaped(
            source=generator.randrange(1 << 16), in_width=in_width, in_height=in_height,
            out_width=out_width, out_height=out_height, kernel_width=kernel_width,
            kernel_height=kernel_height, stride=stride, pad_left=pad_left, pad_top=pad_top,
            source_pixel_words=generator.randint(1, 20), block_words=size(3), blocks=size(3),
            chunk_words=generator.randint(1, generator.choice((4, CHIP.array.row_words))))
        if len(words(shape)) <= 120:
            return shape


def wide_shape(generator):
    """A few words of an image of any size, its pitches using all bits of an address."""
    kernel_width, kernel_height, pixel = (generator.randint(1, 2), generator.randint(1, 2),
                                          generator.randint(1, 4095))
    in_width, in_height = (generator.choice((1 << generator.randrange(12),
                                             generator.randint(1, 4095))) for _ in range(2))
    return shaped(
        source=generator.randrange(1 << 16), in_width=in_width, in_height=in_height,
        out_width=generator.randint(1, 2), out_height=generator.randint(1, 3),
        kernel_width=kernel_width, kernel_height=kernel_height, stride=generator.randint(1, 15),
        pad_left=generator.randrange(kernel_width), pad_top=generator.randrange(kernel_height),
        source_pixel_words=pixel, chunk_words=generator.randint(1, 4))


EXTREMES = (
    shaped(),
    shaped(kernel_width=3, kernel_height=3, pad_left=1, pad_top=1, chunk_words=9),
    shaped(source=0xFFFF, in_width=4095, in_height=4095, out_width=3, out_height=3,
           kernel_width=2, kernel_height=2, stride=15, pad_left=15, pad_top=15,
           source_pixel_words=4095, block_words=2, chunk_words=3),
    shaped(out_width=40, stride=15, in_width=4095), shaped(out_height=40, stride=15),
    shaped(kernel_width=15, kernel_height=2, pad_left=15, pad_top=2, chunk_words=36),
    shaped(block_words=80, source_pixel_words=80, chunk_words=36, out_width=2, in_width=2),
    shaped(blocks=40, block_words=2, source_pixel_words=80, chunk_words=7),
)

#: Each of the counts of more than fifteen at its longest, or with all its bits in use. Chunks are
#: counted up to the next power of two of what is legal.
LONGEST = (
    shaped(out_width=4095), shaped(out_height=4095), shaped(block_words=4095, chunk_words=36),
    shaped(blocks=4095, chunk_words=36), shaped(blocks=0x555, block_words=2, chunk_words=36),
)


def descriptor(shape):
    return encode(Opcode.CONVOLVE, **shape, relu=0, destination=0, destination_pixel_words=1,
                  stream=0, resolution=8, averaging=0, row_groups=1, group_granules=1, kernels=1,
                  columns=1,
                  constants=0, coefficients=0, reference=1)


async def begin(context, dut, shape):
    for i, word in enumerate(descriptor(shape)):
        context.set(dut.descriptor[i], word)
    context.set(dut.start, 1)
    await context.tick()
    context.set(dut.start, 0)


def seen(context, dut):
    return tuple(context.get(getattr(dut, name)) for name in OUTPUTS)


@pytest.mark.parametrize("shape", LONGEST)
def test_longest_counts(shape):
    dut = WindowGenerator(CHIP)

    async def testbench(context):
        context.set(dut.ready, 1)
        await begin(context, dut, shape)
        for _ in range(dut.LATENCY - 1):
            await context.tick()
        for entry in words(shape):
            assert (context.get(dut.valid), *seen(context, dut)) == (1, *entry)
            await context.tick()
        assert not context.get(dut.valid) and not context.get(dut.busy)

    simulate(dut, testbench)


@pytest.mark.parametrize("pauses", [False, True])
def test_lock_step(pauses):
    """Full rate: exact latency and no bubble. With pauses: words hold until taken."""
    generator = random.Random(11 + pauses)
    shapes = list(EXTREMES) + [random_shape(generator) for _ in range(300)]
    shapes += [wide_shape(generator) for _ in range(120)]
    dut = WindowGenerator(CHIP)
    compared = 0

    async def testbench(context):
        nonlocal compared
        for shape in shapes:
            context.set(dut.ready, 0 if pauses else 1)
            await begin(context, dut, shape)
            for _ in range(dut.LATENCY - 1):
                assert not context.get(dut.valid) and context.get(dut.busy)
                await context.tick()
            expected = words(shape)
            for entry in expected:
                taken = False
                while not taken:
                    taken = not pauses or generator.random() < 0.6
                    context.set(dut.ready, taken)
                    assert context.get(dut.valid) and context.get(dut.busy)
                    got = seen(context, dut)
                    # The address of a word outside the image is never used.
                    assert got[1:] == entry[1:] and (entry[1] or got[0] == entry[0]), shape
                    await context.tick()
                compared += 1
            assert not context.get(dut.valid) and not context.get(dut.busy)

    simulate(dut, testbench)
    assert compared == sum(len(words(shape)) for shape in shapes)


def test_abort_at_any_clock_and_start_while_busy():
    dut = WindowGenerator(CHIP)
    shape = shaped(in_width=3, in_height=3, out_width=2, out_height=2, kernel_width=2,
                   kernel_height=2, chunk_words=3)
    expected = words(shape)

    async def testbench(context):
        context.set(dut.ready, 1)
        for clocks in range(dut.LATENCY + len(expected)):
            await begin(context, dut, shape)
            for _ in range(clocks):
                await context.tick()
            context.set(dut.abort, 1)
            await context.tick()
            context.set(dut.abort, 0)
            assert not context.get(dut.valid) and not context.get(dut.busy)
            await begin(context, dut, shape)
            got = []
            for clock in range(dut.LATENCY + len(expected)):
                context.set(dut.start, clock % 5 == 2)  # ignored, since busy
                if context.get(dut.valid):
                    got.append(seen(context, dut))
                await context.tick()
            context.set(dut.start, 0)
            assert got == expected
            assert not context.get(dut.busy)

    simulate(dut, testbench)


@pytest.mark.parametrize("difference", [-1, 0, 1])
def test_chunks_that_are_not_the_windows(difference):
    """Told in the first position: a clock after the last chunk announced, or the window's end."""
    generator = random.Random(5 + difference)
    shapes = [shape for shape in (random_shape(generator) for _ in range(120))
              if shape["chunks"] + difference >= 1]
    assert len(shapes) > 50

    async def check(context, dut, shape):
        wrong = dict(shape, chunks=shape["chunks"] + difference)
        context.set(dut.ready, 1)
        await begin(context, dut, wrong)
        total = len(words(shape)) // (shape["out_width"] * shape["out_height"])
        # Words pass the output register, as does the pulse.
        announced = min(total, wrong["chunks"] * shape["chunk_words"])
        for clock in range(dut.LATENCY - 1 + len(words(shape))):
            expected = difference and clock == dut.LATENCY - 1 + announced - 1
            if expected or clock < dut.LATENCY - 1 + announced - 1:
                assert context.get(dut.mismatch) == bool(expected), (shape, clock)
            elif not difference:
                assert not context.get(dut.mismatch), (shape, clock)
            await context.tick()
        context.set(dut.abort, 1)
        await context.tick()
        context.set(dut.abort, 0)
        await context.tick()

    dut = WindowGenerator(CHIP)

    async def testbench(context):
        for shape in shapes:
            await check(context, dut, shape)

    simulate(dut, testbench)
