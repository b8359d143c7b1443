"""Checks of the fields of the dataclasses that describe physical things."""

from math import isfinite

__all__ = ["check_flag", "check_number", "check_time"]


def check_number(owner: object, name: str, low: float, high: float = float("inf"),
                 above: bool = False) -> None:
    """ValueError unless field ``name`` is a finite number, ``low`` (or, ``above``) to ``high``."""
    value = getattr(owner, name)
    if (isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value)
            or value < low or value > high or (above and value == low)):
        allowed = f"above {low:g}" if above else f"at least {low:g}"
        if high < float("inf"):
            allowed += f" and at most {high:g}"
        raise ValueError(f"{type(owner).__name__}.{name} must be a finite number {allowed}, "
                         f"not {value!r}")


def check_flag(owner: object, name: str) -> None:
    """ValueError unless field ``name`` is True or False."""
    value = getattr(owner, name)
    if not isinstance(value, bool):
        raise ValueError(f"{type(owner).__name__}.{name} must be True or False, not {value!r}")


def check_time(owner: object, time: float, first: float, last: float = float("inf")) -> None:
    """ValueError unless ``time``, s after programming, lies where the model of ``owner`` holds."""
    if isinstance(time, bool) or not isinstance(time, int | float) or not first <= time <= last:
        allowed = f"at least {first:g} s"
        if last < float("inf"):
            allowed += f" and at most {last:g} s"
        raise ValueError(f"time after programming must be {allowed} for "
                         f"{type(owner).__name__}, not {time!r}")
