"""Joint training: the student, resumed runs, and contests."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from golden.accumulate import NOISELESS, Noise, accumulate, held
from golden.checkpoint import Checkpoint
from golden.chip import Accumulator, Array, Chip, Converter, Memories
from golden.compile import Options, compile_network, compile_stages, train_further
from golden.contest import Contest, winners
from golden.execute import execute
from golden.finetune import Training
from golden.macro import Macro
from golden.mapping import Layer
from golden.physics import MacroPhysics
from golden.program import Convolution, merge_entries
from golden.student import Student, sum_variance
from golden.timing import layer_clocks
from golden.training import ImageSet, JointTraining, Recipe, train

CHIP = Chip(
    "small", tiles=4, array=Array(rows=72, columns=16, row_granule=12),
    converter=Converter(bits=8),
    accumulator=Accumulator(coefficient_bits=4, lanes=4, kernels=32, products=16),
    memories=Memories(program_words=512, coefficient_words=1 << 13, constant_entries=256,
                      activation_words=4096))
FIT = Options(training=Training(epochs=0), rounds=2, images=16)
RECIPE = Recipe(epochs=6, batch=16, vector_rate=0.5, coefficient_rate=0.02, warm_up=0)


class Residual(nn.Module):
    """Convolutions with a shortcut, a pool, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(4, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.third = nn.Conv2d(16, 16, 3, padding=1)
        self.linear = nn.Linear(64, 5)

    def forward(self, images):
        first = functional.relu(self.first(images))
        second = functional.relu(self.second(first))
        pooled = functional.avg_pool2d(functional.relu(first + self.third(second)), 3)
        return self.linear(pooled.flatten(1))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Residual().eval(), torch.randn(64, 4, 6, 6)


@pytest.fixture(scope="module")
def start(network):
    model, images = network
    return compile_stages(model, CHIP, images, seed=0, options=replace(FIT, vectors_per_tile=6))


def _trained(start, images, **options):
    student = Student(start.mapping, NOISELESS)
    train(student, ImageSet(images), RECIPE, seed=1, **options)
    return student.state_dict()


def test_student_computes_the_sums_of_the_mapping(network, start):
    """Conversion apart, which moves an output by a few steps at most."""
    _, images = network
    student = Student(start.mapping).eval()
    with torch.no_grad():
        steps = student(images) / start.mapping.scales[start.graph.output.name]
    assert torch.allclose(steps, steps.round(), atol=1e-3)
    exact = start.basis_outputs(images)
    assert float((steps - exact).abs().mean()) < 2 < float(exact.double().std())


def test_an_untrained_student_gives_its_mapping_back(start):
    found = Student(start.mapping).mapping()
    for name, layer in start.mapping.layers.items():
        assert torch.equal(found.layers[name].coefficients, layer.coefficients)
        assert torch.equal(found.vectors, start.mapping.vectors)
        assert torch.allclose(found.layers[name].gain, layer.gain, rtol=1e-6)
        assert torch.allclose(found.layers[name].bias, layer.bias, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("polarity", [False, True])
def test_predicted_variance_is_that_of_the_sums(stream, polarity):
    chip = replace(CHIP, array=replace(CHIP.array, polarity=polarity))
    generator = torch.Generator().manual_seed(0)
    coefficients = torch.randint(-7, 8, (2, 64, 3), generator=generator).double()
    coefficients[:, 16:32] = 0
    layer = Layer(None, coefficients, torch.ones(3), torch.zeros(3), stream, 16, 900)
    vectors = torch.randint(-127, 128, (64, 72), generator=generator).double()
    patches = torch.randint(0, 128, (3000, 2, 72), generator=generator).double()
    exact = torch.einsum("pcr,nr,cnk->pk", patches, vectors, coefficients) / 900
    noise = Noise(hold=300.0, conversion=500.0)
    # With so many bits no code is clipped.
    sums = accumulate(held(patches, vectors, noise, generator), coefficients, chip, stream=stream,
                      resolution=16, reference=900, noise=noise, generator=generator)
    found = (sums - exact).var(dim=0)
    assert torch.allclose(found, sum_variance(layer, chip, noise), rtol=0.15)


def test_training_comes_nearer_to_the_float_network(network):
    model, images = network
    joint = JointTraining(ImageSet(images), replace(RECIPE, epochs=30))
    few = replace(FIT, vectors_per_tile=3)
    before = compile_stages(model, CHIP, images, seed=0, options=few)
    after = train_further(before, joint, images, seed=0, options=few)

    def distance(made):
        outputs = made.basis_outputs(images) * made.program.output_scale
        return float((outputs - made.float_outputs(images)).square().mean())

    assert distance(after) < 0.9 * distance(before)
    macro = Macro(CHIP, MacroPhysics.ideal(), after.program.weights, 0)
    assert (execute(after.program, macro, after.images(images), 0).outputs
            == after.basis_outputs(images).numpy()).all()


def test_a_training_that_does_harm_is_not_taken(network, start):
    _, images = network
    options = replace(FIT, vectors_per_tile=6)
    harm = replace(RECIPE, epochs=1, rate=100)
    kept = train_further(start, JointTraining(ImageSet(images), harm), images, seed=0,
                         options=options)
    assert kept.improvement.after > kept.improvement.before
    assert kept.improvement.images == 6
    assert (kept.program.weights == start.program.weights).all()
    for layer, given in zip(kept.program.layers, start.program.layers, strict=True):
        if isinstance(layer, Convolution):
            assert (layer.coefficients == given.coefficients).all()
            assert (layer.multiplier == given.multiplier).all()
    # A contest is asked for the clocks, whatever it costs.
    joint = JointTraining(ImageSet(images), harm, Contest(1))
    taken = train_further(start, joint, images, seed=0, options=options)
    assert not taken.improvement.found
    assert (taken.program.weights != start.program.weights).any()


def test_images_to_compare_on_are_not_trained_with():
    images = ImageSet(torch.arange(100))
    train, shown = JointTraining(images, held_out=7).parts(seed=3)
    assert len(train.images) == 93 and len(shown.images) == 7
    assert sorted([*train.images.tolist(), *shown.images.tolist()]) == list(range(100))
    assert shown.images.tolist() == JointTraining(
        images, held_out=7).parts(seed=3)[1].images.tolist()
    assert shown.images.tolist() != list(range(7))
    assert len(JointTraining(images).parts(seed=3)[1].images) == 10
    few = ImageSet(torch.arange(9))
    assert JointTraining(few).parts(seed=3) == (few, few)


def test_errors_of_layers(network, start):
    _, images = network
    errors = start.layer_errors(images)
    assert list(errors) == [node.name for node in start.graph.weighted]
    assert all(0 < error < 1 for error in errors.values())
    # As many vectors as there are chunks of kernels: no combination, rounding to 8 bits alone.
    model, _ = network
    chip = replace(CHIP, array=replace(CHIP.array, columns=32))
    plain = compile_stages(model, chip, images, seed=0, options=FIT)
    assert all(plain.layer_errors(images)[name] < error / 3 for name, error in errors.items())


def test_an_interrupted_run_ends_as_an_uninterrupted_one(network, start, tmp_path):
    class Interrupted(Exception):
        pass

    def interrupt(stage, share):
        if share > 0.4:
            raise Interrupted

    _, images = network
    whole = _trained(start, images, contest=Contest(2))
    file = tmp_path / "run"
    with pytest.raises(Interrupted):
        _trained(start, images, contest=Contest(2), progress=interrupt,
                 checkpoint=Checkpoint(file, "same", seconds=0))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    resumed = _trained(start, images, contest=Contest(2),
                       checkpoint=Checkpoint(file, "same", seconds=0))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    # The finished run is kept too.
    assert all(torch.equal(value, whole[name]) for name, value in _trained(
        start, images, contest=Contest(2), checkpoint=Checkpoint(file, "same")).items())


def test_checkpoints_that_do_not_fit_are_refused(network, start, tmp_path):
    _, images = network
    file = tmp_path / "run"
    joint = JointTraining(ImageSet(images), replace(RECIPE, epochs=0.5), checkpoint=file)
    joint.train(start.mapping, NOISELESS, 7, seed=1)
    with pytest.raises(ValueError, match="of another run"):
        joint.train(start.mapping, NOISELESS, 7, seed=2)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is not one"):
        joint.train(start.mapping, NOISELESS, 7, seed=1)


def test_a_run_begins_where_another_stands(network, start, tmp_path):
    _, images = network
    file = tmp_path / "run"
    short = replace(RECIPE, epochs=0.5)
    first = JointTraining(ImageSet(images), short, checkpoint=file)
    trained = first.train(start.mapping, NOISELESS, 7, seed=1).state_dict()
    seen = {}

    def look(student):
        seen.update(student.state_dict())

    second = JointTraining(ImageSet(images), short, start=file, loop=look)
    second.train(start.mapping, NOISELESS, 7, seed=1)
    assert all(torch.equal(seen[name], value) for name, value in trained.items())
    with pytest.raises(ValueError, match="there is no checkpoint"):
        replace(second, start=tmp_path / "none").train(start.mapping, NOISELESS, 7, seed=1)
    other = compile_stages(nn.Sequential(nn.Conv2d(4, 2, 1)), CHIP, images, seed=0, options=FIT)
    with pytest.raises(ValueError, match="of another network or chip"):
        second.train(other.mapping, NOISELESS, 7, seed=1)


def test_a_seed_fixes_the_program(network):
    model, images = network
    joint = JointTraining(ImageSet(images), replace(RECIPE, epochs=1))
    one = compile_network(model, CHIP, images, seed=5, options=FIT, joint=joint)
    fitted = compile_stages(model, CHIP, images, seed=5, options=FIT)
    two = train_further(fitted, joint, images, seed=5, options=FIT).program
    assert (one.weights == two.weights).all()
    for a, b in zip(one.layers, two.layers, strict=True):
        if isinstance(a, Convolution):
            assert (a.coefficients == b.coefficients).all()
            assert (a.multiplier == b.multiplier).all() and (a.bias == b.bias).all()


def test_a_loop_of_the_users_own(network):
    model, images = network
    seen = []

    def loop(student):
        optimiser = torch.optim.SGD(student.parameters(), lr=1e-3)
        for batch in images.split(32):
            loss = functional.mse_loss(student(batch), model(batch).detach())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            seen.append(float(loss.detach()))

    joint = JointTraining(ImageSet(images), loop=loop)
    program = compile_network(model, CHIP, images, seed=0, options=FIT, joint=joint)
    assert len(seen) == 2 and program.outputs == 5


def test_fewer_coefficient_bits_than_the_chip_has(network):
    model, images = network
    options = replace(FIT, vectors_per_tile=6, coefficient_bits=2)
    joint = JointTraining(ImageSet(images), RECIPE)
    program = compile_network(model, CHIP, images, seed=0, options=options, joint=joint)
    largest = max(int(np.abs(la.coefficients).max()) for la in program.layers
                  if isinstance(la, Convolution))
    assert largest == 1


def test_winners_fill_the_tiles_evenly():
    generator = torch.Generator().manual_seed(0)
    for tiles, kernels, capacity in ((4, 16, 4), (4, 16, 9), (3, 7, 3), (1, 5, 5)):
        share = torch.rand(tiles, kernels, generator=generator)
        keep = winners(share, capacity)
        assert int(keep.sum(dim=1).max()) <= capacity
        assert bool(keep.any(dim=0).all())
        assert int(keep.sum()) == tiles * min(capacity, kernels)
    # Nothing is kept for nothing.
    share = torch.zeros(2, 2)
    share[0, 0] = share[1, 1] = 1
    assert winners(share, 2).tolist() == [[True, False], [False, True]]
    with pytest.raises(ValueError, match="capacity must be at least 2"):
        winners(torch.rand(2, 4), 1)


def test_contests_are_trained_away(network):
    """Each tile has its share of the kernels, and the network takes the fewer clocks for it."""
    model, images = network
    chip = replace(CHIP, array=replace(CHIP.array, columns=64))
    clocks = []
    for contest in (None, Contest(1)):
        joint = JointTraining(ImageSet(images), RECIPE, contest)
        program = compile_network(model, chip, images, seed=0, joint=joint,
                                  options=replace(FIT, mode="merge", vectors_per_tile=6))
        layers = tuple(replace(la, stop=np.zeros_like(la.stop))
                       if isinstance(la, Convolution) else la for la in program.layers)
        clocks.append(sum(layer_clocks(replace(program, layers=layers))))
    assert clocks[1] < 0.75 * clocks[0]
    for layer in program.layers:
        if isinstance(layer, Convolution):
            for chunk in layer.coefficients:
                for tile in chunk:
                    assert len(merge_entries(tile, True, 3)) <= -(-layer.kernels // 4)


def test_kernels_give_way_only_where_it_saves_as_much_as_it_costs():
    """Dense merge: 3 planes of 8 clocks a kernel; stream: 64 columns of 8 clocks."""
    chip = replace(CHIP, array=replace(CHIP.array, columns=64))
    assert Contest(3).capacity(16, chip, 8) == 12
    assert Contest(1).capacity(21, chip, 8) == 6
    assert Contest(1).capacity(22, chip, 8) is None  # 528 clocks merged, 512 as a stream
    assert Contest(4).capacity(16, chip, 8) is None  # nobody has to give way


@pytest.mark.parametrize("make, words", [
    (lambda: Recipe(epochs=0), "Recipe.epochs must be positive"),
    (lambda: Recipe(batch=0), "Recipe.batch must be at least 1"),
    (lambda: Recipe(precision="float16"), "Recipe.precision must be float32 or bfloat16"),
    (lambda: Contest(0.5), "Contest.tiles_per_kernel must be at least 1"),
    (lambda: Contest(2, share=0), "Contest.share"),
    (lambda: ImageSet(torch.zeros(0, 1, 2, 2)), "ImageSet.images"),
    (lambda: JointTraining(ImageSet(torch.zeros(1, 1, 2, 2)), device="tpu"), "device must be"),
    (lambda: JointTraining(ImageSet(torch.zeros(1, 1, 2, 2)), held_out=-1), "held_out must be"),
    (lambda: Options(coefficient_bits=5).check(CHIP), "coefficient_bits must be 2 to 4"),
])
def test_bad_choices_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
