"""The C++ macro of the fast path, driven pin by pin."""

from collections.abc import Mapping
from pathlib import Path
import ctypes

import numpy as np

from golden.chip import Chip, Phases
from golden.draws import Kind, table
from golden.macro import Macro
from golden.program import Program
from sim import fast
from sim.fast.headers import constants_header, words
from sim.fast.library import COMPILE_FLAGS, MacroSettings
from sim.pin_rules import PinViolation
from sim.toolchain import cached_build, run_tool

__all__ = ["CompiledMacro"]

_NUMBERS = ("write_enable", "write_row", "write_group", "write_data", "load_enable", "load_bank",
            "load_clear", "load_row", "load_codes", "bank", "reset", "drive", "share", "hold",
            "clear", "add", "side", "convert", "convert_side", "reference", "product",
            "conversion")


def _library(chip: Chip) -> ctypes.CDLL:
    folder, here = Path(fast.__file__).parent, Path(__file__).parent
    files = {name: (folder / name).read_text() for name in ("macro.h", "draws.h")}
    files |= {"constants.h": constants_header(chip, twin=False, both_edges=False),
              "macro_library.cpp": (here / "macro_library.cpp").read_text()}
    command = ["g++", "-O1", "-shared", *COMPILE_FLAGS, "-o", "macro.so", "macro_library.cpp"]
    built = cached_build("macro", files, command, lambda folder: run_tool(command, folder))
    library = ctypes.CDLL(str(built / "macro.so"))
    pointer = ctypes.c_void_p
    for name, arguments, result in (
            ("open", [ctypes.c_int, pointer], pointer), ("close", [pointer], None),
            ("error", [pointer], ctypes.c_char_p),
            ("start_image", [pointer, ctypes.c_uint64], ctypes.c_int),
            ("clock", [pointer, pointer, ctypes.c_uint64], ctypes.c_int),
            ("noise", [ctypes.c_uint64, pointer, ctypes.c_double, pointer], ctypes.c_double)):
        function = getattr(library, f"macro_{name}")
        function.argtypes, function.restype = arguments, result
    return library


class CompiledMacro:
    """The interface of `sim.macro_model.MacroModel` around sim/fast/macro.h."""

    def __init__(self, program: Program, macro: Macro, tile: int, seed: int,
                 lengths: Phases) -> None:
        array = macro.chip.array
        self._settings = MacroSettings(program, macro, seed, lengths)
        self._library = _library(macro.chip)
        self._handle = self._library.macro_open(tile, ctypes.byref(self._settings.structure))
        self._dtype = np.dtype(
            [("row_enable", "<u8", words(array.granules)), ("select", "<u8", words(array.columns)),
             ("negate", "<u8", words(array.columns)), *((name, "<u4") for name in _NUMBERS),
             ("trial", "<i4"), ("level", "<i4")], align=True)

    def __del__(self) -> None:
        self._library.macro_close(self._handle)

    def _check(self, status: int) -> int:
        if status < 0:
            raise PinViolation(self._library.macro_error(self._handle).decode())
        return status

    def start_image(self, image: int) -> None:
        self._check(self._library.macro_start_image(self._handle, image))

    def clock(self, time: int, pins: Mapping[str, int]) -> bool | None:
        record = np.zeros((), self._dtype)
        for name, value in pins.items():
            record[name] = value
        answer = self._check(self._library.macro_clock(self._handle, record.ctypes.data, time))
        return bool(answer) if pins["convert"] else None

    def noise(self, seed: int, sigma: float, kind: Kind, *address: int) -> float:
        """A draw of the C++ twin of golden.draws."""
        numbers = np.array([int(kind), *address], np.uint64)
        return self._library.macro_noise(seed, table().ctypes.data, sigma, numbers.ctypes.data)
