"""The Verilated chip as a shared library: how it is built and called."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
import ctypes
import os

import numpy as np
from numpy.typing import NDArray

from golden.chip import Chip, Phases
from golden.draws import table
from golden.macro import Macro
from golden.program import Program
from sim.products import layer_thresholds, product_ranges, total_products
from sim.record import CODE, LAYER, SUM, WORD, mask_records
from sim.toolchain import cached_build, find_verilator, run_tool, tool_version

from .headers import constants_header, ports_header, words
from .top import (
    FAST_TOP_NAME, RESET_CLOCKS, clocked_by_both_edges, fast_verilog, inside_fast_top,
)
from .waves import WavesWindow

__all__ = ["HarnessError", "Harness", "MacroSettings", "build_harness",
           "build_mutated_harness"]

_SOURCES = ("harness.cpp", "activity.h", "macro.h", "draws.h", "trace.h")
#: Noise is one product rounded to an integer: a fused multiply-add would round differently.
COMPILE_FLAGS = ("-std=c++20", "-fPIC", "-ffp-contract=off")
#: An expression is sooner computed than looked up in a table with an index put together for it.
VERILATOR_FLAGS = ("-fno-table",)
#: GCC's options to count branches and to use the counts, which it writes to files of this suffix.
COUNT_FLAGS = "-fprofile-generate -fprofile-update=single"
COUNTED_FLAGS = "-fprofile-use -fprofile-partial-training -Wno-missing-profile"
_COUNTS = ".gcda"
#: Lets a library that counts write what it has counted.
_COUNTING = "counting.cpp"


class HarnessError(RuntimeError):
    """The chip broke a rule of the macro's pins, or did not do what its host expects."""


@cache
def _chip_text(chip: Chip, twin: bool) -> str:
    return fast_verilog(chip, twin)


def build_harness(chip: Chip, waves: str | None = None, twin: bool = False,
                  train: Callable[[Path], None] | None = None) -> Path:
    """The shared library for ``chip``, built once and then taken from the cache.

    ``waves``: their format, "fst" or "vcd", if it can write them. ``twin``: the chip has digital
    twins for macros. ``train``, if given, is called with the path of a library that counts which
    way its branches go, and is to let it count and have it write (`Harness.write_counts`) in a
    process of its own; the library is then built again, faster, knowing the counts.
    """
    kind = "-".join(["fast", chip.name, *(["twin"] if twin else []), *([waves] if waves else []),
                     *(["trained"] if train else [])])
    headers = {"constants.h": constants_header(chip, twin, waves is None),
               "ports.h": ports_header(chip, twin)}
    return _build(kind, _chip_text(chip, twin), headers, waves, train)


def build_mutated_harness(chip: Chip, verilog: str, select: str) -> Path:
    """The shared library for a mutated ``chip`` (sim.mutants), whose Verilog is ``verilog``.

    ``select`` is its input that selects the mutant.
    """
    headers = {"constants.h": constants_header(chip, False, True),
               "ports.h": ports_header(chip, select=select)}
    return _build(f"fast-{chip.name}-mutants", inside_fast_top(verilog, True, select), headers,
                  None)


