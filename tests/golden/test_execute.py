"""The golden run against its slow scalar reference, and what must not change it."""


from dataclasses import fields, replace

import numpy as np
import pytest

from golden.chip import preset
from golden.chip.descriptor import Opcode
from golden.conversion import mean_code
from golden.execute import Execution, execute
from golden.jobs import product_jobs
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.products import ProductEngine
from golden.program import Convolution, Elementwise, Program, Transfer, Window
from golden.reference import run_image
from sim.random_programs import chips, random_images, random_program

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
                assert expected.opcode not in (Opcode.CONVOLVE, Opcode.CALIBRATE)
                continue
            for name in ("product", "tile", "conversion", "index", "plane", "void"):
                assert getattr(found.conversions, name).tolist() == [
                    getattr(c, name) for c in expected.conversions], name
            for name in ("code", "compensated", "stopped"):
                assert getattr(found.conversions, name)[i].tolist() == [
                    getattr(c, name) for c in expected.conversions], name
            assert set(np.flatnonzero(found.flagged[i])) == expected.flagged
            if found.settings is not None:
                assert expected.opcode is Opcode.CALIBRATE
                assert expected.settings == [
                    getattr(found.settings, name)[i].tolist()
                    for name in ("offsets", "gains", "gain_references")]
                continue
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


# Numbers worked out by hand, independent of both implementations.

def linear_program(*, resolution: int = 6, reference: int = 16, coefficient: int = 1,
                   stream: bool = False, stop: bool = False, relu: bool = False,
                   multiplier: int = 1, bias: int = 0, shift: int = 0,
                   corrections: np.ndarray | None = None) -> Program:
    """One pixel of four channels into one kernel: column 0 of tile 0, weights 1, 0, 0, 0."""
    chip = preset("tiny")
    weights = np.zeros((2, 16, 8), np.int8)
    weights[0, 0, 0] = 1
    coefficients = np.zeros((1, 2, 8, 1), np.int8)
    coefficients[0, 0, 0, 0] = coefficient
    if corrections is None:
        corrections = np.zeros((2, 64), np.int64)
    layers = (
        Transfer("load", True, 0, 1),
        Convolution("linear", Window(1, 1, 1, 1), 0, 1, 1, 1, 1, 1, 1, relu, stream, resolution,
                    reference, coefficients, np.array([multiplier]), np.array([bias]),
                    np.array([shift]), np.array([stop])),
        Transfer("store", False, 1, 1))
    return Program(chip, weights, corrections, layers, (1, 1, 4), 1.0, 1.0, 1)


def linear_output(value: int, **options: object) -> int:
    program = linear_program(**options)
    image = np.array([value, 99, -99, 5], np.int8).reshape(1, 1, 1, 4)
    result = execute(program, macro_of(program, MacroPhysics.ideal()), image, seed=0)
    assert result.stored.shape == (1, 1) and int(result.stored[0, 0]) < 256
    return int(result.outputs[0, 0])


@pytest.mark.parametrize("value, code", [
    (0, 0), (7, 0), (8, 1), (23, 1), (24, 2), (-8, 0), (-9, -1), (-24, -1), (-25, -2),
    (127, 7), (-128, -8)])
def test_codes_by_hand(value, code):
    """A step of 16: code c from 16c - 8 up; four bits saturate at 7 and -8."""
    assert linear_output(value, resolution=4, reference=16) == code
    assert linear_output(value, resolution=4, reference=16, stream=True) == code


def test_merge_and_stream_by_hand():
    """Coefficient -5 is planes 0 and 2 of a column sampled with opposite polarity.

    Value 24 at a step of 16: merge converts -24 twice, code -1 each, -1 - 4 = -5; stream
    converts 24 once, code 2, times -5.
    """
    assert linear_output(24, coefficient=-5) == -5
    assert linear_output(24, coefficient=-5, stream=True) == -10


def test_early_stop_by_hand():
    """A stopped code is -1, and not compensated; one that is not negative goes on."""
    corrections = np.full((2, 64), 3)
    assert linear_output(-100, corrections=corrections) == -6 + 3
    assert linear_output(-100, corrections=corrections, stop=True) == -1
    assert linear_output(100, corrections=corrections, stop=True) == 6 + 3
    assert linear_output(-100, corrections=corrections, stop=True, stream=True) == -6 + 3


