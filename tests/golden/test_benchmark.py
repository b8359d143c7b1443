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

    for name, value in (("OMP_WAIT_POLICY", "PASSIVE"), ("GOMP_SPINCOUNT", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(benchmark.subprocess, "run", run)
    assert [row["case"] for row in benchmark.benchmark(["linear", "training"])] == [
        "linear", "training"]
    for environment in seen:
        assert not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(environment)
        assert environment["OMP_NUM_THREADS"] == "2"
        assert benchmark.TUNED_MALLOC.items() <= environment.items()


def test_unknown_cases_are_refused():
    with pytest.raises(ValueError, match="cases must be of .*, not convolution"):
        benchmark.benchmark(["linear", "convolution"])
