"""A programmed network in one safetensors file."""

import json
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from .network import AnalogNetwork

__all__ = ["load_state", "save_state"]

_FORMAT = "crossloom analog state 2"


def save_state(network: AnalogNetwork, path: Path | str) -> None:
    """Write devices, registers, gains and normalisation of ``network`` to ``path``.

    Tensors ``<layer>/<slice>/<part>/<name>`` hold what was drawn at programming
    (`golden.devices.Cells`), ``normalisation/<buffer>`` the running statistics; the metadata's
    ``state`` is JSON: format, mapping, seed, time, and per layer its registers. The file appears
    whole or not at all.
    """
    for layer in network.layers.values():
        layer.require_programmed()
    tensors = {f"{name}/{s}/{p}/{key}": value.contiguous().cpu()
               for name, layer in network.layers.items()
               for s, parts in enumerate(layer.cells) for p, cells in enumerate(parts)
               for key, value in cells.items()}
    tensors |= {f"normalisation/{name}": value.cpu().clone()
                for name, value in _statistics(network).items()}
    first = next(iter(network.layers.values()))
    state = {"format": _FORMAT, "mapping": repr(network.mapping), "seed": first.seed,
             "time": first.time, "layers": {
                 name: {"input_range": layer.input_range, "output_ranges": layer.output_ranges,
                        "signed_inputs": layer.signed_inputs, "gain": layer.gain,
                        "scale": layer.scale.tolist()} for name, layer in network.layers.items()}}
    beside = Path(f"{path}.part")
    beside.write_bytes(save(tensors, {"state": json.dumps(state)}))
    os.replace(beside, path)


def load_state(network: AnalogNetwork, path: Path | str) -> None:
    """Give ``network`` the state that `save_state` wrote for a network of the same mapping.

    ValueError, before anything changes, for a file that is missing, is no such state, or belongs
    to another mapping or model.
    """
    if not Path(path).is_file():
        raise ValueError(f"no state file {str(path)!r}")
    try:
        with safe_open(path, "pt") as file:
            state = json.loads((file.metadata() or {}).get("state", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ValueError(f"{str(path)!r} is not a safetensors file: {error}") from error
    _check(network, state, tensors, str(path))
    for name, layer in network.layers.items():
        registers = state["layers"][name]
        layer.input_range = registers["input_range"]
        layer.output_ranges = list(registers["output_ranges"])
        layer.signed_inputs, layer.gain = registers["signed_inputs"], registers["gain"]
        layer.seed = state["seed"]
        layer.cells = [[_cells(tensors, f"{name}/{s}/{p}/") for p in range(len(piece.parts))]
                       for s, piece in enumerate(layer.encoded.slices)]
    for name, buffer in _statistics(network).items():
        buffer.copy_(tensors[f"normalisation/{name}"])
    network.at(state["time"])


def _statistics(network: AnalogNetwork) -> dict[str, Tensor]:
    return {name: buffer for name, buffer in network.graph.named_buffers()
            if name.endswith(("running_mean", "running_var"))}


def _cells(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items()
            if name.startswith(prefix)}


def _check(network: AnalogNetwork, state: dict, tensors: dict[str, Tensor], path: str) -> None:
    if state.get("format") != _FORMAT:
        raise ValueError(f"{path!r} must be of format {_FORMAT!r}, not {state.get('format')!r}")
    if state["mapping"] != repr(network.mapping):
        raise ValueError(f"{path!r} belongs to another mapping, {state['mapping']}; "
                         f"not {network.mapping!r}")
    scales = {name: layer.scale.tolist() for name, layer in network.layers.items()}
    stored = {name: registers["scale"] for name, registers in state["layers"].items()}
    different = [name for name in {**scales, **stored} if scales.get(name) != stored.get(name)]
    if different:
        raise ValueError(f"{path!r} belongs to another model: other weights in layers "
                         f"{', '.join(different)}")
    for name, layer in network.layers.items():
        for s, piece in enumerate(layer.encoded.slices):
            for p, part in enumerate(piece.parts):
                shapes = {tuple(v.shape) for v in _cells(tensors, f"{name}/{s}/{p}/").values()}
                if shapes != {tuple(part.fractions.shape)}:
                    raise ValueError(f"{path!r}: layer {name!r} must have shape "
                                     f"{tuple(part.fractions.shape)}, not {shapes}")
