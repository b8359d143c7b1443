"""Product feed against a plain loop over chunks and row groups."""

import random

import pytest

from golden.chip import PRESETS
from rtl.feed import ProductFeed
from tests.rtl.simulation import simulate

CHIP = PRESETS["default"]


def expected_products(finals, row_groups, granules, first_number):
    """(bank, row_enable, release, final, number) of each product of the chunks ``finals``."""
    result, number = [], first_number
    for chunk, final in enumerate(finals):
        for group in range(row_groups):
            rows = sum(1 << g for g in range(group * granules, (group + 1) * granules)
                       if g < CHIP.array.granules)
            release = group == row_groups - 1
            result.append((chunk & 1, rows, release, release and final, number))
            number += 1
    return result


@pytest.mark.parametrize("row_groups, granules", [(1, 9), (1, 4), (2, 5), (3, 3), (9, 1),
                                                   (2, 8), (2, 7), (2, 6), (5, 2), (64, 1)])
@pytest.mark.parametrize("pauses", [False, True])
def test_products(row_groups, granules, pauses):
    generator = random.Random(f"{row_groups} {pauses}")
    dut = ProductFeed(CHIP)

    async def layer(context, finals, first_number):
        """Load and take chunks side by side; banks are freed some clocks after their use."""
        context.set(dut.start, 1)
        context.set(dut.first_product, first_number)
        await context.tick()
        context.set(dut.start, 0)
        begun = loaded = freed = 0
        releases, got = [], []
        for clock in range(100 * len(finals) * row_groups):
            # A chunk takes three clocks to load; a bank is freed two clocks after its release.
            beginning = begun < len(finals) and begun == loaded and context.get(dut.bank_free)
            finishing = begun > loaded and generator.random() < 0.4
            freeing = bool(releases) and releases[0] <= clock
            context.set(dut.chunk_begin, beginning)
            context.set(dut.chunk_loaded, finishing)
            context.set(dut.chunk_final, finishing and finals[loaded])
            context.set(dut.bank_released, freeing)
            ready = not pauses or generator.random() < 0.3
            context.set(dut.product_ready, ready)
            assert begun - freed <= 2
            taken = ready and context.get(dut.product_valid)
            assert context.get(dut.started) == taken
            if taken:
                product = dut.product
                got.append(tuple(context.get(v) for v in (
                    product.bank, product.row_enable, product.release, product.final,
                    product.number)))
                if got[-1][2]:
                    releases.append(clock + 2)
            await context.tick()
            begun += beginning
            loaded += finishing
            freed += freeing
            if freeing:
                releases.pop(0)
            if freed == len(finals):
                break
        assert got == [tuple(map(int, p)) for p in expected_products(
            finals, row_groups, granules, first_number)]
        return len(got)

    async def testbench(context):
        context.set(dut.row_groups, row_groups)
        context.set(dut.group_granules, granules)
        for first in (0, 3 << 30 | 5, 0x5A5A_A5A5, 0xA5A5_5A5A):
            number = first
            for chunks in (1, 2, 7):
                finals = [generator.random() < 0.4 for _ in range(chunks)]
                number += await layer(context, finals, number)

    simulate(dut, testbench)
