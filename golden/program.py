"""Programs: what the compiler makes, golden executes and the chip's memories are loaded with.

A `Program` holds the layers as plain data (coefficients, requantizer constants, addresses). Its
memory images, bit for bit what the tile scheduler reads, come from `Program.images`.
"""

from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any
import hashlib
import json
import os

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialise

from .chip import (
    ACTIVATIONS_PER_WORD, AVERAGING_LIMIT, GAIN_BITS, GAIN_FRACTION_BITS, LEVEL_FRACTION_BITS, Chip,
)
from .chip.descriptor import FIELDS, Measure, Opcode, encode

__all__ = ["Window", "Transfer", "Convolution", "Elementwise", "Calibration", "Layer", "Program",
           "Images", "Settings", "ProgramError"]


class ProgramError(ValueError):
    """A program that is damaged, made for another chip, or does not fit its memories."""


@dataclass(frozen=True)
class Window:
    """Geometry of a layer that walks a window over an image; all sizes in pixels."""

    in_width: int
    in_height: int
    out_width: int
    out_height: int
    kernel_width: int = 1
    kernel_height: int = 1
    stride: int = 1
    pad_left: int = 0
    pad_top: int = 0

    @property
    def positions(self) -> int:
        """Output pixels."""
        return self.out_width * self.out_height


@dataclass(frozen=True)
class Transfer:
    """Activation stream to buffer (``load``) or buffer to stream; ``count`` words."""

    name: str
    load: bool
    address: int
    count: int


@dataclass(frozen=True, eq=False)
class Convolution:
    """A convolution or linear layer over the basis.

    ``coefficients`` is int8 [chunks, tiles, columns, kernels]. ``multiplier``, ``bias``,
    ``shift`` are int64 [kernels]. ``stop`` is bool [kernels]: a negative code of that kernel may
    end its conversion after the sign, since its output is then certainly zero. The other fields
    are those of the descriptor (golden.chip.descriptor).
    """

    name: str
    window: Window
    source: int
    destination: int
    source_pixel_words: int
    destination_pixel_words: int
    block_words: int
    blocks: int
    chunk_words: int
    relu: bool
    stream: bool
    resolution: int
    reference: int
    coefficients: NDArray[np.int8]
    multiplier: NDArray[np.int64]
    bias: NDArray[np.int64]
    shift: NDArray[np.int64]
    stop: NDArray[np.bool_]
    row_groups: int = 1
    group_granules: int = 0   #: granules enabled per product; 0 stands for all of them
    averaging: int = 0        #: a code is the mean of 2**averaging conversions

    @property
    def chunks(self) -> int:
        """Chunks of a kernel, each one load of the row latches."""
        return self.coefficients.shape[0]

    @property
    def kernels(self) -> int:
        """Output channels."""
        return self.coefficients.shape[3]

    @cached_property
    def columns(self) -> int:
        """Columns converted per product in stream mode: up to the last with a coefficient."""
        used = np.flatnonzero(self.coefficients.any(axis=(0, 1, 3)))
        return int(used[-1]) + 1 if used.size else 1

    @property
    def window_words(self) -> int:
        """Words of the whole window, over all chunks."""
        window = self.window
        return self.blocks * window.kernel_width * window.kernel_height * self.block_words


@dataclass(frozen=True)
class Elementwise:
    """Residual add or pooling, four channels of a word at a time (golden.chip.descriptor)."""

    name: str
    opcode: Opcode
    window: Window
    source: int
    destination: int
    source_pixel_words: int
    destination_pixel_words: int
    channel_words: int
    relu: bool
    multiplier: int
    bias: int
    shift: int
    second_source: int = 0
    second_pixel_words: int = 0
    second_stride: int = 1
    second_width: int = 0
    second_offset: int = 0
    second_words: int = 0
    second_multiplier: int = 0


