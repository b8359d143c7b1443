"""The golden run: a program on the macro's model, bit for bit what the chip computes."""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from .addresses import (
    check_addresses, convolution_reads, elementwise_reads, layer_writes, second_reads,
)
from .calibration import calibrated
from .chip import ACTIVATIONS_PER_WORD, PRODUCT_COUNT_BITS
from .chip.descriptor import Measure, Opcode
from .jobs import product_jobs
from .macro import Macro
from .products import ProductEngine
from .program import Calibration, Convolution, Elementwise, Program, Settings, Transfer
from .recorder import Recorder
from .trace import LayerStatistics, LayerTrace

__all__ = ["Execution", "execute"]

#: Bytes of activation buffers that are simulated at once.
_BUFFER_BYTES = 1 << 28


@dataclass(frozen=True, eq=False)
class Execution:
    """Result of `execute`.

    ``outputs`` int8 [batch, outputs]; ``stored`` uint32 [batch, words], the whole activation
    stream out; ``settings`` [batch, tiles] of the tiles at the end; ``layers`` a trace per layer
    if asked for; ``statistics`` one per convolution if asked for.
    """

    outputs: NDArray[np.int8]
    stored: NDArray[np.uint32]
    settings: Settings
    layers: tuple[LayerTrace, ...] | None
    statistics: tuple[LayerStatistics, ...] | None


