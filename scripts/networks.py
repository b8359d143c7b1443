"""The network that a command names: a built-in one, or a function in a Python file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
import hashlib
import importlib.util

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import golden
from golden.cifar10 import load_cifar10
from golden.data import digits
from golden.networks.digits import DigitsNetwork, train
from golden.networks.resnet import augmented, load_resnet, normalise
from golden.training import ImageSet
from sim.toolchain import cached_build

__all__ = ["Network", "golden_digest", "labelled_images", "labelled_training", "load_labels",
           "load_network", "named_images", "named_loop", "network_settings", "trained_digits",
           "training_images"]

#: Blocks of each stage, by name.
_RESNETS = {"resnet20": 3, "resnet32": 5}
#: Training images of CIFAR-10 that a ResNet is calibrated with, and that its batch normalisations
#: adapt to: as many as Joshi et al. (2020) take.
_CIFAR10_CALIBRATION, _CIFAR10_ADAPTATION = 1024, 2600
#: Images that one random crop is for.
_SAME_CROP = 20


@dataclass(frozen=True, eq=False)
class Network:
    """A model, and float images [images, channels, height, width] that go with it.

    ``calibration``: to choose converter ranges with. ``adaptation``: to measure the statistics of
    batch normalisations with; drawn as in the training, whose statistics they replace.
    """

    name: str
    model: nn.Module
    calibration: Tensor
    adaptation: Tensor


def golden_digest() -> str:
    """SHA-256 of golden's sources and of torch's version: what a trained network depends on."""
    digest = hashlib.sha256(torch.__version__.encode())
    root = Path(golden.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def network_settings(network: Network, images: Tensor, labels: Tensor) -> dict[str, object]:
    """What a result depends on besides the chip and its devices: stands in checkpoints."""
    digest = hashlib.sha256(golden_digest().encode())
    for tensor in (*network.model.state_dict().values(), network.calibration, network.adaptation,
                   images, labels):
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return {"network": network.name, "images": len(labels), "digest": digest.hexdigest()[:16]}


def trained_digits(seed: int, progress: Callable[[str, float], None] | None = None
                   ) -> DigitsNetwork:
    """The digits network, trained once for each seed and version of golden."""
    def make(place: Path) -> None:
        network = train(digits(seed), seed, progress=progress)
        save_file(network.state_dict(), place / "network.safetensors")

    place = cached_build("digits", {}, [golden_digest(), str(seed)], make)
    network = DigitsNetwork()
    network.load_state_dict(load_file(place / "network.safetensors"))
    return network.eval()


def _array(path: Path, what: str, dimensions: int) -> np.ndarray:
    if not path.is_file():
        raise ValueError(f"{what}: there is no file {str(path)!r}")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{what}: {str(path)!r} is not a .npy file: {error}") from None
    if not isinstance(array, np.ndarray) or array.ndim != dimensions or len(array) == 0:
        shape = array.shape if isinstance(array, np.ndarray) else "several arrays"
        raise ValueError(f"{what}: {str(path)!r} must hold an array of {dimensions} dimensions, "
                         f"not {shape}")
    return array


def _load_images(path: Path, what: str) -> Tensor:
    array = _array(path, what, 4)
    if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
        raise ValueError(f"{what}: {str(path)!r} must hold finite floating-point numbers, "
                         f"not {array.dtype}")
    return torch.from_numpy(array.astype(np.float32))


def named_images(name: str, seed: int = 0, data: Path | None = None
                 ) -> tuple[Tensor, Tensor | None]:
    """Images as a network takes them, and their labels where they have some.

    ``digits``: those that the split ``seed`` holds out; ``cifar10``: the test set in the
    directory ``data``; else a .npy file of float images [images, channels, height, width].
    """
    if name == "digits":
        split = digits(seed)
        return split.held_images, split.held_labels
    if name == "cifar10":
        images, labels = load_cifar10("test", data)
        return normalise(images), labels
    return _load_images(Path(name), "images"), None


def load_labels(path: Path, images: int) -> Tensor:
    """int64 labels [images] of a .npy file; ValueError for others."""
    array = _array(path, "labels", 1)
    if not np.issubdtype(array.dtype, np.integer) or len(array) != images:
        raise ValueError(f"labels: {str(path)!r} must hold {images} integers, not {len(array)} "
                         f"of {array.dtype}")
    return torch.from_numpy(array.astype(np.int64))


def labelled_images(name: str, labels: Path | None, seed: int = 0, data: Path | None = None,
                    count: int | None = None) -> tuple[Tensor, Tensor]:
    """The first ``count`` of `named_images` with their labels, or those of the file ``labels``."""
    images, truth = named_images(name, seed, data)
    if labels is not None:
        truth = load_labels(labels, len(images))
    if truth is None:
        raise ValueError(f"labels: the images {name!r} need a .npy file of integers")
    return images[:count], truth[:count]


def _function(what: str, specification: str) -> Callable[..., Any]:
    """The function that ``file.py:function`` names; ``what`` for errors."""
    name, _, function = specification.rpartition(":")
    if not Path(name).is_file():
        raise ValueError(f"{what}: there is no file {name!r}")
    found = importlib.util.spec_from_file_location(Path(name).stem, name)
    if found is None or found.loader is None:
        raise ValueError(f"{what}: {name!r} is not a Python file")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    made = getattr(module, function, None)
    if not callable(made):
        raise ValueError(f"{what}: {name!r} has no function {function!r}")
    return made


def named_loop(specification: str) -> Callable[[nn.Module], None]:
    """The user's training loop, ``file.py:function``."""
    if ":" not in specification:
        raise ValueError(f"loop must be file.py:function, not {specification!r}")
    return _function("loop", specification)


