"""Speed of the analog model beside the plain float network, in one process per case.

Each case times plain and analog calls alternately after a warm-up and reports medians and their
ratio, the ratio of processor times, and the process's peak memory. Weights are random.
`benchmark` starts the processes with `TUNED_MALLOC`: with glibc's defaults, tensors of some
megabytes are mapped and faulted in on every call, and the float network's own time doubles or not
by the allocator's history. Their threads wait for each other as PyTorch's do if nobody says
otherwise, whatever the process says that asks for the benchmark (`crossloom` lets its threads
sleep early): waking them up costs the analog pass, which has more steps, more than the plain one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
import json
import os
import resource
from statistics import median
import subprocess
import sys
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from golden.arrays import BitSlicing
from golden.arrays.interconnect import SolvedCrossbar, Wires
from golden.arrays.spice import crossbar_netlist, run_ngspice
from golden.chip import PRESETS, Chip
from golden.devices import PhaseChangeMemory
from golden.networks.resnet import ResNet

from .network import map_network
from .training import NoiseAware

__all__ = ["CASES", "TUNED_MALLOC", "Case", "benchmark", "chip_of", "run_case"]

#: Environment under which glibc keeps freed memory instead of giving it back after each call.
TUNED_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "8589934592",
                "MALLOC_TOP_PAD_": "268435456"}

#: What says how long threads of PyTorch's OpenMP, GNU's, wait for each other before they sleep.
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
_DAY = 86400.0


@dataclass(frozen=True)
class Case:
    """One comparison: what it is, the ratio aimed at, and the two things to time.

    ``build`` gives (plain, analog), functions without arguments.
    """

    description: str
    target: float
    build: Callable[[], tuple[Callable[[], object], Callable[[], object]]]
    repeats: int = 15


def chip_of(rows: int) -> Chip:
    """A chip with arrays of ``rows`` rows and a converter of eight bits."""
    large = PRESETS["large"]
    return replace(large, name="custom", array=replace(large.array, rows=rows),
                   converter=replace(large.converter, bits=8, correction_bits=6))


def _forward(model: nn.Module, inputs: torch.Tensor, read_noise: bool, **options: object
             ) -> tuple[Callable[[], object], Callable[[], object]]:
    model.eval()
    network = map_network(model, chip_of(256), PhaseChangeMemory(read_noise=read_noise), **options)
    network.calibrate([inputs[:16]]).program(0).at(_DAY)

    def plain() -> object:
        with torch.no_grad():
            return model(inputs)

    return plain, lambda: network(inputs)


def _resnet(read_noise: bool, **options: object):
    torch.manual_seed(0)
    return _forward(ResNet(20), torch.randn(64, 3, 32, 32), read_noise, **options)


def _linear(read_noise: bool, **options: object):
    torch.manual_seed(0)
    return _forward(nn.Linear(512, 512), torch.randn(1024, 512), read_noise, **options)


def _training():
    torch.manual_seed(0)
    model = ResNet(20).train()
    images, labels = torch.randn(64, 3, 32, 32), torch.randint(0, 10, (64,))
    optimiser = torch.optim.SGD(model.parameters(), 1e-3, 0.9)
    aware = NoiseAware(model)

    def plain() -> None:
        loss = functional.cross_entropy(model(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    def noisy() -> None:
        with aware.noisy():
            loss = functional.cross_entropy(model(images), labels)
            optimiser.zero_grad()
            loss.backward()
        optimiser.step()
        aware.clip_weights()

    return plain, noisy


def _interconnect():
    """Per input vector: ngspice's operating point, and a share of 1,000 vectors solved here."""
    random = np.random.default_rng(0)
    conductances = random.uniform(1e-7, 25e-6, (64, 64))
    voltages = random.uniform(0, 0.25, (1000, 64))
    wires = Wires(sense=10.0)
    netlist = crossbar_netlist(conductances, wires, voltages[0])
    return (lambda: run_ngspice(netlist),
            lambda: SolvedCrossbar(conductances, wires).cell_currents(voltages))


