"""A mutated block as a shared library: how it is built and called."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
import ctypes
import os
import re

from amaranth.hdl import Signal, Value
from amaranth.lib.wiring import Component, In

from rtl.verilog import TOP_NAME
from sim.mutants import SELECT, SELECT_BITS
from sim.toolchain import (
    cached_build, find_verilator, run_tool, tool_version, verilator_root,
)

__all__ = ["BlockError", "BlockModel", "Port", "Recording", "block_ports", "build_block"]

_HERE = Path(__file__).parent
_RESET, _WRAPPER = "rst", "wrapped"


class BlockError(AssertionError):
    """The model of a mutant does not settle: seen by whoever runs it."""


@dataclass(frozen=True)
class Port:
    """A port of the Verilog, ``width`` bits from 64-bit word ``word`` of its array on."""

    name: str
    width: int
    is_input: bool
    word: int
    signal: Signal | None

    @property
    def words(self) -> int:
        """64-bit words that it takes."""
        return -(-self.width // 64)


def block_ports(component: Component) -> tuple[Port, ...]:
    """The ports of ``component`` and the reset, which comes last and has no signal of its own."""
    ports: list[Port] = []
    words = {True: 0, False: 0}

    def add(name: str, width: int, is_input: bool, signal: Signal | None) -> None:
        if width:
            ports.append(Port(name, width, is_input, words[is_input], signal))
            words[is_input] += ports[-1].words

    for path, member, value in component.signature.flatten(component):
        signal = Value.cast(value)
        assert isinstance(signal, Signal)
        # Amaranth joins the path of a nested port with two underscores.
        add("__".join(map(str, path)), len(signal), member.flow is In, signal)
    add(_RESET, 1, True, None)
    return tuple(ports)


def _wrapped(ports: tuple[Port, ...], verilog: str) -> str:
    """``verilog`` and a module around it whose ports have names that are no words of C++."""
    present = set(re.findall(r"^  (?:input|output) (?:\[\d+:0\] )?(\S+);$", verilog, re.MULTILINE))
    heads = ["input clk", f"input [{SELECT_BITS - 1}:0] {SELECT}"]
    heads += [f"{'input' if port.is_input else 'output'} [{port.width - 1}:0] port{i}"
              for i, port in enumerate(ports)]
    # A block without registers has neither clock nor reset, and unused inputs are gone.
    links = [f".{name}({name})" for name in ("clk", SELECT) if name in present]
    links += [f".{port.name}(port{i})" for i, port in enumerate(ports) if port.name in present]
    return (f"{verilog}module {_WRAPPER}({', '.join(heads)});\n"
            f"  {TOP_NAME} block({', '.join(links)});\nendmodule\n")


def _header(ports: tuple[Port, ...]) -> str:
    """Access to the ports."""
    def words(is_input: bool) -> int:
        return max(sum(port.words for port in ports if port.is_input is is_input), 1)

    lines = [f"#define SELECT_PORT {SELECT}",
             f"constexpr size_t INPUT_WORDS = {words(True)}, OUTPUT_WORDS = {words(False)};",
             f"constexpr size_t RESET_WORD = {ports[-1].word};",
             "inline void write_inputs(Vblock& top, const uint64_t* words) {"]
    lines += [f"    store(top.port{i}, words + {port.word});"
              for i, port in enumerate(ports) if port.is_input]
    lines += ["}", "inline void read_outputs(const Vblock& top, uint64_t* words) {"]
    lines += [f"    load(words + {port.word}, top.port{i});"
              for i, port in enumerate(ports) if not port.is_input]
    return "\n".join([*lines, "}", ""])


def _compiler() -> list[str]:
    """The C++ compiler, with what every file is compiled with."""
    include = verilator_root() / "include"
    return ["g++", "-std=c++20", "-fPIC", "-DVL_USER_FATAL", "-DVERILATOR=1", "-DVM_COVERAGE=0",
            "-DVM_SC=0", "-DVM_TIMING=0", "-DVM_TRACE=0", "-DVM_TRACE_FST=0", "-DVM_TRACE_VCD=0",
            "-DVM_TRACE_SAIF=0", "-w", f"-I{include}", f"-I{include / 'vltstd'}"]


@cache
def _runtime() -> list[Path]:
    """Object files of Verilator's library: most of a small model's compilation, so done once."""
    sources = ("verilated", "verilated_threads")
    compiler = _compiler()

    def build(directory: Path) -> None:
        for name in sources:
            (directory / f"{name}_unit.cpp").write_text(f'#include "{name}.cpp"\n')
            run_tool([*compiler, "-O1", "-c", f"{name}_unit.cpp", "-o", f"{name}.o"], directory)

    directory = cached_build("block-runtime", {}, [*compiler, tool_version("verilator")], build)
    return [directory / f"{name}.o" for name in sources]


def build_block(name: str, component: Component, verilog: str) -> Path:
    """The shared library of ``component``, whose mutated Verilog is ``verilog``; cached."""
    ports = block_ports(component)
    files = {"block.v": _wrapped(ports, verilog), "ports.h": _header(ports),
             "harness.cpp": (_HERE / "harness.cpp").read_text()}
    verilate = [find_verilator(), "--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast",
                "--noassert", "-Wno-fatal", "-Wno-lint", "-Wno-style", "--top-module", _WRAPPER,
                "--prefix", "Vblock", "--Mdir", "objects", "block.v"]
    compiler = [*_compiler(), "-O1", "-Iobjects", "-shared"]

    def build(directory: Path) -> None:
        run_tool(verilate, directory)
        generated = sorted(path.name for path in (directory / "objects").glob("*.cpp"))
        (directory / "unit.cpp").write_text("".join(
            f'#include "{name}"\n' for name in [*generated, "harness.cpp"]))
        run_tool([*compiler, "unit.cpp", *map(str, _runtime()), "-o", "block.so"], directory)

    return cached_build(f"block-{name}", files, [*verilate, *compiler, tool_version("verilator")],
                        build) / "block.so"


@dataclass(frozen=True)
class Recording:
    """What went in and out of a block in each evaluation, as the library keeps it."""

    data: ctypes.Array
    entries: int


class BlockModel:
    """One block of a library, with one of its mutants or, number 0, none.

    ``inputs`` and ``outputs`` are the words of its ports (`Port.word`).
    """

    def __init__(self, library: ctypes.CDLL, ports: tuple[Port, ...], mutant: int) -> None:
        self._library = library
        self._handle = library.block_open(mutant)
        counts = [max(sum(port.words for port in ports if port.is_input is is_input), 1)
                  for is_input in (True, False)]
        self._entry = 8 * (1 + sum(counts))
        self.inputs, self.outputs = (
            memoryview(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_uint64 * count)).contents)
            .cast("B").cast("Q")
            for pointer, count in zip((library.block_inputs(self._handle),
                                       library.block_outputs(self._handle)), counts, strict=True))

    @staticmethod
    def load(path: Path) -> ctypes.CDLL:
        """The library at ``path``."""
        library = ctypes.CDLL(os.fspath(path))
        handle, number, status = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int64
        signatures: dict[str, tuple[list[type], type | None]] = {
            "open": ([number], handle), "close": ([handle], None),
            "error": ([handle], ctypes.c_char_p), "inputs": ([handle], ctypes.c_void_p),
            "outputs": ([handle], ctypes.c_void_p), "recording": ([handle, ctypes.c_int], None),
            "evaluate": ([handle], status), "clock": ([handle], status),
            "record": ([handle, ctypes.POINTER(number)], ctypes.c_void_p),
            "replay": ([handle, ctypes.c_void_p, number], status),
        }
        for name, (arguments, result) in signatures.items():
            function = getattr(library, f"block_{name}")
            function.argtypes, function.restype = arguments, result
        return library

    def close(self) -> None:
        """End of the simulation."""
        self.inputs.release()
        self.outputs.release()
        self._library.block_close(self._handle)

    def _check(self, status: int) -> None:
        if status == -2:
            raise BlockError(self._library.block_error(self._handle).decode())

    def evaluate(self) -> None:
        """Outputs that the inputs give in this clock."""
        self._check(self._library.block_evaluate(self._handle))

    def clock(self) -> None:
        """A clock edge, and the outputs after it."""
        self._check(self._library.block_clock(self._handle))

    def keep_record(self) -> None:
        """Record from now on."""
        self._library.block_recording(self._handle, 1)

    def recording(self) -> Recording:
        """What was recorded."""
        entries = ctypes.c_uint64()
        data = self._library.block_record(self._handle, ctypes.byref(entries))
        size = entries.value * self._entry
        return Recording((ctypes.c_char * size).from_buffer_copy(ctypes.string_at(data, size))
                         if size else (ctypes.c_char * 0)(), entries.value)

    def differs(self, recording: Recording) -> bool:
        """Whether a block just opened, given the recorded inputs, has other outputs."""
        return self._library.block_replay(self._handle, recording.data, recording.entries) != -1
