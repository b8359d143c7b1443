"""The commands in README.md and docs/: all are parsed, and those of README.md are run in order.

`test_readme_commands_run` runs README.md's `sh` blocks from top to bottom in an empty directory,
as a reader would, but for those named in `NOT_RUN`, each with its reason. A network that README.md
calls the reader's own is `NETWORK`.
"""

from pathlib import Path
import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
import typer

from golden.chip import preset
from golden.program import Program
from scripts.__main__ import app
from sim.toolchain import icarus_missing

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NOT_RUN = {
    "make": "make test runs this; tests/cli runs the demo",
    "crossloom bench": "minutes of timing that other processes would disturb",
    "crossloom accuracy resnet20": "needs weights and data that are not part of the repository",
    "crossloom accuracy resnet32": "needs data that are not part of the repository",
    "crossloom compile resnet20": "likewise, and takes half an hour",
    "crossloom run resnet20": "likewise",
    "crossloom sweep resnet20": "likewise",
    "crossloom technologies resnet20": "likewise",
    "crossloom train resnet32": "likewise",
    "crossloom mutants": "minutes; tests/cosim plants faults in a small chip",
    "crossloom block-mutants": "tests/cosim plants faults in blocks",
    "crossloom faults": "minutes; tests/cosim/test_faults.py runs it with fewer cases",
    "crossloom coverage": "minutes; tests/cosim/test_coverage.py runs it",
    "crossloom simulate chip": "minutes in cocotb; tests/cosim runs the same bench",
}
NETWORK = """
import torch

def small():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU(),
                               torch.nn.Flatten(), torch.nn.Linear(64, 3))

def loop(student):
    optimiser = torch.optim.Adam(student.parameters(), lr=1e-3)
    for _ in range(3):
        loss = student(torch.rand(8, 1, 4, 4)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
"""


def commands(page):
    """The lines of a page's sh blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def reason_not_to_run(line):
    """Why ``line`` is left out, or None."""
    if "--simulator icarus" in line and icarus_missing():
        return icarus_missing()
    return next((reason for start, reason in NOT_RUN.items() if line.startswith(start)), None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_parse(page):
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    for line in commands(page):
        program, *arguments = shlex.split(line)
        if program == "make":
            assert set(arguments) <= targets, line
            continue
        assert program == "crossloom", line
        group = typer.main.get_command(app)
        command = group.commands[arguments[0]]
        # Raises for an option that does not exist, or a value that its type refuses.
        command.make_context(arguments[0], arguments[1:])


def test_every_command_is_shown():
    """README.md shows every command, two of them through make; or a page of docs/ does."""
    made = {line.split()[1] for line in commands(PAGES[0]) if line.startswith("make")}
    assert made == {"demo", "test", "bench"}
    text = "".join(page.read_text() for page in PAGES)
    for name in typer.main.get_command(app).commands:
        assert name in made or f"crossloom {name} " in text, name


def test_reasons_are_of_commands_that_are_shown():
    for start in NOT_RUN:
        assert any(line.startswith(start) for line in commands(ROOT / "README.md")), start


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_readme_commands_run(tmp_path):
    (tmp_path / "network.py").write_text(NETWORK)
    (tmp_path / "out").mkdir()
    random = np.random.default_rng(0)
    np.save(tmp_path / "images.npy", random.uniform(0, 1, (8, 1, 4, 4)).astype(np.float32))
    environment = {**os.environ, "PYTHONPATH": str(ROOT),
                   "CROSSLOOM_BUILD": os.environ.get("CROSSLOOM_BUILD", str(ROOT / "build"))}
    ran = []
    for line in commands(ROOT / "README.md"):
        if reason_not_to_run(line):
            continue
        words = [sys.executable, "-m", "scripts", *shlex.split(line)[1:]]
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"
        ran.append(line)
    assert ran
    for name in ("out/default/chip.v", "digits.safetensors", "run.json", "small.safetensors",
                 "trained.safetensors", "own.safetensors", "accuracy.json", "accuracy.svg",
                 "technologies.json", "technologies.svg", "digits_noise.safetensors",
                 "converters.json", "converters.svg", "digits_pcm/tiles.json",
                 "digits_pcm/vectors.safetensors", "cost.json"):
        assert (tmp_path / name).stat().st_size > 0


def test_readme_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(NETWORK, names)
    names |= {"model": names["small"]().eval(),
              "images": torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))}
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert len(blocks) == 1
    exec(blocks[0], names)
    saved = Program.load(tmp_path / "own.safetensors", preset("default"))
    assert (saved.weights == names["program"].weights).all() and saved.outputs == 3
