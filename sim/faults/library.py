"""The chip of sim/faults/harness.cpp: how it is built and called."""

from collections.abc import Sequence
from pathlib import Path
import ctypes
import os

import numpy as np
from numpy.typing import NDArray

from golden.chip import Chip, Phases
from golden.macro import Macro
from golden.program import Program
from rtl.verilog import TOP_NAME, chip_verilog
from sim.coverage.counts import COUNTING_OPTIONS, counted_verilog
from sim.fast.headers import constants_header, ports_header
from sim.fast.library import COMPILE_FLAGS, MacroSettings
from sim.record import CODE, LAYER, SUM, WORD
from sim.toolchain import cached_build, find_verilator, run_tool, tool_version

__all__ = ["FaultChip", "FaultError"]


class FaultError(AssertionError):
    """The chip did what no fault excuses: hung, broke a rule of its pins, or lost its way."""


#: Functions of a tenant's ports; ``@`` stands for its number in their names.
_TENANT_ACCESS = {
    "void set_ready(Vchip& top, int tenant, bool ready)": "top.m_axis@_tready = ready; return;",
    "void set_input(Vchip& top, int tenant, bool valid, uint32_t data)":
        "top.s_axis@_tvalid = valid; top.s_axis@_tdata = data; return;",
    "bool takes_input(const Vchip& top, int tenant)":
        "return top.s_axis@_tvalid && top.s_axis@_tready;",
    "bool gives_output(const Vchip& top, int tenant, uint32_t& word)":
        "word = top.m_axis@_tdata; return top.m_axis@_tvalid && top.m_axis@_tready;",
    "bool writes_word(const Vchip& top, int tenant, Word& word)":
        "word = {top.trace_word@___05Faddress, top.trace_word@___05Fdata}; "
        "return top.trace_word@___05Fvalid;",
    "bool begins_layer(const Vchip& top, int tenant)": "return top.trace_layer@___05Fbegin;",
    "bool ends_layer(const Vchip& top, int tenant, uint32_t& index)":
        "index = top.trace_layer@___05Findex; return top.trace_layer@___05Fdone;",
}


def _faults_header(chip: Chip) -> str:
    lines = ["#pragma once", "#include <stdexcept>", '#include "Vchip.h"', '#include "trace.h"',
             "namespace crossloom {",
             f"constexpr uint32_t BUFFER_WORDS = {chip.memories.activation_words};",
             "template <int TILE> void set_answer(Vchip& top, bool comparator, bool decided);"]
    for tile in range(chip.tiles):
        # Verilator writes a double underscore in a port's name as "___05F".
        lines += [f"template <> inline void set_answer<{tile}>(Vchip& top, bool comparator, "
                  "bool decided) {",
                  f"    top.macro{tile}___05Fcomparator = comparator;",
                  f"    top.macro{tile}___05Fdecided = decided;", "}"]
    for head, body in _TENANT_ACCESS.items():
        lines += [f"inline {head} {{", "    switch (tenant) {"]
        for tenant in range(chip.tenants):
            suffix = str(tenant) if tenant else ""
            lines.append(f"    case {tenant}: {body.replace('@', suffix)}")
        lines += ["    }", '    throw std::runtime_error("no such tenant");', "}"]
    return "\n".join([*lines, "}", ""])


def _build(chip: Chip, counted: bool) -> Path:
    here = Path(__file__).parent
    fast = here.parent / "fast"
    verilog = chip_verilog(chip)
    files = {"harness.cpp": (here / "harness.cpp").read_text(),
             "chip.v": counted_verilog(verilog) if counted else verilog,
             **{name: (fast / name).read_text() for name in ("macro.h", "draws.h", "trace.h")},
             "constants.h": constants_header(chip, False, False), "ports.h": ports_header(chip),
             "faults.h": _faults_header(chip)}
    command = [find_verilator(), "--cc", "--exe", "--build", "-j", "2", "-O3", "--noassert",
               "-Wno-fatal", "--top-module", TOP_NAME, "--prefix", "Vchip", "--Mdir", "objects",
               "-o", "harness.so", "-CFLAGS", " ".join(["-I..", *COMPILE_FLAGS]),
               "-LDFLAGS", "-shared", "-MAKEFLAGS",
               f"OPT_FAST={'-O1' if counted else '-O2'} OPT_SLOW=-O0 OPT_GLOBAL=-O1",
               *(COUNTING_OPTIONS if counted else ()), "chip.v", "harness.cpp"]

    def build(directory: Path) -> None:
        run_tool(command, directory)
        (directory / "objects" / "harness.so").rename(directory / "harness.so")

    kind = "coverage" if counted else "faults"
    return cached_build(f"{kind}-{chip.name}", files, [*command, tool_version("verilator")],
                        build) / "harness.so"