def test_corrections_are_indexed_by_the_code_modulo_the_table():
    corrections = np.zeros((2, 64), np.int64)
    corrections[0, 64 - 6], corrections[1] = 5, 7
    assert linear_output(-100, corrections=corrections) == -1
    assert linear_output(-100, corrections=corrections, resolution=4) == -1
    assert linear_output(100, corrections=corrections) == 6


@pytest.mark.parametrize("options, output", [
    ({"multiplier": 3}, 18), ({"multiplier": 3, "shift": 2}, 5), ({"bias": -8}, -2),
    ({"bias": -8, "relu": True}, 0), ({"multiplier": 1000}, 127), ({"multiplier": 100,
     "bias": -1000}, -128), ({"bias": -13, "shift": 1}, -3), ({"bias": -12, "shift": 31}, 0)])
def test_requantizer_by_hand(options, output):
    """Code 6: 18 / 4 = 4.5 rounds up, -7 / 2 = -3.5 rounds up too, ends saturate."""
    assert linear_output(100, **options) == output


def averaged_codes(averaging: int, noise: float, images: int = 400) -> np.ndarray:
    """Codes of the value 20 at a step of 16, each of another image, with noise in steps."""
    program = linear_program(reference=16)
    layer = replace(program.layers[1], averaging=averaging)
    program = replace(program, layers=(program.layers[0], layer, program.layers[2]))
    sigma = noise * 16 * MacroPhysics().product_unit(program.chip.array)
    physics = replace(MacroPhysics.ideal(), comparator_noise=sigma)
    image = np.array([20, 0, 0, 0], np.int8).reshape(1, 1, 1, 4)
    result = execute(program, macro_of(program, physics), np.repeat(image, images, 0), seed=3,
                     trace=True)
    conversions = result.layers[1].conversions
    assert conversions.conversion[conversions.tile == 0].tolist() == [(1 << averaging) - 1]
    return conversions.code[:, conversions.tile == 0][:, 0]


@pytest.mark.parametrize("averaging", range(4))
def test_averaging_without_noise_changes_nothing(averaging):
    assert averaged_codes(averaging, 0.0, 3).tolist() == [1, 1, 1]


def test_averaging_narrows_the_noise():
    """Independent noise of two steps: the variance of a mean falls with the conversions.

    A twelfth stands for the rounding of the mean.
    """
    for averaging in range(4):
        variance = averaged_codes(averaging, 2.0).var()
        expected = (4 + 1 / 12) / (1 << averaging) + (1 / 12 if averaging else 0)
        assert 0.75 * expected < variance < 1.25 * expected


@pytest.mark.parametrize("codes, mean", [
    ([3, 3], 3), ([0, 1], 1), ([-1, 0], 0), ([-2, -1], -1), ([1, 1, 1, 2], 1), ([1, 1, 2, 2], 2),
    ([-8, -8, -8, -8, -8, -8, -8, -8], -8), ([7] * 8, 7)])
def test_means_by_hand(codes, mean):
    """A half is rounded upwards."""
    averaging = len(codes).bit_length() - 1
    assert mean_code(np.array([codes], np.int16), averaging).tolist() == [mean]


def elementwise_program(opcode: Opcode, window: Window, words: int = 1, **options: object
                        ) -> Program:
    chip = preset("tiny")
    count = window.in_width * window.in_height * words
    settings = {"relu": False, "multiplier": 1, "bias": 0, "shift": 0} | options
    layers = (Transfer("load", True, 0, count),
              Elementwise("layer", opcode, window, 0, 100, words, words, words, **settings),
              Transfer("store", False, 100, window.positions * words))
    return Program(chip, np.zeros((2, 16, 8), np.int8), np.zeros((2, 64), np.int64), layers,
                   (window.in_height, window.in_width, 4 * words), 1.0, 1.0, 4 * words)


def run_ideal(program: Program, images: np.ndarray) -> Execution:
    return execute(program, macro_of(program, MacroPhysics.ideal()), images, seed=0)


def test_pools_by_hand():
    image = np.arange(-32, 32, dtype=np.int8).reshape(1, 4, 4, 4)
    window = Window(4, 4, 2, 2, 3, 3, 2, 1, 1)
    greatest = run_ideal(elementwise_program(Opcode.MAX_POOL, window), image)
    # The window of the first position covers pixels (0, 0) to (1, 1): the rest is padding.
    assert greatest.outputs[0].tolist() == image[0, 1, 1].tolist()
    mean = run_ideal(elementwise_program(Opcode.AVERAGE_POOL, window, multiplier=1, shift=2),
                     image)
    sums = image[0, :2, :2].astype(int).sum(axis=(0, 1))
    assert mean.outputs[0].tolist() == [(int(s) + 2) >> 2 for s in sums]


