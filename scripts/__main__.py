"""The ``crossloom`` program: collects the commands and turns errors into one line."""

from typing import Annotated, Any
import os
import sys

import typer

from . import (
    __version__, accuracy, bench, block_mutants, compile, converters, cost, coverage, demo, export,
    faults, mutants, run, simulate, sweep, technologies, train, verilog,
)

__all__ = ["app", "main"]

#: The exception that typer's own usage errors derive from; typer exports only this subclass.
_UsageError: Any = typer.BadParameter.__base__

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False,
                  context_settings={"help_option_names": ["-h", "--help"]})


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"crossloom {__version__}")
        raise typer.Exit


@app.callback()
def _program(show_version: Annotated[bool, typer.Option(
        "--version", callback=_show_version, is_eager=True, help="Show the version.")] = False,
        ) -> None:
    """From a trained network to a compute-in-memory chip.

    Golden analog model and Verilog, equal bit for bit.
    """


app.command("demo")(demo.demo)
app.command("verilog")(verilog.verilog)
app.command("simulate")(simulate.simulate)
app.command("accuracy")(accuracy.measure)
app.command("converters")(converters.converters)
app.command("export")(export.export)
app.command("technologies")(technologies.technologies)
app.command("train")(train.train)
app.command("sweep")(sweep.sweep)
app.command("compile")(compile.compile_program)
app.command("run")(run.run_program)
app.command("mutants")(mutants.mutants)
app.command("block-mutants")(block_mutants.block_mutants)
app.command("faults")(faults.faults)
app.command("coverage")(coverage.coverage)
app.command("cost")(cost.cost)
app.command("bench")(bench.bench)


def _describe(error: Exception) -> str:
    """One line that says what was wrong with the user's input; a failed tool's own lines."""
    if isinstance(error, RuntimeError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    text = error.format_message() if isinstance(error, _UsageError) else str(error)
    return " ".join(text.split())


def main() -> None:
    """Run one command and exit.

    Exit status: 0 success; 1 the command ran and its answer is no; 2 bad input, named in one
    line on the standard error; 130 interrupted. With CROSSLOOM_TRACEBACK set, an error shows
    its traceback instead.
    """
    # Threads of PyTorch that wait soon sleep: spinning, they take the processor from those that
    # work as soon as something else runs. Read when torch is imported.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        status = app(sys.argv[1:] or ["--help"], prog_name="crossloom", standalone_mode=False)
    except KeyboardInterrupt:
        status = 130
    except (ValueError, OSError, RuntimeError, _UsageError) as error:
        # The simulators' own errors are RuntimeErrors; any other of these is a fault of ours.
        ours = isinstance(error, RuntimeError) and not type(error).__module__.startswith("sim.")
        if ours or os.environ.get("CROSSLOOM_TRACEBACK"):
            raise
        print(f"crossloom: error: {_describe(error)}", file=sys.stderr)
        status = 2
    sys.exit(status)


if __name__ == "__main__":
    main()
