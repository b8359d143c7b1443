"""The benches of a block: the tests of tests/rtl, called one by one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
import io
import traceback

from sim.toolchain import ToolError

from .library import Recording
from .simulator import OtherBlockError, Run

__all__ = ["Bench", "collect"]

_ROOT = Path(__file__).parents[2]
_SIMULATION = "tests.rtl.simulation"
#: A bench that takes this many times the clocks that it takes on the intact block, and so many
#: more, waits for something that will not come.
_PATIENCE, _GRACE = 4, 200


@dataclass
class Bench:
    """A test with its parameters, and what it did on the intact block.

    ``clocks`` and ``recordings`` are those of its simulations, in their order.
    """

    name: str
    call: Callable[[], None]
    clocks: list[int] = field(default_factory=list)
    recordings: list[Recording] = field(default_factory=list)

    def prepare(self, run: Run) -> bool:
        """Run on the intact block and record it; False if the bench is for another block.

        Raises RuntimeError if the bench fails.
        """
        with _running(run):
            try:
                self.call()
            except OtherBlockError:
                return False
            except Exception as error:
                raise RuntimeError(f"the block without a fault fails in {self.name}: "
                                   f"{_where(error)}") from error
        self.clocks, self.recordings = run.clocks, run.recordings
        return bool(self.clocks)

    def limits(self) -> list[int]:
        """Clocks after which a simulation is given up, for each of them."""
        return [_PATIENCE * clocks + _GRACE for clocks in self.clocks]

    def fails(self, run: Run) -> str:
        """How the bench fails, empty if it passes."""
        with _running(run):
            try:
                self.call()
            except Exception as error:
                return _where(error)
        return ""


def _where(error: Exception) -> str:
    """The line of the bench that raised ``error``, and its text."""
    frames = traceback.extract_tb(error.__traceback__)
    last = next((frame for frame in reversed(frames) if "/tests/" in frame.filename), frames[-1])
    text = f"{type(error).__name__}: {error}" if str(error) else (last.line or "").strip()
    return f"{Path(last.filename).name}:{last.lineno}: {' '.join(text.split())}"


@contextmanager
def _running(run: Run) -> Iterator[None]:
    """Benches that are called meanwhile simulate the netlist of ``run``."""
    simulation = import_module(_SIMULATION)
    former = simulation.make_simulator
    simulation.make_simulator = run.simulator
    try:
        yield
    finally:
        simulation.make_simulator = former


class _Collector:
    def __init__(self) -> None:
        self.items: list[Any] = []

    def pytest_collection_finish(self, session: Any) -> None:
        """Called by pytest with all that it found."""
        self.items = list(session.items)


def collect(files: tuple[str, ...]) -> list[Bench]:
    """The benches in ``files`` of tests/rtl. ToolError where there are no tests, or no pytest."""
    try:
        import pytest
    except ImportError:
        raise ToolError("the benches need pytest: pip install -e '.[test]'") from None
    paths = [_ROOT / "tests" / "rtl" / f"{name}.py" for name in files]
    for path in paths:
        if not path.is_file():
            raise ToolError(f"the benches are only in a clone of the repository: no {path.name}")
    collector, said = _Collector(), io.StringIO()
    with redirect_stdout(said):
        status = pytest.main(
            [*map(str, paths), "--collect-only", "-q", "--assert=plain", f"--rootdir={_ROOT}",
             "-c", str(_ROOT / "pyproject.toml"), "-p", "no:cacheprovider", "-p", "no:xdist"],
            plugins=[collector])
    if status:
        raise RuntimeError(f"pytest finds no benches: {said.getvalue()}")
    return [Bench(item.nodeid.split("::", 1)[1], _call_of(item)) for item in collector.items]


def _call_of(item: Any) -> Callable[[], None]:
    given = getattr(item, "callspec", None)
    parameters = {} if given is None else given.params
    if set(item.fixturenames) - set(parameters):
        raise RuntimeError(f"{item.nodeid} wants more than its parameters: {item.fixturenames}")
    return lambda: item.obj(**parameters)