def test_max_pool_of_the_lowest_values_is_not_padding():
    window = Window(1, 1, 1, 1, 3, 3, 1, 1, 1)
    image = np.full((1, 1, 1, 4), -127, np.int8)
    assert (run_ideal(elementwise_program(Opcode.MAX_POOL, window), image).outputs == -127).all()


def test_add_by_hand():
    """Second operand: every other pixel of the same image, its first word added to the second."""
    image = np.random.default_rng(0).integers(-128, 128, (1, 3, 3, 8)).astype(np.int8)
    program = elementwise_program(
        Opcode.ADD, Window(3, 3, 2, 2), words=2, multiplier=3, shift=1, second_source=0,
        second_pixel_words=2, second_stride=2, second_width=3, second_offset=1, second_words=1,
        second_multiplier=2)
    found = run_ideal(program, image).stored.view(np.int8).reshape(2, 2, 8)
    for y in range(2):
        for x in range(2):
            for channel in range(8):
                other = int(image[0, 2 * y, 2 * x, channel - 4]) if channel >= 4 else 0
                value = (int(image[0, y, x, channel]) * 3 + other * 2 + 1) >> 1
                assert found[y, x, channel] == max(-128, min(127, value))


# What must not change the numbers.

@pytest.fixture(scope="module")
def noisy() -> tuple[Program, Macro, np.ndarray, Execution]:
    program = random_program(preset("tiny"), 5)
    macro, images = macro_of(program, ROUGH), random_images(program, 7, 5)
    return program, macro, images, execute(program, macro, images, seed=5, first_image=3,
                                           trace=True, statistics=True)


def traced_arrays(result: Execution) -> list[np.ndarray]:
    """Everything that depends on the image, [batch, ...]."""
    arrays = [result.outputs, result.stored]
    for layer in result.layers:
        arrays.append(layer.data)
        if layer.conversions is not None:
            arrays += [layer.conversions.code, layer.conversions.compensated,
                       layer.conversions.stopped, layer.flagged]
        if layer.sums is not None:
            arrays += [layer.sums, layer.outputs]
        if layer.settings is not None:
            arrays += [getattr(layer.settings, f.name) for f in fields(layer.settings)]
    return arrays


def test_noise_reaches_the_outputs(noisy):
    program, macro, images, whole = noisy
    other = execute(program, macro, images, seed=6, first_image=3, trace=True)
    ideal = execute(program, macro_of(program, MacroPhysics.ideal()), images, 5, 3, trace=True)
    for result in (other, ideal):
        assert any((a != b).any() for a, b in zip(traced_arrays(whole), traced_arrays(result),
                                                  strict=True))


@pytest.mark.parametrize("cuts", [(1,), (3, 4), (1, 2, 3, 4, 5, 6)])
def test_batch_split(noisy, cuts):
    program, macro, images, whole = noisy
    starts, parts = [0, *cuts], np.split(images, cuts)
    results = [execute(program, macro, part, seed=5, first_image=3 + start, trace=True)
               for start, part in zip(starts, parts, strict=True)]
    for i, expected in enumerate(traced_arrays(whole)):
        found = np.concatenate([traced_arrays(result)[i] for result in results])
        assert (found == expected).all()


def test_image_order_matters_only_through_its_index(noisy):
    """Each image alone, in reverse order, at its own index."""
    program, macro, images, whole = noisy
    for i in reversed(range(len(images))):
        alone = execute(program, macro, images[i:i + 1], seed=5, first_image=3 + i, trace=True)
        for expected, found in zip(traced_arrays(whole), traced_arrays(alone), strict=True):
            assert (found[0] == expected[i]).all()


def test_internal_blocks_do_not_matter(noisy, monkeypatch):
    """Buffers of one image at a time, and a handful of rows per matrix product."""
    program, macro, images, whole = noisy
    monkeypatch.setattr("golden.execute._BUFFER_BYTES", 1)
    monkeypatch.setattr("golden.products._BLOCK_VALUES", 40)
    small = execute(program, macro, images, seed=5, first_image=3, trace=True, statistics=True)
    for expected, found in zip(traced_arrays(whole), traced_arrays(small), strict=True):
        assert (found == expected).all()
    for expected, found in zip(whole.statistics, small.statistics, strict=True):
        assert (found.histogram == expected.histogram).all()
        assert found.stopped == expected.stopped


