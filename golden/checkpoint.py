"""Checkpoints of a training run: one safetensors file, whole or not at all."""

from dataclasses import dataclass, field
from pathlib import Path
import os
import time

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

__all__ = ["Checkpoint", "load_parameters"]


def _state(module: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors = {f"module.{name}": value for name, value in module.state_dict().items()}
    for number, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": value for name, value in values.items()}
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors; ValueError for a file that is no checkpoint."""
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
            if not {"run", "step"} <= metadata.keys():
                raise ValueError("it has no run or step")
            return metadata, {name: stream.get_tensor(name) for name in stream.keys()}
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"checkpoint {str(path)!r} is not one: {error}") from None


def _module(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("module."): value for name, value in tensors.items()
            if name.startswith("module.")}


def load_parameters(module: nn.Module, path: Path) -> None:
    """Give ``module`` the parameters and buffers of another run's checkpoint.

    ValueError for a file that is missing, damaged, or of another network or chip.
    """
    if not path.is_file():
        raise ValueError(f"start: there is no checkpoint {str(path)!r}")
    try:
        module.load_state_dict(_module(_read(path)[1]))
    except RuntimeError:
        raise ValueError(f"start: {str(path)!r} is of another network or chip") from None


@dataclass(eq=False)
class Checkpoint:
    """Where a run is kept, and what tells it from others.

    Parameters
    ----------
    path
        The file.
    run
        Stands for all arguments of the run: a file of another run is refused.
    seconds
        At least this long between two writes; the last step is always written.
    """

    path: Path
    run: str
    seconds: float = 60.0
    _written: float = field(default_factory=time.monotonic, init=False)

    def save(self, module: nn.Module, optimiser: torch.optim.Optimizer, step: int, *,
             last: bool = False) -> None:
        """Write the state before ``step``, if it is time."""
        if not last and time.monotonic() - self._written < self.seconds:
            return
        data = save(_state(module, optimiser), metadata={"run": self.run, "step": str(step)})
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            temporary.write_bytes(data)
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)
        self._written = time.monotonic()

    def restore(self, module: nn.Module, optimiser: torch.optim.Optimizer,
                schedule: torch.optim.lr_scheduler.LRScheduler) -> int:
        """Bring all three to where the run was; the step to go on with, 0 without a file.

        ValueError for a file that is damaged or of another run.
        """
        if not self.path.exists():
            return 0
        metadata, tensors = _read(self.path)
        step = int(metadata["step"])
        if metadata["run"] != self.run:
            raise ValueError(f"checkpoint {str(self.path)!r} is of another run: give another file, "
                             "or remove it to start anew")
        module.load_state_dict(_module(tensors))
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimiser."):
                _, number, key = name.split(".", 2)
                state.setdefault(int(number), {})[key] = value
        whole = optimiser.state_dict()
        optimiser.load_state_dict({**whole, "state": state})
        for group, rate, factor in zip(optimiser.param_groups, schedule.base_lrs,
                                       schedule.lr_lambdas, strict=True):
            group["lr"] = rate * factor(step)
        schedule.last_epoch = step
        return step
