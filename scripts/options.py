"""Options that several commands share, and the chip that they name."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from golden.chip import Chip, preset

__all__ = ["Preset", "Settings", "Seed", "Json", "Network", "Weights", "Calibration", "Images",
           "Labels", "Data", "Epochs", "VectorsPerTile", "CoefficientBits", "Device", "Time",
           "Physics", "Precision", "Rate", "configured_chip", "images_of"]

#: Images that a network is measured on where none are named.
_OWN_IMAGES = {"digits": "digits", "resnet20": "cifar10", "resnet32": "cifar10"}

Preset = Annotated[str, typer.Option(
    "--preset", "-p", metavar="NAME", help="Named chip: tiny, default or large.")]
Settings = Annotated[list[str] | None, typer.Option(
    "--set", metavar="FIELD=VALUE",
    help="Change one value of the preset, such as array.rows=64 or tiles=2; may be repeated.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of every random draw.")]
Json = Annotated[Path | None, typer.Option(
    "--json", metavar="FILE", help="Write what was measured to FILE as well.")]
Network = Annotated[str, typer.Argument(
    metavar="NETWORK", help="digits; resnet20 or resnet32 with --weights; or file.py:function, "
                            "whose function returns a torch module.")]
Weights = Annotated[Path | None, typer.Option(
    "--weights", metavar="FILE",
    help="safetensors file with the weights of the network; a ResNet needs one.")]
Calibration = Annotated[Path | None, typer.Option(
    "--calibration", metavar="FILE",
    help=".npy file of float images [images, channels, height, width] to calibrate with.")]
Images = Annotated[str | None, typer.Option(
    "--images", metavar="IMAGES",
    help="digits, the held-out ones; cifar10, the test set in --data; or a .npy file of float "
         "images [images, channels, height, width].")]
Labels = Annotated[Path | None, typer.Option(
    "--labels", metavar="FILE", help=".npy file of integers, one for each image.")]
Data = Annotated[Path | None, typer.Option(
    "--data", metavar="DIRECTORY", envvar="CROSSLOOM_DATA", help="Directory with data sets.")]
Epochs = Annotated[int | None, typer.Option(
    "--epochs", min=0, help="Fine-tuning epochs; 0 leaves the least-squares fit.")]
VectorsPerTile = Annotated[int | None, typer.Option(
    "--vectors-per-tile", min=1,
    help="Basis vectors of each tile; as many as it has columns if not given.")]
CoefficientBits = Annotated[int | None, typer.Option(
    "--coefficient-bits", min=2,
    help="Bits of a coefficient; as many as the chip has if not given.")]
Precision = Annotated[str, typer.Option(
    "--precision", help="Of the training: float32, or bfloat16, faster on some processors.")]
Rate = Annotated[float, typer.Option(
    "--rate", help="Of the training: factor on all step sizes; below 1 where it is short or the "
                   "fit is good to begin with.")]
Device = Annotated[str, typer.Option(
    "--device", help="Memory devices: ideal, pcm, hermes, reram or reram_single.")]
Time = Annotated[float | None, typer.Option(
    "--time", help="Seconds after programming; the device's first if not given.")]
Physics = Annotated[str, typer.Option(
    "--macro", help="Analog macro: ideal, or default with its non-idealities.")]


def images_of(network: str, images: str | None, labelled: bool = True) -> str:
    """``images``, or what ``network`` is measured on where none are named.

    ValueError where there is neither; ``labelled``: labels are needed too.
    """
    source = images or _OWN_IMAGES.get(network)
    if source is None:
        raise ValueError(f"images: the network {network!r} needs a .npy file of images"
                         + (", and labels" if labelled else ""))
    return source


def configured_chip(name: str, settings: Sequence[str] | None = None) -> Chip:
    """The preset called ``name`` with each of ``settings`` (``field=value``) applied.

    A changed chip is called ``custom`` unless its name is set. ValueError for a preset or field
    that does not exist, or a value that the field does not allow.
    """
    changes: dict[str, str] = {}
    for setting in settings or ():
        path, separator, value = setting.partition("=")
        if not separator:
            raise ValueError(f"--set must be FIELD=VALUE, not {setting!r}")
        changes[path] = value
    chip = preset(name)
    # Settings that only fit together, such as rows and row_granule, are applied at once.
    parts: dict[str, dict[str, Any]] = {}
    own: dict[str, Any] = {"name": "custom"} if changes else {}
    for path, text in changes.items():
        part, _, field = path.rpartition(".")
        holder = getattr(chip, part, None) if part else chip
        names = [f.name for f in fields(holder)] if is_dataclass(holder) else []
        if field not in names or is_dataclass(getattr(holder, field)):
            raise ValueError(f"--set {path!r}: no such field; there are {', '.join(_paths(chip))}")
        given = _parse(path, text, type(getattr(holder, field)))
        (parts.setdefault(part, {}) if part else own)[field] = given
    for part, values in parts.items():
        own[part] = replace(getattr(chip, part), **values)
    return replace(chip, **own) if own else chip


def _paths(chip: Chip) -> list[str]:
    paths = []
    for field in fields(chip):
        value = getattr(chip, field.name)
        paths += ([f"{field.name}.{inner.name}" for inner in fields(value)]
                  if is_dataclass(value) else [field.name])
    return paths


def _parse(path: str, text: str, kind: type) -> object:
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError(f"--set {path} must be true or false, not {text!r}")
        return text == "true"
    if kind is int:
        try:
            return int(text)
        except ValueError:
            raise ValueError(f"--set {path} must be an integer, not {text!r}") from None
    return text