def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(os.fspath(path))
    handle, number, pointer, size = (ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p,
                                     ctypes.c_size_t)
    signatures: dict[str, tuple[list[type], type | None]] = {
        "open": ([], handle), "close": ([handle], None), "error": ([handle], ctypes.c_char_p),
        "write_coverage": ([handle, ctypes.c_char_p], ctypes.c_int64),
        "bind": ([handle, pointer, size], None), "reset": ([handle, ctypes.c_int], None),
        "strict": ([handle, number], None),
        "output_ready": ([handle, ctypes.c_int, ctypes.c_int], None),
        "comparators": ([handle, number, number], None),
        "access": ([handle, ctypes.c_int, ctypes.c_uint32, pointer, ctypes.c_uint32],
                   ctypes.c_int64),
        "write_all": ([handle, pointer, pointer, size], ctypes.c_int64),
        "begin": ([handle, ctypes.c_int, number, pointer, size, ctypes.c_int, number],
                  ctypes.c_int64),
        "run": ([handle, number], ctypes.c_int64), "irq": ([handle], ctypes.c_int),
        "closed": ([handle], number), "clocks": ([handle], number),
        "records": ([handle, ctypes.c_int, ctypes.c_int, pointer, pointer], ctypes.c_int64),
    }
    for name, (arguments, result) in signatures.items():
        function = getattr(library, f"faults_{name}")
        function.argtypes, function.restype = arguments, result
    return library