def training_images(network: Network, path: Path | None, data: Path | None) -> ImageSet:
    """Images to train ``network`` with.

    Those of the .npy file ``path``; else, for a ResNet, all training images of CIFAR-10 in
    ``data``, flipped and shifted; else those that it is calibrated with.
    """
    if path is not None:
        return ImageSet(_load_images(path, "training-images"))
    if network.name in _RESNETS:
        return ImageSet(load_cifar10("train", data)[0], augmented)
    return ImageSet(network.calibration)


def labelled_training(network: Network, images: Path | None, labels: Path | None,
                      data: Path | None, seed: int) -> tuple[ImageSet, Tensor]:
    """Images to train ``network`` with, and their labels, int64.

    Those of the .npy files ``images`` and ``labels``; else, for a ResNet, all training images of
    CIFAR-10 in ``data``, flipped and shifted; else, for the digits, those not held out by
    ``seed``.
    """
    if (images is None) != (labels is None):
        raise ValueError("training-images and labels must be given together or not at all")
    shown = training_images(network, images, data)
    if labels is not None:
        return shown, load_labels(labels, len(shown.images))
    if network.name in _RESNETS:
        return shown, load_cifar10("train", data)[1]
    if network.name == "digits":
        return shown, digits(seed).labels
    raise ValueError(f"training-images: the network {network.name!r} needs .npy files of images "
                     "and labels")


def _from_file(specification: str) -> nn.Module:
    model = _function("network", specification)()
    if not isinstance(model, nn.Module):
        raise ValueError(f"network: {specification!r} must return a torch.nn.Module, "
                         f"not {type(model).__name__}")
    return model.eval()


def _with_weights(model: nn.Module, path: Path | None) -> nn.Module:
    """``model`` with the weights of the safetensors file ``path``, if one is given."""
    if path is None:
        return model
    if not path.is_file():
        raise ValueError(f"weights: there is no file {str(path)!r}")
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"weights: {str(path)!r} does not fit the network: {error}") from None
    return model


def load_network(specification: str, *, weights: Path | None = None,
                 calibration: Path | None = None, data: Path | None = None, seed: int = 0,
                 progress: Callable[[str, float], None] | None = None) -> Network:
    """The network that ``specification`` names.

    Parameters
    ----------
    specification
        ``digits``, trained here unless ``weights`` are given; ``resnet20`` or ``resnet32`` with
        ``weights``; or ``file.py:function``, whose function takes nothing and returns a module.
    weights
        safetensors file, such as `crossloom train` writes.
    calibration
        .npy file of float images [images, channels, height, width]; digits and the ResNets
        otherwise take training images.
    data
        Directory of CIFAR-10, for a ResNet without ``calibration``.
    seed
        Of training and of the split of the digits.
    """
    shown = None if calibration is None else _load_images(calibration, "calibration")
    if specification == "digits":
        model: nn.Module = (trained_digits(seed, progress) if weights is None else
                            _with_weights(DigitsNetwork().eval(), weights))
        shown = digits(seed).images if shown is None else shown
        return Network("digits", model, shown, shown)
    if specification in _RESNETS:
        if weights is None:
            raise ValueError(f"weights: the network {specification} needs a safetensors file")
        model = load_resnet(weights)
        if len(model.layer1) != _RESNETS[specification]:
            raise ValueError(f"weights: {str(weights)!r} holds {len(model.layer1)} blocks a "
                             f"stage, and {specification} has {_RESNETS[specification]}")
        if shown is not None:
            return Network(specification, model, shown, shown)
        pictures = load_cifar10("train", data)[0]
        generator = torch.Generator().manual_seed(seed)
        # Flipped and shifted, as they were when the network learned its statistics: those of images
        # as they are cost more than a day of drift does (docs/results.md).
        adaptation = torch.cat([augmented(some, generator) for some in
                                pictures[:_CIFAR10_ADAPTATION].split(_SAME_CROP)])
        return Network(specification, model, normalise(pictures[:_CIFAR10_CALIBRATION]), adaptation)
    if ":" not in specification:
        raise ValueError(f"network must be digits, {', '.join(_RESNETS)} or file.py:function, "
                         f"not {specification!r}")
    if shown is None:
        raise ValueError(f"calibration: the network {specification!r} needs a .npy file of images")
    return Network(specification.rpartition(":")[2],
                   _with_weights(_from_file(specification), weights), shown, shown)
