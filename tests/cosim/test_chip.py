"""The whole chip against golden, word for word: cocotb in both simulators, and the fast path."""

from dataclasses import replace

import numpy as np
import pytest

from golden.chip import Chip, Phases, preset
from golden.execute import execute
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.program import Calibration, Convolution
from golden.timing import layer_clocks
from rtl.verilog import TOP_NAME, chip_verilog
from sim.benches.chip import ChipParameters
from sim.compare import Comparison
from sim.fast import HarnessError, run, run_on_rtl, verify_on_rtl
from sim.host import load_writes
from sim.random_programs import chips, random_images, random_program
from sim.runner import SIMULATORS, BenchFailure, run_bench
from sim.toolchain import icarus_missing

CHIP = preset("tiny")
CHIPS = {chip.name: chip for chip in chips()}
#: Rough enough that every deviation moves codes on programs this small.
ROUGH = MacroPhysics(mismatch_sigma=0.05, gain_loss_spread=0.02, comparator_offset=0.01,
                     comparator_noise=0.005, second_order=0.1, third_order=-0.1)
PHASES = Phases(reset=1, drive=5, share=1, hold=3, clear=2, add=1, gap=2)


def needs(simulator: str) -> None:
    if simulator == "icarus" and (reason := icarus_missing()):
        pytest.skip(f"Icarus Verilog is missing: {reason}")


def parameters(chip: Chip, seed: int, images: int = 2, **options) -> ChipParameters:
    program = random_program(chip, seed)
    macro = Macro(chip, ROUGH, program.weights, seed)
    return ChipParameters(program, macro, random_images(program, images, seed), seed,
                          first_image=3, **options)


def with_cycles(given: ChipParameters) -> ChipParameters:
    golden = execute(given.program, given.macro, given.images, given.seed, given.first_image,
                     trace=True)
    cycles = [layer_clocks(given.program, given.phases, golden.layers, image)
              for image in range(len(given.images))]
    return replace(given, cycles=cycles)


@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize("pause, undecided, phases, seed", [
    (0.0, 0.0, None, 1), (0.3, 0.2, None, 7), (0.0, 0.3, PHASES, 12)],
    ids=["full rate", "pauses", "slow comparator"])
def test_cocotb(simulator, pause, undecided, phases, seed):
    needs(simulator)
    given = parameters(CHIP, seed, pause=pause, undecided=undecided, phases=phases)
    if not pause and not undecided:
        given = with_cycles(given)
    log = run_bench("chip", chip_verilog(CHIP), TOP_NAME, given, simulator, seed=seed)
    assert "FAIL=0" in log


def test_cocotb_notices_a_wrong_expectation():
    needs("icarus")
    given = with_cycles(parameters(CHIP, 12, images=1))
    given = replace(given, cycles=[[clocks + (i == 2) for i, clocks in enumerate(row)]
                                   for row in given.cycles])
    with pytest.raises(BenchFailure, match="layer cycles at layer"):
        run_bench("chip", chip_verilog(CHIP), TOP_NAME, given, "icarus", seed=1)


@pytest.mark.parametrize("physics", [MacroPhysics.ideal(), ROUGH], ids=["ideal", "rough"])
def test_fast_path_on_many_programs(physics):
    comparisons = []
    for seed in range(20):
        program = random_program(CHIP, seed)
        macro = Macro(CHIP, physics, program.weights, seed)
        images = random_images(program, 3, seed)
        golden = execute(program, macro, images, seed, first_image=seed, trace=True)
        cycles = [layer_clocks(program, None, golden.layers, i) for i in range(len(images))]
        run = verify_on_rtl(program, macro, images, seed, first_image=seed, cycles=cycles)
        run.comparison.check()
        assert np.array_equal(run.outputs, golden.outputs)
        comparisons.append(run.comparison)
    compared = Comparison.add(comparisons).compared
    assert set(compared) >= {"code", "compensated code", "early stop", "sum", "output",
                             "buffer word", "stored word", "layer cycles", "counter"}
    assert compared["code"] > 5_000


def test_a_convolution_after_an_odd_number_of_calibrations():
    # Of each tile's two banks, the one that is filled was then not the one that is drained.
    program = random_program(CHIP, 12)
    first = next(i for i, layer in enumerate(program.layers) if isinstance(layer, Convolution))
    before = [layer for layer in program.layers[:first] if isinstance(layer, Calibration)]
    assert len(before) % 2 == 1
    macro = Macro(CHIP, MacroPhysics(), program.weights, 12)
    comparison = verify_on_rtl(program, macro, random_images(program, 1, 12), 12).comparison
    comparison.check()
    assert comparison.compared["sum"] > 0


def test_fast_path_with_three_tiles_and_masks_of_several_words():
    chip = CHIPS["wide_masks"]
    for seed in range(3):
        given = parameters(chip, seed)
        verify_on_rtl(given.program, given.macro, given.images, given.seed,
                      phases=PHASES).comparison.check()


@pytest.mark.parametrize("name", [name for name in CHIPS if name != "tiny"])
def test_cocotb_on_other_chips(name):
    needs("icarus")
    chip = CHIPS[name]
    log = run_bench("chip", chip_verilog(chip), TOP_NAME, parameters(chip, 1, images=1), "icarus",
                    seed=3)
    assert "FAIL=0" in log


def test_processes_change_nothing():
    given = parameters(CHIP, 5, images=5)
    arguments = given.program, given.macro, given.images, given.seed, given.first_image
    done = []
    one = run_on_rtl(*arguments)
    two = run_on_rtl(*arguments, processes=2,
                     progress=lambda count, total: done.append((count, total)))
    assert done == [(count, 5) for count in range(1, 6)]
    assert np.array_equal(one.outputs, two.outputs)
    for a, b in zip(one.images, two.images, strict=True):
        assert a.counters == b.counters
        for tile in range(CHIP.tiles):
            assert np.array_equal(a.codes[tile], b.codes[tile])


def test_errors_of_a_process_arrive():
    given = parameters(CHIP, 5, images=2)
    not_rows = [1, 1]
    with pytest.raises(TypeError, match="'int' object is not iterable"):
        verify_on_rtl(given.program, given.macro, given.images, given.seed, processes=2,
                      cycles=not_rows)


def test_a_broken_rule_names_tile_clock_and_pin(monkeypatch):
    given = parameters(CHIP, 5, images=1)
    # The macros are told other lengths than the chip, whose registers keep their reset values.
    monkeypatch.setattr(run, "load_writes", lambda program, phases: load_writes(program, None))
    with pytest.raises(HarnessError, match=r"tile \d, clock \d+, pin reset: closed for 2 clocks"):
        run_on_rtl(given.program, given.macro, given.images, given.seed,
                   phases=replace(PHASES, reset=1))


@pytest.mark.parametrize("change, message", [
    (dict(processes=0), "processes must be at least 1, not 0"),
    (dict(seed=-1), "seed must be 0 to"),
    (dict(images=np.zeros((0, 2, 2, 1), np.int8)), "images must hold at least one"),
    (dict(images=np.zeros((1, 9, 9, 9), np.int8)), "images must be int8"),
])
def test_bad_arguments_are_refused_before_any_work(change, message):
    given = parameters(CHIP, 5)
    arguments = dict(program=given.program, macro=given.macro, images=given.images, seed=1)
    with pytest.raises(ValueError, match=message):
        run_on_rtl(**(arguments | change))
