"""Tables and plots of accuracies: by stage on the charge-domain macro, over time on devices."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from torch import Tensor

from golden.analog import accuracy, attribute
from golden.analog.accuracy import correct_of
from golden.chip import Chip
from golden.compile import Options
from golden.physics import MacroPhysics

from . import plots
from .accuracies import compiled_stages, macro_accuracy
from .networks import Network, network_settings
from .on_device import BATCH, Memory, on_device

__all__ = ["Measured", "by_effect", "by_stage", "over_time"]

Report = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class Measured:
    """``content`` for the JSON file; ``rows`` of the table, (what, shares correct by chip)."""

    title: str
    content: dict[str, Any]
    rows: list[tuple[str, list[float]]]
    figure: Figure

    def show(self) -> None:
        """Print the table."""
        table = Table(title=self.title)
        table.add_column("")
        table.add_column("correct", justify="right")
        table.add_column("lowest to highest", justify="right")
        for name, values in self.rows:
            span = f"{100 * min(values):.2f} to {100 * max(values):.2f} %"
            table.add_row(name, f"{100 * mean(values):.2f} %", span if len(values) > 1 else "")
        Console().print(table)

    def svg(self) -> str:
        """The plot."""
        return plots.svg(self.figure)


def by_stage(network: Network, chip: Chip, images: Tensor, labels: Tensor, seeds: Sequence[int],
             options: Options, report: Report, key: str | None) -> Measured:
    """From float to macros with their deviations, a specimen for each of ``seeds``.

    The first seed is the compiler's too; ``key`` as for `compiled_stages`.
    """
    program, found = compiled_stages(network, chip, images, labels, seeds[0], options, report, key)
    real: dict[str, list[float]] = {"uncompensated": [], "compensated": []}
    for number, seed in enumerate(seeds, 1):
        for name, values in real.items():
            values.append(macro_accuracy(program, images, labels, MacroPhysics(), seed,
                                         name == "compensated"))
        report("macros", number / len(seeds))
    rows = [("float", [found.float32]), ("8-bit", [found.int8]),
            ("basis, ideal macros", [found.basis_ideal]),
            ("basis, non-ideal macros", real["uncompensated"]),
            ("basis, non-ideal macros, codes compensated", real["compensated"])]
    content = {"accuracy": {
        "float": found.float32, "int8": found.int8, "basis_ideal": found.basis_ideal,
        **{f"basis_nonideal_{name}": {"mean": mean(values), "specimens": values}
           for name, values in real.items()}}}
    return Measured(f"{network.name} on chip {chip.name!r}, {len(labels)} images", content, rows,
                    plots.accuracy_by_stage([(name, mean(values), len(labels))
                                             for name, values in rows]))


def over_time(network: Network, chip: Chip, memory: Memory, images: Tensor, labels: Tensor,
              seeds: Sequence[int], times: Sequence[float], compensations: Sequence[str],
              report: Report, checkpoint: Path | None = None) -> Measured:
    """On memory devices at ``times``, s after programming, a chip for each of ``seeds``.

    The network keeps its float batch normalisation; weights are differential pairs, and the
    chip's converters stand at both ends of every array. What file ``checkpoint`` holds is not
    measured again; ValueError if it was measured on anything else. The first row is the network in
    float, which the others are compared with.
    """
    analog, shown = on_device(network, chip, memory)
    tested = list(zip(images.split(BATCH), labels.split(BATCH), strict=True))
    found: list[dict[str, Any]] = accuracy(
        analog, tested, times, seeds, compensations, shown if "adabs" in compensations else None,
        path=checkpoint, settings={
            **network_settings(network, images, labels), "chip": chip.hash, **asdict(memory)},
        progress=lambda text, share: report(f"{memory.device} chips: {text}", share))

    def values(time: float, compensation: str) -> list[float]:
        return [row["accuracy"] for row in found
                if row["time"] == time and row["compensation"] == compensation]

    correct, _ = correct_of(network.model, tested)
    rows = [("float", [correct / len(labels)])] + [
        (f"{time:g} s, {name}", values(time, name)) for name in compensations for time in times]
    lines = {name: [(time, values(time, name)) for time in times] for name in compensations}
    return Measured(f"{network.name} on {memory.device}, {len(labels)} images",
                    {**asdict(memory), "float": correct / len(labels), "rows": found}, rows,
                    plots.accuracy_over_time(lines))


def by_effect(network: Network, chip: Chip, memory: Memory, images: Tensor, labels: Tensor,
              seeds: Sequence[int], time: float, compensation: str, report: Report) -> Measured:
    """What each non-ideality alone leaves of the accuracy ``time`` s after programming.

    The first row has none of them, the last all; a chip for each of ``seeds``.
    """
    analog, shown = on_device(network, chip, memory)
    tested = list(zip(images.split(BATCH), labels.split(BATCH), strict=True))
    found = attribute(analog, tested, time, seeds, compensation,
                      shown if compensation == "adabs" else None,
                      progress=report)
    rows = [(name.replace("_", " "), values) for name, values in found.items()]
    return Measured(
        f"{network.name} on {memory.device} after {time:g} s, {compensation}, {len(labels)} images",
        {**asdict(memory), "time": time, "compensation": compensation, "attribution": found}, rows,
        plots.accuracy_by_stage([(name, mean(values), len(labels)) for name, values in rows]))
