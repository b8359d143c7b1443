"""The macro's digital twin against the phases on its pins and plain integer arithmetic."""

from dataclasses import replace
import random

import numpy as np
import pytest

from golden.chip import LEVEL_FRACTION_BITS, Phases, preset
from rtl.twin import MacroTwin, twin_phases
from tests.rtl.simulation import simulate


def test_phases_give_time_to_read_every_row():
    tiny, default = preset("tiny"), preset("default")
    assert twin_phases(tiny) == tiny.phases
    assert twin_phases(default) == replace(default.phases, drive=35)
    assert twin_phases(preset("large")).drive == 63
    rows = replace(default, array=replace(default.array, rows=272))
    with pytest.raises(ValueError, match="rows must be at most 256 .*not 272"):
        twin_phases(rows)


@pytest.mark.parametrize("polarity", [True, False])
@pytest.mark.parametrize("seed", range(2))
def test_products_and_answers(polarity, seed):
    """Weights and codes at their extremes, then random; the shortest phases that are allowed."""
    tiny = preset("tiny")
    chip = replace(tiny, array=replace(tiny.array, polarity=polarity, columns=12, rows=24,
                                       row_granule=4),
                   accumulator=replace(tiny.accumulator, lanes=4, coefficient_bits=3, kernels=32))
    rows, columns, granules = chip.array.rows, chip.array.columns, chip.array.granules
    twin, generator = MacroTwin(chip), random.Random(seed)
    phases = Phases(reset=1, drive=rows // 4 - 1, share=1, hold=1, clear=1, add=1, gap=1)
    choices = np.random.default_rng(seed)
    extremes = [np.full((rows, columns), v) for v in (-128, 127)]
    weights = [*extremes, choices.integers(-128, 128, (rows, columns))]
    checked = 0

    async def testbench(context):
        nonlocal checked

        async def close(name, length, **pins):
            for pin, value in pins.items():
                context.set(getattr(twin, pin), value)
            context.set(getattr(twin, name), 1)
            for _ in range(length):
                await context.tick()
            context.set(getattr(twin, name), 0)
            for _ in range(phases.gap):
                await context.tick()

        async def load(bank, codes, words):
            """The first word clears the bank's other rows."""
            for i, word in enumerate(words):
                for pin, value in (("load_enable", 1), ("load_bank", bank), ("load_row", word),
                                   ("load_clear", i == 0)):
                    context.set(getattr(twin, pin), value)
                data = int.from_bytes(codes[4 * word:4 * word + 4].astype(np.int8).tobytes(),
                                      "little")
                context.set(twin.load_codes, data)
                await context.tick()
            context.set(twin.load_enable, 0)

        for array in weights:
            for row in range(rows):
                for group in range(columns // 4):
                    for pin, value in (
                            ("write_enable", 1), ("write_row", row), ("write_group", group),
                            ("write_data", int.from_bytes(
                                array[row, 4 * group:4 * group + 4].astype(np.int8).tobytes(),
                                "little"))):
                        context.set(getattr(twin, pin), value)
                    await context.tick()
            context.set(twin.write_enable, 0)
            for product in range(4):
                codes = (np.full(rows, (-128, 127)[product]) if product < 2
                         else choices.integers(-128, 128, rows))
                words = list(range(rows // 4))
                if product == 3:
                    words = sorted(generator.sample(words, 3), key=lambda _: generator.random())
                bank = product & 1
                await load(bank, codes, words)
                loaded = np.zeros(rows, int)
                for word in words:
                    loaded[4 * word:4 * word + 4] = codes[4 * word:4 * word + 4]
                enable = (1 << granules) - 1 if product < 3 else generator.getrandbits(granules)
                rows_on = np.repeat([enable >> g & 1 for g in range(granules)],
                                    chip.array.row_granule)
                held = (loaded * rows_on) @ array
                pins = {"bank": bank, "row_enable": enable}
                await close("reset", phases.reset, **pins)
                await close("drive", phases.drive)
                # From here on the latches may be written again.
                await load(bank, np.full(rows, 85), [0])
                await close("share", phases.share)
                await close("hold", phases.hold)
                for conversion in range(4):
                    side = conversion & 1
                    select = ((1 << columns) - 1 if conversion == 0
                              else generator.getrandbits(columns))
                    negate = generator.getrandbits(columns) & select if polarity else 0
                    await close("clear", phases.clear, side=side, select=select, negate=negate)
                    await close("add", phases.add)
                    value = sum((-1 if negate >> c & 1 else 1) * int(held[c])
                                for c in range(columns) if select >> c & 1)
                    reference = generator.choice([1, 1 << generator.randrange(12, 19)])
                    near = min(max(value // reference, -30), 30)
                    for trial in (near - 1, near, near + 1, -31, 31):
                        context.set(twin.convert, 1)
                        context.set(twin.convert_side, side)
                        context.set(twin.level, trial << LEVEL_FRACTION_BITS)
                        context.set(twin.reference, reference)
                        assert context.get(twin.comparator) == (
                            2 * value >= (2 * trial - 1) * reference)
                        assert context.get(twin.decided) == 1
                        checked += 1
                        await context.tick()
                    context.set(twin.convert, 0)

    simulate(twin, testbench)
    assert checked == 3 * 4 * 4 * 5
