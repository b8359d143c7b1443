"""Compiled programs: equal to the mapped integers on an ideal macro, and reproducible."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from golden.allocation import allocate, tensor_words
from golden.chip import Accumulator, Array, Chip, Converter, Memories, preset
from golden.compile import Options, compile_network, compile_stages
from golden.execute import execute
from golden.finetune import Training
from golden.graph import UnmappableError, import_graph
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.program import Convolution, Program, ProgramError

FIT_ONLY = Options(training=Training(epochs=0), rounds=2, images=16)


def _chip(**changes):
    array = {"rows": 36, "columns": 16, "row_granule": 12, "polarity": True}
    array.update({k: changes.pop(k) for k in list(changes) if k in array})
    values = dict(
        name="small", tiles=2, array=Array(**array), converter=Converter(bits=8),
        accumulator=Accumulator(coefficient_bits=4, lanes=4, kernels=8, products=16),
        memories=Memories(program_words=512, coefficient_words=1 << 12, constant_entries=256,
                          activation_words=2048))
    return Chip(**{**values, **changes})


class RandomNetwork(nn.Module):
    """A network of random shapes with every kind of layer."""

    def __init__(self, random):
        super().__init__()
        channels, width, height = (int(v) for v in random.integers((1, 4, 4), (9, 8, 8)))
        self.input_shape = (height, width, channels)
        kernels = int(random.integers(1, 21))
        size = [int(k) for k in random.integers(1, 4, 2)]
        pad = [k // 2 for k in size]
        self.conv = nn.Conv2d(channels, kernels, size, int(random.integers(1, 3)), pad)
        self.norm = nn.BatchNorm2d(kernels)
        self.same = nn.Conv2d(kernels, kernels, 3, padding=1)
        self.grow = nn.Conv2d(kernels, kernels + 8, 3, stride=2, padding=1)
        self.maximum = bool(random.integers(2))
        self.kernels = kernels
        with torch.no_grad():
            features = self.body(torch.zeros(1, channels, height, width)).flatten(1).shape[1]
        self.linear = nn.Linear(features, int(random.integers(2, 11)))

    def body(self, images):
        first = functional.relu(self.norm(self.conv(images)))
        second = functional.relu(first + self.same(first))
        shortcut = functional.pad(second[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))
        third = self.grow(second) + shortcut
        pool = functional.max_pool2d if self.maximum else functional.avg_pool2d
        return pool(third, 2, 1, 1)

    def forward(self, images):
        return self.linear(self.body(images).flatten(1))


def _random_network(seed):
    torch.manual_seed(seed)
    model = RandomNetwork(np.random.default_rng(seed)).eval()
    height, width, channels = model.input_shape
    return model, torch.randn(24, channels, height, width)


def _ideal(program, images, **options):
    macro = Macro(program.chip, MacroPhysics.ideal(), program.weights, 0)
    return execute(program, macro, images, seed=0, **options).outputs


@pytest.mark.parametrize("seed, mode, chip", [
    (0, "auto", _chip()), (1, "merge", _chip()), (2, "stream", _chip()),
    (3, "merge", _chip(polarity=False)), (4, "auto", _chip(polarity=False, tiles=3)),
    (5, "merge", _chip(rows=24)), (6, "stream", _chip(converter=Converter(bits=6))),
    (7, "auto", preset("default")),
])
def test_program_equals_the_mapped_integers(seed, mode, chip):
    model, images = _random_network(seed)
    made = compile_stages(model, chip, images, seed=seed, options=replace(FIT_ONLY, mode=mode))
    found = _ideal(made.program, made.images(images))
    expected = made.basis_outputs(images).numpy()
    assert found.dtype == np.int8 and found.shape == expected.shape
    assert (found == expected).all()
    assert len(np.unique(found)) > 20
    convolutions = [la for la in made.program.layers if isinstance(la, Convolution)]
    if mode != "auto":
        assert {la.stream for la in convolutions} == {mode == "stream"}
    assert max(la.kernels for la in convolutions) <= chip.accumulator.kernels


def test_enough_vectors_and_bits_come_near_the_float_network():
    """On the default chip the small network's kernels all fit as columns."""
    model, images = _random_network(7)
    made = compile_stages(model, preset("default"), images, seed=0, options=FIT_ONLY,
                          physics=MacroPhysics.ideal())
    real = made.float_outputs(images)
    for outputs in (made.eight_bit_outputs(images), made.basis_outputs(images)):
        error = outputs * made.program.output_scale - real
        assert float(error.square().mean() / real.var()) < 0.01


def test_split_layers_write_all_their_kernels():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 19, 1), nn.ReLU()).eval()
    images = torch.randn(8, 4, 3, 3)
    program = compile_network(model, _chip(), images, seed=0, options=FIT_ONLY)
    passes = [la for la in program.layers if isinstance(la, Convolution)]
    assert [la.kernels for la in passes] == [8, 8, 3]
    assert [la.name for la in passes] == ["0[0:]", "0[8:]", "0[16:]"]
    assert [la.destination - passes[0].destination for la in passes] == [0, 2, 4]
    assert {la.destination_pixel_words for la in passes} == {5}


