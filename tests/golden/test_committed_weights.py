"""The trained weights in weights/: they are a network's, and have the accuracy that is claimed."""

from pathlib import Path
import os

import pytest
import torch

from golden.cifar10 import load_cifar10
from golden.networks.resnet import load_resnet, normalise

WEIGHTS = Path(__file__).parents[2] / "weights" / "resnet32_pcm.safetensors"


def test_they_are_clipped_as_noise_aware_training_does():
    """Each layer's weights lie within two standard deviations, as of the last clipping."""
    network = load_resnet(WEIGHTS)
    layers = [module for module in network.modules()
              if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) == 32
    for layer in layers:
        weight = layer.weight.detach()
        # Clipping shrinks the deviation that it was measured with, but not by much.
        assert weight.isfinite().all() and weight.abs().max() < 2.1 * weight.std()


def test_accuracy_in_float():
    if "CROSSLOOM_DATA" not in os.environ:
        pytest.skip("CROSSLOOM_DATA names no directory with CIFAR-10")
    images, labels = load_cifar10("test")
    with torch.no_grad():
        classes = load_resnet(WEIGHTS)(normalise(images[:1000])).argmax(1)
    # Of 1,000 images one or two may fall otherwise on another machine's arithmetic.
    assert int((classes == labels[:1000]).sum()) == pytest.approx(932, abs=2)
