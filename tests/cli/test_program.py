"""The program as users run it: help is fast, errors are one line, nothing is left behind."""

from pathlib import Path
import os
import subprocess
import sys
import time

import pytest

from scripts import __version__
from scripts.__main__ import app

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(command.name or command.callback.__name__
                  for command in app.registered_commands)


def crossloom(*arguments, cwd=None):
    return subprocess.run([sys.executable, "-m", "scripts", *map(str, arguments)], cwd=cwd,
                          capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_help_is_fast_and_imports_nothing_heavy():
    code = ("import sys; sys.argv = ['crossloom', '--help']\n"
            "import scripts.__main__ as program\n"
            "try: program.main()\n"
            "except SystemExit as end: assert not end.code\n"
            "heavy = {'torch', 'numpy', 'amaranth', 'matplotlib', 'cocotb'} & set(sys.modules)\n"
            "assert not heavy, heavy")
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    # Half a second on an idle machine; the rest is room for a loaded one.
    assert time.monotonic() - started < 3
    for command in COMMANDS:
        assert command in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    done = crossloom(command, "--help")
    assert done.returncode == 0, done.stderr
    assert f"Usage: crossloom {command}" in done.stdout


def test_no_arguments_shows_help():
    done = crossloom()
    assert done.returncode == 0 and "Usage: crossloom" in done.stdout


def test_version():
    assert crossloom("--version").stdout == f"crossloom {__version__}\n"


@pytest.mark.parametrize("arguments, message", [
    (["frob"], "No such command 'frob'."),
    (["verilog"], "Missing option '-o' / '--output'."),
    (["verilog", "-o", "out", "--nothing"], "No such option: --nothing"),
    (["verilog", "-o", "out", "--preset", "huge"],
     "preset must be one of tiny, default, large, not 'huge'"),
    (["verilog", "-o", "out", "--set", "accumulator.coefficient_bits=0"],
     "Accumulator.coefficient_bits must be an integer from 2 to 8, not 0"),
    (["verilog", "-o", "out", "--set", "accumulator.products=4095", "--set", "tiles=32"],
     "Chip 'custom' needs 35-bit sums, more than the 32 allowed"),
    (["verilog", "-o", "nowhere/out"], "output 'nowhere/out': there is no directory 'nowhere'"),
])
def test_bad_input_is_one_line_and_leaves_nothing(arguments, message, tmp_path):
    done = crossloom(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("crossloom: error: ")
    assert message in lines[0]
    assert list(tmp_path.iterdir()) == []
