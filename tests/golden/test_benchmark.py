"""The benchmark's processes: what they inherit. What they measure is no test."""

import json
import subprocess

import pytest

from golden.analog import benchmark


def test_threads_wait_as_they_do_by_themselves(monkeypatch):
    """A caller that lets its threads sleep would slow the pass of more steps more."""
    seen = []

    def run(command, env, **options):
        seen.append(env)
        row = {"case": command[3], "ratio": 1.0, "target": 2.0}
        return subprocess.CompletedProcess(command, 0, json.dumps(row), "")

    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(benchmark.subprocess, "run", run)
    assert [row["case"] for row in benchmark.benchmark(["linear", "training"])] == [
        "linear", "training"]
    for environment in seen:
        assert "OMP_WAIT_POLICY" not in environment
        assert environment["OMP_NUM_THREADS"] == "2"
        assert benchmark.TUNED_MALLOC.items() <= environment.items()


def test_unknown_cases_are_refused():
    with pytest.raises(ValueError, match="cases must be of .*, not convolution"):
        benchmark.benchmark(["linear", "convolution"])
