"""Word for word: what the RTL did with an image against golden's trace of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.chip import GAIN_FRACTION_BITS, Chip
from golden.chip.descriptor import Measure
from golden.chip.registers import WAITS
from golden.program import (
    Calibration, Convolution, Elementwise, Layer, Program, Transfer, merge_entries,
)
from golden.timing import FETCH_CLOCKS
from golden.timing_transfer import transfer_clocks
from golden.trace import ConversionTrace, LayerTrace

from .host import RegisterMap
from .record import RtlImage
from .registers import RegisterModel

__all__ = ["Comparison", "Mismatch", "compare_image"]


@dataclass(frozen=True)
class Mismatch:
    """The first word of a kind that differs; what does not apply to its kind is None."""

    kind: str
    layer: str
    expected: object
    got: object
    tile: int | None = None
    position: int | None = None
    kernel: int | None = None
    register: str | None = None

    @property
    def word(self) -> str:
        """What differs: its kind, and the name of a counter or register."""
        return self.kind if self.register is None else f"{self.kind} {self.register}"

    def __str__(self) -> str:
        where = [f"layer {self.layer!r}"]
        where += [f"{name} {value}" for name, value in (
            ("position", self.position), ("kernel or column", self.kernel), ("tile", self.tile))
            if value is not None]
        return f"{self.word} at {', '.join(where)}: expected {self.expected}, got {self.got}"


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


#: Kinds of words that belong to a place, in the order in which the chip makes them there.
_STAGES = ("row granules", "selected columns", "negated columns", "product number",
           "void entry", "conversion number", "kernel or column", "plane", "code",
           "compensated code", "early stop", "position", "kernel", "sum", "output",
           "buffer address", "buffer word", "stored word")


class _Comparer:
    """Collects counts, and the first mismatch of each kind and tile."""

    def __init__(self) -> None:
        self.compared: dict[str, int] = {}
        self.mismatches: list[Mismatch] = []

    def words(self, kind: str, expected: NDArray, got: NDArray, **where: object) -> None:
        """Compare two equally long arrays; ``where`` gives a mismatch's place, per element."""
        self.compared[kind] = self.compared.get(kind, 0) + len(expected)
        differs = np.flatnonzero(expected != got)
        tile = where.get("tile")
        if differs.size and not any((m.kind, m.tile) == (kind, tile) for m in self.mismatches):
            i = differs[0]
            place = {name: value[i] if isinstance(value, np.ndarray) else value
                     for name, value in where.items()}
            place = {name: int(value) if isinstance(value, np.integer) else value
                     for name, value in place.items()}
            self.mismatches.append(Mismatch(kind, expected=expected[i].item(),
                                            got=got[i].item(), **place))

    def lengths(self, kind: str, layer: str, expected: int, got: int,
                tile: int | None = None) -> bool:
        """Whether there are as many words as there should be."""
        if expected != got:
            self.mismatches.append(Mismatch(f"number of {kind}s", layer, expected, got, tile))
        return expected == got

    def in_order(self, layers: Sequence[str]) -> tuple[Mismatch, ...]:
        """The mismatches in the order in which the chip came to them.

        What differs first is the cause, or next to it; what follows is its consequence.
        """
        def when(mismatch: Mismatch) -> tuple[int, bool, int, int]:
            layer = layers.index(mismatch.layer) if mismatch.layer in layers else len(layers)
            kind = mismatch.kind
            stage = _STAGES.index(kind) if kind in _STAGES else len(_STAGES)
            return layer, mismatch.position is None, mismatch.position or 0, stage

        return tuple(sorted(self.mismatches, key=when))


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
    comparer = _Comparer()
    for tile in range(program.chip.tiles):
        _compare_codes(comparer, program, traces, index, rtl.codes[tile], tile)
    for tile, rows in enumerate(rtl.rows):
        _compare_rows(comparer, program, rows, tile)
    for tile, masks in enumerate(rtl.masks):
        _compare_masks(comparer, program, traces, masks, tile)
    _compare_sums(comparer, traces, index, rtl.sums)
    _compare_words(comparer, program, traces, index, rtl)
    _compare_counters(comparer, program, traces, index, rtl, hindered=cycles is None)
    if registers is not None:
        _compare_registers(comparer, program, registers, rtl)
    names = [layer.name for layer in program.layers] + ["END"]
    if comparer.lengths("layer", "END", len(names), len(rtl.layers)):
        for i, name in enumerate(names):
            comparer.words("layer index", np.array([i]), rtl.layers["index"][i:i + 1], layer=name)
        for i, clocks in enumerate(cycles or ()):
            comparer.words("layer cycles", np.array([clocks]),
                           rtl.layers["cycles"][i:i + 1].astype(np.int64), layer=names[i])
    return Comparison(comparer.compared, comparer.in_order(names))


def _as_convolution(layer: Layer, chip: Chip) -> Convolution | None:
    """A convolution, or what stands for a calibration; None for a layer that converts nothing."""
    if isinstance(layer, Calibration):
        return layer.convolution(chip)
    return layer if isinstance(layer, Convolution) else None


def _converting(program: Program) -> list[Convolution]:
    """Convolutions, and what stands for calibrations."""
    layers = (_as_convolution(layer, program.chip) for layer in program.layers)
    return [layer for layer in layers if layer is not None]


def _is_empty(layer: Layer) -> bool:
    """Whether a layer converts sums of nothing."""
    return isinstance(layer, Calibration) and layer.measure is Measure.OFFSET