def _build(kind: str, verilog: str, headers: dict[str, str], waves: str | None,
           train: Callable[[Path], None] | None = None) -> Path:
    verilator = find_verilator()
    here = Path(__file__).parent
    sources = _SOURCES if train is None else (*_SOURCES, _COUNTING)
    files = {name: (here / name).read_text() for name in sources}
    # Waves show the clock as it is; without them one evaluation per clock is enough.
    files |= {"chip.v": verilog if waves else clocked_by_both_edges(verilog), **headers}
    command = [verilator, "--cc", "--exe", "--build", "-j", "2", "-O3", "--x-assign", "fast",
               "--x-initial", "fast", "--noassert", "-Wno-fatal", *VERILATOR_FLAGS,
               "--top-module", FAST_TOP_NAME,
               "--prefix", "Vchip", "--Mdir", "objects", "-o", "harness.so",
               "-CFLAGS", " ".join(["-I..", *COMPILE_FLAGS]), "-LDFLAGS", "-shared",
               "-MAKEFLAGS", "OPT_FAST=-O2 OPT_SLOW=-O0 OPT_GLOBAL=-O1"]
    if waves:
        command.append(f"--trace-{waves}")
    command += ["chip.v", "harness.cpp"]

    def build(directory: Path) -> None:
        objects = directory / "objects"
        if train is not None:
            run_tool([*command, "-CFLAGS", COUNT_FLAGS, "-LDFLAGS", COUNT_FLAGS, _COUNTING],
                     directory)
            train(objects / "harness.so")
            for file in objects.iterdir():
                if file.suffix != _COUNTS:
                    file.unlink()
        run_tool([*command, *(["-CFLAGS", COUNTED_FLAGS] if train else [])], directory)
        (objects / "harness.so").rename(directory / "harness.so")

    settings = [*command, COUNT_FLAGS, COUNTED_FLAGS, tool_version("verilator")]
    return cached_build(kind, files, settings, build) / "harness.so"


class _LayerRange(ctypes.Structure):
    _fields_ = [("first", ctypes.c_uint64), ("resolution", ctypes.c_uint32),
                ("reference", ctypes.c_uint32)]


class _Settings(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_void_p), ("weights", ctypes.c_void_p),
        ("thresholds", ctypes.c_void_p), ("levels", ctypes.c_void_p),
        ("layers", ctypes.POINTER(_LayerRange)),
        ("layer_count", ctypes.c_uint64), ("products", ctypes.c_uint64),
        ("table", ctypes.c_void_p), ("seed", ctypes.c_uint64),
        ("hold_sigma", ctypes.c_double), ("conversion_sigma", ctypes.c_double),
        ("lengths", ctypes.c_uint32 * 7)]


class MacroSettings:
    """`MacroSettings` of sim/fast/macro.h, with the arrays that it points to."""

    def __init__(self, program: Program, macro: Macro, seed: int, phases: Phases) -> None:
        ranges = product_ranges(program)
        layers = (_LayerRange * len(ranges))(*(
            (each.first, each.resolution, each.reference) for each in ranges))
        self._arrays = [np.ascontiguousarray(array) for array in (
            macro.effective.transpose(0, 2, 1), program.weights,
            layer_thresholds(ranges, macro, program.levels),
            program.level_table.astype(np.int32), table())]
        effective, weights, thresholds, levels, normals = (a.ctypes.data for a in self._arrays)
        lengths = (phases.reset, phases.drive, phases.share, phases.hold, phases.clear,
                   phases.add, phases.gap)
        self.structure = _Settings(
            effective, weights, thresholds, levels, layers, len(ranges), total_products(ranges),
            normals, seed, macro.hold_sigma, macro.conversion_sigma,
            (ctypes.c_uint32 * 7)(*lengths))


def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(os.fspath(path))
    handle, number = ctypes.c_void_p, ctypes.c_uint64
    signatures: dict[str, tuple[list[type], type | None]] = {
        "open": ([ctypes.c_void_p], handle),
        "close": ([handle], None),
        "error": ([handle], ctypes.c_char_p),
        "waves": ([handle, ctypes.c_char_p, ctypes.c_int64, number, number], ctypes.c_int),
        "select": ([handle, number], ctypes.c_int),
        "excited": ([handle], ctypes.c_int),
        "reset": ([handle, number], ctypes.c_int),
        "write": ([handle, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t], ctypes.c_int),
        "read": ([handle, ctypes.c_uint32, ctypes.c_void_p], ctypes.c_int),
        "write_response": ([handle, *[ctypes.c_uint32] * 3], ctypes.c_int),
        "read_response": ([handle, ctypes.c_uint32], ctypes.c_int),
        "program": ([handle, ctypes.c_uint32, ctypes.c_void_p], ctypes.c_int),
        "begin": ([handle, ctypes.c_int, number, ctypes.c_void_p, ctypes.c_size_t,
                   ctypes.c_void_p, ctypes.c_size_t, number], ctypes.c_int),
        "watch": ([handle, ctypes.c_int], ctypes.c_int),
        "decide": ([handle, number], ctypes.c_int),
        "hinder": ([handle, number], ctypes.c_int),
        "run": ([handle, number], ctypes.c_int),
        "finish": ([handle, ctypes.c_int], ctypes.c_int),
        "clocks": ([handle], number),
        "activity": ([handle, ctypes.c_void_p], None),
        "host_waits": ([handle, ctypes.c_int], number),
        "records": ([handle, *[ctypes.c_int] * 2, *[ctypes.c_void_p] * 2], ctypes.c_int),
    }
    for name, (arguments, result) in signatures.items():
        function = getattr(library, f"harness_{name}")
        function.argtypes, function.restype = arguments, result
    return library


