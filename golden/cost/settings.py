"""Assumptions from text, ``part.name=value``, as the command line gives them."""

from collections.abc import Sequence
from dataclasses import fields, replace

from .designs import Assumptions

__all__ = ["with_settings"]

_PARTS = ("energy", "area", "write", "density")


def with_settings(assumptions: Assumptions, settings: Sequence[str]) -> Assumptions:
    """``assumptions`` with each of ``settings`` applied, such as ``write.pulse=300``.

    Raises ValueError for a name that does not exist or a value that it does not allow.
    """
    changes: dict[str, dict[str, object]] = {part: {} for part in _PARTS}
    for setting in settings:
        path, separator, text = setting.partition("=")
        part, _, name = path.partition(".")
        if not separator:
            raise ValueError(f"an assumption must be PART.NAME=VALUE, not {setting!r}")
        held = getattr(assumptions, part) if part in _PARTS else None
        names = [f.name for f in fields(held)] if held is not None else []
        if name not in names:
            there = ", ".join(f"{p}.{f.name}" for p in _PARTS
                              for f in fields(getattr(assumptions, p)))
            raise ValueError(f"assumption {path!r}: no such name; there are {there}")
        kind = type(getattr(held, name))
        try:
            changes[part][name] = kind(text)
        except ValueError:
            raise ValueError(f"assumption {path} must be a {kind.__name__}, not {text!r}"
                             ) from None
    return replace(assumptions, **{part: replace(getattr(assumptions, part), **values)
                                   for part, values in changes.items() if values})