def _conversions(traces: Sequence[LayerTrace]) -> list[tuple[str, ConversionTrace]]:
    return [(t.name, t.conversions) for t in traces if t.conversions is not None]


def _compare_codes(comparer: _Comparer, program: Program, traces: Sequence[LayerTrace],
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


def _compare_rows(comparer: _Comparer, program: Program, got: NDArray[np.uint64],
                  tile: int) -> None:
    """Which row granules take part in each product of ``tile``."""
    start = 0
    for number, layer in enumerate(_as_convolution(each, program.chip) for each in program.layers):
        if layer is None:
            continue
        masks = np.zeros((layer.row_groups, got.shape[1]), np.uint64)
        granules = program.chip.array.granules
        for granule in range(0 if _is_empty(program.layers[number]) else granules):
            group = granule // (layer.group_granules or granules)
            if group < layer.row_groups:
                masks[group, granule // 64] |= np.uint64(1 << granule % 64)
        products = np.arange(layer.window.positions * layer.chunks * layer.row_groups)
        mine = got[start:start + len(products)]
        start += len(products)
        if not comparer.lengths("product", layer.name, len(products), len(mine), tile):
            return
        for word in range(masks.shape[1]):
            comparer.words("row granules", masks[products % layer.row_groups, word],
                           mine[:, word], layer=layer.name, tile=tile,
                           position=products // (layer.chunks * layer.row_groups))
    comparer.lengths("product", "END", start, len(got), tile)


def _column_masks(layer: Convolution, chip: Chip, tile: int
                  ) -> dict[tuple[int, int, int], tuple[NDArray, NDArray]]:
    """(selected, negated) columns, bool, of the job (chunk, kernel or column, plane)."""
    columns = np.arange(chip.array.columns)
    if layer.stream:
        return {(chunk, column, 0): (columns == column, columns < 0)
                for chunk in range(layer.chunks) for column in range(layer.columns)}
    return {(chunk, kernel, plane): (selected, negated)
            for chunk in range(layer.chunks)
            for kernel, negated, planes in merge_entries(
                layer.coefficients[chunk, tile], chip.array.polarity, chip.planes)
            for plane, selected in planes}


def _compare_masks(comparer: _Comparer, program: Program, traces: Sequence[LayerTrace],
                   got: NDArray, tile: int) -> None:
    """Columns that the conversions of each layer's first position sum."""
    words = got.dtype["select"].shape[0]
    for number, (each, trace) in enumerate(zip(program.layers, traces, strict=True)):
        layer = _as_convolution(each, program.chip)
        if layer is None or trace.conversions is None:
            continue
        jobs = trace.conversions
        products = layer.chunks * layer.row_groups
        first = np.flatnonzero((jobs.tile == tile) & ~jobs.void
                               & (jobs.product < jobs.product[0] + products))
        masks = _column_masks(layer, program.chip, tile)
        chunk = (jobs.product[first] - jobs.product[0]) // layer.row_groups
        keys = zip(chunk.tolist(), jobs.index[first].tolist(), jobs.plane[first].tolist(),
                   strict=True)
        expected = np.zeros((len(first), 2, 64 * words), bool)
        for i, key in enumerate(() if _is_empty(each) else keys):
            expected[i, :, :program.chip.array.columns] = masks[key]
        packed = np.packbits(expected, axis=2, bitorder="little").view("<u8")
        # An average takes as many conversions in a row.
        packed = np.repeat(packed, 1 << layer.averaging, axis=0)
        mine = got[got["layer"] == number][:len(packed)]
        if not comparer.lengths("conversion", trace.name, len(packed), len(mine), tile):
            return
        for place, kind, field in ((0, "selected columns", "select"),
                                   (1, "negated columns", "negate")):
            for word in range(words):
                comparer.words(kind, packed[:, place, word], mine[field][:, word],
                               layer=trace.name, tile=tile, position=0,
                               kernel=np.repeat(jobs.index[first], 1 << layer.averaging))


def _compare_sums(comparer: _Comparer, traces: Sequence[LayerTrace], index: int,
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


def _compare_words(comparer: _Comparer, program: Program, traces: Sequence[LayerTrace],
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


def _compare_counters(comparer: _Comparer, program: Program, traces: Sequence[LayerTrace],
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
    if not hindered:
        expected |= {"comparator": 0, "host": 0, "buffer": 0, "transfer": sum(
            transfer_clocks(layer) for layer in program.layers if isinstance(layer, Transfer))}
        expected |= rtl.activity
    expected |= _settings(program, traces, index)
    for name, value in expected.items():
        comparer.words("counter", np.array([value]), np.array([got[name]]), layer="END",
                       register=name)


def _may_saturate(program: Program) -> bool:
    """Whether `tile_flags` may tell of a gain that was not found, or of one that is too much."""
    return (any(isinstance(layer, Calibration) for layer in program.layers)
            or bool((program.settings().gains != 1 << GAIN_FRACTION_BITS).any()))


def _compare_registers(comparer: _Comparer, program: Program, model: RegisterModel,
                       rtl: RtlImage) -> None:
    """The host's knowledge of what it wrote, and of what the other tenants did.

    Golden saturates as the chip does but keeps no flags of it: those of the tiles are known where
    nothing is measured and no gain is set, and stay unset there.
    """
    unknown = _may_saturate(program)
    expected = model.values() | {"status": len(program.layers)
                                 << model.field("status", "layer").low}
    for name, value in expected.items():
        if name not in rtl.counters and not (unknown and name.startswith("tile_flags")):
            comparer.words("register", np.array([value]), np.array([rtl.registers[name]]),
                           layer="END", register=name)
