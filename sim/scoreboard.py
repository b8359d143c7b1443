"""In-order checker: what a model expects against what a monitor sees."""

from collections import deque
from typing import Any

__all__ = ["Scoreboard"]


class Scoreboard:
    """Expected items in order; whatever is seen must be the oldest of them.

    Parameters
    ----------
    name
        Of what is compared, for messages.

    Attributes
    ----------
    compared
        Items that were equal.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.compared = 0
        self._expected: deque[Any] = deque()

    def expect(self, item: Any) -> None:
        """The model, fed by the monitor of the inputs, says that ``item`` comes."""
        self._expected.append(item)

    def see(self, item: Any) -> None:
        """A monitor of the outputs has seen ``item``."""
        if not self._expected:
            raise AssertionError(f"{self.name} {self.compared}: nothing expected, got {item}")
        expected = self._expected.popleft()
        if expected != item:
            raise AssertionError(f"{self.name} {self.compared}: expected {expected}, got {item}")
        self.compared += 1

    @property
    def outstanding(self) -> int:
        """Items expected and not yet seen."""
        return len(self._expected)

    def finish(self) -> None:
        """Fails if something is missing, or if nothing was compared."""
        if self._expected:
            raise AssertionError(f"{self.name}: {len(self._expected)} items never came, "
                                 f"the first is {self._expected[0]}")
        if not self.compared:
            raise AssertionError(f"{self.name}: nothing was compared")
