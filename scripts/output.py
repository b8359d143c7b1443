"""Files and directories that appear whole or not at all."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
import json
import os
import shutil
import tempfile

__all__ = ["check_file", "check_writable", "write_bytes", "write_text",
           "write_json", "directory"]


def check_writable(path: Path) -> None:
    """Raise ValueError now, before work starts, if ``path`` could not be written later."""
    parent = path.absolute().parent
    if not parent.is_dir():
        raise ValueError(f"output {str(path)!r}: there is no directory {str(path.parent)!r}")
    place = path if path.is_dir() else parent
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(f"output {str(path)!r}: the directory {str(place)!r} is not writable")


def check_file(path: Path) -> None:
    """Raise ValueError now, before work starts, if the file ``path`` could not be written."""
    check_writable(path)
    if path.is_dir():
        raise ValueError(f"output {str(path)!r} is a directory, not a file")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all."""
    check_file(path)
    handle, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` to ``path`` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


@contextmanager
def directory(path: Path) -> Iterator[Path]:
    """A fresh directory whose files move to ``path`` when the block ends without an error.

    Files of the same name in ``path`` are replaced, others stay. ValueError, before the block
    runs, if ``path`` cannot be made or written.
    """
    check_writable(path)
    if path.exists() and not path.is_dir():
        raise ValueError(f"output {str(path)!r} is a file, not a directory")
    temporary = Path(tempfile.mkdtemp(dir=path.absolute().parent, prefix=f".{path.name}."))
    try:
        yield temporary
        if not path.exists():
            os.chmod(temporary, 0o777 & ~_umask())
            os.replace(temporary, path)
            return
        for file in sorted(temporary.rglob("*")):
            target = path / file.relative_to(temporary)
            if file.is_dir():
                target.mkdir(exist_ok=True)
            else:
                os.replace(file, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
