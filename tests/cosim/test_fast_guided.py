"""The chip built twice gives the same words; it is built so only where that pays."""

import numpy as np
import pytest

from golden.chip import preset
from golden.execute import execute
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.program import Convolution
from golden.timing import layer_clocks
from scripts import execution
from sim.fast import Waves, verify_on_rtl
from sim.fast.guided import build_guided_harness, expected_clocks
from sim.random_programs import random_images, random_program

SEED = 11


@pytest.fixture(scope="module")
def guided():
    return build_guided_harness(random_program(preset("tiny"), SEED))


@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_words_are_golden_s(guided, seed):
    """Of the program that the branches were counted with, and of another."""
    program = random_program(preset("tiny"), seed)
    macro = Macro(program.chip, MacroPhysics(), program.weights, seed)
    images = random_images(program, 2, seed)
    found = verify_on_rtl(program, macro, images, seed, library=guided)
    plain = verify_on_rtl(program, macro, images, seed)
    assert not found.comparison.mismatches and sum(found.comparison.compared.values()) > 100
    np.testing.assert_array_equal(found.outputs, plain.outputs)
    np.testing.assert_array_equal(found.layer_cycles, plain.layer_cycles)


def test_libraries_do_not_write_waves(guided, tmp_path):
    program = random_program(preset("tiny"), SEED)
    macro = Macro(program.chip, MacroPhysics(), program.weights, SEED)
    waves = Waves(tmp_path / "a.vcd")
    with pytest.raises(ValueError, match="library must be None"):
        verify_on_rtl(program, macro, random_images(program, 1, SEED), SEED, waves=waves,
                      library=guided)


@pytest.mark.parametrize("seed", range(20))
def test_expected_clocks_are_the_most_an_image_takes(seed):
    program = random_program(preset("tiny"), seed)
    macro = Macro(program.chip, MacroPhysics(), program.weights, seed)
    done = execute(program, macro, random_images(program, 1, seed), seed, trace=True)
    assert done.layers is not None
    stops = any(layer.stop.any() for layer in program.layers if isinstance(layer, Convolution))
    clocks = sum(layer_clocks(program, traces=done.layers))
    assert clocks <= expected_clocks(program) if stops else clocks == expected_clocks(program)


@pytest.mark.parametrize("long", [False, True])
def test_only_a_long_run_is_guided(long, monkeypatch):
    program = random_program(preset("tiny"), SEED)
    macro = Macro(program.chip, MacroPhysics(), program.weights, SEED)
    images = random_images(program, 3, SEED)
    built = []
    monkeypatch.setattr(execution, "build_guided_harness", lambda p: built.append("guided"))
    monkeypatch.setattr(execution, "build_harness", lambda chip: built.append("plain"))
    # Two images for the busier of two processes.
    monkeypatch.setattr(execution, "GUIDED_CLOCKS",
                        2 * expected_clocks(program) + (0 if long else 1))
    result = execution.run(program, macro, images, SEED, 0, "both", 2, lambda stage, share: None)
    assert built == ["guided" if long else "plain"]
    assert not result.first_mismatch
