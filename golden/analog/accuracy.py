"""Accuracy over time, chips and compensations; and what each non-ideality costs alone."""

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import replace
import json
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from .compensation import COMPENSATIONS, compensate
from .network import AnalogNetwork
from .rows import store_rows, stored_rows

__all__ = ["CONVERSIONS", "accuracy", "attribute", "correct_of", "only_effects"]

#: Names of the converters' quantisation among the effects of `attribute`.
CONVERSIONS = ("input_conversion", "output_conversion")

Progress = Callable[[str, float], None]


def correct_of(network: torch.nn.Module, loader: Iterable) -> tuple[int, int]:
    """How many images of ``loader``'s (images, labels) ``network`` classifies right, of how many.
    """
    correct = images = 0
    with torch.no_grad():
        for batch, labels in loader:
            correct += int((network(batch).argmax(1) == labels).sum())
            images += len(labels)
    if not images:
        raise ValueError("loader must give at least one batch to measure on, not none")
    return correct, images


def accuracy(network: AnalogNetwork, loader: Iterable, times: Sequence[float],
             seeds: Sequence[int], compensations: Sequence[str] = ("none",),
             calibration: Iterable | None = None, path: Path | str | None = None,
             settings: dict[str, object] | None = None,
             progress: Progress | None = None) -> list[dict[str, Any]]:
    """Accuracy of every seed's chip at every time with every compensation.

    Parameters
    ----------
    network
        Mapped and calibrated; left programmed with the last seed.
    loader
        Batches (images, labels), the same each time it is iterated.
    times
        s after programming.
    seeds
        One chip each.
    compensations
        Of `COMPENSATIONS`; ``adabs`` needs ``calibration``, batches of images from the training
        set.
    path
        A JSON file that is rewritten after each row, as a whole. If it exists, its rows are kept
        and not measured again.
    settings
        What else the result depends on (network, data, device, ...), stored in the file; a file
        with other settings is refused.
    progress
        Called after each row with a text that says the time left, and the share done.

    Returns
    -------
    Rows ``{seed, time, compensation, correct, images, accuracy}`` in order of seed, time and
    compensation.
    """
    for name, values in (("times", times), ("seeds", seeds), ("compensations", compensations)):
        if not len(values) or len(set(values)) != len(values):
            raise ValueError(f"{name} must be one or more different values, not {list(values)!r}")
    unknown = [name for name in compensations if name not in COMPENSATIONS]
    if unknown:
        raise ValueError(f"compensations must be of {', '.join(COMPENSATIONS)}, not {unknown!r}")
    if ("adabs" in compensations) != (calibration is not None):
        raise ValueError("calibration must be given if, and only if, compensations has 'adabs'")
    described = json.loads(json.dumps(settings or {}))
    done = stored_rows(Path(path), described) if path is not None else []
    known = {(row["seed"], row["time"], row["compensation"]): row for row in done}
    cases = [(seed, time, method) for seed in seeds for time in times for method in compensations]
    missing = [case for case in cases if case not in known]
    started, programmed = monotonic(), None
    for number, (seed, time, method) in enumerate(missing):
        if programmed != seed:
            network.program(seed)
            programmed = seed
        network.at(time)
        compensate(network, method, calibration if method == "adabs" else None)
        correct, images = correct_of(network, loader)
        known[seed, time, method] = {"seed": seed, "time": time, "compensation": method,
                                     "correct": correct, "images": images,
                                     "accuracy": correct / images}
        if path is not None:
            store_rows(Path(path), described, list(known.values()))
        if progress is not None:
            share = (number + 1) / len(missing)
            left = (monotonic() - started) * (1 - share) / share
            progress(f"seed {seed}, {time:g} s, {method}: {correct / images:.2%}; "
                     f"{left:.0f} s left", share)
    return [known[case] for case in cases]


def only_effects(network: AnalogNetwork, effects: Iterable[str]) -> AnalogNetwork:
    """A copy of ``network`` with the named effects and no others, not programmed.

    Effects are those of the device (`Device.effects`) and `CONVERSIONS`. Converter ranges are
    copied. ValueError for columns of a memory technology, which have no such effects.
    """
    if network.mapping.readout is not None:
        raise ValueError("network must not be read out as a memory technology: its effects are "
                         "not taken apart")
    chosen = set(effects)
    device = network.mapping.device.only(chosen - set(CONVERSIONS))
    result = deepcopy(network)
    result.mapping = replace(network.mapping, device=device)
    result.restore_normalisation()
    for layer in result.layers.values():
        layer.mapping = result.mapping
        layer.convert_inputs = "input_conversion" in chosen
        layer.convert_outputs = "output_conversion" in chosen
        layer.cells = []
    return result


def attribute(network: AnalogNetwork, loader: Iterable, time: float, seeds: Sequence[int],
              compensation: str = "none", calibration: Iterable | None = None,
              progress: Progress | None = None) -> dict[str, list[float]]:
    """Accuracy with no effect, with each effect alone, and with all together, per seed.

    Keys: ``none``, each of the device's effects and `CONVERSIONS`, ``all``. ``loader``,
    ``compensation`` and ``calibration`` as in `accuracy`.
    """
    effects = (*network.mapping.device.effects, *CONVERSIONS)
    cases = {"none": (), **{effect: (effect,) for effect in effects}, "all": effects}
    result = {}
    for number, (name, chosen) in enumerate(cases.items()):
        rows = accuracy(only_effects(network, chosen), loader, [time], seeds, [compensation],
                        calibration)
        result[name] = [row["accuracy"] for row in rows]
        if progress is not None:
            progress(f"{name}: {sum(result[name]) / len(seeds):.2%}", (number + 1) / len(cases))
    return result
