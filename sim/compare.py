"""Word for word: what the RTL did with an image against golden's trace of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.chip.registers import WAITS
from golden.program import Calibration, Convolution, Elementwise, Program, Transfer
from golden.timing import FETCH_CLOCKS
from golden.timing_transfer import transfer_clocks
from golden.trace import ConversionTrace, LayerTrace

from .compare_pins import compare_masks, compare_rows
from .comparer import Comparer, Mismatch
from .host import RegisterMap
from .products import as_convolution
from .record import RtlImage
from .registers import RegisterModel

__all__ = ["Comparison", "Mismatch", "compare_image", "tile_flags"]


@dataclass(frozen=True)
class Comparison:
    """``compared``: words compared, by kind; ``mismatches``: the first of each kind and tile.

    Of one image, the mismatches stand in the order in which the chip came to them.

    Kinds: row granules, selected and negated columns, code, compensated code, early stop, sum,
    output, buffer word, stored word, layer cycles, counter, register.
    """

    compared: Mapping[str, int]
    mismatches: tuple[Mismatch, ...]

    @property
    def equal(self) -> bool:
        """Whether anything was compared and nothing differs."""
        return not self.mismatches and sum(self.compared.values()) > 0

    @classmethod
    def add(cls, parts: Sequence["Comparison"]) -> "Comparison":
        """Several images' comparisons in one."""
        compared: dict[str, int] = {}
        for part in parts:
            for kind, count in part.compared.items():
                compared[kind] = compared.get(kind, 0) + count
        return cls(compared, tuple(m for part in parts for m in part.mismatches))

    def check(self) -> None:
        """AssertionError that lists the first mismatches, or says that nothing was compared."""
        if self.mismatches:
            raise AssertionError("\n".join(str(m) for m in self.mismatches[:8]))
        if not self.equal:
            raise AssertionError("nothing was compared")


def compare_image(program: Program, traces: Sequence[LayerTrace], index: int, rtl: RtlImage,
                  cycles: Sequence[int] | None = None,
                  registers: RegisterModel | None = None) -> Comparison:
    """Compare one image of the RTL with golden's.

    Parameters
    ----------
    program
        The program that both ran.
    traces
        Golden's trace of a batch (golden.execute).
    index
        Which image of the batch.
    rtl
        What the RTL did with it.
    cycles
        Expected clocks of each descriptor, if they are to be compared: if neither host nor
        comparator was waited for.
    registers
        What the chip's registers hold besides the first tenant's status and counters, if they
        are to be compared.
    """
    comparer = Comparer()
    for tile in range(program.chip.tiles):
        _compare_codes(comparer, program, traces, index, rtl.codes[tile], tile)
    for tile, rows in enumerate(rtl.rows):
        if tile in program.used_tiles:
            compare_rows(comparer, program, rows, tile)
        else:
            comparer.lengths("product", "END", 0, len(rows), tile)
    for tile, masks in enumerate(rtl.masks):
        if tile in program.used_tiles:
            compare_masks(comparer, program, traces, masks, tile)
        else:
            comparer.lengths("conversion", "END", 0, len(masks), tile)
    _compare_sums(comparer, traces, index, rtl.sums)
    _compare_words(comparer, program, traces, index, rtl)
    _compare_counters(comparer, program, traces, index, rtl, hindered=cycles is None)
    if registers is not None:
        _compare_registers(comparer, program, traces, index, registers, rtl)
    names = [layer.name for layer in program.layers] + ["END"]
    if comparer.lengths("layer", "END", len(names), len(rtl.layers)):
        for i, name in enumerate(names):
            comparer.words("layer index", np.array([i]), rtl.layers["index"][i:i + 1], layer=name)
        for i, clocks in enumerate(cycles or ()):
            comparer.words("layer cycles", np.array([clocks]),
                           rtl.layers["cycles"][i:i + 1].astype(np.int64), layer=names[i])
    return Comparison(comparer.compared, comparer.in_order(names))


def _converting(program: Program) -> list[Convolution]:
    """Convolutions, and what stands for calibrations."""
    layers = (as_convolution(layer, program.chip) for layer in program.layers)
    return [layer for layer in layers if layer is not None]


def _conversions(traces: Sequence[LayerTrace]) -> list[tuple[str, ConversionTrace]]:
    return [(t.name, t.conversions) for t in traces if t.conversions is not None]


def _compare_codes(comparer: Comparer, program: Program, traces: Sequence[LayerTrace],
                   index: int, got: NDArray, tile: int) -> None:
    start = 0
    layers = _converting(program)
    for layer, (name, trace) in zip(layers, _conversions(traces), strict=True):
        here = np.flatnonzero(trace.tile == tile)
        mine = got[start:start + len(here)]
        start += len(here)
        if not comparer.lengths("code", name, len(here), len(mine), tile):
            return
        product = trace.product[here]
        position = (product - trace.product[0]) // (layer.chunks * layer.row_groups)
        where = {"layer": name, "tile": tile, "position": position, "kernel": trace.index[here]}
        comparer.words("product number", product, mine["product"].astype(np.int64), **where)
        comparer.words("void entry", trace.void[here], mine["void"].astype(bool), **where)
        real = ~trace.void[here]
        here, mine = here[real], mine[real]
        where = {"layer": name, "tile": tile, "position": position[real],
                 "kernel": trace.index[here]}
        for kind, expected, field in (
                ("conversion number", trace.conversion, "conversion"),
                ("kernel or column", trace.index, "index"), ("plane", trace.plane, "plane"),
                ("code", trace.code[index], "code"),
                ("compensated code", trace.compensated[index], "compensated"),
                ("early stop", trace.stopped[index].astype(np.uint8), "stopped")):
            comparer.words(kind, expected[here], mine[field], **where)
    comparer.lengths("code", "END", start, len(got), tile)


