"""Clocks of the cost model are the chip's, exactly; and costs move the right way."""

from dataclasses import replace

import numpy as np
import pytest

from golden.chip import preset
from golden.chip.descriptor import Opcode
from golden.cost import (
    DENSE, DESIGNS, Assumptions, Density, EnergyParameters, Mode, Network, WriteParameters,
    basis_design, break_even, cost_content, digital_design, measured_density, named_network,
    network_costs, reprogramming_design, resident_design, write_sweep,
)
from golden.cost.cuts import cut_layer
from golden.cost.density import coefficients_of_density, plain_coefficients
from golden.cost.designs import rows_written, write_clocks
from golden.cost.events import ENERGY_BLOCKS
from golden.cost.settings import with_settings
from golden.cost.shapes import AddShape, ConvolutionShape, PoolShape
from golden.cost.sweep import PULSE_LENGTHS, PULSES
from golden.cost.parameters import WRITE_STYLES, described
from golden.cost.timing import cut_timing, descriptor, fastest_timing
from golden.program import Elementwise, Program, Transfer, Window
from golden.timing import layer_clocks, program_clocks
from golden.timing_convolution import convolution_timing

TINY, DEFAULT = preset("tiny"), preset("default")
NO_POLARITY = replace(DEFAULT, array=replace(DEFAULT.array, polarity=False))
DENSITIES = [DENSE, Density(0.25, 0.5, 1.0), Density(0.4, 0.7, 0.3)]
SHAPES = [
    ConvolutionShape("one", 4, 1, 3, 3),
    ConvolutionShape("window", 8, 8, 6, 6, 3, 3, 1, 1, 1, 1, 1),
    ConvolutionShape("passes", 16, 70, 5, 4, 1, 1, 2),
    ConvolutionShape("groups", 8, 8, 5, 5, 3, 3, 1, 1, 1, 1, 1, groups=8),
]