#: By name. The ratio of ``crossbar`` is per vector: 1,000 of them per analog call.
CASES = {
    "resnet20": Case("ResNet-20, batch 64, 256 rows, DAC and ADC of 8 bits, error and drift", 2.0,
                     lambda: _resnet(False)),
    "resnet20-read": Case("the same with read noise for every product", 4.0,
                          lambda: _resnet(True)),
    "resnet20-serial": Case("the same without read noise, 8 input bits, four slices of 2 bits",
                            30.0, lambda: _resnet(False, slicing=BitSlicing(2), bit_serial=True),
                            repeats=3),
    "linear": Case("linear 512 to 512, batch 1024, error and drift", 1.5, lambda: _linear(False)),
    "linear-read": Case("the same with read noise for every product", 3.5, lambda: _linear(True)),
    "linear-wires": Case("linear with interconnect resistance of 1 ohm per cell", 50.0,
                         lambda: _linear(False, wires=Wires(1.0, 1.0, 0.0, 0.0, 0.0))),
    "training": Case("noise-aware training step of ResNet-20, batch 64", 1.5, _training, 7),
    "crossbar": Case("64x64 crossbar, per vector: 1,000 vectors here over one in ngspice", 1e-3,
                     _interconnect, 3),
}


def run_case(name: str, threads: int = 2) -> dict[str, object]:
    """Measure the case ``name`` in this process; ValueError for a name that there is not.

    Keys: ``case``, ``description``, ``threads``, ``plain_ms``, ``analog_ms`` (medians), ``ratio``
    (median of the ratios of neighbouring calls), ``cpu_ratio``, ``target``, ``peak_mib``.
    """
    if name not in CASES:
        raise ValueError(f"case must be one of {', '.join(CASES)}, not {name!r}")
    torch.set_num_threads(threads)
    case = CASES[name]
    plain, analog = case.build()
    per_call = 1000 if name == "crossbar" else 1
    times: list[tuple[float, ...]] = []
    for _ in range(case.repeats + 2):
        marks = []
        for work in (plain, analog):
            wall, cpu = perf_counter(), process_time()
            work()
            marks += [perf_counter() - wall, process_time() - cpu]
        times.append((marks[0], marks[2] / per_call, marks[1], marks[3] / per_call))
    times = times[2:]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {"case": name, "description": case.description, "threads": threads,
              "plain_ms": 1e3 * median(t[0] for t in times),
              "analog_ms": 1e3 * median(t[1] for t in times),
              "ratio": median(t[1] / t[0] for t in times),
              "cpu_ratio": median(t[3] / t[2] for t in times),
              "target": case.target, "peak_mib": peak}
    if name == "crossbar":
        del result["cpu_ratio"]  # ngspice works in a process of its own
    return result


def benchmark(names: Sequence[str] | None = None, threads: int = 2,
              progress: Callable[[str, float], None] | None = None) -> list[dict[str, Any]]:
    """Run the cases ``names``, all by default, each in a process of its own; see `run_case`."""
    chosen = list(names) if names is not None else list(CASES)
    unknown = [name for name in chosen if name not in CASES]
    if unknown:
        raise ValueError(f"cases must be of {', '.join(CASES)}, not {', '.join(unknown)}")
    results = []
    for number, name in enumerate(chosen):
        code = ("import json, sys; from golden.analog.benchmark import run_case; "
                "print(json.dumps(run_case(sys.argv[1], int(sys.argv[2]))))")
        inherited = {key: value for key, value in os.environ.items() if key not in _WAITING}
        done = subprocess.run([sys.executable, "-c", code, name, str(threads)], text=True,
                              capture_output=True, env=inherited | TUNED_MALLOC, check=False)
        if done.returncode:
            raise RuntimeError(f"case {name} failed: {done.stderr[-2000:]}")
        results.append(json.loads(done.stdout.splitlines()[-1]))
        if progress is not None:
            progress(f"{name}: {results[-1]['ratio']:.4g} (aim {results[-1]['target']:g})",
                     (number + 1) / len(chosen))
    return results
