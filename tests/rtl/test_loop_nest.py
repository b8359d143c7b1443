"""Loop nest and pitches against plain loops and products."""

import itertools
import random

import pytest

from rtl.loop_nest import LoopNest, Walker
from rtl.pitches import Pitches
from tests.rtl.simulation import simulate

LEVELS = {"a": 2, "b": 3, "c": 2}
WALKERS = {"all": Walker(6, ("a", "b", "c")), "outer": Walker(4, ("c",)),
           "inner": Walker(5, ("a",)), "gap": Walker(7, ("a", "c"))}


def test_loop_nest():
    generator = random.Random(7)
    dut = LoopNest(LEVELS, WALKERS)
    runs = [(1, 1, 1), (3, 7, 3), (1, 7, 1), (3, 1, 3), (2, 1, 1), (1, 1, 2)]
    runs += [tuple(generator.randint(1, (1 << w) - 1) for w in LEVELS.values()) for _ in range(25)]

    async def testbench(context):
        for counts in runs:
            for level, count in zip(LEVELS, counts, strict=True):
                context.set(getattr(dut, f"{level}_count"), count)
            origins, steps = {}, {}
            for name, walker in WALKERS.items():
                origins[name] = generator.randrange(1 << walker.width)
                context.set(getattr(dut, f"{name}_origin"), origins[name])
                for level in walker.levels:
                    steps[name, level] = generator.randrange(1 << walker.width)
                    context.set(getattr(dut, f"{name}_{level}_step"), steps[name, level])
            await context.tick().repeat(2)
            context.set(dut.load, 1)
            await context.tick()
            context.set(dut.load, 0)
            for c, b, a in itertools.product(*(range(n) for n in reversed(counts))):
                index = {"a": a, "b": b, "c": c}
                for level, count in zip(LEVELS, counts, strict=True):
                    assert context.get(getattr(dut, f"{level}_last")) == (
                        index[level] == count - 1)
                for name, walker in WALKERS.items():
                    total = origins[name] + sum(index[level] * steps[name, level]
                                                for level in walker.levels)
                    assert context.get(getattr(dut, name)) == total % (1 << walker.width)
                advance = 0
                while not advance:
                    advance = generator.randrange(2)
                    context.set(dut.advance, advance)
                    await context.tick()
                context.set(dut.advance, 0)

    simulate(dut, testbench)


def test_loop_nest_refuses_unknown_levels():
    with pytest.raises(ValueError, match="walker 'w' must move with levels out of a, not"):
        LoopNest({"a": 1}, {"w": Walker(4, ("z",))})
    with pytest.raises(ValueError, match="at least one loop"):
        LoopNest({}, {})


def test_pitches():
    generator = random.Random(3)
    dut = Pitches()
    widths = {"base": 16, "pixel": 12, "width": 12, "stride": 4, "pad_left": 4, "pad_top": 4}
    cases = [{name: 0 for name in widths}, {name: (1 << w) - 1 for name, w in widths.items()},
             {name: 1 for name in widths}]
    cases += [{name: generator.randrange(1 << w) for name, w in widths.items()}
              for _ in range(60)]

    async def testbench(context):
        for case in cases:
            for name, value in case.items():
                context.set(getattr(dut, name), value)
            context.set(dut.start, 1)
            await context.tick()
            context.set(dut.start, 0)
            for _ in range(dut.LATENCY - 1):
                assert not context.get(dut.done)
                await context.tick()
            assert context.get(dut.done)
            row = case["width"] * case["pixel"]
            expected = {"row": row, "column_step": case["stride"] * case["pixel"],
                        "row_step": case["stride"] * row,
                        "origin": (case["base"] - case["pad_left"] * case["pixel"]
                                   - case["pad_top"] * row)}
            for _ in range(3):
                assert {name: context.get(getattr(dut, name)) for name in expected} == {
                    name: value % (1 << 16) for name, value in expected.items()}
                await context.tick()
                assert not context.get(dut.done)

    simulate(dut, testbench)
