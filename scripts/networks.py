"""The network that a command names: a built-in one, or a function in a Python file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
import hashlib
import importlib.util
import os

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import golden
from golden.data import digits
from golden.networks.digits import DigitsNetwork, train
from golden.networks.resnet import load_resnet
from sim.toolchain import cached_build

__all__ = ["Network", "golden_digest", "load_images", "load_labels", "load_network",
           "trained_digits"]

#: Blocks of each stage, by name.
_RESNETS = {"resnet20": 3, "resnet32": 5}


@dataclass(frozen=True, eq=False)
class Network:
    """A model with images, float [images, channels, height, width] as the model takes them.

    ``calibration`` are to compile it with. ``images`` and int64 ``labels`` are for its accuracy;
    None where the user has not given them.
    """

    name: str
    model: nn.Module
    calibration: Tensor
    images: Tensor | None = None
    labels: Tensor | None = None


def golden_digest() -> str:
    """SHA-256 of golden's sources and of torch's version: what a trained network depends on."""
    digest = hashlib.sha256(torch.__version__.encode())
    root = Path(golden.__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


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
    except (ValueError, EOFError) as error:
        raise ValueError(f"{what}: {str(path)!r} is not a .npy file: {error}") from None
    if not isinstance(array, np.ndarray) or array.ndim != dimensions or len(array) == 0:
        shape = array.shape if isinstance(array, np.ndarray) else "several arrays"
        raise ValueError(f"{what}: {str(path)!r} must hold an array of {dimensions} dimensions, "
                         f"not {shape}")
    return array


def load_images(path: Path, what: str) -> Tensor:
    """Float images [images, channels, height, width] of a .npy file; ValueError for others."""
    array = _array(path, what, 4)
    if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
        raise ValueError(f"{what}: {str(path)!r} must hold finite floating-point numbers, "
                         f"not {array.dtype}")
    return torch.from_numpy(array.astype(np.float32))


def load_labels(path: Path, images: int) -> Tensor:
    """int64 labels [images] of a .npy file; ValueError for others."""
    array = _array(path, "labels", 1)
    if not np.issubdtype(array.dtype, np.integer) or len(array) != images:
        raise ValueError(f"labels: {str(path)!r} must hold {images} integers, not {len(array)} "
                         f"of {array.dtype}")
    return torch.from_numpy(array.astype(np.int64))


def _from_file(specification: str) -> nn.Module:
    name, _, function = specification.rpartition(":")
    if not Path(name).is_file():
        raise ValueError(f"network: there is no file {name!r}")
    found = importlib.util.spec_from_file_location(Path(name).stem, name)
    if found is None or found.loader is None:
        raise ValueError(f"network: {name!r} is not a Python file")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    make = getattr(module, function, None)
    if not callable(make):
        raise ValueError(f"network: {name!r} has no function {function!r}")
    model = make()
    if not isinstance(model, nn.Module):
        raise ValueError(f"network: {specification!r} must return a torch.nn.Module, "
                         f"not {type(model).__name__}")
    return model.eval()


def load_network(specification: str, *, weights: Path | None = None,
                 calibration: Path | None = None, images: Path | None = None,
                 labels: Path | None = None, seed: int = 0,
                 progress: Callable[[str, float], None] | None = None) -> Network:
    """The network that ``specification`` names.

    Parameters
    ----------
    specification
        ``digits``, trained here; ``resnet20`` or ``resnet32`` with ``weights``; or
        ``file.py:function``, whose function takes nothing and returns a module.
    weights
        safetensors file of a ResNet.
    calibration, images
        .npy files of float images [images, channels, height, width]; digits brings its own.
    labels
        .npy file of integers, one for each of ``images``.
    seed
        Of training and of the split of the digits.
    """
    if (images is None) != (labels is None):
        raise ValueError("images and labels must be given together")
    if specification == "digits":
        for name, given in (("weights", weights), ("calibration", calibration),
                            ("images", images)):
            if given is not None:
                raise ValueError(f"{name}: the network digits brings its own, "
                                 f"not {os.fspath(given)!r}")
        split = digits(seed)
        return Network("digits", trained_digits(seed, progress), split.images,
                       split.held_images, split.held_labels)
    if specification in _RESNETS:
        if weights is None:
            raise ValueError(f"weights: the network {specification} needs a safetensors file")
        model = load_resnet(weights)
        if len(model.layer1) != _RESNETS[specification]:
            raise ValueError(f"weights: {str(weights)!r} holds {len(model.layer1)} blocks a stage, "
                             f"and {specification} has {_RESNETS[specification]}")
    elif ":" in specification:
        if weights is not None:
            raise ValueError("weights: a function in a file loads its own, "
                             f"not {os.fspath(weights)!r}")
        model = _from_file(specification)
    else:
        raise ValueError(f"network must be digits, {', '.join(_RESNETS)} or file.py:function, "
                         f"not {specification!r}")
    if calibration is None:
        raise ValueError(f"calibration: the network {specification!r} needs a .npy file of images")
    shown = load_images(calibration, "calibration")
    name = specification.rpartition(":")[2]
    if images is None or labels is None:
        return Network(name, model, shown)
    tested = load_images(images, "images")
    return Network(name, model, shown, tested, load_labels(labels, len(tested)))
