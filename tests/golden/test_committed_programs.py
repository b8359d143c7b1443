"""The trained programs in programs/: they fit their chips, and take the clocks that are claimed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from golden.chip import preset
from golden.execute import execute
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.program import Convolution, Program
from golden.timing import layer_clocks

PROGRAMS = Path(__file__).parents[2] / "programs"
DEFAULT = preset("default")
SINGLE = replace(DEFAULT, name="custom", tiles=1)


def _load(name):
    return Program.load(PROGRAMS / f"resnet20_{name}.safetensors",
                        SINGLE if name == "64" else DEFAULT)


def _clocks(program):
    """Clocks of an image in which no conversion stops early."""
    layers = tuple(replace(la, stop=np.zeros_like(la.stop)) if isinstance(la, Convolution) else la
                   for la in program.layers)
    return sum(layer_clocks(replace(program, layers=layers)))


def test_contest_aware_training_saves_a_quarter_of_the_clocks():
    assert _clocks(_load("256_contest")) < 0.75 * _clocks(_load("256"))


@pytest.mark.parametrize("name", ["64", "256", "256_contest"])
def test_programs_tell_images_apart(name):
    program = _load(name)
    random = np.random.default_rng(0)
    images = random.integers(-60, 61, (4, 4, 4, 3), np.int8).repeat(8, axis=1).repeat(8, axis=2)
    macro = Macro(program.chip, MacroPhysics.ideal(), program.weights, 0)
    outputs = execute(program, macro, images, 0).outputs
    assert outputs.shape == (4, 10)
    assert len(np.unique(outputs, axis=0)) == 4