@dataclass(frozen=True)
class Calibration:
    """A setting of each tile, made of codes of known rows (golden.chip.descriptor.Measure).

    ``words`` words of the activation buffer from ``source`` on are loaded into the row latches and
    columns 0 to ``columns`` - 1 converted, each code the mean of 2**averaging conversions. The
    offset is that of an empty sum: no row is driven and no column selected.
    """

    name: str
    measure: Measure
    source: int
    words: int
    columns: int
    resolution: int
    reference: int
    averaging: int = 0

    def convolution(self, chip: Chip) -> Convolution:
        """The convolution that does the same with rows and columns: one position, one kernel."""
        coefficients = np.zeros((1, chip.tiles, chip.array.columns, 1), np.int8)
        coefficients[:, :, self.columns - 1] = 1
        none = np.zeros(1, np.int64)
        return Convolution(
            self.name, Window(1, 1, 1, 1), self.source, 0, self.words, 1, self.words, 1,
            self.words, False, True, self.resolution, self.reference, coefficients, none, none,
            none, np.zeros(1, bool), averaging=self.averaging)


Layer = Transfer | Convolution | Elementwise | Calibration


@dataclass(frozen=True, eq=False)
class Settings:
    """What each tile is set to by the host, or by calibration: int64 [..., tiles].

    ``offsets`` subtracted from codes; ``gains`` in steps of ``2**-GAIN_FRACTION_BITS``;
    ``gain_references`` sums of codes.
    """

    offsets: NDArray[np.int64]
    gains: NDArray[np.int64]
    gain_references: NDArray[np.int64]


#: Arrays of a program that need not be there.
_OPTIONAL = ("levels", "offsets", "gains", "gain_references")


@dataclass(frozen=True, eq=False)
class Images:
    """What the host writes into the chip before it starts, as unsigned integers.

    ``program`` uint32 [words]; ``constants`` uint64 [entries], shift and multiplier in the upper
    word, bias in the lower; ``coefficients`` per tile, uint64 [words], each
    ``Accumulator.word_bits`` wide; ``weights`` int8 [tiles, rows, columns]; ``corrections`` and,
    where the reference tables are in use, ``levels`` int64 [tiles, 2**bits], indexed by the code
    modulo 2**bits.
    """

    program: NDArray[np.uint32]
    constants: NDArray[np.uint64]
    coefficients: tuple[NDArray[np.uint64], ...]
    weights: NDArray[np.int8]
    corrections: NDArray[np.int64]
    levels: NDArray[np.int64] | None


def merge_entries(coefficients: NDArray[np.int8], polarity: bool, planes: int
                  ) -> list[tuple[int, NDArray[np.bool_], list[tuple[int, NDArray[np.bool_]]]]]:
    """Merge jobs of one chunk on one tile: (kernel, negative columns, [(plane, columns)]).

    ``coefficients`` is int8 [columns, kernels]. Kernels and planes without a set bit are left
    out. With ``polarity`` planes are of the magnitude; without, of the two's complement, whose
    top plane counts negative.
    """
    entries = []
    values = coefficients.astype(np.int64)
    for kernel in range(coefficients.shape[1]):
        column = values[:, kernel]
        if not column.any():
            continue
        negative = column < 0 if polarity else np.zeros(column.shape, bool)
        digits = np.abs(column) if polarity else column & ((1 << planes) - 1)
        selected = [(plane, (digits >> plane & 1).astype(bool)) for plane in range(planes)]
        entries.append((kernel, negative, [(p, mask) for p, mask in selected if mask.any()]))
    return entries


def _mask_words(mask: NDArray[np.bool_], word_bits: int, words: int) -> list[int]:
    value = sum(1 << int(i) for i in np.flatnonzero(mask))
    return [value >> (word_bits * i) & ((1 << word_bits) - 1) for i in range(words)]


def _merge_image(chip: Chip, layer: Convolution, tile: int) -> list[int]:
    """Entries of every chunk: header, sign mask (with polarity), a mask per set plane."""
    planes, word_bits = chip.planes, chip.accumulator.word_bits
    words: list[int] = []
    for chunk in range(layer.chunks):
        entries = merge_entries(layer.coefficients[chunk, tile], chip.array.polarity, planes)
        if not entries:
            words.append(1)  # a void entry: last of its product, no plane
        for i, (kernel, negative, selected) in enumerate(entries):
            header = int(i == len(entries) - 1) | int(layer.stop[kernel]) << 1
            header |= sum(1 << (2 + plane) for plane, _ in selected)
            words.append(header | kernel << (2 + planes))
            if chip.array.polarity:
                words += _mask_words(negative, word_bits, chip.mask_words)
            for _, mask in selected:
                words += _mask_words(mask, word_bits, chip.mask_words)
    return words


