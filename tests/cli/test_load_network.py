"""Images that go with a network: to calibrate ranges with, and to adapt normalisation to."""

import numpy as np
import pytest
from safetensors.torch import save_file
import torch

from golden.networks.resnet import ResNet, normalise
from scripts import networks
from scripts.networks import load_network


@pytest.fixture
def resnet(tmp_path, monkeypatch):
    """A file of weights, and training images in place of CIFAR-10's."""
    torch.manual_seed(0)
    save_file(ResNet(20).state_dict(), tmp_path / "weights")
    pictures = torch.randint(0, 256, (3000, 3, 32, 32), dtype=torch.uint8)
    monkeypatch.setattr(networks, "load_cifar10", lambda part, data: (pictures, None))
    return tmp_path / "weights", pictures


def test_a_resnet_adapts_to_images_as_it_was_trained_on(resnet):
    weights, pictures = resnet
    given = load_network("resnet20", weights=weights, seed=3)
    assert torch.equal(given.calibration, normalise(pictures[:1024]))
    assert given.adaptation.shape == (2600, 3, 32, 32)
    # A tenth at least is not what the picture shows at that place: flipped, shifted or border.
    plain = normalise(pictures[:2600])
    assert (given.adaptation != plain).float().mean() > 0.1
    # Yet each is its picture, flipped or not: the middle of one lies in the other.
    for image, picture in zip(given.adaptation[:40], plain[:40], strict=True):
        inner = [image[:, 4 + dy:28 + dy, 4 + dx:28 + dx]
                 for dy in range(-4, 5) for dx in range(-4, 5)]
        middle = picture[:, 4:28, 4:28]
        assert any(torch.equal(part, side) for part in inner for side in (middle, middle.flip(2)))
    again = load_network("resnet20", weights=weights, seed=3)
    assert torch.equal(again.adaptation, given.adaptation)


def test_own_images_serve_both(resnet, tmp_path):
    weights, _ = resnet
    own = np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32)
    np.save(tmp_path / "own.npy", own)
    given = load_network("resnet20", weights=weights, calibration=tmp_path / "own.npy")
    assert torch.equal(given.calibration, torch.from_numpy(own))
    assert torch.equal(given.adaptation, given.calibration)
