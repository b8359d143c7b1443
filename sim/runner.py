"""Runs cocotb benches on Verilator or Icarus."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
import io
import logging
import os
import pickle
import shutil
import tempfile

from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

from .toolchain import (
    build_directory, cached_build, find_icarus, find_verilator, tool_environment, tool_version,
)

__all__ = ["BenchFailure", "PARAMETERS_VARIABLE", "SIMULATORS", "bench_parameters", "run_bench"]

#: Simulators by name.
SIMULATORS = ("verilator", "icarus")
#: Environment variable with the path of a bench's pickled parameters.
PARAMETERS_VARIABLE = "CROSSLOOM_BENCH"

_TIMESCALE = ("1ns", "1ps")
#: Hardly optimised C++: the benches are short, and Python takes most of their time.
_MAKE_VARIABLES = "OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O0"
#: Icarus: Verilog-2005, where a register's initial value counts as a change at time zero;
#: combinational blocks whose inputs never change after it would stay undefined otherwise.
_BUILD_ARGUMENTS = {"verilator": ["-Wno-fatal"],
                    "icarus": ["-g2005", "-Wno-timescale"]}
#: Writes waves in Icarus: cocotb's own module for it is SystemVerilog.
_ICARUS_WAVES = """
module crossloom_waves;
  reg [8 * 4096:1] path;
  initial if ($value$plusargs("dumpfile_path=%s", path)) begin
    $dumpfile(path);
    $dumpvars(0, {top});
  end
endmodule
"""


class BenchFailure(AssertionError):
    """A bench failed, or compared nothing; the message ends with its log."""


def bench_parameters() -> object:
    """Inside a bench: what `run_bench` was given."""
    with open(os.environ[PARAMETERS_VARIABLE], "rb") as stream:
        return pickle.load(stream)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _build(simulator: str, verilog: str, top: str, waves: bool) -> Path:
    find_verilator() if simulator == "verilator" else find_icarus()
    arguments = list(_BUILD_ARGUMENTS[simulator])
    if simulator == "icarus" and waves:
        verilog += _ICARUS_WAVES.replace("{top}", top)
        arguments += ["-s", "crossloom_waves"]

    def build(directory: Path) -> None:
        log = directory / "build.log"
        environment = tool_environment()
        environment["MAKEFLAGS"] = f"{environment.get('MAKEFLAGS', '')} {_MAKE_VARIABLES}"
        with _environment(environment), redirect_stdout(io.StringIO()):
            try:
                get_runner(simulator).build(
                    sources=[directory / "design.v"], hdl_toplevel=top, build_dir=directory,
                    build_args=arguments, timescale=_TIMESCALE, log_file=log,
                    waves=waves and simulator == "verilator")
            except (RuntimeError, SystemExit) as error:
                raise BenchFailure(f"{simulator} could not build {top}:\n{_ending(log)}") \
                    from error

    settings = [simulator, tool_version(simulator), top, str(waves), _MAKE_VARIABLES, *arguments]
    return cached_build(f"{simulator}-{top}", {"design.v": verilog}, settings, build)


def _ending(log: Path, lines: int = 60) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) \
        if log.is_file() else "(no log)"


def run_bench(bench: str, verilog: str, top: str, parameters: object, simulator: str, *,
              seed: int, waves: Path | None = None) -> str:
    """Run all tests of module ``sim.benches.<bench>``; the simulator's log.

    Parameters
    ----------
    bench
        Name of the module.
    verilog, top
        Design and its top module.
    parameters
        Anything that can be pickled: what `bench_parameters` gives back inside.
    simulator
        "verilator" or "icarus".
    seed
        Of the bench's random numbers; the bench prints it.
    waves
        File to write waves to: VCD from Verilator, FST from Icarus.

    Raises BenchFailure with the end of the log; ToolError if the simulator is missing.
    """
    if simulator not in SIMULATORS:
        raise ValueError(f"simulator must be one of {', '.join(SIMULATORS)}, not {simulator!r}")
    logging.getLogger("cocotb_tools").setLevel(logging.WARNING)
    build = _build(simulator, verilog, top, waves is not None)
    with tempfile.TemporaryDirectory(dir=build_directory(), prefix="run-") as scratch:
        folder = Path(scratch)
        (folder / "parameters").write_bytes(pickle.dumps(parameters))
        log, results = folder / "bench.log", folder / "results.xml"
        runner = get_runner(simulator)
        plusargs = [f"+dumpfile_path={folder / 'waves.fst'}"] if simulator == "icarus" else []
        failure = None
        with _environment(tool_environment()), redirect_stdout(io.StringIO()):
            try:
                runner.test(
                    test_module=f"sim.benches.{bench}", hdl_toplevel=top, build_dir=build,
                    hdl_toplevel_lang="verilog", test_dir=folder, results_xml=str(results),
                    log_file=log, seed=seed, waves=waves is not None, plusargs=plusargs,
                    timescale=_TIMESCALE, extra_env={PARAMETERS_VARIABLE: f"{folder}/parameters"})
                ran, failed = get_results(results)
                if failed or not ran:
                    failure = f"{failed} of {ran} tests failed"
            except (RuntimeError, SystemExit) as error:
                failure = f"the simulator ended with {error}"
        if waves is not None:
            _keep_waves(folder, waves)
        if failure:
            raise BenchFailure(f"bench {bench} on {simulator}, seed {seed}: {failure}\n"
                               f"{_ending(log)}")
        return log.read_text(errors="replace")


def _keep_waves(folder: Path, target: Path) -> None:
    written = [path for path in (folder / "dump.vcd", folder / "waves.fst") if path.is_file()]
    if written:
        shutil.move(written[0], target)
