"""Runs circuits in ngspice, the independent referee of the solvers here."""

from pathlib import Path
import shutil
import subprocess
import tempfile

import numpy as np
from numpy.typing import NDArray

from .interconnect import Wires

__all__ = ["crossbar_netlist", "run_ngspice"]


def run_ngspice(netlist: str) -> dict[str, NDArray[np.float64]]:
    """Vectors by name (lower case) of the one analysis in ``netlist``, run in batch mode.

    ValueError where ngspice is not installed; RuntimeError with its messages if it fails.
    """
    program = shutil.which("ngspice")
    if program is None:
        raise ValueError("ngspice is not installed (Debian: apt install ngspice)")
    with tempfile.TemporaryDirectory() as folder:
        source, raw = Path(folder, "circuit.cir"), Path(folder, "circuit.raw")
        source.write_text(netlist)
        done = subprocess.run([program, "-b", "-r", str(raw), str(source)], capture_output=True,
                              text=True, check=False)
        if done.returncode or not raw.is_file():
            raise RuntimeError(f"ngspice failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return _read_raw(raw.read_bytes())


def _read_raw(data: bytes) -> dict[str, NDArray[np.float64]]:
    """Vectors of a binary raw file of real numbers."""
    header, _, body = data.partition(b"Binary:\n")
    lines = header.decode().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line and line[0] not in "\t ")
    count, points = int(fields["No. Variables"]), int(fields["No. Points"])
    start = next(i for i, line in enumerate(lines) if line.startswith("Variables:"))
    names = [line.split()[1].lower() for line in lines[start + 1:start + 1 + count]]
    values = np.frombuffer(body, np.float64, count * points).reshape(points, count)
    return dict(zip(names, values.T, strict=True))


def crossbar_netlist(conductances: NDArray[np.float64], wires: Wires,
                     voltages: NDArray[np.float64]) -> str:
    """Operating point of the crossbar of `golden.arrays.interconnect`, for one input vector.

    Node ``r<i>_<j>`` is the row line at a cell, ``c<i>_<j>`` the column line. Resistances must not
    be 0 (ngspice replaces them), cells must conduct.
    """
    rows, columns = conductances.shape
    lines = ["crossbar"]
    for i in range(rows):
        lines.append(f"V{i} s{i} 0 {voltages[i]!r}")
        lines.append(f"Rd{i} s{i} r{i}_0 {wires.driver!r}")
        for j in range(columns):
            resistance = 1 / conductances[i, j] + wires.via
            lines.append(f"Rx{i}_{j} r{i}_{j} c{i}_{j} {float(resistance)!r}")
            if j + 1 < columns:
                lines.append(f"Rr{i}_{j} r{i}_{j} r{i}_{j + 1} {wires.row_segment!r}")
            if i + 1 < rows:
                lines.append(f"Rc{i}_{j} c{i}_{j} c{i + 1}_{j} {wires.column_segment!r}")
    lines += [f"Rs{j} c{rows - 1}_{j} 0 {wires.sense!r}" for j in range(columns)]
    return "\n".join([*lines, ".op", ".end", ""]).replace("np.float64(", "").replace(")", "")
