"""Exercises: what they reach of a chip's ranges, where they lie; the same each time."""

from dataclasses import astuple, replace
from functools import cache

import numpy as np
import pytest

from golden.chip import Accumulator, Phases, preset
from golden.chip.descriptor import FIELDS, USED, Measure, Opcode, decode
from golden.execute import execute
from golden.exercise import PHYSICS, SEED, exercises
from golden.macro import Macro
from golden.program import Calibration, Convolution, Transfer
from sim.random_programs import chips

DEFAULT = preset("default")


def descriptors(chip):
    """Opcode and fields of every descriptor of every exercise."""
    for group in exercises(chip):
        for exercise in group:
            words = exercise.program.images().program.tolist()
            for start in range(0, len(words), 16):
                yield decode(words[start:start + 16])


def everything(chip=DEFAULT):
    return [exercise for group in exercises(chip) for exercise in group]


@cache
def traced(chip):
    """What golden makes of each exercise, in order."""
    return [execute(each.program, Macro(chip, PHYSICS, each.program.weights, SEED),
                    each.image[None], SEED, tenant=each.placement.tenant, trace=True).layers
            for each in everything(chip)]


@pytest.mark.parametrize("chip", [*chips(), preset("tiny"), DEFAULT,
                                  replace(preset("tiny"), name="two", tenants=2)],
                         ids=lambda chip: chip.name)
def test_golden_runs_them_in_windows_that_do_not_meet(chip):
    for group in exercises(chip):
        taken = {"program": [], "activation": [], "constants": [], "coefficients": []}
        for exercise in group:
            place, program = exercise.placement, exercise.program
            execute(program, Macro(chip, PHYSICS, program.weights, SEED),
                    exercise.image[None], SEED, tenant=place.tenant)
            taken["program"].append((place.program_base, place.program_length))
            taken["activation"].append((place.activation_base, place.activation_words))
            taken["constants"].append((place.constants_base, place.constant_entries))
            taken["coefficients"].append((place.coefficients_base, place.coefficient_words))
        sizes = {"program": chip.memories.program_words // 16,
                 "activation": chip.memories.activation_words,
                 "constants": chip.memories.constant_entries,
                 "coefficients": chip.memories.coefficient_words}
        for name, parts in taken.items():
            end = 0
            for base, length in sorted(parts):
                assert base >= end, name
                end = base + length
            assert end <= sizes[name], name


def test_every_tenant_is_alone_once_and_with_the_others():
    groups = [{exercise.placement.tenant for exercise in group} for group in exercises(DEFAULT)]
    assert groups == [{0}, {1}, {0}, {1}, {0, 1}, {0, 1}, *[{0}, {1}] * 8, {0, 1}]
    tiles = [[set(exercise.placement.tiles) for exercise in group] for group in exercises(DEFAULT)]
    assert [min(group[0]) for group in tiles[:4]] == [0, 1, 2, 3]
    assert not tiles[4][0] & tiles[4][1] and tiles[5][0] & tiles[5][1]


def test_every_bit_of_what_descriptors_say_is_set_and_unset():
    """But for bits of sizes that would take too long, or do not fit the memories."""
    seen = {}
    for opcode, fields in descriptors(DEFAULT):
        for name in set(USED[opcode]) & set(fields):
            mask = (1 << FIELDS[name].width) - 1
            ones, zeros = seen.get((opcode, name), (0, 0))
            value = fields[name] & mask
            seen[opcode, name] = ones | value, zeros | ~value & mask
    for opcode in (Opcode.ADD, Opcode.AVERAGE_POOL, Opcode.CONVOLVE):
        for name in ("source_pixel_words", "stride", "pad_left", "pad_top", "in_width",
                     "in_height", "relu"):
            full = (1 << FIELDS[name].width) - 1
            assert seen[opcode, name] == (full, full), (opcode, name)
    for opcode in (Opcode.ADD, Opcode.AVERAGE_POOL):
        for name in ("multiplier", "bias", "shift", "channel_words"):
            full = (1 << FIELDS[name].width) - 1
            assert seen[opcode, name] == (full, full), (opcode, name)
    for name in ("second_multiplier", "second_stride", "second_pixel_words", "second_width"):
        full = (1 << FIELDS[name].width) - 1
        assert seen[Opcode.ADD, name] == (full, full), name


def test_groups_after_the_first_have_phases_of_their_own():
    groups = [{exercise.phases for exercise in group} for group in exercises(DEFAULT)]
    assert groups[0] == {None} and all(len(group) == 1 for group in groups)
    assert len(set.union(*groups)) == len(groups) and None not in set.union(*groups[1:])


def test_every_bit_of_every_phase_is_set_and_unset_where_clocks_are_foretold():
    found = [astuple(exercise.phases) for exercise in everything()
             if exercise.phases and not exercise.hindered]
    top = (1 << Phases.BITS) - 1
    assert np.bitwise_or.reduce(found).tolist() == [top] * len(found[0])
    assert np.bitwise_and.reduce(found).tolist() == [0] * len(found[0])