class Harness:
    """A Verilated chip with its host and macros. A context manager: closes the waves file.

    Every method raises HarnessError, naming tile, clock, pin and rule, where the chip breaks a
    rule of the macro's pins, and where the bus does not answer as it must.
    """

    def __init__(self, library: Path, settings: MacroSettings, tiles: int,
                 waves: tuple[Path, WavesWindow] | None = None, mutant: int = 0) -> None:
        self._library = _load(library)
        self._tiles = tiles
        self._handle = self._library.harness_open(ctypes.byref(settings.structure))
        try:
            if waves is not None:
                path, window = waves
                self._check(self._library.harness_waves(
                    self._handle, os.fsencode(path), -1 if window.layer is None else window.layer,
                    window.products, window.sums))
            self._check(self._library.harness_select(self._handle, mutant))
            self._check(self._library.harness_reset(self._handle, RESET_CLOCKS + 1))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Harness":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the simulation."""
        if self._handle is not None:
            self._library.harness_close(self._handle)
            self._handle = None

    def _check(self, status: int) -> int:
        if status < 0:
            raise HarnessError(self._library.harness_error(self._handle).decode())
        return status

    def write(self, writes: Iterable[tuple[int, int]] | NDArray[np.uint32]) -> None:
        """AXI4-Lite writes, [writes, (byte address, data)], one after the other."""
        table_ = np.asarray(writes, np.uint32).reshape(-1, 2)
        address, data = np.ascontiguousarray(table_[:, 0]), np.ascontiguousarray(table_[:, 1])
        self._check(self._library.harness_write(
            self._handle, address.ctypes.data, data.ctypes.data, len(address)))

    def read(self, address: int) -> int:
        """AXI4-Lite read."""
        data = ctypes.c_uint32()
        self._check(self._library.harness_read(self._handle, address, ctypes.byref(data)))
        return data.value

    def write_response(self, address: int, data: int, strobe: int = 0xF) -> int:
        """AXI4-Lite response to a write of the bytes in ``strobe``, which may be refused."""
        return self._check(self._library.harness_write_response(
            self._handle, address, data, strobe))

    def read_response(self, address: int) -> int:
        """AXI4-Lite response to a read, which may be refused."""
        return self._check(self._library.harness_read_response(self._handle, address))

    def write_counts(self) -> None:
        """Write the counts of a library that was built to count, see `build_harness`."""
        self._library.harness_write_counts()

    def set_program(self, settings: MacroSettings, tenant: int) -> None:
        """The macros' program of ``tenant``; weights, noise and phases, it has for all tenants."""
        self._check(self._library.harness_program(
            self._handle, tenant, ctypes.byref(settings.structure)))

    def begin(self, image: int, words: NDArray[np.uint32], packets: Sequence[int],
              tenant: int = 0, tiles: Sequence[int] = ()) -> None:
        """Offer the ``words`` of image number ``image``; ``packets`` of words are to come back.

        Forgets what ``tenant`` did before. ``tiles`` are those that it uses, whose activity is
        counted; none where other tenants' programs run.
        """
        words = np.ascontiguousarray(words, np.uint32)
        ends = np.cumsum(packets, dtype=np.uint64)
        self._check(self._library.harness_begin(
            self._handle, tenant, image, words.ctypes.data, len(words), ends.ctypes.data,
            len(ends), sum(1 << tile for tile in tiles)))

    def watch(self, looking: bool) -> None:
        """Whether macros and traces are looked at, where nothing is under way on any macro.

        Not while a program is aborted, which opens switches in mid-phase.
        """
        self._check(self._library.harness_watch(self._handle, looking))

    def decide(self, tiles: Sequence[int]) -> None:
        """The comparators of ``tiles`` alone decide; a twin's always do."""
        self._check(self._library.harness_decide(self._handle, sum(1 << tile for tile in tiles)))

    def hinder(self, seed: int) -> None:
        """Hosts and comparators wait in clocks that ``seed`` draws, in half of all; 0: never."""
        self._check(self._library.harness_hinder(self._handle, seed))

    def run(self, clocks: int) -> bool:
        """Up to ``clocks`` clocks; whether the chip has raised its interrupt."""
        return bool(self._check(self._library.harness_run(self._handle, clocks)))

    def finish(self, tenant: int = 0) -> None:
        """Check that the image was taken whole and answered whole."""
        self._check(self._library.harness_finish(self._handle, tenant))

    @property
    def excited(self) -> bool:
        """Whether the mutant has changed a bit in any clock."""
        return bool(self._library.harness_excited(self._handle))

    @property
    def clocks(self) -> int:
        """Clocks since the start of the simulation."""
        return int(self._library.harness_clocks(self._handle))

    def _records(self, tenant: int, kind: int, dtype: np.dtype) -> NDArray:
        data, count = ctypes.c_void_p(), ctypes.c_size_t()
        self._check(self._library.harness_records(self._handle, tenant, kind, ctypes.byref(data),
                                                  ctypes.byref(count)))
        size = count.value * dtype.itemsize
        return np.frombuffer(ctypes.string_at(data.value, size) if size else b"", dtype)

    # All records are those of a tenant since its `begin`.

    def codes(self, tile: int, tenant: int = 0) -> NDArray:
        """`CODE` records of ``tile``."""
        return self._records(tenant, tile, CODE)

    def rows(self, tile: int, granules: int, tenant: int = 0) -> NDArray[np.uint64]:
        """``row_enable`` of each product of ``tile``: [products, 64-bit words].

        A word has a bit for each of 64 of the array's ``granules``.
        """
        return self._records(tenant, self._tiles + tile, np.dtype(("<u8", (words(granules),))))

    def masks(self, tile: int, columns: int, tenant: int = 0) -> NDArray:
        """`mask_records` of the conversions of each layer's first products."""
        return self._records(tenant, 2 * self._tiles + tile, mask_records(columns))

    def sums(self, tenant: int = 0) -> NDArray:
        """`SUM` records."""
        return self._records(tenant, 3 * self._tiles, SUM)

    def outputs(self, tenant: int = 0) -> NDArray[np.uint32]:
        """Words of the stream out."""
        return self._records(tenant, 3 * self._tiles + 1, np.dtype("<u4"))

    def words(self, tenant: int = 0) -> NDArray:
        """`WORD` records."""
        return self._records(tenant, 3 * self._tiles + 2, WORD)

    def layers(self, tenant: int = 0) -> NDArray:
        """`LAYER` records."""
        return self._records(tenant, 3 * self._tiles + 3, LAYER)

    def activity(self) -> dict[str, int]:
        """Counters counted again from the pins since `begin` (sim/fast/activity.h)."""
        counts = (ctypes.c_uint64 * 3)()
        self._library.harness_activity(self._handle, counts)
        return dict(zip(("adder", "array", "contests"), counts, strict=True))

    def host_waits(self, tenant: int = 0) -> int:
        """Clocks since `begin` in which the streams of ``tenant`` waited for their host."""
        return self._library.harness_host_waits(self._handle, tenant)
