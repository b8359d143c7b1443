"""Row loader: every word of the window reaches the latches, a few clocks later, in its bank."""

from collections import deque
import random

import pytest

from golden.chip import PRESETS
from rtl.buffer import READ_CLOCKS
from rtl.loader import RowLoader
from tests.rtl.simulation import simulate


@pytest.mark.parametrize("pauses", [False, True])
def test_words(pauses):
    generator = random.Random(pauses)
    chip = PRESETS["tiny"]
    dut = RowLoader(chip)
    memory = [generator.getrandbits(32) for _ in range(64)]
    # (address, pad, row_word, first, last, last_chunk)
    words = []
    for chunk in range(12):
        length = generator.randint(1, chip.array.row_words)
        for i in range(length):
            words.append((generator.randrange(64), int(generator.random() < 0.2), i, int(i == 0),
                          int(i == length - 1), int(chunk % 3 == 2)))
    accepted, loads, reads = [], [], []

    async def testbench(context):
        for _ in range(2):              # the second layer begins with bank 0 again
            context.set(dut.start, 1)
            await context.tick()
            context.set(dut.start, 0)
            accepted.clear()
            loads.clear()
            sent, clock = 0, 0
            arriving = deque([0x5A5A_A5A5] * READ_CLOCKS)
            while len(loads) < len(words):
                valid = sent < len(words) and not (pauses and generator.random() < 0.3)
                free = not pauses or generator.random() < 0.5
                context.set(dut.word_valid, valid)
                context.set(dut.bank_free, free)
                if sent < len(words):
                    for name, value in zip(("address", "pad", "row_word", "first", "last",
                                            "last_chunk"), words[sent], strict=True):
                        context.set(getattr(dut, name), value)
                context.set(dut.read_data, arriving.popleft())
                assert sent == len(words) or context.get(dut.word_ready) == (
                    free or not words[sent][3])
                take = valid and context.get(dut.word_ready)
                if take:
                    address, _, _, first, _, _ = words[sent]
                    assert free or not first
                    assert context.get(dut.read_enable)
                    assert context.get(dut.read_address) == address
                    accepted.append(clock)
                    reads.append(address)
                assert context.get(dut.chunk_begin) == (take and words[sent][3])
                if context.get(dut.load_enable):
                    loads.append(tuple(context.get(v) for v in (
                        dut.load_bank, dut.load_clear, dut.load_row, dut.load_codes,
                        dut.chunk_loaded, dut.chunk_final & dut.chunk_loaded)))
                    assert clock == accepted[len(loads) - 1] + 1 + READ_CLOCKS
                else:
                    assert not context.get(dut.chunk_loaded)
                await context.tick()
                arriving.append(memory[words[sent][0]] if take else 0x5A5A_A5A5)
                sent += take
                clock += 1
            bank, expected = 0, []
            for address, pad, row, first, last, final in words:
                expected.append((bank, first, row, 0 if pad else memory[address], last,
                                 last & final))
                bank ^= last
            assert loads == expected
            if not pauses:
                assert accepted == list(range(len(words)))

    simulate(dut, testbench)