def test_some_are_hindered():
    hindered = [{each.hindered for each in group} for group in exercises(DEFAULT)]
    assert hindered == [{False}] * 6 + [{True}, {True}, {False}, {False}] * 4 + [{True}]
    alone = [each for group in exercises(DEFAULT) for each in group if len(group) == 1]
    assert {each.placement.tenant for each in alone if each.hindered} == {0, 1}


def test_each_tenant_stores_a_single_word():
    assert {each.placement.tenant for each in everything() for layer in each.program.layers
            if isinstance(layer, Transfer) and not layer.load and layer.count == 1} == {0, 1}


def test_averages_are_rounded():
    """Conversions of one sum differ: the codes of means are not those of single conversions."""
    differ = 0
    macro = Macro(DEFAULT, PHYSICS, everything()[0].program.weights, SEED)
    for exercise, means in zip(everything(), traced(DEFAULT), strict=True):
        program = exercise.program
        single = replace(program, layers=tuple(
            replace(layer, averaging=0) if isinstance(layer, Convolution) else layer
            for layer in program.layers))
        ones = execute(single, macro, exercise.image[None], SEED,
                       tenant=exercise.placement.tenant, trace=True).layers
        for layer, mean, one in zip(program.layers, means, ones, strict=True):
            if isinstance(layer, Convolution) and layer.averaging:
                differ += (mean.conversions.code != one.conversions.code).sum()
    assert differ > 1000


@pytest.mark.parametrize("chip", [preset("tiny"), DEFAULT], ids=lambda chip: chip.name)
def test_each_tile_finds_no_gain_and_saturates(chip):
    """Where the memories hold two full layers beside each other: those of `default`."""
    flagged = {Calibration: set(), Convolution: set()}
    for exercise, traces in zip(everything(chip), traced(chip), strict=True):
        for layer, trace in zip(exercise.program.layers, traces, strict=True):
            if trace.flagged is not None:
                flagged[type(layer)] |= set(np.flatnonzero(trace.flagged[0]))
    tiles = set(range(chip.tiles))
    assert flagged[Calibration] == tiles
    assert flagged[Convolution] == (tiles if chip is DEFAULT else set())


def test_transfers_and_blocks_have_every_bit():
    layers = [layer for exercise in everything() for layer in exercise.program.layers]
    assert max(layer.count for layer in layers if isinstance(layer, Transfer)) > 8192
    assert max(layer.blocks for layer in layers if isinstance(layer, Convolution)) > 2048


def test_every_way_to_convert():
    layers = [layer for exercise in everything() for layer in exercise.program.layers]
    convolutions = [layer for layer in layers if isinstance(layer, Convolution)]
    assert {layer.resolution for layer in convolutions} == set(range(4, 9))
    assert {layer.averaging for layer in convolutions} == set(range(4))
    assert {layer.stream for layer in convolutions} == {False, True}
    assert any(layer.stop.any() and not layer.stream for layer in convolutions)
    assert {layer.measure for layer in layers if isinstance(layer, Calibration)} == set(Measure)
    assert max(layer.row_groups for layer in convolutions) > DEFAULT.array.granules
    assert max(layer.chunks * layer.row_groups for layer in convolutions) == \
        DEFAULT.accumulator.products
    assert max(layer.kernels for layer in convolutions) == DEFAULT.accumulator.kernels
    assert max(layer.window.positions for layer in convolutions) > 2048
    shifts = np.concatenate([layer.shift for layer in convolutions])
    assert set(shifts.tolist()) == set(range(32))


def test_outputs_saturate_both_ways_and_lie_in_between():
    outputs, sums = [], []
    for traces in traced(DEFAULT):
        for trace in traces:
            if trace.outputs is not None:
                outputs.append(trace.outputs.reshape(-1))
                sums.append(trace.sums.reshape(-1))
    counts = np.bincount(np.concatenate(outputs).astype(int) + 128, minlength=256)
    assert (counts > 0).sum() > 200 and counts[0] and counts[255]
    assert counts[0] + counts[255] < counts.sum() / 2
    # One tile's accumulator times its gain reaches its width, so sums go beyond it.
    assert np.concatenate(sums).max() > DEFAULT.scaled_interval[1]
    assert np.concatenate(sums).min() < DEFAULT.scaled_interval[0]


def test_same_chip_same_exercises():
    first = exercises(preset("tiny"))
    exercises.cache_clear()
    again = exercises(preset("tiny"))
    for one, other in zip(first, again, strict=True):
        for a, b in zip(one, other, strict=True):
            assert a.placement == b.placement and (a.image == b.image).all()
            assert (a.program.images().program == b.program.images().program).all()


def test_rows_of_more_words_than_are_loaded():
    """There is no layer that fills such a row."""
    long_rows = replace(preset("tiny"), array=replace(preset("tiny").array, rows=1024))
    assert long_rows.array.row_words >= long_rows.memories.activation_words
    assert not any(layer.name == "deep" for each in everything(long_rows)
                   for layer in each.program.layers)


def test_a_chip_without_room_has_none():
    small = replace(preset("tiny"), memories=replace(preset("tiny").memories, program_words=64))
    assert exercises(small) == ()
    narrow = replace(preset("tiny"), accumulator=Accumulator(
        coefficient_bits=4, lanes=2, kernels=4, products=1))
    assert exercises(narrow)