def _stream_image(chip: Chip, layer: Convolution, tile: int) -> list[int]:
    """A word per (chunk, column, group of kernels), lane 0 in the lowest bits."""
    lanes, bits = chip.accumulator.lanes, chip.accumulator.coefficient_bits
    groups = -(-layer.kernels // lanes)
    table = np.zeros((layer.chunks, layer.columns, groups * lanes), np.int64)
    table[:, :, :layer.kernels] = layer.coefficients[:, tile, :layer.columns]
    digits = (table & ((1 << bits) - 1)).reshape(-1, lanes).astype(object)
    return [sum(int(d) << (bits * lane) for lane, d in enumerate(row)) for row in digits]


def _check_range(what: str, values: NDArray[np.int64], low: int, high: int) -> None:
    for value in (values.min(initial=low), values.max(initial=low)):
        if not low <= value <= high:
            raise ProgramError(f"{what} must be {low} to {high}, not {value}")


@dataclass(frozen=True, eq=False)
class Program:
    """A network on a chip.

    Parameters
    ----------
    chip
        Configuration the program was compiled for.
    weights
        int8 [tiles, rows, columns], written to the macros once.
    corrections
        int64 [tiles, 2**converter bits], added to a code; indexed by the code modulo 2**bits.
        int64 zeros for a converter that needs no compensation.
    layers
        In order of execution. The first is a load, the last a store.
    input_shape
        (height, width, channels) of an image.
    input_scale, output_scale
        Real value of one step of an input and of an output activation.
    outputs
        Values of the last layer (classes); the stored words are padded to whole words.
    tiles
        Tiles that it uses, in rising order; None stands for all of the chip's. No other has
        coefficients.
    levels
        Reference tables, int64 [tiles, 2**converter bits]: the level of the DAC that a trial code
        stands for, in steps of ``2**-LEVEL_FRACTION_BITS`` codes, indexed by the code modulo
        2**bits; must not fall from a code to the next. None: every code stands for itself.
    offsets, gains, gain_references
        Settings of the tiles before the program runs, int64 [tiles]: what is subtracted from each
        code; the drift gain in steps of ``2**-GAIN_FRACTION_BITS``; the sum that a calibration
        of the gain divides. None: 0, one, 0.
    """

    chip: Chip
    weights: NDArray[np.int8]
    corrections: NDArray[np.int64]
    layers: tuple[Layer, ...]
    input_shape: tuple[int, int, int]
    input_scale: float
    output_scale: float
    outputs: int
    network: str = "network"
    tiles: tuple[int, ...] | None = None
    levels: NDArray[np.int64] | None = None
    offsets: NDArray[np.int64] | None = None
    gains: NDArray[np.int64] | None = None
    gain_references: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        chip = self.chip
        for name, shape in (
                ("weights", (chip.tiles, chip.array.rows, chip.array.columns)),
                ("corrections", (chip.tiles, 1 << chip.converter.bits))):
            if getattr(self, name).shape != shape:
                raise ProgramError(f"program {name} must have shape {shape}, "
                                   f"not {getattr(self, name).shape}")
        if self.tiles is not None and (not self.tiles or list(self.tiles) != sorted(
                set(self.tiles) & set(range(chip.tiles)))):
            raise ProgramError(f"program tiles must be rising numbers out of 0 to "
                               f"{chip.tiles - 1}, at least one, not {self.tiles!r}")
        limit = 1 << (chip.converter.correction_bits - 1)
        _check_range("program corrections", self.corrections, -limit, limit - 1)
        if self.levels is not None:
            self._check_levels(self.levels)
        half = 1 << (chip.converter.bits - 1)
        for name, low, high in (
                ("offsets", -half, half - 1), ("gains", 0, (1 << GAIN_BITS) - 1),
                ("gain_references", 0, (1 << chip.calibration_bits) - 1)):
            setting = getattr(self, name)
            if setting is None:
                continue
            if setting.shape != (chip.tiles,):
                raise ProgramError(f"program {name} must have shape {(chip.tiles,)}, "
                                   f"not {setting.shape}")
            _check_range(f"program {name}", setting, low, high)
        for layer in self.layers:
            if isinstance(layer, Convolution):
                self._check_convolution(layer)
            elif isinstance(layer, Calibration):
                self._check_calibration(layer)
        self._check_order()

    def _check_calibration(self, layer: Calibration) -> None:
        chip = self.chip
        for name, low, high in (
                ("words", 1, chip.array.row_words), ("columns", 1, chip.array.columns),
                ("resolution", chip.converter.minimum_bits, chip.converter.bits),
                ("reference", 1, (1 << chip.reference_bits) - 1),
                ("averaging", 0, (1 << FIELDS["averaging"].width) - 1)):
            value = getattr(layer, name)
            if not low <= value <= high:
                raise ProgramError(f"layer {layer.name!r}: {name} must be {low} to {high}, "
                                   f"not {value}")
        if layer.measure is Measure.OFFSET and layer.columns != 1:
            raise ProgramError(f"layer {layer.name!r}: columns must be 1 where the offset is "
                               f"measured, not {layer.columns}")

    def _check_order(self) -> None:
        """A setting that the program makes is made before it is used, in every run alike."""
        used: set[Measure] = set()
        made: set[Measure] = set()
        for layer in self.layers:
            if isinstance(layer, Calibration):
                if layer.measure in used and layer.measure not in made:
                    raise ProgramError(f"layer {layer.name!r} sets the "
                                       f"{layer.measure.name.lower()} only after a layer has used "
                                       "it, so the next run would begin with it")
                made.add(layer.measure)
                used |= {Measure.REFERENCE} if layer.measure is Measure.GAIN else set()
                used |= {Measure.OFFSET} if layer.measure is not Measure.OFFSET else set()
            elif isinstance(layer, Convolution):
                used |= {Measure.OFFSET, Measure.GAIN}

    @property
    def used_tiles(self) -> tuple[int, ...]:
        """The tiles that work for this program, in rising order."""
        return tuple(range(self.chip.tiles)) if self.tiles is None else self.tiles

    def _check_levels(self, levels: NDArray[np.int64]) -> None:
        converter = self.chip.converter
        if levels.shape != self.corrections.shape:
            raise ProgramError(f"program levels must have shape {self.corrections.shape}, "
                               f"not {levels.shape}")
        limit = 1 << (converter.level_bits - 1)
        _check_range("program levels", levels, -limit, limit - 1)
        half = 1 << (converter.bits - 1)
        falls = np.argwhere(np.diff(np.roll(levels, half, axis=1)) < 0)
        if falls.size:
            tile, index = falls[0].tolist()
            raise ProgramError(f"program levels of tile {tile} must not fall, as they do from "
                               f"code {index - half} to code {index - half + 1}")

    def _check_convolution(self, layer: Convolution) -> None:
        chip, who = self.chip, f"layer {layer.name!r}"
        if layer.coefficients.shape[1:3] != (chip.tiles, chip.array.columns):
            raise ProgramError(f"{who}: coefficients must be [chunks, {chip.tiles}, "
                               f"{chip.array.columns}, kernels], not {layer.coefficients.shape}")
        others = sorted(set(range(chip.tiles)) - set(self.used_tiles))
        if layer.coefficients[:, others].any():
            raise ProgramError(f"{who}: coefficients must be zero on tiles {others}, which the "
                               "program does not use")
        limit = chip.accumulator.coefficient_limit
        if np.abs(layer.coefficients.astype(int)).max(initial=0) > limit:
            raise ProgramError(f"{who}: coefficients must be -{limit} to {limit}")
        limits = {
            "kernels": (layer.kernels, 1, chip.accumulator.kernels),
            "chunks x row groups": (layer.chunks * layer.row_groups, 1,
                                    chip.accumulator.products),
            "chunk_words": (layer.chunk_words, 1, chip.array.row_words),
            "chunks": (layer.chunks, -(-layer.window_words // layer.chunk_words),
                       -(-layer.window_words // layer.chunk_words)),
            "resolution": (layer.resolution, chip.converter.minimum_bits, chip.converter.bits),
            "reference": (layer.reference, 1, (1 << chip.reference_bits) - 1),
            "averaging": (layer.averaging, 0, AVERAGING_LIMIT),
            "group_granules": (layer.group_granules, 0, chip.array.granules),
        }
        for name, (value, low, high) in limits.items():
            if not low <= value <= high:
                raise ProgramError(f"{who}: {name} must be {low} to {high}, not {value}")
        for name in ("multiplier", "bias", "shift", "stop"):
            if getattr(layer, name).shape != (layer.kernels,):
                raise ProgramError(f"{who}: {name} must have one value per kernel")
        if layer.averaging and not layer.stream and layer.stop.any():
            raise ProgramError(f"{who}: stop must be False for every kernel where averaging is "
                               f"not 0, but is True for kernel {int(layer.stop.argmax())}")
        sizes = chip.requantizer
        bias = 1 << (sizes.bias_bits - 1)
        _check_range(f"{who}: multiplier", layer.multiplier, 0, (1 << sizes.multiplier_bits) - 1)
        _check_range(f"{who}: bias", layer.bias, -bias, bias - 1)
        _check_range(f"{who}: shift", layer.shift, 0, (1 << sizes.shift_bits) - 1)

    def images(self) -> Images:
        """Memory images; ProgramError, naming the memory, if one is too small."""
        chip = self.chip
        program: list[int] = []
        constants: list[int] = []
        memories: list[list[int]] = [[] for _ in range(chip.tiles)]
        for layer in self.layers:
            if isinstance(layer, Transfer):
                where = "destination" if layer.load else "source"
                opcode = Opcode.LOAD if layer.load else Opcode.STORE
                program += encode(opcode, count=layer.count, **{where: layer.address})
                continue
            if isinstance(layer, Calibration):
                program += self._calibration(layer)
                continue
            window = {f.name: getattr(layer.window, f.name) for f in fields(Window)}
            common = dict(window, relu=int(layer.relu), source=layer.source,
                          destination=layer.destination,
                          source_pixel_words=layer.source_pixel_words,
                          destination_pixel_words=layer.destination_pixel_words)
            if isinstance(layer, Elementwise):
                names = ["channel_words", "multiplier", "bias", "shift"]
                if layer.opcode is Opcode.ADD:
                    names += [n for n in (f.name for f in fields(layer))
                              if n.startswith("second_")]
                program += encode(layer.opcode, **common,
                                  **{name: getattr(layer, name) for name in names})
                continue
            program += encode(
                Opcode.CONVOLVE, **common, stream=int(layer.stream),
                resolution=layer.resolution, averaging=layer.averaging,
                block_words=layer.block_words,
                blocks=layer.blocks, chunk_words=layer.chunk_words, chunks=layer.chunks,
                row_groups=layer.row_groups,
                group_granules=layer.group_granules or chip.array.granules,
                kernels=layer.kernels, columns=layer.columns, constants=len(constants),
                coefficients=len(memories[0]), reference=layer.reference)
            bias_mask = (1 << chip.requantizer.bias_bits) - 1
            for m, b, s in zip(layer.multiplier, layer.bias, layer.shift, strict=True):
                upper = int(m) | int(s) << chip.requantizer.multiplier_bits
                constants.append(upper << 32 | (int(b) & bias_mask))
            pack = _stream_image if layer.stream else _merge_image
            packed = [pack(chip, layer, tile) for tile in range(chip.tiles)]
            longest = max(map(len, packed))
            for memory, words in zip(memories, packed, strict=True):
                memory += words + [0] * (longest - len(words))
        program += encode(Opcode.END)
        for what, needed, there in (
                ("program", len(program), chip.memories.program_words),
                ("requantizer constant", len(constants), chip.memories.constant_entries),
                ("coefficient", len(memories[0]), chip.memories.coefficient_words)):
            if needed > there:
                raise ProgramError(f"the {what} memory of chip {chip.name!r} has {there} "
                                   f"entries; the program needs {needed}")
        return Images(np.array(program, np.uint32), np.array(constants, np.uint64),
                      tuple(np.array(m, np.uint64) for m in memories),
                      self.weights, self.corrections, self.levels)

    def _calibration(self, layer: Calibration) -> tuple[int, ...]:
        chip = self.chip
        return encode(
            Opcode.CALIBRATE, **asdict(Window(1, 1, 1, 1)), relu=0, measure=int(layer.measure),
            stream=1, resolution=layer.resolution, averaging=layer.averaging,
            source=layer.source, destination=0, source_pixel_words=layer.words,
            destination_pixel_words=1, block_words=layer.words, blocks=1,
            chunk_words=layer.words, chunks=1, row_groups=1, kernels=1, columns=layer.columns,
            group_granules=0 if layer.measure is Measure.OFFSET else chip.array.granules,
            constants=0, coefficients=0, reference=layer.reference)

    def settings(self) -> "Settings":
        """Settings of the tiles before the program runs."""
        zero = np.zeros(self.chip.tiles, np.int64)
        return Settings(
            zero if self.offsets is None else self.offsets,
            zero + (1 << GAIN_FRACTION_BITS) if self.gains is None else self.gains,
            zero if self.gain_references is None else self.gain_references)

    @property
    def level_table(self) -> NDArray[np.int64]:
        """`levels`, written out where every code stands for itself."""
        if self.levels is not None:
            return self.levels
        size = self.corrections.shape[1]
        code = (np.arange(size) + size // 2) % size - size // 2
        return np.tile(code << LEVEL_FRACTION_BITS, (self.chip.tiles, 1))

    def input_words(self) -> int:
        """Words of one image in the activation stream."""
        height, width, channels = self.input_shape
        return height * width * -(-channels // ACTIVATIONS_PER_WORD)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the program to ``path`` (safetensors), whole or not at all."""
        tensors: dict[str, NDArray[Any]] = {"weights": self.weights,
                                            "corrections": self.corrections}
        for name in _OPTIONAL:
            if getattr(self, name) is not None:
                tensors[name] = getattr(self, name)
        described = []
        for i, layer in enumerate(self.layers):
            entry: dict[str, Any] = {"kind": type(layer).__name__}
            for f in fields(layer):
                value = getattr(layer, f.name)
                if isinstance(value, np.ndarray):
                    tensors[f"{i}.{f.name}"] = np.ascontiguousarray(value)
                elif isinstance(value, Window):
                    entry[f.name] = {g.name: getattr(value, g.name) for g in fields(Window)}
                else:
                    entry[f.name] = value
            described.append(entry)
        header = json.dumps({
            "format": 2, "chip": self.chip.name, "chip_hash": self.chip.hash,
            "layers": described, "input_shape": self.input_shape,
            "input_scale": self.input_scale, "output_scale": self.output_scale,
            "outputs": self.outputs, "network": self.network, "tiles": self.tiles}, sort_keys=True)
        # One entry: the order of several in the file would differ from run to run.
        metadata = {"crossloom": f"{_digest(header, tensors)} {header}"}
        data = serialise(tensors, metadata=metadata)
        target = Path(path)
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            temporary.write_bytes(data)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str], chip: Chip) -> "Program":
        """Read a program for ``chip``; ProgramError if it is damaged or for another chip."""
        try:
            with safe_open(path, framework="numpy") as stream:
                metadata = stream.metadata() or {}
                tensors = {name: stream.get_tensor(name) for name in stream.keys()}
            digest, text = metadata["crossloom"].split(" ", 1)
            header = json.loads(text)
        except FileNotFoundError:
            raise ProgramError(f"no program file {str(path)!r}") from None
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise ProgramError(f"{str(path)!r} is not a program file: {error}") from None
        if digest != _digest(text, tensors):
            raise ProgramError(f"{str(path)!r} is damaged: its checksum does not match")
        if header.get("format") != 2:
            raise ProgramError(f"{str(path)!r} has format {header.get('format')!r}, not 2")
        if header["chip_hash"] != chip.hash:
            raise ProgramError(f"{str(path)!r} was compiled for chip {header['chip']!r} "
                               f"({header['chip_hash']}), not for {chip.name!r} ({chip.hash})")
        kinds = {"Transfer": Transfer, "Convolution": Convolution, "Elementwise": Elementwise,
                 "Calibration": Calibration}
        layers = []
        for i, entry in enumerate(header["layers"]):
            values = {k: v for k, v in entry.items() if k != "kind"}
            if "window" in values:
                values["window"] = Window(**values["window"])
            if "opcode" in values:
                values["opcode"] = Opcode(values["opcode"])
            if "measure" in values:
                values["measure"] = Measure(values["measure"])
            values.update({name.split(".", 1)[1]: array for name, array in tensors.items()
                           if name.startswith(f"{i}.")})
            layers.append(kinds[entry["kind"]](**values))
        return cls(chip, tensors["weights"], tensors["corrections"], tuple(layers),
                   tuple(header["input_shape"]), header["input_scale"], header["output_scale"],
                   header["outputs"], header["network"],
                   None if header["tiles"] is None else tuple(header["tiles"]),
                   **{name: tensors.get(name) for name in _OPTIONAL})


def _digest(header: str, tensors: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name}:{array.dtype.str}:{array.shape}:".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
