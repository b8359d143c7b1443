"""The window generator in lock-step with golden's loop nest."""

from typing import Any

import cocotb
import numpy as np

from golden.addresses import convolution_reads
from golden.chip.descriptor import FIELDS
from golden.program import Convolution, Window
from sim.benches.block import BlockBench, BlockParameters
from sim.runner import bench_parameters
from sim.scoreboard import Scoreboard
from sim.values import unsigned

__all__ = ["WindowBench"]


def _descriptor(layer: Convolution) -> int:
    """The fields of a convolution that the window generator reads, in one integer."""
    window = layer.window
    values = {
        "source": layer.source, "in_width": window.in_width, "in_height": window.in_height,
        "out_width": window.out_width, "out_height": window.out_height,
        "kernel_width": window.kernel_width, "kernel_height": window.kernel_height,
        "stride": window.stride, "pad_left": window.pad_left, "pad_top": window.pad_top,
        "source_pixel_words": layer.source_pixel_words, "block_words": layer.block_words,
        "blocks": layer.blocks, "chunk_words": layer.chunk_words, "chunks": layer.chunks}
    return sum(value << (32 * FIELDS[name].word + FIELDS[name].low)
               for name, value in values.items())


class WindowBench(BlockBench):
    """Random convolutions; the words of each must be golden's, in order."""

    def __init__(self, dut: Any, parameters: BlockParameters) -> None:
        super().__init__(dut, parameters, inputs=("abort", "descriptor", "start", "ready"))

    def restart(self) -> None:
        """Forget what was expected."""
        self.words = Scoreboard("word of a window")
        self.times: list[int] = []

    def random_layer(self) -> Convolution:
        """A convolution whose shape is random; of the rest the window generator sees nothing."""
        chip, rng = self.parameters.chip, self.random
        kernel_width, kernel_height = rng.randint(1, 4), rng.randint(1, 4)
        window = Window(rng.randint(1, 6), rng.randint(1, 6), rng.randint(1, 4),
                        rng.randint(1, 4), kernel_width, kernel_height, rng.randint(1, 3),
                        rng.randint(0, kernel_width - 1), rng.randint(0, kernel_height - 1))
        block_words, blocks = rng.randint(1, 3), rng.randint(1, 3)
        words = kernel_width * kernel_height * block_words * blocks
        chunk_words = rng.randint(1, chip.array.row_words)
        pitch = blocks * block_words + rng.randint(0, 2)
        return Convolution(
            "layer", window, rng.randrange(1 << 15), 0, pitch, 1, block_words, blocks,
            chunk_words, relu=False, stream=True, resolution=4, reference=1,
            coefficients=np.zeros((-(-words // chunk_words), chip.tiles, 1, 1), np.int8),
            multiplier=np.ones(1, np.int64), bias=np.zeros(1, np.int64),
            shift=np.zeros(1, np.int64), stop=np.zeros(1, bool))

    def expect(self, layer: Convolution) -> int:
        """Put golden's words of a layer on the scoreboard; how many there are."""
        reads = convolution_reads(layer)
        positions, chunks, _ = reads.shape
        count = 0
        for position in range(positions):
            left = layer.window_words
            for chunk in range(chunks):
                length = min(left, layer.chunk_words)
                left -= length
                for word in range(length):
                    address = int(reads[position, chunk, word])
                    self.words.expect((address, word, word == 0, word == length - 1,
                                       chunk == chunks - 1, position == positions - 1))
                count += length
        return count

    async def take(self) -> None:
        """Takes words, with pauses, and checks that a waiting one does not change."""
        dut, waiting = self.dut, None
        flags = (dut.first, dut.last, dut.last_chunk, dut.last_position)
        while True:
            dut.ready.value = ready = int(not self.pauses())
            await self.edge()
            if dut.valid.value != 1:
                assert waiting is None, "valid fell before the word was taken"
                continue
            address = -1 if dut.pad.value == 1 else unsigned(dut.address)
            word = (address, unsigned(dut.row_word), *(flag.value == 1 for flag in flags))
            assert waiting in (None, word), f"the waiting word changed from {waiting} to {word}"
            waiting = None if ready else word
            if ready:
                self.times.append(self.time)
                self.words.see(word)

    async def run_layer(self, layer: Convolution) -> int:
        """Start a layer and wait for its last word; clock of the start."""
        count = self.expect(layer)
        self.dut.descriptor.value = _descriptor(layer)
        self.dut.start.value = 1
        await self.edge()
        began = self.time
        self.dut.start.value = 0
        done = self.words.compared + count
        await self.until(lambda: self.words.compared == done)
        await self.edge()
        await self.settle()
        assert self.dut.busy.value == 0, "busy after the last word"
        await self.edge()
        return began


@cocotb.test()
async def visits_golden_words(dut: Any) -> None:
    """Random convolutions and pauses; the first run is cut off by a reset."""
    bench = WindowBench(dut, bench_parameters())
    await bench.start()

    async def work() -> None:
        bench.background(bench.take())
        for _ in range(bench.parameters.items):
            await bench.run_layer(bench.random_layer())

    await bench.interrupted(work, bench.random.randint(20, 200))
    await work()
    bench.words.finish()


@cocotb.test()
async def a_word_per_clock(dut: Any) -> None:
    """Full rate: no clock between words, whatever the shape."""
    bench = WindowBench(dut, BlockParameters(bench_parameters().chip, 1, 0.0))
    await bench.start()
    bench.background(bench.take())
    latencies = set()
    for _ in range(4):
        bench.times.clear()
        began = await bench.run_layer(bench.random_layer())
        assert (np.diff(bench.times) == 1).all(), f"words in clocks {bench.times}"
        latencies.add(bench.times[0] - began)
    assert len(latencies) == 1, f"the first word comes after {sorted(latencies)} clocks"
    bench.words.finish()