def test_float32_is_used_where_exact_and_agrees(monkeypatch):
    """The same program with the float32 path shut off."""
    program = random_program(preset("tiny"), 6)
    macro, images = macro_of(program, MacroPhysics.ideal()), random_images(program, 4, 6)
    used = []
    fast = execute(program, macro, images, seed=0, trace=True)
    for layer in program.layers:
        if isinstance(layer, Convolution):
            jobs = [[product_jobs(program.chip, layer, chunk, tile)
                     for tile in range(program.chip.tiles)] for chunk in range(layer.chunks)]
            used.append(ProductEngine(program, macro, layer, jobs, 0).dtype)
    assert used and set(used) == {np.float32}
    monkeypatch.setattr("golden.products._FLOAT32_LIMIT", 0)
    slow = execute(program, macro, images, seed=0, trace=True)
    for expected, found in zip(traced_arrays(slow), traced_arrays(fast), strict=True):
        assert (found == expected).all()


def test_statistics_count_the_traced_codes(noisy):
    program, _, _, whole = noisy
    convolutions = [(layer, trace) for layer, trace in zip(program.layers, whole.layers,
                                                           strict=True)
                    if isinstance(layer, Convolution)]
    assert len(convolutions) == len(whole.statistics) > 1
    for (layer, trace), counted in zip(convolutions, whole.statistics, strict=True):
        c = trace.conversions
        finished = c.code[:, ~c.void][~c.stopped[:, ~c.void]]
        half = 1 << layer.resolution - 1
        assert counted.name == layer.name
        assert counted.histogram.tolist() == [int((finished == code).sum())
                                              for code in range(-half, half)]
        assert counted.stopped == c.stopped.sum()
        assert counted.conversions == c.code.shape[0] * int((~c.void).sum())
        ends = int(((finished == -half) | (finished == half - 1)).sum())
        assert counted.clipped == ends / counted.conversions


def test_empty_batch():
    program = random_program(preset("tiny"), 0)
    result = execute(program, macro_of(program, ROUGH),
                     np.zeros((0, *program.input_shape), np.int8), seed=0, trace=True)
    assert result.outputs.shape == (0, program.outputs)
    assert all(len(array) == 0 for array in traced_arrays(result))


# Arguments that do not fit.

@pytest.mark.parametrize("change, message", [
    ({"images": np.zeros((1, 1, 1, 3), np.int8)}, r"images must be int8 \[batch, 1, 1, 4\]"),
    ({"images": np.zeros((1, 1, 1, 4))}, r"images must be int8 .*, not float64"),
    ({"seed": -1}, "seed must be 0"), ({"seed": 1 << 64}, "seed must be 0"),
    ({"first_image": -1}, "first_image must be 0"),
])
def test_arguments_refused(change, message):
    program = linear_program()
    arguments = {"images": np.zeros((1, 1, 1, 4), np.int8), "seed": 0} | change
    with pytest.raises(ValueError, match=message):
        execute(program, macro_of(program, MacroPhysics.ideal()), **arguments)


def test_macro_of_another_chip_or_with_other_weights_is_refused():
    program, images = linear_program(), np.zeros((1, 1, 1, 4), np.int8)
    other = replace(program.chip, tiles=1, name="other")
    with pytest.raises(ValueError, match="macro is of chip 'other'"):
        execute(program, Macro(other, ROUGH, program.weights[:1], 0), images, seed=0)
    with pytest.raises(ValueError, match="macro must hold the program's weights"):
        execute(program, Macro(program.chip, ROUGH, program.weights + np.int8(1), 0), images, 0)


def test_programs_that_load_or_store_the_wrong_amount_are_refused():
    program, images = linear_program(), np.zeros((1, 1, 1, 4), np.int8)
    macro = macro_of(program, ROUGH)
    for layers, message in (
            ((Transfer("load", True, 0, 2), *program.layers[1:]), "program loads 2 words"),
            ((*program.layers[:2], Transfer("store", False, 1, 0)), "program stores 0 words")):
        with pytest.raises(ValueError, match=message):
            execute(replace(program, layers=layers), macro, images, seed=0)
