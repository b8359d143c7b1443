"""The chip with digital twins for macros: golden's ideal macro, word for word."""

import pytest

from golden.chip import Phases, preset
from golden.macro import Macro
from golden.physics import MacroPhysics
from rtl.twin import twin_phases
from sim.fast import HarnessError, verify_on_rtl
from sim.random_programs import random_images, random_program

CHIP = preset("tiny")


def verified(seed, physics, phases):
    program = random_program(CHIP, seed)
    macro = Macro(CHIP, physics, program.weights, seed)
    return verify_on_rtl(program, macro, random_images(program, 2, seed), seed, phases=phases,
                         twin=True)


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_are_equal(seed):
    """Every code, and in every clock of a conversion the comparator's answer."""
    comparison = verified(seed, MacroPhysics.ideal(), twin_phases(CHIP)).comparison
    comparison.check()
    assert comparison.compared["code"] > 0


def test_a_twin_that_gets_too_little_time_is_caught():
    shortest = Phases(1, 1, 1, 1, 1, 1, 1)
    with pytest.raises(HarnessError, match=r"tile \d, clock \d+: the comparator answered"):
        verified(0, MacroPhysics.ideal(), shortest)


def test_deviations_are_refused():
    with pytest.raises(ValueError, match="macro must have ideal physics"):
        verified(0, MacroPhysics(), twin_phases(CHIP))