def execute(program: Program, macro: Macro, images: NDArray[np.int8], seed: int,
            first_image: int = 0, *, tenant: int = 0, trace: bool = False, statistics: bool = False
            ) -> Execution:
    """Run ``program`` once per image.

    Parameters
    ----------
    program
        What to run.
    macro
        The specimen, holding the program's weights.
    images
        int8 [batch, height, width, channels], of the program's input shape.
    seed
        Seed of the noise, 0 to 2**64 - 1.
    first_image
        Index of ``images[0]`` in the run: what the noise of an image is addressed by. A batch
        cut in two gives the same numbers if the second call says where it starts.
    tenant
        Which of the chip's tenants runs it: what is addressed by product has it in the product
        number's highest bits, so the noise is another for each.
    trace
        Keep what every layer computed (memory: a few bytes per conversion and image).
    statistics
        Count the codes of every convolution.

    Raises ValueError if an argument does not fit the program, or if the layers disagree with the
    activation buffer (`golden.addresses.check_addresses`).
    """
    _check(program, macro, images, seed, first_image)
    if not 0 <= tenant < program.chip.tenants:
        raise ValueError(f"tenant must be 0 to {program.chip.tenants - 1}, not {tenant!r}")
    check_addresses(program)
    words = _stream_words(program, images)
    buffer_bytes = 4 * (program.chip.memories.activation_words + 1)
    step = max(1, _BUFFER_BYTES // buffer_bytes)
    runs = [_Run(program, macro, words[start:start + step], seed, first_image + start, tenant,
                 trace, statistics)
            for start in range(0, max(1, len(images)), step)]
    stored = np.concatenate([run.stored for run in runs])
    outputs = stored.view(np.int8)[:, :program.outputs]
    return Execution(
        outputs, stored.view(np.uint32),
        Settings(*(np.concatenate([getattr(run.settings, f.name) for run in runs])
                   for f in fields(Settings))),
        tuple(map(LayerTrace.join, zip(*(run.traces for run in runs), strict=True)))
        if trace else None,
        tuple(map(LayerStatistics.add, zip(*(run.counts for run in runs), strict=True)))
        if statistics else None)


def _check(program: Program, macro: Macro, images: NDArray[np.int8], seed: int,
           first_image: int) -> None:
    if macro.chip.hash != program.chip.hash:
        raise ValueError(f"macro is of chip {macro.chip.name!r} ({macro.chip.hash}), the program "
                         f"of {program.chip.name!r} ({program.chip.hash})")
    if not np.array_equal(macro.weights, program.weights):
        raise ValueError("macro must hold the program's weights")
    if images.dtype != np.int8 or images.shape[1:] != program.input_shape:
        raise ValueError(f"images must be int8 [batch, {', '.join(map(str, program.input_shape))}"
                         f"], not {images.dtype} {list(images.shape)}")
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed must be 0 to 2**64 - 1, not {seed!r}")
    if not 0 <= first_image < 1 << 63:
        raise ValueError(f"first_image must be 0 to 2**63 - 1, not {first_image!r}")
    transfers = [layer for layer in program.layers if isinstance(layer, Transfer)]
    loaded = sum(layer.count for layer in transfers if layer.load)
    if loaded != program.input_words():
        raise ValueError(f"program loads {loaded} words, but an image has "
                         f"{program.input_words()}")
    stored = sum(layer.count for layer in transfers if not layer.load)
    if stored * ACTIVATIONS_PER_WORD < program.outputs:
        raise ValueError(f"program stores {stored} words, too few for its {program.outputs} "
                         "outputs")


def _stream_words(program: Program, images: NDArray[np.int8]) -> NDArray[np.int32]:
    """Activation stream of each image: int32 [batch, words], channels padded with zeros."""
    height, width, channels = program.input_shape
    padded = -(-channels // ACTIVATIONS_PER_WORD) * ACTIVATIONS_PER_WORD
    stream = np.zeros((len(images), height, width, padded), np.int8)
    stream[..., :channels] = images
    return stream.reshape(len(images), height * width * padded).view(np.dtype("<i4"))


class _Run:
    """One pass over the layers with a batch whose activation buffers fit in memory.

    `memory` int32 [batch, activation_words + 1] is the activation buffer; its last word stays
    zero and is what the read index -1 finds.
    """

    def __init__(self, program: Program, macro: Macro, stream: NDArray[np.int32], seed: int,
                 first_image: int, tenant: int, trace: bool, statistics: bool) -> None:
        self.program, self.macro, self.seed = program, macro, seed
        self.image = np.arange(first_image, first_image + len(stream))
        self.memory = np.zeros((len(stream), program.chip.memories.activation_words + 1),
                               np.dtype("<i4"))
        self.trace, self.statistics = trace, statistics
        self.traces: list[LayerTrace] = []
        self.counts: list[LayerStatistics] = []
        self.products = tenant << PRODUCT_COUNT_BITS
        stored = []
        shape = len(stream), program.chip.tiles
        self.settings = Settings(*(np.broadcast_to(getattr(program.settings(), f.name), shape)
                                   for f in fields(Settings)))
        for layer in program.layers:
            if isinstance(layer, Transfer):
                span = slice(layer.address, layer.address + layer.count)
                if layer.load:
                    self.memory[:, span] = stream[:, :layer.count]
                    stream = stream[:, layer.count:]
                else:
                    stored.append(self.memory[:, span].copy())
                if trace:
                    data = self.memory[:, span].copy()
                    self.traces.append(LayerTrace(
                        layer.name, np.arange(span.start, span.stop), data.view(np.uint32)))
            elif isinstance(layer, Convolution):
                self._convolution(layer)
            elif isinstance(layer, Calibration):
                self._calibration(layer)
            else:
                self._elementwise(layer)
        self.stored = np.concatenate(stored, axis=1)

    def _write(self, layer: Convolution | Elementwise, values: NDArray[np.int8],
               **traced: object) -> None:
        """Write int8 [batch, positions, channels], the last word filled up with zeros."""
        address = layer_writes(layer)
        channels = np.zeros((*values.shape[:2], address.shape[1] * ACTIVATIONS_PER_WORD), np.int8)
        channels[..., :values.shape[2]] = values
        data = channels.view(np.dtype("<i4")).reshape(len(values), address.size)
        self.memory[:, address.reshape(-1)] = data
        if self.trace:
            self.traces.append(LayerTrace(layer.name, address.reshape(-1), data.view(np.uint32),
                                          **traced))

    def _convolution(self, layer: Convolution) -> None:
        batch, positions = len(self.image), layer.window.positions
        chip = self.program.chip
        jobs = [[product_jobs(chip, layer, chunk, tile) for tile in range(chip.tiles)]
                for chunk in range(layer.chunks)]
        engine = ProductEngine(self.program, self.macro, layer, jobs, self.seed)
        recorder = Recorder(layer, jobs, self.program.used_tiles, batch, self.products,
                            self.trace, self.statistics)
        sums = np.empty((batch, positions, layer.kernels), np.int64)
        reads = convolution_reads(layer)
        flat = sums.reshape(batch * positions, layer.kernels)
        for start in range(0, len(flat), engine.block):
            image, position = np.divmod(
                np.arange(start, min(start + engine.block, len(flat))), positions)
            words = self.memory[image[:, None, None], reads[position]]
            flat[start:start + len(image)] = engine.sums(
                words.view(np.int8), self.image[image],
                self.products + position * (layer.chunks * layer.row_groups),
                slice(start, start + len(image)), recorder, self._settings(image))
        scaled = (sums * layer.multiplier + layer.bias + (1 << layer.shift >> 1)) >> layer.shift
        outputs = _saturate(scaled, layer.relu)
        if self.trace:
            self._write(layer, outputs, conversions=recorder.conversions(), sums=sums,
                        outputs=outputs, flagged=recorder.flagged())
        else:
            self._write(layer, outputs)
        if self.statistics:
            self.counts.append(LayerStatistics(layer.name, recorder.histogram, recorder.stops))
        self.products += positions * layer.chunks * layer.row_groups

    def _settings(self, image: NDArray[np.int64]) -> Settings:
        """Settings of the tiles in some of the batch's images."""
        return Settings(*(getattr(self.settings, f.name)[image] for f in fields(Settings)))

    def _calibration(self, layer: Calibration) -> None:
        chip, offset = self.program.chip, layer.measure is Measure.OFFSET
        same = layer.convolution(chip)
        jobs = [[product_jobs(chip, same, 0, tile) for tile in range(chip.tiles)]]
        engine = ProductEngine(self.program, self.macro, same, jobs, self.seed, not offset)
        recorder = Recorder(same, jobs, self.program.used_tiles, len(self.image), self.products,
                            True, False)
        settings = self.settings
        if offset:  # the offset is measured without the one before
            settings = replace(settings, offsets=np.zeros_like(settings.offsets))
        words = np.take(self.memory, convolution_reads(same)[0], axis=1)
        engine.sums(words.view(np.int8), self.image, np.full(len(self.image), self.products),
                    slice(0, len(self.image)), recorder, settings)
        found = recorder.conversions()
        tiles = list(self.program.used_tiles)
        shape = len(self.image), len(tiles), layer.columns
        measured, failed = calibrated(
            layer, Settings(*(getattr(self.settings, f.name)[:, tiles] for f in fields(Settings))),
            found.code.reshape(shape), found.compensated.reshape(shape))
        after = {f.name: getattr(self.settings, f.name).copy() for f in fields(Settings)}
        for name, values in after.items():
            values[:, tiles] = getattr(measured, name)
        self.settings = Settings(**after)
        if self.trace:
            flagged = np.zeros((len(self.image), chip.tiles), bool)
            flagged[:, tiles] = failed
            self.traces.append(LayerTrace(
                layer.name, np.zeros(0, np.int64), np.zeros((len(self.image), 0), np.uint32),
                conversions=found, settings=self.settings, flagged=flagged))
        self.products += 1

    def _channels(self, reads: NDArray[np.int64]) -> NDArray[np.int64]:
        """Channels of the words that ``reads`` [..., words] names: int64 [batch, ..., channels]."""
        # Unlike indexing, `take` gives a contiguous array, whose words can be viewed as bytes.
        return np.take(self.memory, reads, axis=1).view(np.int8).astype(np.int64)

    def _elementwise(self, layer: Elementwise) -> None:
        reads = elementwise_reads(layer)
        values = self._channels(reads)
        if layer.opcode is Opcode.MAX_POOL:
            padding = np.iinfo(np.int8).min
            outside = np.repeat(reads < 0, ACTIVATIONS_PER_WORD, axis=2)
            result = np.where(outside, padding, values).max(axis=2)
        else:
            result = values.sum(axis=2) * layer.multiplier
            if layer.opcode is Opcode.ADD:
                result += self._channels(second_reads(layer)) * layer.second_multiplier
            result = (result + layer.bias + (1 << layer.shift >> 1)) >> layer.shift
        self._write(layer, _saturate(result, layer.relu))


def _saturate(values: NDArray[np.int64], relu: bool) -> NDArray[np.int8]:
    return np.clip(values, 0 if relu else -128, 127).astype(np.int8)
