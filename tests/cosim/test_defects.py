"""A chip with one block wrong by one step, or one phase out of order, is caught and located."""

import numpy as np
import pytest

from golden.chip import preset
from golden.execute import execute
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.timing import layer_clocks
from sim.compare import Comparison, compare_image
from sim.fast import library, run_on_rtl, verify_on_rtl
from sim.fast.bring_up import BringUpError
from sim.fast.run import ImageError
from sim.random_programs import random_images, random_program
from tests.cosim.defects import DEFECTS, HOST_DEFECTS, plant

#: Codes of this program move with single steps of its random image.
SEED = 2


@pytest.fixture(autouse=True)
def fresh_verilog():
    """Verilog is kept per chip: neither take an intact chip's nor leave a broken one's."""
    library._chip_text.cache_clear()
    yield
    library._chip_text.cache_clear()


@pytest.mark.parametrize("name", DEFECTS)
def test_defect_is_located(name, monkeypatch):
    """The image says where it is, and so does, in a verified run, the bring-up before it."""
    defect = DEFECTS[name]
    plant(monkeypatch, defect)
    program = random_program(preset("tiny"), SEED)
    macro = Macro(program.chip, MacroPhysics(), program.weights, SEED)
    arguments = program, macro, random_images(program, 3, SEED), SEED
    if name == "phases":
        place = r"tile \d.*clock \d+.*share.*in layer '[^']+', product 0"
        with pytest.raises(ImageError, match=place):
            run_on_rtl(*arguments)
    else:
        layers = execute(*arguments, trace=True).layers
        first = Comparison.add([compare_image(program, layers, index, image) for index, image
                                in enumerate(run_on_rtl(*arguments).images)]).mismatches[0]
        assert first.kind == defect.found_in
        assert first.layer in {layer.name for layer in program.layers}
        assert first.position is not None
        assert first.expected != first.got
        text = str(first)
        assert first.layer in text and "position" in text
    place = rf"^bring-up, exercise of tenant 0, {defect.found_in} at layer '[^']+', position \d"
    with pytest.raises(BringUpError, match=defect.bring_up or place):
        verify_on_rtl(*arguments).comparison.check()


@pytest.mark.parametrize("name", HOST_DEFECTS)
def test_defect_that_only_a_host_sees(name, monkeypatch):
    """Found before the image, or in the registers after it; the words of the image are right."""
    defect = HOST_DEFECTS[name]
    plant(monkeypatch, defect)
    program = random_program(preset("tiny"), SEED)
    macro = Macro(program.chip, MacroPhysics(), program.weights, SEED)
    arguments = program, macro, random_images(program, 1, SEED), SEED
    image = run_on_rtl(*arguments)
    assert np.array_equal(image.outputs, execute(*arguments).outputs)
    with pytest.raises((BringUpError, AssertionError), match=defect.found_in):
        golden = execute(*arguments, trace=True)
        cycles = [layer_clocks(program, None, golden.layers)]
        verify_on_rtl(*arguments, cycles=cycles).comparison.check()
