"""Rows of results in a file, so that an interrupted measurement goes on where it was."""

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["store_rows", "stored_rows"]


def stored_rows(path: Path, settings: dict[str, object]) -> list[dict[str, Any]]:
    """Rows of ``path``, none if there is no such file; ValueError if its settings differ."""
    if not path.exists():
        return []
    stored = json.loads(path.read_text())
    if stored.get("settings") != settings:
        raise ValueError(f"{path} holds results for other settings ({stored.get('settings')!r}); "
                         f"these are {settings!r}")
    return stored["rows"]


def store_rows(path: Path, settings: dict[str, object], rows: list[dict[str, Any]]) -> None:
    """Write settings and rows to ``path``, whole or not at all."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n")
    os.replace(beside, path)