def test_linear_layer_beyond_the_window_fields():
    """A 20x18 input is more than the four bits of a kernel size."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * 20 * 18, 5)).eval()
    images = torch.randn(8, 2, 20, 18)
    made = compile_stages(model, preset("default"), images, seed=0, options=FIT_ONLY)
    assert (_ideal(made.program, made.images(images))
            == made.basis_outputs(images).numpy()).all()


def test_early_stops_change_no_output():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3)).eval()
    images = torch.randn(16, 4, 6, 6)
    made = compile_stages(model, _chip(rows=72), images, seed=0,
                          options=replace(FIT_ONLY, mode="merge"))
    program = made.program
    assert any(la.stop.any() for la in program.layers if isinstance(la, Convolution))
    never = replace(program, layers=tuple(
        replace(la, stop=np.zeros_like(la.stop)) if isinstance(la, Convolution) else la
        for la in program.layers))
    codes = made.images(images)
    assert (_ideal(program, codes) == _ideal(never, codes)).all()


def test_same_seed_same_program_and_a_file_keeps_it(tmp_path):
    model, images = _random_network(2)
    options = replace(FIT_ONLY, training=Training(epochs=1, batch=8))
    programs = [compile_network(model, _chip(), images, seed=3, options=options)
                for _ in range(2)]
    one, two = (program.images() for program in programs)
    for name in ("program", "constants", "weights", "corrections"):
        assert (getattr(one, name) == getattr(two, name)).all(), name
    assert all((a == b).all() for a, b in zip(one.coefficients, two.coefficients, strict=True))
    assert programs[0].input_scale == programs[1].input_scale
    programs[0].save(tmp_path / "program")
    codes = np.random.default_rng(0).integers(-128, 128, (3, *programs[0].input_shape), np.int8)
    loaded = Program.load(tmp_path / "program", _chip())
    assert (_ideal(loaded, codes) == _ideal(programs[0], codes)).all()


def test_finetuning_never_ends_further_from_the_float_network():
    model, images = _random_network(1)
    few = replace(FIT_ONLY, vectors_per_tile=4)
    before, after = (compile_stages(model, _chip(), images, seed=0, physics=MacroPhysics.ideal(),
                                    options=replace(few, training=Training(epochs=epochs,
                                                                           batch=8)))
                     for epochs in (0, 6))

    def distance(made):
        student = made.basis_outputs(images) * made.program.output_scale
        return float(functional.kl_div(functional.log_softmax(student / 2, 1),
                                       functional.softmax(made.float_outputs(images) / 2, 1),
                                       reduction="batchmean"))

    assert distance(after) < distance(before)
    for name, layer in before.mapping.layers.items():  # what is zero stays zero
        assert not after.mapping.layers[name].coefficients[layer.coefficients == 0].any()
    assert (_ideal(after.program, after.images(images))
            == after.basis_outputs(images).numpy()).all()


def test_live_tensors_do_not_overlap():
    for seed in range(6):
        model, _ = _random_network(seed)
        graph = import_graph(model, model.input_shape)
        addresses = allocate(graph, _chip())
        last = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
        last[graph.output.name] = len(graph.nodes)
        for i, node in enumerate(graph.nodes):
            span = range(addresses[node.name], addresses[node.name] + tensor_words(node))
            assert span.stop <= _chip().memories.activation_words
            for other in graph.nodes[:i]:
                if last[other.name] >= i:
                    start = addresses[other.name]
                    assert start >= span.stop or start + tensor_words(other) <= span.start


def test_what_does_not_fit_is_named():
    model, images = _random_network(0)
    with pytest.raises(ProgramError, match=r"layer '.*' of \d+ words|activation buffer"):
        compile_network(model, _chip(memories=replace(_chip().memories, activation_words=16)),
                        images, seed=0, options=FIT_ONLY)
    with pytest.raises(ProgramError, match="coefficient memory"):
        compile_network(model, _chip(memories=replace(_chip().memories, coefficient_words=16)),
                        images, seed=0, options=FIT_ONLY)


@pytest.mark.parametrize("make, words", [
    (lambda: Options(mode="fast"), "Options.mode"),
    (lambda: Options(rounds=0), "Options.rounds"),
    (lambda: Options(images=0), "Options.images"),
    (lambda: Training(epochs=-1), "Training.epochs"),
    (lambda: Training(vector_rate=0.0), "Training.vector_rate"),
    (lambda: Options(resolution=9).check(_chip()), "Options.resolution must be 4 to 8"),
    (lambda: Options(vectors_per_tile=17).check(_chip()), "vectors_per_tile must be 1 to 16"),
    (lambda: compile_network(nn.Conv2d(1, 1, 1), _chip(), torch.zeros(3, 4), seed=0),
     "calibration"),
])
def test_bad_choices_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_unmappable_network_is_refused():
    with pytest.raises(UnmappableError, match="1: cannot map Softmax"):
        compile_network(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Softmax(1)), _chip(),
                        torch.zeros(1, 1, 2, 2), seed=0)
