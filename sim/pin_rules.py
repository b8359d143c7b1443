"""Rules of a macro's pins, checked clock by clock (docs/architecture.md, "Pins of a tile's macro").

Written from the contract alone, like its C++ counterpart in sim/fast/macro.h: two independent
readings that tests compare.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from golden.chip import Phases

__all__ = ["ADDER_PHASES", "ARRAY_PHASES", "PinRules", "PinViolation"]

#: Switches of the array, in the order of a product.
ARRAY_PHASES = ("reset", "drive", "share", "hold")
#: Switches of the adder network, in the order of a conversion.
ADDER_PHASES = ("clear", "add")

_LONG_AGO = 1 << 30


class PinViolation(AssertionError):
    """A pin broke a rule; the message names tile, clock, pin and rule."""


@dataclass
class _Group:
    """Switches that close one after the other: which is closed, and for how long."""

    phases: tuple[str, ...]
    lengths: Phases
    fail: Callable[[str, str], None]
    now: str | None = None
    last: str = ""
    closed: int = 0
    open: int = _LONG_AGO

    def __post_init__(self) -> None:
        self.last = self.phases[-1]

    def clock(self, now: str | None) -> str | None:
        """The phase that begins in this clock, or ends ("add_end"), if one does."""
        if now == self.now:
            if now is None:
                self.open += 1
            else:
                self.closed += 1
            return None
        before, self.now = self.now, now
        if before is not None:
            self._check_end(before)
        if now is None:
            self.open = 1
            return f"{before}_end"
        self._check_begin(now)
        self.last, self.closed = now, 1
        return now

    def _check_end(self, phase: str) -> None:
        length = getattr(self.lengths, phase)
        if self.closed != length:
            self.fail(phase, f"closed for {self.closed} clocks, not {length}")
        self.open = 0

    def _check_begin(self, phase: str) -> None:
        if self.open < self.lengths.gap:
            self.fail(phase, f"closed after a gap of {self.open} clocks, "
                             f"not {self.lengths.gap}")
        following = self.phases[(self.phases.index(self.last) + 1) % len(self.phases)]
        if phase != following:
            self.fail(phase, f"follows `{self.last}`")

    @property
    def under_way(self) -> bool:
        """Between the first phase's begin and the last one's end."""
        return self.now is not None or self.last != self.phases[-1]


class PinRules:
    """Phases of one tile's macro: overlap, length, gap, order, what must be stable, tags.

    Parameters
    ----------
    tile
        Named in violations.
    lengths
        Phase lengths that the controller is programmed with.
    polarity
        Whether the macro can sample with opposite polarity.

    Attributes
    ----------
    product
        Number of the array's product. ``None`` before the first.
    held, held_complete
        Product number in the hold capacitors; whether its `hold` has ended.
    conversions
        Conversions of the held product so far.
    driven
        Bank whose latches drive the word lines, or None.
    """

    def __init__(self, tile: int, lengths: Phases, polarity: bool = True) -> None:
        self.tile, self.lengths, self.polarity = tile, lengths, polarity
        self.time = 0
        self.restart()

    def restart(self) -> None:
        """Back to the state before the first product: a program starts, or was aborted."""
        self.array = _Group(ARRAY_PHASES, self.lengths, self.fail)
        self.adder = _Group(ADDER_PHASES, self.lengths, self.fail)
        self.product: int | None = None
        self.held: int | None = None
        self.held_complete = False
        self.conversions = 0
        self.driven: int | None = None
        self.filling: dict[str, int] = {}
        self._product_pins: dict[str, int] = {}
        #: Clock in which the sample on each side was complete; None where there is none.
        self.sampled: list[int | None] = [None, None]
        self.converted = [False, False]

    def fail(self, pin: str, rule: str) -> None:
        """Raise PinViolation."""
        raise PinViolation(f"tile {self.tile}, clock {self.time}, pin {pin}: {rule}")

    def clock(self, time: int, pins: Mapping[str, int]) -> set[str]:
        """Check the pins as they stand after a rising edge.

        Returns the phases that begin or end in this clock: "reset", "drive_end", and so on.
        """
        self.time = time
        array = [name for name in ARRAY_PHASES if pins[name]]
        adder = [name for name in ADDER_PHASES if pins[name]]
        for group, closed in ((ARRAY_PHASES, array), (ADDER_PHASES, adder)):
            if len(closed) > 1:
                self.fail("/".join(group), f"{' and '.join(closed)} are closed at once")
        if adder == ["add"] and array == ["hold"]:
            self.fail("add", "closed while `hold` is")
        events = {self._array(array[0] if array else None, pins),
                  self._adder(adder[0] if adder else None, pins)}
        if pins["load_enable"] and self.driven == pins["load_bank"]:
            self.fail("load_enable", "row latches of the bank that drives the word lines are "
                                     "written")
        if pins["convert"]:
            self._convert(pins)
        return {event for event in events if event is not None}

    def _array(self, phase: str | None, pins: Mapping[str, int]) -> str | None:
        event = self.array.clock(phase)
        if event == "reset":
            expected = 0 if self.product is None else self.product + 1
            if pins["product"] != expected:
                self.fail("product", f"tag {pins['product']}, expected {expected}")
            self.product = expected
            self._product_pins = {name: pins[name] for name in ("bank", "row_enable", "product")}
        if self.array.under_way or event == "hold_end":
            self._stable(self._product_pins, pins, "a product")
        if event == "drive":
            self.driven = pins["bank"]
        elif event == "share":
            self.driven = None
        elif event == "hold":
            self.held, self.held_complete, self.conversions = self.product, False, 0
        elif event == "hold_end":
            self.held_complete = True
        return event

    def _stable(self, then: Mapping[str, int], pins: Mapping[str, int], during: str) -> None:
        for name, value in then.items():
            if pins[name] != value:
                self.fail(name, f"changes during {during}")

    def _adder(self, phase: str | None, pins: Mapping[str, int]) -> str | None:
        event = self.adder.clock(phase)
        if event == "clear":
            side = pins["side"]
            self.filling = {name: pins[name]
                            for name in ("side", "conversion", "select", "negate")}
            if self.filling["negate"] and not self.polarity:
                self.fail("negate", "set on a macro without polarity")
            if self.sampled[side] is not None and not self.converted[side]:
                self.fail("clear", "a sample is discarded that was never converted")
            self.sampled[side], self.converted[side] = None, False
        if self.adder.under_way:
            self._stable(self.filling, pins, "a conversion")
        if event == "add":
            # The gap after `hold` has passed once another phase of the array has begun.
            waiting = self.array.now is None and self.array.last == "hold"
            if not self.held_complete or (waiting and self.array.open <= self.lengths.gap):
                self.fail("add", "closed before the columns of a product are held")
            if pins["conversion"] != self.conversions:
                self.fail("conversion", f"tag {pins['conversion']}, expected {self.conversions}")
            self.conversions += 1
        elif event == "add_end":
            self.sampled[self.filling["side"]] = self.time
        return event

    def _convert(self, pins: Mapping[str, int]) -> None:
        side = pins["convert_side"]
        if self.adder.now is not None and side == self.filling["side"]:
            self.fail("convert_side", "the sampling capacitor being filled is converted")
        since = self.sampled[side]
        if since is None or self.time - since < self.lengths.gap:
            self.fail("convert", "no complete sample on the capacitor to convert")
        self.converted[side] = True