class FaultChip:
    """A Verilated chip in reset. Methods raise FaultError where it breaks a rule of its pins.

    ``coverage``: a file for what of the chip is reached until the end (`sim.coverage`); nothing
    is counted, and the simulation faster, if None.
    """

    def __init__(self, chip: Chip, coverage: Path | None = None) -> None:
        self.chip, self._coverage = chip, coverage
        self._library = _load(_build(chip, coverage is not None))
        self._handle = self._library.faults_open()
        self._settings: list[MacroSettings] = []
        self.all_tiles = (1 << chip.tiles) - 1

    def __enter__(self) -> "FaultChip":
        return self

    def __exit__(self, *_: object) -> None:
        if self._coverage is not None:
            self._check(self._library.faults_write_coverage(
                self._handle, os.fsencode(self._coverage)))
        self._library.faults_close(self._handle)

    def _check(self, status: int) -> int:
        if status < 0:
            raise FaultError(self._library.faults_error(self._handle).decode())
        return status

    def bind(self, programs: Sequence[Program], macro: Macro, seed: int,
             phases: Phases | None = None) -> None:
        """Make the macros those of the tenants' ``programs``; in force while `strict`.

        ``phases``: lengths other than the chip's reset values.
        """
        self._settings = [MacroSettings(program, macro, seed, phases or program.chip.phases)
                          for program in programs]
        pointers = (ctypes.c_void_p * len(programs))(*(
            ctypes.addressof(settings.structure) for settings in self._settings))
        self._library.faults_bind(self._handle, pointers, len(programs))

    def strict(self, tiles: int) -> None:
        """A bit per tile: its macro keeps every rule of the pins, or answers at random."""
        self._library.faults_strict(self._handle, tiles)

    def reset(self, clocks: int) -> None:
        """Hold `aresetn` low for ``clocks`` clocks."""
        self._library.faults_reset(self._handle, 1)
        self.run(clocks)
        self._library.faults_reset(self._handle, 0)

    def output_ready(self, value: bool, tenant: int = 0) -> None:
        """Whether the host takes words of the tenant's output stream."""
        self._library.faults_output_ready(self._handle, tenant, value)

    def comparators(self, decided: int, stuck_high: int = 0) -> None:
        """A bit per tile: the comparator decides; it always answers one."""
        self._library.faults_comparators(self._handle, decided, stuck_high)

    def write(self, address: int, data: int, strobe: int = 0xF) -> int:
        """One AXI4-Lite write, of the bytes in ``strobe``, a bit each; its response."""
        word = ctypes.c_uint32(data)
        return self._check(self._library.faults_access(self._handle, 1, address,
                                                       ctypes.byref(word), strobe))

    def read(self, address: int) -> int:
        """One AXI4-Lite read that must be answered OKAY; its data."""
        data, response = self.try_read(address)
        if response:
            raise FaultError(f"a read of {address:#x} is answered {response}")
        return data

    def try_read(self, address: int) -> tuple[int, int]:
        """One AXI4-Lite read; its data and its response."""
        word = ctypes.c_uint32()
        response = self._check(self._library.faults_access(self._handle, 0, address,
                                                           ctypes.byref(word), 0))
        return word.value, response

    def write_all(self, writes: NDArray[np.uint32]) -> None:
        """Writes [writes, (address, data)] that must be answered OKAY."""
        address, data = (np.ascontiguousarray(writes[:, i], np.uint32) for i in range(2))
        self._check(self._library.faults_write_all(
            self._handle, address.ctypes.data, data.ctypes.data, len(address)))

    def begin(self, image: int, words: NDArray[np.uint32], endless: bool, tenant: int = 0,
              tiles: int | None = None) -> None:
        """Offer ``words`` at a tenant's input stream, zeros after them if ``endless``.

        Forgets what the tenant did before. ``tiles``, a bit per tile, are those that nothing is
        under way on: None stands for all.
        """
        words = np.ascontiguousarray(words, np.uint32)
        self._check(self._library.faults_begin(
            self._handle, tenant, image, words.ctypes.data, len(words), endless,
            self.all_tiles if tiles is None else tiles))

    def run(self, clocks: int) -> int:
        """Up to ``clocks`` clocks, to the interrupt; clocks since anything happened."""
        return self._check(self._library.faults_run(self._handle, clocks))

    @property
    def interrupt(self) -> bool:
        """The interrupt is raised."""
        return bool(self._library.faults_irq(self._handle))

    @property
    def switches_closed(self) -> int:
        """A bit per tile that has any switch closed, or its comparator strobed."""
        return self._library.faults_closed(self._handle)

    @property
    def clocks(self) -> int:
        """Clocks since the start of the simulation."""
        return self._library.faults_clocks(self._handle)

    def _records(self, tenant: int, kind: int, dtype: np.dtype) -> NDArray:
        data, count = ctypes.c_void_p(), ctypes.c_size_t()
        self._check(self._library.faults_records(
            self._handle, tenant, kind, ctypes.byref(data), ctypes.byref(count)))
        size = count.value * dtype.itemsize
        return np.frombuffer(ctypes.string_at(data.value, size) if size else b"", dtype)

    def traces(self, tenant: int = 0
               ) -> tuple[tuple[NDArray, ...], NDArray, NDArray, NDArray, NDArray]:
        """Codes of each tile, sums, words, layers and outputs of a tenant since its `begin`."""
        tiles = self.chip.tiles
        return (tuple(self._records(tenant, tile, CODE) for tile in range(tiles)),
                self._records(tenant, tiles, SUM), self._records(tenant, tiles + 1, WORD),
                self._records(tenant, tiles + 2, LAYER),
                self._records(tenant, tiles + 3, np.dtype("<u4")))

    def ends(self, tenant: int = 0) -> NDArray[np.uint64]:
        """The clock in which each layer of a tenant ended, since its `begin`."""
        return self._records(tenant, self.chip.tiles + 4, np.dtype("<u8"))
