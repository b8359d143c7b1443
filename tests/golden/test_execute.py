"""The golden run against its slow scalar reference, and what must not change it."""


import numpy as np
import pytest

from golden.chip import preset
from golden.chip.descriptor import Opcode
from golden.execute import Execution, execute
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.program import Convolution, Elementwise, Program
from golden.reference import run_image
from tests.golden.random_programs import chips, random_images, random_program

#: Rough enough that every deviation moves codes on programs this small.
ROUGH = MacroPhysics(mismatch_sigma=0.05, gain_loss_spread=0.02, comparator_offset=0.01,
                     comparator_noise=0.005, second_order=0.1, third_order=-0.1)
#: Thresholds that fall as the code rises, so that the order of the search matters.
FOLDED = MacroPhysics(third_order=-3.0)


def macro_of(program: Program, physics: MacroPhysics) -> Macro:
    return Macro(program.chip, physics, program.weights, seed=11)


def assert_equals_reference(program: Program, macro: Macro, images: np.ndarray,
                            first_image: int = 0) -> Execution:
    result = execute(program, macro, images, seed=5, first_image=first_image, trace=True)
    for i, image in enumerate(images):
        stored, layers = run_image(program, macro, image, seed=5, index=first_image + i)
        assert result.stored[i].tolist() == stored
        assert len(layers) == len(result.layers)
        for expected, found in zip(layers, result.layers, strict=True):
            assert found.address.tolist() == [address for address, _ in expected.words]
            assert found.data[i].tolist() == [data for _, data in expected.words]
            if found.conversions is None:
                assert expected.opcode is not Opcode.CONVOLVE
                continue
            for name in ("product", "tile", "conversion", "index", "plane", "void"):
                assert getattr(found.conversions, name).tolist() == [
                    getattr(c, name) for c in expected.conversions], name
            for name in ("code", "compensated", "stopped"):
                assert getattr(found.conversions, name)[i].tolist() == [
                    getattr(c, name) for c in expected.conversions], name
            assert found.sums[i].tolist() == expected.sums
            assert found.outputs[i].tolist() == expected.outputs
    return result


@pytest.mark.parametrize("physics", [MacroPhysics.ideal(), ROUGH, FOLDED],
                         ids=["ideal", "rough", "folded"])
@pytest.mark.parametrize("chip", chips(), ids=lambda chip: chip.name)
def test_equals_the_scalar_reference(chip, physics):
    for seed in range(3):
        program = random_program(chip, seed)
        assert_equals_reference(program, macro_of(program, physics),
                                random_images(program, 2, seed), first_image=7)


@pytest.mark.parametrize("mode", ["merge", "stream", "plain"])
def test_each_mode_equals_the_scalar_reference(mode):
    program = random_program(preset("tiny"), 20, (mode,))
    assert_equals_reference(program, macro_of(program, ROUGH), random_images(program, 3, 1))


def test_random_programs_reach_every_feature():
    """The comparisons above would prove little on programs without these."""
    seen = set()
    for chip in chips():
        for seed in range(3):
            program = random_program(chip, seed)
            result = execute(program, macro_of(program, ROUGH), random_images(program, 2, seed),
                             seed=5, trace=True)
            for layer, trace in zip(program.layers, result.layers, strict=True):
                if isinstance(layer, Elementwise):
                    seen |= {layer.opcode.name, f"second_stride {layer.second_stride}",
                             f"second_offset {layer.second_offset}"}
                if isinstance(layer, Convolution):
                    c = trace.conversions
                    seen |= {"stream" if layer.stream else "merge",
                             f"stride {layer.window.stride}",
                             f"groups {min(layer.row_groups, 2)}"}
                    seen |= {name for name, hit in {
                        "void": c.void.any(), "stopped": c.stopped.any(),
                        "chunks": layer.chunks > 1, "padding": layer.window.pad_left,
                        "blocks": layer.blocks > 1, "relu": layer.relu,
                        "corrected": (c.code != c.compensated).any(),
                        "clipped": (c.code == c.code.min()).sum() > 1,
                        "saturated": (trace.outputs == 127).any()}.items() if hit}
    assert seen >= {"ADD", "AVERAGE_POOL", "MAX_POOL", "second_stride 2", "second_offset 1",
                    "stream", "merge", "stride 2", "groups 2", "void", "stopped", "chunks",
                    "padding", "relu", "corrected", "clipped", "saturated"}
