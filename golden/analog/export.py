"""The chip's state written out for hardware: targets, tile map, registers, test vectors.

A directory of four files:

``conductances.safetensors``
    ``<layer>/<slice>/<part>``: targets in uS, float32, of the weights' shape ([groups, ...] for
    reference columns); ``.../programmed`` and other draws where the network is programmed.
``tiles.json``
    A list of ``{layer, slice, part, coefficient, shared, group, rows: [first, last], channels,
    taps, outputs: [first, last], array}``: which rows and columns of which array hold what; ranges
    are half open, rows count word lines of the array from 0 in order of channel, then tap.
``registers.json``
    Per layer: input and output steps and bits, signed inputs, scale of each output, gain,
    significances.
``vectors.safetensors``
    ``<layer>/input``: input codes, int16, of the images given; ``<layer>/code<k>``: the ADC codes
    of conversion k (tile, then input plane, then slice), int16, as the chip as programmed gives
    them; without read noise unless the device has it.
"""

from collections.abc import Iterator
import json
import os
from pathlib import Path
import shutil

from safetensors.torch import save
import torch
from torch import Tensor

from golden.arrays.converter import levels

from .layer import AnalogLayer
from .network import AnalogNetwork

__all__ = ["export_state", "tile_map"]


def export_state(network: AnalogNetwork, directory: Path | str, images: Tensor) -> None:
    """Write the state of ``network``, calibrated and programmed, to the new ``directory``.

    The test vectors are those of ``images``. ValueError if ``directory`` exists; it appears whole
    or not at all.
    """
    target = Path(directory)
    if target.exists():
        raise ValueError(f"directory must be new, and {str(directory)!r} exists")
    for layer in network.layers.values():
        layer.require_programmed()
    vectors = _vectors(network, images)
    beside = target.with_name(target.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    (beside / "conductances.safetensors").write_bytes(save(_conductances(network)))
    (beside / "vectors.safetensors").write_bytes(save(vectors))
    for name, content in (("tiles", tile_map(network)), ("registers", _registers(network))):
        (beside / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    os.replace(beside, target)


def tile_map(network: AnalogNetwork) -> list[dict[str, object]]:
    """Where every part of every layer lies; arrays are numbered in this order."""
    return [entry | {"array": number}
            for number, entry in enumerate(entry for name, layer in network.layers.items()
                                           for entry in _layer_tiles(name, layer))]


def _layer_tiles(name: str, layer: AnalogLayer) -> Iterator[dict[str, object]]:
    columns = layer.mapping.chip.array.columns
    for number, piece in enumerate(layer.encoded.slices):
        for p, part in enumerate(piece.parts):
            per_group = len(part.fractions) // layer.groups
            for tile in layer.tiles:
                for group in range(layer.groups):
                    for first in range(0, per_group, columns):
                        last = min(first + columns, per_group)
                        start = group * per_group
                        yield {"layer": name, "slice": number, "part": p,
                               "coefficient": part.coefficient, "shared": part.shared,
                               "group": group, "rows": [0, tile.rows],
                               "channels": [tile.first_channel, tile.last_channel],
                               "taps": [tile.first_tap, tile.last_tap],
                               "outputs": [start + first, start + last]}


def _conductances(network: AnalogNetwork) -> dict[str, Tensor]:
    tensors = {}
    maximum = network.mapping.device.maximum_conductance
    for name, layer in network.layers.items():
        for s, piece in enumerate(layer.encoded.slices):
            for p, part in enumerate(piece.parts):
                key = f"{name}/{s}/{p}"
                tensors[key] = (part.fractions * maximum).contiguous()
                tensors |= {f"{key}/{kind}": value.contiguous().clone()
                            for kind, value in layer.cells[s][p].items()}
    return tensors


def _registers(network: AnalogNetwork) -> dict[str, dict[str, object]]:
    mapping = network.mapping
    return {name: {
        "input_bits": mapping.input_bits, "input_step": layer.input_step,
        "signed_inputs": layer.signed_inputs, "output_bits": mapping.output_bits,
        "output_steps": [layer.output_step(s) for s in range(len(layer.encoded.slices))],
        "significances": [piece.significance for piece in layer.encoded.slices],
        "offset": layer.encoded.offset, "scale": layer.scale.tolist(), "gain": layer.gain,
        "bit_serial": mapping.bit_serial} for name, layer in network.layers.items()}


class _VectorObserver:
    """Keeps all codes of one layer."""

    def __init__(self, layer: AnalogLayer) -> None:
        self.layer = layer
        self.input: list[Tensor] = []
        self.codes: list[Tensor] = []

    def inputs(self, values: Tensor) -> None:
        """See `Observer.inputs`."""
        highest = levels(self.layer.mapping.input_bits)
        lowest = -highest if self.layer.signed_inputs else 0
        self.input.append(values.round().clamp(lowest, highest).to(torch.int16).contiguous())

    def outputs(self, number: int, values: Tensor) -> None:
        """See `Observer.outputs`."""
        highest = levels(self.layer.mapping.output_bits)
        self.codes.append(values.round().clamp(-highest - 1, highest).to(torch.int16).contiguous())


def _vectors(network: AnalogNetwork, images: Tensor) -> dict[str, Tensor]:
    observers = {name: _VectorObserver(layer) for name, layer in network.layers.items()}
    with network.observed(observers):
        network(images)
    tensors = {}
    for name, seen in observers.items():
        tensors[f"{name}/input"] = torch.cat(seen.input)
        tensors |= {f"{name}/code{k}": code for k, code in enumerate(seen.codes)}
    return tensors
