"""The cache of builds: once, whole or not at all, also with two processes at once."""

import multiprocessing
import os
import time

import pytest

from sim import toolchain
from sim.toolchain import (
    ToolError, ToolLate, cached_build, find_verilator, icarus_missing, run_tool,
)


@pytest.fixture(autouse=True)
def own_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("CROSSLOOM_BUILD", str(tmp_path / "build"))
    return tmp_path / "build"


def test_built_once_and_rebuilt_when_anything_changes():
    built = []
    files = {"a.txt": "one"}

    def build(folder):
        built.append((folder / "a.txt").read_text())

    first = cached_build("kind", files, ["-O2"], build)
    assert cached_build("kind", files, ["-O2"], build) == first
    assert (first / "a.txt").read_text() == "one" and built == ["one"]
    others = {cached_build("kind", {"a.txt": "two"}, ["-O2"], build),
              cached_build("kind", {"b.txt": "one"} | files, ["-O2"], build),
              cached_build("kind", files, ["-O", "2"], build),
              cached_build("other", files, ["-O2"], build)}
    assert len(others | {first}) == 5 and len(built) == 5


@pytest.mark.parametrize("error", [ToolError("no"), KeyboardInterrupt()])
def test_nothing_half_built_is_kept(own_directory, error):
    def build(folder):
        (folder / "half").write_text("")
        raise error

    with pytest.raises(type(error)):
        cached_build("kind", {}, [], build)
    assert [path for path in own_directory.iterdir() if path.is_dir()] == []


def _slow(folder):
    time.sleep(0.3)
    with open(os.environ["COUNT"], "a") as stream:
        stream.write("x")


def _process(_):
    return cached_build("kind", {}, [], _slow)


def test_two_processes_build_once(tmp_path, monkeypatch):
    monkeypatch.setenv("COUNT", str(tmp_path / "count"))
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert len(set(pool.map(_process, range(3)))) == 1
    assert (tmp_path / "count").read_text() == "x"


def test_missing_tools_are_named(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(toolchain, "_verilator_package", lambda: None)
    with pytest.raises(ToolError, match=r"verilator.*g\+\+.*make.*perl"):
        find_verilator()
    assert "iverilog and vvp not on PATH" in icarus_missing()


def test_failing_tools_are_quoted(tmp_path):
    with pytest.raises(ToolError, match="status 3:\nwhy"):
        run_tool(["sh", "-c", "echo why; exit 3"], tmp_path)


def test_late_tools_end_with_what_they_have_started(tmp_path):
    with pytest.raises(ToolLate, match="sh has not ended in 0.2 s"):
        run_tool(["sh", "-c", "sh -c 'sleep 1; touch late' & sleep 60"], tmp_path, 0.2)
    time.sleep(1.5)
    assert not (tmp_path / "late").exists()
