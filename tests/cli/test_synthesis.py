"""Synthesis: the committed figures, and that the blocks still give them."""

from dataclasses import replace

import pytest

from scripts.synthesis import PAGE, compare, load, markdown
from sim.synthesis import BLOCKS, Measurement, measure
from sim.synthesis.flow import synthesise, tool_versions

#: Fractions by which area, and frequency over the same seeds, may be worse.
AREA, FREQUENCY = 0.05, 0.1
#: Blocks that take seconds.
QUICK = ("loader", "feed", "converter")


@pytest.fixture(scope="module")
def baseline():
    tools, blocks = load()
    if tools != tool_versions():
        pytest.skip(f"AREA IS NOT COMPARED: measured with {tools}, here are {tool_versions()}")
    return blocks


def test_every_block_is_measured():
    tools, blocks = load()
    assert list(blocks) == list(BLOCKS)
    for name, block in blocks.items():
        assert (block.preset, block.part, block.target) == (
            BLOCKS[name].preset, BLOCKS[name].part.name, BLOCKS[name].target)
        assert block.fmax_by_seed and block.lut > 0 and block.flip_flops > 0
        assert block.gate_flip_flops <= block.flip_flops + block.memory_bits


def test_page_is_made_of_the_baseline():
    assert PAGE.read_text(encoding="utf-8") == markdown(*load())


@pytest.mark.parametrize("name", QUICK)
def test_area(name, baseline, tmp_path):
    assert not compare(baseline[name], synthesise(BLOCKS[name], tmp_path), AREA)


@pytest.mark.slow
@pytest.mark.parametrize("name", BLOCKS)
def test_area_and_frequency(name, baseline, tmp_path):
    found = measure(BLOCKS[name], tmp_path)
    assert not compare(baseline[name], {"fmax": found.fmax}, FREQUENCY)
    assert not compare(baseline[name], {"lut": found.lut, "flip_flops": found.flip_flops,
                                        "multipliers": found.multipliers,
                                        "memories": found.memories, "gates": found.gates}, AREA)


def test_what_is_worse_is_named():
    block = Measurement("tiny", "part", 150.0, 100, 200, 1, 0, 150.0, (150.0,), 300, 200, 0)
    assert compare(block, {"lut": 105, "fmax": 143.0}, 0.05) == []
    assert compare(block, {"lut": 106}, 0.05) == ["lut 106, was 100"]
    assert compare(block, {"fmax": 142.0}, 0.05) == ["fmax 142.0 MHz, was 150.0"]
    assert compare(replace(block, multipliers=0), {"multipliers": 4}, 0.05) == []
    assert compare(block, {"multipliers": 6}, 0.05) == ["multipliers 6, was 1"]
    with pytest.raises(ValueError, match="tolerance"):
        compare(block, {}, 1.0)
