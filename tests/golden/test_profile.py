"""Profiles: every clock of every converter has one cause, and the right one."""

from dataclasses import replace

import numpy as np
import pytest

from golden.causes import Cause, split_wait
from golden.chip import Phases, preset
from golden.execute import execute
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.profile import profile
from golden.program import Convolution, Window
from golden.timing import convolution_timings, layer_clocks, program_clocks
from golden.timing_convolution import convolution_timing
from sim.random_programs import chips, random_images, random_program


def test_split_wait_by_hand():
    steps = ((Cause.SAMPLING, 18), (Cause.HOLD, 15), (Cause.ROWS, 15), (Cause.DRAIN, -np.inf))
    assert list(split_wait(10, 20, steps)) == [
        (Cause.SAMPLING, 2), (Cause.HOLD, 3), (Cause.DRAIN, 5)]
    assert list(split_wait(17, 20, steps)) == [(Cause.SAMPLING, 2), (Cause.HOLD, 1)]
    assert list(split_wait(19, 20, steps)) == [(Cause.SAMPLING, 1)]
    assert list(split_wait(20, 20, steps)) == []


def traced(program, seed):
    macro = Macro(program.chip, MacroPhysics(), program.weights, seed)
    return execute(program, macro, random_images(program, 1, seed), seed, trace=True).layers


@pytest.mark.parametrize("seed", range(12))
def test_every_clock_has_one_cause(seed):
    chip = chips()[seed % len(chips())]
    program = random_program(chip, seed)
    traces = traced(program, seed)
    found = profile(program, traces=traces)
    clocks = layer_clocks(program, traces=traces)
    assert [layer.clocks for layer in found.layers[:-1]] == clocks
    assert found.clocks == program_clocks(clocks)
    for layer in found.layers:
        assert sum(layer.spent.values()) == layer.clocks * chip.tiles
        assert all(count > 0 for count in layer.spent.values())
    for i, timing in convolution_timings(program, traces=traces).items():
        assert found.layers[i].spent[Cause.CONVERTING] == sum(timing.converting)
        real = traces[i].conversions
        stopped = real.stopped[0].sum()
        whole = (~real.void).sum() - stopped
        bits = program.layers[i].resolution << program.layers[i].averaging
        assert sum(timing.converting) == whole * bits + stopped


def merge_layer(chip, coefficients, *, resolution=6, size=6):
    """A one-pixel-window convolution over 4 channels of a size x size image, no early stop."""
    kernels = coefficients.shape[3]
    return Convolution(
        "layer", Window(size, size, size, size), 0, 64, 1, 1, 1, coefficients.shape[0], 1, False,
        False, resolution, 4096, coefficients, np.ones(kernels, np.int64),
        np.zeros(kernels, np.int64), np.zeros(kernels, np.int64), np.zeros(kernels, bool))


def dense(chip, kernels=4, chunks=1, value=7):
    return np.full((chunks, chip.tiles, chip.array.columns, kernels), value, np.int8)


def spent(layer, phases=None, chip=None):
    timing = convolution_timing(chip or preset("tiny"), layer, phases)
    return timing, {cause: [tile.get(cause, 0) for tile in timing.spent] for cause in Cause}


def test_balanced_tiles_are_always_converting():
    """Twelve conversions of six clocks per product hide sampling, phases and loads."""
    chip = preset("tiny")
    timing, causes = spent(merge_layer(chip, dense(chip)), Phases(drive=1, hold=1, add=1, gap=1))
    waits = {cause: sum(clocks) for cause, clocks in causes.items()}
    assert timing.converting == (36 * 12 * 6,) * 2
    assert waits[Cause.SLOWER_TILE] == waits[Cause.VOID] == waits[Cause.MULTIPLIERS] == 0
    start_and_end = timing.clocks - 36 * 12 * 6
    assert start_and_end < 110


def test_tile_with_less_to_do_waits_for_the_other():
    chip = preset("tiny")
    coefficients = dense(chip)
    coefficients[:, 1, :, 2:] = 0
    timing, causes = spent(merge_layer(chip, coefficients), Phases(add=1))
    assert timing.converting == (36 * 12 * 6, 36 * 6 * 6)
    assert causes[Cause.SLOWER_TILE][0] == 0
    assert causes[Cause.SLOWER_TILE][1] > 0.9 * 36 * 6 * 6


def test_long_phases_show():
    chip = preset("tiny")
    layer = merge_layer(chip, dense(chip, 1, value=1))
    for name, cause in (("add", Cause.SAMPLING), ("hold", Cause.HOLD), ("drive", Cause.ARRAY)):
        _, before = spent(layer)
        _, after = spent(layer, replace(Phases(), **{name: 60}))
        grown = {c: sum(after[c]) - sum(before[c]) for c in Cause}
        assert max(grown, key=grown.get) is cause, name
        assert grown[cause] >= 36 * 40 * chip.tiles


def test_void_entries_and_row_loads_show():
    chip = preset("tiny")
    coefficients = dense(chip, 1, chunks=4, value=1)
    coefficients[1:, 1] = 0
    layer = replace(merge_layer(chip, coefficients), blocks=4, chunk_words=1)
    _, causes = spent(layer)
    assert causes[Cause.VOID][0] == 0 and causes[Cause.VOID][1] >= 36 * 3
    wide = replace(merge_layer(chip, dense(chip, 1, value=1)), block_words=4, chunk_words=4)
    _, causes = spent(wide, Phases(1, 1, 1, 1, 1, 1, 1))
    assert causes[Cause.ROWS][0] > 0


def test_wide_layers_wait_for_multipliers_and_drain():
    """32 kernels on two lanes: 16 clocks of multipliers per code, 33 of drain per position."""
    tiny = preset("tiny")
    chip = replace(tiny, tiles=1, accumulator=replace(
        tiny.accumulator, kernels=32, coefficient_bits=8))
    coefficients = np.ones((1, 1, chip.array.columns, 32), np.int8)
    layer = replace(merge_layer(chip, coefficients, resolution=4), stream=True)
    timing, causes = spent(layer, chip=chip)
    assert causes[Cause.MULTIPLIERS][0] > 0.6 * timing.clocks
    assert causes[Cause.DRAIN][0] < 130
    coefficients[:, :, 1:] = 0
    layer = replace(layer, coefficients=coefficients)
    timing, causes = spent(layer, Phases(1, 1, 1, 1, 1, 1, 1), chip=chip)
    assert causes[Cause.DRAIN][0] > 0.7 * timing.clocks
    assert causes[Cause.SLOWER_TILE][0] == 0


def test_largest_waits_are_sorted_and_shared_out():
    program = random_program(preset("tiny"), 1)
    found = profile(program, traces=traced(program, 1))
    waits = found.largest_waits(1000)
    shares = [share for _, _, share in waits]
    assert shares == sorted(shares, reverse=True)
    assert found.largest_waits(3) == waits[:3]
    assert sum(shares) + found.occupancy == pytest.approx(1)
    names = {layer.name for layer in found.layers}
    assert all(name in names and cause is not Cause.CONVERTING for name, cause, _ in waits)


def test_early_stops_need_a_run():
    program = random_program(preset("tiny"), 2, modes=("merge",))
    assert any(layer.stop.any() for layer in program.layers if isinstance(layer, Convolution))
    with pytest.raises(ValueError, match="early stops"):
        profile(program)
