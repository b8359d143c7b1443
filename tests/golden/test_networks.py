"""The demo's digits network keeps its accuracy; the ResNet maps on the default chip."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from golden.allocation import allocate
from golden.chip import preset
from golden.compile import Options, compile_stages
from golden.data import digits
from golden.execute import execute
from golden.finetune import Training
from golden.graph import Add, Pool, import_graph
from golden.macro import Macro
from golden.networks.digits import DigitsNetwork, accuracy, train
from golden.networks.resnet import INPUT_SHAPE, ResNet, load_resnet, normalise
from golden.physics import MacroPhysics


@pytest.fixture(scope="module")
def trained():
    split = digits(seed=0)
    return split, train(split, seed=0, epochs=15)


def test_split_is_fixed_by_the_seed():
    first, again, other = digits(0), digits(0), digits(1)
    assert len(first.labels) == 1347 and len(first.held_labels) == 450
    assert torch.equal(first.held_images, again.held_images)
    assert not torch.equal(first.held_labels, other.held_labels)
    assert first.images.shape[1:] == (1, 8, 8) and float(first.images.max()) == 1.0


def test_training_is_reproducible(trained):
    split, _ = trained
    part = replace(split, images=split.images[:128], labels=split.labels[:128])
    one, two, other = (train(part, seed, epochs=2).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["conv1.weight"], other["conv1.weight"])


def test_training_does_not_depend_on_the_order_of_sums():
    """Threads change the order in which gradients are summed up, as other processors do."""
    split = digits(0)
    part = replace(split, images=split.images[:128], labels=split.labels[:128])
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(train(part, 5, epochs=4).state_dict())
    finally:
        torch.set_num_threads(threads)
    one, other = found
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert one["conv1.weight"].dtype == torch.float32


def test_accuracy_stage_by_stage(trained):
    split, network = trained
    with torch.no_grad():
        floating = accuracy(network(split.held_images), split.held_labels)
    assert floating >= 0.97
    for columns, training in ((None, Training(epochs=0)), (8, Training())):
        options = Options(vectors_per_tile=columns, training=training)
        made = compile_stages(network, preset("default"), split.images[:640], seed=0,
                              options=options)
        assert accuracy(made.float_outputs(split.held_images), split.held_labels) == floating
        assert accuracy(made.eight_bit_outputs(split.held_images),
                        split.held_labels) >= floating - 0.01
        codes = made.images(split.held_images)
        for physics, loss in ((MacroPhysics.ideal(), 0.01), (MacroPhysics(), 0.02)):
            macro = Macro(made.program.chip, physics, made.program.weights, 1)
            outputs = torch.from_numpy(execute(made.program, macro, codes, seed=2).outputs)
            assert accuracy(outputs, split.held_labels) >= floating - loss, (columns, physics)


def test_digits_network_has_every_kind_of_layer():
    graph = import_graph(DigitsNetwork(), (8, 8, 1))
    assert {node.stride for node in graph.weighted} == {1, 2}
    assert any(isinstance(node, Add) for node in graph.nodes)
    assert {n.maximum for n in graph.nodes if isinstance(n, Pool)} == {True, False}


@pytest.mark.parametrize("depth", [20, 32])
def test_resnet_activations_fit_the_default_chip(depth):
    graph = import_graph(ResNet(depth), INPUT_SHAPE)
    assert len(graph.weighted) == depth
    shortcuts = [n for n in graph.nodes if isinstance(n, Add) and n.second_stride == 2]
    assert [node.second_offset for node in shortcuts] == [8, 16]
    allocate(graph, preset("default"))


def test_resnet_file(tmp_path):
    torch.manual_seed(0)
    network = ResNet(8).eval()
    save_file({f"module.{k}": v for k, v in network.state_dict().items()}, tmp_path / "ok")
    images = normalise(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8))
    assert torch.equal(load_resnet(tmp_path / "ok")(images), network(images))
    save_file({"layer1.0.conv1.weight": torch.zeros(1)}, tmp_path / "bad")
    with pytest.raises(ValueError, match="does not hold a CIFAR-10 ResNet"):
        load_resnet(tmp_path / "bad")
    with pytest.raises(ValueError, match="no weights file"):
        load_resnet(tmp_path / "none")
    with pytest.raises(ValueError, match="depth"):
        ResNet(19)


@pytest.mark.slow
@pytest.mark.data
def test_resnet20_compiles_for_the_default_chip():
    path = os.environ.get("CROSSLOOM_RESNET20")
    if path is None:
        pytest.skip("CROSSLOOM_RESNET20 names no weights file")
    images = normalise(torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), np.uint8)))
    made = compile_stages(load_resnet(path), preset("default"), images, seed=0,
                          options=Options(rounds=1, training=Training(epochs=0)))
    made.program.images()
    codes = made.images(images[:1])
    macro = Macro(made.program.chip, MacroPhysics.ideal(), made.program.weights, 0)
    assert (execute(made.program, macro, codes, seed=0).outputs
            == made.basis_outputs(images[:1]).numpy()).all()