def _compare_sums(comparer: Comparer, traces: Sequence[LayerTrace], index: int,
                  got: NDArray) -> None:
    start = 0
    for trace in traces:
        if trace.sums is None or trace.outputs is None:
            continue
        sums, outputs = trace.sums[index], trace.outputs[index]
        mine = got[start:start + sums.size]
        start += sums.size
        if not comparer.lengths("sum", trace.name, sums.size, len(mine)):
            return
        position, kernel = np.divmod(np.arange(sums.size), sums.shape[1])
        where = {"layer": trace.name, "position": position, "kernel": kernel}
        for kind, expected, field in (
                ("position", position, "position"), ("kernel", kernel, "kernel"),
                ("sum", sums.reshape(-1), "value"), ("output", outputs.reshape(-1), "output")):
            comparer.words(kind, expected, mine[field], **where)
    comparer.lengths("sum", "END", start, len(got))


def _compare_words(comparer: Comparer, program: Program, traces: Sequence[LayerTrace],
                   index: int, rtl: RtlImage) -> None:
    written, stored = 0, 0
    for layer, trace in zip(program.layers, traces, strict=True):
        count = len(trace.address)
        where = {"layer": trace.name, "position": np.arange(count)}
        if isinstance(layer, Transfer) and not layer.load:
            mine = rtl.stored[stored:stored + count]
            stored += count
            if not comparer.lengths("stored word", trace.name, count, len(mine)):
                return
            comparer.words("stored word", trace.data[index], mine, **where)
            continue
        words = rtl.words[written:written + count]
        written += count
        if not comparer.lengths("buffer word", trace.name, count, len(words)):
            return
        comparer.words("buffer address", trace.address, words["address"], **where)
        comparer.words("buffer word", trace.data[index], words["data"], **where)
    comparer.lengths("buffer word", "END", written, len(rtl.words))
    comparer.lengths("stored word", "END", stored, len(rtl.stored))


def _settings(program: Program, traces: Sequence[LayerTrace], index: int) -> dict[str, int]:
    """Registers of each tile after the program."""
    settings = program.settings()
    offsets, gains, references = settings.offsets, settings.gains, settings.gain_references
    for trace in traces:
        if trace.settings is not None:
            offsets, gains, references = (values[index] for values in (
                trace.settings.offsets, trace.settings.gains, trace.settings.gain_references))
    registers = RegisterMap(program.chip)
    expected = {}
    for tile in program.used_tiles:
        field = registers.field(f"converter{tile}", "offset")
        offset = (int(offsets[tile]) & ((1 << field.width) - 1)) << field.low
        expected |= {f"converter{tile}": offset | (program.levels is not None),
                     f"gain{tile}": int(gains[tile]),
                     f"gain_reference{tile}": int(references[tile])}
    return expected


def _compare_counters(comparer: Comparer, program: Program, traces: Sequence[LayerTrace],
                      index: int, rtl: RtlImage, hindered: bool) -> None:
    conversions = [trace for _, trace in _conversions(traces)]
    got = rtl.counters
    expected = {
        "early_stops": sum(int(trace.stopped[index].sum()) for trace in conversions),
        "products": sum(int(trace.product[-1] - trace.product[0]) + 1 for trace in conversions),
        # Every clock is counted once more by what was done or waited for in it.
        "cycles": got["converting"] + sum(got[name] for name in WAITS),
        "fetch": FETCH_CLOCKS * (len(program.layers) + 1),
        "conversions": 0, "converting": 0, "elementwise": 0,
    }
    for layer, trace in zip(_converting(program), conversions, strict=True):
        first = ~trace.void & (trace.tile == program.used_tiles[0])
        lengths = np.where(trace.stopped[index], 1, layer.resolution)
        expected["conversions"] += int((~trace.void).sum()) << layer.averaging
        expected["converting"] += int(lengths[first].sum()) << layer.averaging
    for layer, clocks in zip(program.layers, rtl.layers["cycles"].tolist(), strict=False):
        if isinstance(layer, Elementwise):
            expected["elementwise"] += clocks - FETCH_CLOCKS
    if rtl.host_waits is not None:
        expected["host"] = rtl.host_waits
    if not hindered:
        expected |= {"comparator": 0, "host": 0, "buffer": 0, "transfer": sum(
            transfer_clocks(layer) for layer in program.layers if isinstance(layer, Transfer))}
        expected |= rtl.activity
    expected |= _settings(program, traces, index)
    for name, value in expected.items():
        comparer.words("counter", np.array([value]), np.array([got[name]]), layer="END",
                       register=name)


def tile_flags(program: Program, traces: Sequence[LayerTrace], index: int) -> dict[str, int]:
    """What the flags of each tile tell after image ``index``, if nothing was raised before."""
    registers = RegisterMap(program.chip)
    flags = {f"tile_flags{tile}": 0 for tile in range(program.chip.tiles)}
    for layer, trace in zip(program.layers, traces, strict=True):
        for tile in np.flatnonzero(() if trace.flagged is None else trace.flagged[index]):
            name = f"tile_flags{tile}"
            flags[name] |= registers.mask(
                name, "calibration" if isinstance(layer, Calibration) else "gain")
    return flags


def _compare_registers(comparer: Comparer, program: Program, traces: Sequence[LayerTrace],
                       index: int, model: RegisterModel, rtl: RtlImage) -> None:
    """The host's knowledge of what it wrote, and of what the tenants did."""
    expected = {**model.values(), **tile_flags(program, traces, index),
                "status": len(program.layers) << model.field("status", "layer").low}
    for name, value in expected.items():
        if name not in rtl.counters:
            comparer.words("register", np.array([value]), np.array([rtl.registers[name]]),
                           layer="END", register=name)
