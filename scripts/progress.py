"""Progress of long work: a bar per stage on a terminal, a line per stage elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

__all__ = ["Report", "stages"]

#: Called with the stage and the share of it that is done, 0 to 1.
Report = Callable[[str, float], None]


@contextmanager
def stages() -> Iterator[Report]:
    """Show the stages that are reported, on the standard error, until the block ends."""
    console = Console(stderr=True)
    bars = Progress(TextColumn("{task.description}"), BarColumn(bar_width=32),
                    TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(),
                    console=console, disable=not console.is_terminal)
    tasks: dict[str, TaskID] = {}

    def report(stage: str, share: float) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=1.0)
            if not console.is_terminal:
                console.print(stage, style="dim")
        bars.update(tasks[stage], completed=min(share, 1.0))

    with bars:
        yield report