@pytest.mark.parametrize("chip", [TINY, DEFAULT, NO_POLARITY], ids=["tiny", "default", "twos"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@pytest.mark.parametrize("density", DENSITIES)
def test_clocks_are_those_of_the_timing_model(chip, shape, density):
    compared = 0
    for cut in cut_layer(shape, chip):
        for mode in Mode:
            made = cut_timing(chip, cut, mode, density)
            layer = descriptor(chip, cut, mode, density)
            assert made.timing == convolution_timing(chip, layer)
            compared += 1
    assert compared >= 3


@pytest.mark.parametrize("density", DENSITIES)
def test_chosen_mode_is_never_slower(density):
    seen = set()
    for shape in (*SHAPES, *(ConvolutionShape("x", 16, k, 3, 3, 3, 3) for k in (4, 16, 32, 64))):
        for cut in cut_layer(shape, DEFAULT):
            chosen = fastest_timing(DEFAULT, cut, density)
            fixed = [cut_timing(DEFAULT, cut, mode, density).timing.clocks
                     for mode in (Mode.MERGE, Mode.STREAM)]
            assert chosen.timing.clocks == min(fixed)
            seen.add(chosen.mode)
    assert Mode.MERGE in seen


def _program(chip, density):
    """A whole program, and the same as shapes: convolution, add, pool, linear."""
    network = Network("net", (8, 6, 6), (
        ConvolutionShape("conv", 8, 8, 6, 6, 3, 3, 1, 1, 1, 1, 1), AddShape("add", 8, 6, 6),
        PoolShape("pool", 8, 6, 6, 3, 3, 2, 2, 2), ConvolutionShape("last", 8, 4, 3, 3, 3, 3)))
    layers = [Transfer("in", True, 0, 72)]
    for shape in network.layers:
        if isinstance(shape, ConvolutionShape):
            for cut in cut_layer(shape, chip):
                layers += [descriptor(chip, cut, fastest_timing(chip, cut, density).mode, density)
                           ] * cut.count
        elif isinstance(shape, AddShape):
            layers.append(Elementwise("add", Opcode.ADD, Window(6, 6, 6, 6), 0, 0, 2, 2, 2, False,
                                      1, 0, 0, second_multiplier=1))
        else:
            layers.append(Elementwise("pool", Opcode.MAX_POOL, Window(6, 6, 3, 3, 2, 2, 2), 0, 0,
                                      2, 2, 2, False, 1, 0, 0))
    layers.append(Transfer("out", False, 0, 1))
    rows, columns = chip.array.rows, chip.array.columns
    return network, Program(
        chip, np.zeros((chip.tiles, rows, columns), np.int8),
        np.zeros((chip.tiles, 1 << chip.converter.bits), np.int64), tuple(layers), (6, 6, 8),
        1.0, 1.0, 4)


@pytest.mark.parametrize("density", DENSITIES)
def test_a_whole_program_takes_the_predicted_clocks(density):
    network, program = _program(DEFAULT, density)
    cost = basis_design(network, DEFAULT, Assumptions(density=density))
    assert cost.clocks == program_clocks(layer_clocks(program))
    assert cost.events.conversions == sum(
        convolution_timing(DEFAULT, layer).conversions for layer in program.layers
        if layer.name == "cut")


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("chip", [DEFAULT, NO_POLARITY], ids=["signs", "twos"])
def test_coefficient_words_are_those_of_the_image(chip, density, mode):
    shape = ConvolutionShape("x", 40, 30, 4, 4, 3, 3)
    cut, = cut_layer(shape, chip)
    layer = descriptor(chip, cut, mode, density)
    _, whole = _program(chip, DENSE)
    program = replace(whole, layers=(whole.layers[0], layer, whole.layers[-1]))
    images = program.images()
    assert cut_timing(chip, cut, mode, density).coefficient_words == len(images.coefficients[0])


def test_density_of_made_coefficients():
    for density in DENSITIES:
        _, program = _program(DEFAULT, density)
        values = coefficients_of_density(DEFAULT, 8, 64, density)
        layer = replace(program.layers[1], coefficients=values)
        found = measured_density(replace(program, layers=(
            program.layers[0], replace(layer, chunk_words=9, block_words=8,
                                       multiplier=np.ones(64, int), bias=np.zeros(64, int),
                                       shift=np.zeros(64, int), stop=np.zeros(64, bool)),
            program.layers[-1])))
        assert abs(found.tiles - density.tiles) < 0.01
        assert abs(found.planes - density.planes) < 0.02
        assert found.columns == round(density.columns * 64) / 64


def test_plain_is_one_conversion_per_kernel_and_chunk():
    values = plain_coefficients(DEFAULT, 3, 64)
    assert values.sum() == 3 * 64 and set(np.unique(values)) == {0, 1}
    cut, = cut_layer(ConvolutionShape("x", 48, 64, 5, 5, 3, 3), DEFAULT)
    assert cut_timing(DEFAULT, cut, Mode.PLAIN, DENSE).timing.conversions == 9 * 3 * 64


def test_four_designs_by_hand():
    """One layer that fits one product: 16 channels, 3x3, 16 kernels, 4 positions."""
    network = Network("x", (16, 4, 4), (ConvolutionShape("conv", 16, 16, 4, 4, 3, 3),))
    costs = network_costs(network, DEFAULT)
    assert tuple(costs) == DESIGNS
    basis, again, resident, digital = costs.values()
    # Merge: 4 positions x 4 tiles x 16 kernels x 3 planes, 8 comparisons each.
    assert basis.events.conversions == 4 * 4 * 16 * 3
    assert basis.events.comparisons == 4 * 4 * 16 * 3 * 8
    assert basis.events.cell_products == 4 * 4 * 144 * 64
    assert again.events.conversions == resident.events.conversions == 4 * 16
    assert again.events.write_energy == 0  # the 16 columns fit
    assert (basis.tiles, resident.tiles) == (4, 1)
    assert resident.events.cell_products == 4 * 144 * 64
    assert digital.events.digital_macs == network.macs == 4 * 16 * 144
    assert basis.energy_by_block["array"] == pytest.approx(
        4 * 4 * 144 * 64 * 0.097 + 4 * 4 * 144 * 0.1)
    assert basis.energy_delay == pytest.approx(basis.joules * basis.clocks / 150e6)


def test_rows_written_by_hand():
    # 8 chunks of 144 rows x 64 kernels = 512 columns of 144 rows over 4 x 64 columns: 2 loads.
    network = Network("x", (128, 6, 6), (ConvolutionShape("conv", 128, 64, 6, 6, 3, 3),))
    assert rows_written(network, DEFAULT) == 2 * 144
    half = Network("x", (64, 6, 6), (ConvolutionShape("conv", 64, 64, 6, 6, 3, 3),))
    assert rows_written(half, DEFAULT) == 0
    # 32 pulses of 13.16 ns at 150 MHz: 63.2 clocks; 64 columns through 8 comparisons each.
    assert write_clocks(DEFAULT, Assumptions()) == 64
    through = Assumptions(write=WriteParameters(style="converter", pulses=10))
    assert write_clocks(DEFAULT, through) == 5120 + 15
    cell = Assumptions(write=WriteParameters(style="cell", pulses=10))
    assert write_clocks(DEFAULT, cell) == 1264
    # V^2 G t: 9 V^2 x 50.5 uS x 10 ns = 4.545 pJ.
    assert WriteParameters().pulse_energy == pytest.approx(4.545)
    cost = reprogramming_design(network, DEFAULT)
    assert cost.events.write_energy == pytest.approx(
        128 * 9 * 64 * 32 * (2 * 4.545 + EnergyParameters().array))


def test_costs_grow_with_what_they_rest_on():
    network = named_network("resnet20")
    base = network_costs(network, DEFAULT)
    for name in ("clock", "bus", "digital_rate"):
        assert name in {entry[0] for entry in described(EnergyParameters())}
    for change, design in (("array=1", "basis"), ("converter=9", "basis"), ("adder=99", "resident"),
                           ("accumulate=1", "reprogramming"), ("multiply=1", "basis"),
                           ("memory=1", "digital"), ("requantize=9", "digital"),
                           ("elementwise=9", "basis"), ("digital=9", "digital"),
                           ("idle=9", "resident"), ("latch=9", "basis")):
        assumptions = with_settings(Assumptions(), ["energy." + change])
        changed = network_costs(network, DEFAULT, assumptions)
        assert changed[design].joules > base[design].joules, change
        assert changed[design].clocks == base[design].clocks
    for shares in ((0.25, 1, 1), (1, 0.34, 1), (1, 1, 0.25)):
        sparse = basis_design(network, DEFAULT, Assumptions(density=Density(*shares)))
        assert sparse.clocks < base["basis"].clocks
    bigger = network_costs(named_network("resnet32"), DEFAULT)
    for design in DESIGNS:
        assert bigger[design].clocks > base[design].clocks
        assert bigger[design].joules > base[design].joules
        assert set(base[design].energy_by_block) == set(ENERGY_BLOCKS)
        assert min(base[design].energy_by_block.values()) >= 0
        assert base[design].square_millimetres > 0
    slower = reprogramming_design(network, DEFAULT,
                                  with_settings(Assumptions(), ["write.pulse=3000"]))
    assert slower.clocks > base["reprogramming"].clocks
    shared = reprogramming_design(network, DEFAULT, with_settings(
        Assumptions(), ["write.pulse=3000", "write.images=10"]))
    assert shared.clocks < slower.clocks and shared.joules < slower.joules


def test_sweep_and_break_even():
    network = named_network("resnet20")
    basis = basis_design(network, DEFAULT)
    points = write_sweep(network, DEFAULT, basis=basis)
    assert len(points) == len(PULSE_LENGTHS) * len(PULSES) * len(WRITE_STYLES)
    ordered = sorted(points, key=lambda point: point.row_clocks)
    ratios = [point.clocks_ratio for point in ordered]
    assert ratios == sorted(ratios, reverse=True)
    for share in (1.0, 0.01):
        clocks = break_even(network, DEFAULT, share, basis=basis)
        assert 0 < clocks
        # A point above the break-even is below the share, and the other way round, where the
        # writing of rows and not the bus decides.
        for point in ordered:
            if point.row_clocks > 300:
                assert (point.row_clocks > clocks) == (point.clocks_ratio < share)
    assert any(point.holds for point in points) and not all(point.holds for point in points)
    with pytest.raises(ValueError, match="share must be more than 0, not 0"):
        break_even(network, DEFAULT, 0)


def test_nothing_written_where_all_fits():
    network = Network("x", (16, 4, 4), (ConvolutionShape("conv", 16, 16, 4, 4, 3, 3),))
    assert break_even(network, DEFAULT, 1.0) == float("inf")
    content = cost_content(network, DEFAULT, Assumptions(), network_costs(network, DEFAULT))
    assert content["break_even_clocks_per_row"] == {"equal": None, "claim": None}


def test_tensors_beyond_the_buffer_travel():
    small = replace(DEFAULT, memories=replace(DEFAULT.memories, activation_words=16))
    network = Network("x", (16, 6, 6), (ConvolutionShape("conv", 16, 16, 6, 6, 3, 3),))
    words = 4 * 36 + 4 * 16
    for make in (basis_design, reprogramming_design, resident_design, digital_design):
        here, there = make(network, DEFAULT), make(network, small)
        assert there.clocks == here.clocks + words + 2 * 18
        assert there.events.external_bits == here.events.external_bits + words * 32


def test_coefficients_beyond_the_memory_come_through_the_bus():
    network = named_network("resnet18_cifar100")
    rows = {layer.name for layer in basis_design(network, DEFAULT).layers}
    assert "coefficients" in rows
    rows = {layer.name for layer in basis_design(named_network("resnet20"), DEFAULT).layers}
    assert "coefficients" not in rows


@pytest.mark.parametrize("make, message", [
    (lambda: Density(tiles=0), "Density.tiles must be more than 0 and at most 1, not 0"),
    (lambda: Density(planes=1.5), "Density.planes must be"),
    (lambda: EnergyParameters(array=-1), "EnergyParameters.array must be a number of at least 0"),
    (lambda: EnergyParameters(clock=0), "EnergyParameters.clock must be more than 0"),
    (lambda: WriteParameters(pulses=0), "WriteParameters.pulses must be an integer of at least 1"),
    (lambda: WriteParameters(style="page"), "style must be one of row, converter, cell"),
    (lambda: WriteParameters(low_resistance=0), "low_resistance must be more than 0"),
    (lambda: Assumptions(mode=Mode.PLAIN), "mode must be merge, stream or None"),
    (lambda: with_settings(Assumptions(), ["energy.array"]), "must be PART.NAME=VALUE"),
    (lambda: with_settings(Assumptions(), ["energy.nothing=1"]), "no such name; there are energy"),
    (lambda: with_settings(Assumptions(), ["write.pulses=many"]), "must be a int, not 'many'"),
    (lambda: network_costs(named_network("resnet20"), DEFAULT, Assumptions(resolution=9)),
     "resolution must be 4 to 8 on chip 'default', not 9"),
])
def test_bad_values(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_every_default_has_unit_and_source():
    for parameters in (EnergyParameters(), Assumptions().area, WriteParameters()):
        for name, _, unit, source in described(parameters):
            assert name == "style" or (unit and source), name
