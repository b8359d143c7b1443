"""Four designs that compute the same network: clocks, events and area of each.

* ``basis``: the chip, its crossbars written once with basis vectors (BasisN, Eldebiky et al.,
  ICCAD 2024; method and numbers are our reconstruction).
* ``reprogramming``: the same crossbars, plain columns, rewritten whenever other weights are due.
* ``resident``: as many tiles as hold all weights at once; those of a layer work side by side.
* ``digital``: 8-bit multiply-accumulate units, as many as do the published macro's operations per
  second in every tile's stead.

The same rules hold for all four: tensors that do not fit the activation buffer travel to external
memory and back; weights or coefficients that do not fit on the chip come through the bus for
every image; products of two activations are digital work.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil

from ..chip import ACTIVATION_BITS, ACTIVATIONS_PER_WORD, WORD_BITS, Chip
from ..chip.descriptor import Opcode
from ..program import Elementwise, Transfer, Window
from ..timing import FETCH_CLOCKS
from ..timing_elementwise import elementwise_clocks
from ..timing_transfer import transfer_clocks
from .cuts import Cut, cut_layer, partial_sums
from .density import DENSE, Density
from .events import Events, cut_events, energy_by_block
from .parameters import AreaParameters, EnergyParameters, WriteParameters
from .shapes import AddShape, ConvolutionShape, LayerShape, MatmulShape, Network, PoolShape
from .timing import CutTiming, Mode, cut_timing, fastest_timing

__all__ = ["DEFAULTS", "DESIGNS", "LayerCost", "DesignCost", "Assumptions", "basis_design",
           "reprogramming_design", "resident_design", "digital_design", "network_costs",
           "write_clocks", "rows_written"]

#: The designs, in the order of tables and plots.
DESIGNS = ("basis", "reprogramming", "resident", "digital")


@dataclass(frozen=True)
class Assumptions:
    """All that a cost rests on beside network and chip.

    ``mode`` fixes merge or stream for every layer of the basis design; None takes the faster.
    ``resolution`` None stands for the converter's highest.
    """

    density: Density = DENSE
    energy: EnergyParameters = EnergyParameters()
    area: AreaParameters = AreaParameters()
    write: WriteParameters = WriteParameters()
    resolution: int | None = None
    mode: Mode | None = None

    def __post_init__(self) -> None:
        if self.mode is Mode.PLAIN:
            raise ValueError("Assumptions.mode must be merge, stream or None, not 'plain'")


#: Dense coefficients and every parameter's default.
DEFAULTS = Assumptions()


@dataclass(frozen=True)
class LayerCost:
    """Cost of one layer, or of one kind of overhead.

    ``clocks`` are those of the layer's descriptors, their fetch included; ``transfer_clocks``
    those of moving what does not fit the activation buffer.
    """

    name: str
    kind: str
    mode: str
    macs: int
    clocks: int
    transfer_clocks: int
    events: Events


@dataclass(frozen=True)
class DesignCost:
    """A design's cost for one image."""

    design: str
    tiles: int
    layers: tuple[LayerCost, ...]
    area: dict[str, float]
    energy: EnergyParameters

    @cached_property
    def clocks(self) -> int:
        """Clocks from the first word in to the last word out."""
        return sum(layer.clocks + layer.transfer_clocks for layer in self.layers)

    @cached_property
    def events(self) -> Events:
        """Events of all layers."""
        return sum((layer.events for layer in self.layers), Events())

    @property
    def seconds(self) -> float:
        """Latency of one image."""
        return self.clocks / (self.energy.clock * 1e6)

    @cached_property
    def energy_by_block(self) -> dict[str, float]:
        """pJ of each block."""
        return energy_by_block(self.events, self.energy)

    @property
    def joules(self) -> float:
        """Energy of one image."""
        return sum(self.energy_by_block.values()) * 1e-12

    @property
    def energy_delay(self) -> float:
        """Energy-delay product, joule seconds."""
        return self.joules * self.seconds

    @property
    def square_millimetres(self) -> float:
        """Area of all blocks."""
        return sum(self.area.values()) * 1e-6


def _words(channels: int) -> int:
    return -(-channels // ACTIVATIONS_PER_WORD)


def _transferred(name: str, words: int, chip: Chip, load: bool) -> LayerCost:
    clocks = FETCH_CLOCKS + transfer_clocks(Transfer(name, load, 0, words))
    events = Events(memory_bits=words * WORD_BITS, tile_clocks=clocks * chip.tiles)
    return LayerCost(name, "load" if load else "store", "", 0, clocks, 0, events)


def _overflow(layer: LayerShape, chip: Chip) -> int:
    """Words of a layer's tensors if they do not all fit the activation buffer, else none."""
    words = -(-layer.input_values // ACTIVATIONS_PER_WORD)
    words += -(-layer.output_values // ACTIVATIONS_PER_WORD)
    return words if words > chip.memories.activation_words else 0


def _elementwise(layer: PoolShape | AddShape) -> tuple[int, Events]:
    """Clocks of the elementwise unit, with its descriptor, and events."""
    if isinstance(layer, AddShape):
        window, taps = Window(layer.width, layer.height, layer.width, layer.height), 2
        opcode = Opcode.ADD
    else:
        window = Window(layer.in_width, layer.in_height, layer.out_width, layer.out_height,
                        layer.kernel_width, layer.kernel_height, layer.stride)
        taps, opcode = layer.kernel_height * layer.kernel_width, Opcode.AVERAGE_POOL
    words = _words(layer.channels)
    record = Elementwise(layer.name, opcode, window, 0, 0, words, words, words, False, 1, 0, 0)
    done = window.positions * words
    events = Events(operands=done * taps * ACTIVATIONS_PER_WORD,
                    outputs=done * ACTIVATIONS_PER_WORD,
                    memory_bits=done * (taps + 1) * WORD_BITS)
    return FETCH_CLOCKS + elementwise_clocks(record), events


def _digital(macs: int, values: int, chip: Chip, energy: EnergyParameters) -> tuple[int, Events]:
    rate = energy.digital_rate / energy.clock * chip.tiles
    return ceil(macs / rate), Events(digital_macs=macs, memory_bits=values * ACTIVATION_BITS)


def _finished(layer: LayerShape, mode: str, clocks: int, events: Events, chip: Chip) -> LayerCost:
    """Add the transfers and the idle power of a layer that took ``clocks``."""
    overflow = _overflow(layer, chip)
    transfers = overflow + 2 * FETCH_CLOCKS if overflow else 0
    events += Events(external_bits=overflow * WORD_BITS, memory_bits=overflow * WORD_BITS,
                     tile_clocks=transfers * chip.tiles)
    return LayerCost(layer.name, layer.kind, mode, layer.macs, clocks, transfers, events)


def _without_weights(layer: LayerShape, chip: Chip, energy: EnergyParameters) -> LayerCost:
    if isinstance(layer, MatmulShape):
        values = layer.input_values + layer.output_values
        clocks, events = _digital(layer.macs, values, chip, energy)
        mode = "digital"
    else:
        clocks, events = _elementwise(layer)  # type: ignore[arg-type]
        mode = ""
    events += Events(tile_clocks=clocks * chip.tiles)
    return _finished(layer, mode, clocks, events, chip)


def _partial_adds(layer: ConvolutionShape, chip: Chip) -> tuple[int, Events]:
    """Adds of the partial sums of kernels that one descriptor cannot sum."""
    times = partial_sums(layer, chip) - 1
    if not times:
        return 0, Events()
    clocks, events = _elementwise(AddShape(layer.name, layer.kernels, layer.out_height,
                                           layer.out_width))
    return times * clocks, (events + Events(tile_clocks=clocks * chip.tiles)).times(times)


def _on_tiles(layer: ConvolutionShape, chip: Chip, timed: Callable[[Cut], CutTiming]
              ) -> tuple[LayerCost, int]:
    """A layer's passes one after the other; also the coefficient words of each tile."""
    clocks, events = _partial_adds(layer, chip)
    modes, words = set(), 0
    for cut in cut_layer(layer, chip):
        made = timed(cut)
        modes.add(str(made.mode))
        clocks += cut.count * (FETCH_CLOCKS + made.timing.clocks)
        events += cut_events(chip, cut, made).times(cut.count)
        events += Events(tile_clocks=cut.count * FETCH_CLOCKS * chip.tiles)
        words += cut.count * made.coefficient_words
    return _finished(layer, "+".join(sorted(modes)), clocks, events, chip), words


def _bus(name: str, words: int, chip: Chip, energy: EnergyParameters) -> LayerCost:
    """``words`` of 32 bits from external memory through the bus."""
    clocks = ceil(words * energy.bus)
    events = Events(external_bits=words * WORD_BITS, memory_bits=words * WORD_BITS,
                    tile_clocks=clocks * chip.tiles)
    return LayerCost(name, "bus", "", 0, clocks, 0, events)


def _ends(network: Network, chip: Chip) -> tuple[LayerCost, tuple[LayerCost, LayerCost]]:
    """The load before the layers; the store and the program's end after them."""
    channels, height, width = network.input_shape
    words = -(-network.layers[-1].output_values // ACTIVATIONS_PER_WORD)
    end = LayerCost("end", "end", "", 0, FETCH_CLOCKS, 0,
                    Events(tile_clocks=FETCH_CLOCKS * chip.tiles))
    return (_transferred("input", _words(channels) * height * width, chip, True),
            (_transferred("output", words, chip, False), end))


def _tile_area(chip: Chip, area: AreaParameters, tiles: int, kernels: int) -> dict[str, float]:
    """Area of ``tiles`` tiles whose two accumulator banks hold ``kernels`` sums each."""
    return {
        "array": tiles * chip.array.rows * chip.array.columns * area.cell,
        "driver": tiles * chip.array.columns * area.driver,
        "converter": tiles * area.converter,
        "accumulator": tiles * 2 * kernels * chip.accumulator_bits * area.accumulator,
        "control": tiles * area.control + area.shared,
    }


def _buffer_area(chip: Chip, area: AreaParameters) -> float:
    memories = chip.memories
    constants = chip.requantizer.multiplier_bits + chip.requantizer.bias_bits
    constants += chip.requantizer.shift_bits
    bits = WORD_BITS * (memories.activation_words + memories.program_words)
    return (bits + memories.constant_entries * constants) * area.memory


def _coefficient_bits(chip: Chip) -> int:
    return chip.memories.coefficient_words * chip.accumulator.word_bits * chip.tiles


def basis_design(network: Network, chip: Chip, assumptions: Assumptions = DEFAULTS
                 ) -> DesignCost:
    """The chip: every layer over the same basis, merge or stream, whichever is faster."""
    density, resolution = assumptions.density, assumptions.resolution

    def timed(cut: Cut) -> CutTiming:
        if assumptions.mode is not None:
            return cut_timing(chip, cut, assumptions.mode, density, resolution)
        return fastest_timing(chip, cut, density, resolution)

    first, last = _ends(network, chip)
    layers, words = [first], 0
    for layer in network.layers:
        if isinstance(layer, ConvolutionShape):
            made, more = _on_tiles(layer, chip, timed)
            layers.append(made)
            words += more
        else:
            layers.append(_without_weights(layer, chip, assumptions.energy))
    layers += last
    if words > chip.memories.coefficient_words:
        bus_words = words * chip.tiles * -(-chip.accumulator.word_bits // WORD_BITS)
        layers.append(_bus("coefficients", bus_words, chip, assumptions.energy))
    area = _tile_area(chip, assumptions.area, chip.tiles, chip.accumulator.kernels)
    area["accumulator"] += chip.tiles * chip.accumulator.lanes * assumptions.area.lane
    area["memory"] = _buffer_area(chip, assumptions.area) + (
        _coefficient_bits(chip) * assumptions.area.memory)
    return DesignCost("basis", chip.tiles, tuple(layers), area, assumptions.energy)


def _kernel_rows(network: Network, chip: Chip) -> int:
    """Weights as the crossbars hold them: rows filled, over the columns of all kernels."""
    return sum(cut.count * cut.kernels * cut.window_words * ACTIVATIONS_PER_WORD
               for layer in network.convolutions for cut in cut_layer(layer, chip))


def rows_written(network: Network, chip: Chip) -> int:
    """Rows that reprogramming writes for one image, one at a time in all tiles.

    A lower bound, which favours reprogramming: every row written is full, no weight is written
    twice. 0 where the crossbars hold all weights at once.
    """
    columns = sum(cut.count * cut.kernels * cut.chunks
                  for layer in network.convolutions for cut in cut_layer(layer, chip))
    if columns <= chip.tiles * chip.array.columns:
        return 0
    return -(-_kernel_rows(network, chip) // (chip.tiles * chip.array.columns))


def write_clocks(chip: Chip, assumptions: Assumptions) -> int:
    """Clocks to write one row and verify it."""
    write, energy = assumptions.write, assumptions.energy
    columns = chip.array.columns
    bits = assumptions.resolution or chip.converter.bits
    nanoseconds = {
        "row": write.pulse + write.verify,
        "converter": write.pulse + columns * bits * 1e3 / energy.clock,
        "cell": columns * (write.pulse + write.verify),
    }[write.style] * write.pulses
    return ceil(nanoseconds * energy.clock / 1e3)


def _writing(network: Network, chip: Chip, assumptions: Assumptions) -> Iterable[LayerCost]:
    """The share of one image in the writing of all weights."""
    rows = rows_written(network, chip)
    if not rows:
        return
    write, energy = assumptions.write, assumptions.energy
    weights = _kernel_rows(network, chip)
    words = -(-weights // ACTIVATIONS_PER_WORD)
    bits = assumptions.resolution or chip.converter.bits
    verify = energy.array + (energy.adder + bits * energy.converter
                             if write.style == "converter" else 0.0)
    spent = weights * write.pulses * (write.cells * write.pulse_energy + verify)
    # The next row's weights come through the bus while a row is written.
    clocks = max(rows * write_clocks(chip, assumptions), ceil(words * energy.bus))
    clocks = -(-clocks // write.images)
    yield LayerCost("write", "write", write.style, 0, clocks, 0, Events(
        external_bits=-(-words * WORD_BITS // write.images), write_energy=spent / write.images,
        tile_clocks=clocks * chip.tiles))


def reprogramming_design(network: Network, chip: Chip, assumptions: Assumptions = DEFAULTS
                         ) -> DesignCost:
    """The same crossbars, weights written when they are due; each weight once per image.

    Weights stay for all positions of a layer; the sums over writings of one kernel are taken to
    cost nothing, which favours reprogramming.
    """
    def timed(cut: Cut) -> CutTiming:
        return cut_timing(chip, cut, Mode.PLAIN, DENSE, assumptions.resolution)

    first, last = _ends(network, chip)
    layers = [first]
    for layer in network.layers:
        layers.append(_on_tiles(layer, chip, timed)[0] if isinstance(layer, ConvolutionShape)
                      else _without_weights(layer, chip, assumptions.energy))
    layers += [*last, *_writing(network, chip, assumptions)]
    area = _tile_area(chip, assumptions.area, chip.tiles, chip.accumulator.kernels)
    area["memory"] = _buffer_area(chip, assumptions.area)
    return DesignCost("reprogramming", chip.tiles, tuple(layers), area, assumptions.energy)


def resident_design(network: Network, chip: Chip, assumptions: Assumptions = DEFAULTS
                    ) -> DesignCost:
    """A tile for every chunk of every group of kernels; a layer's tiles work at the same time.

    A layer's tiles are powered while it runs, the others are not.
    """
    array, accumulator = chip.array, chip.accumulator
    held = min(accumulator.kernels, max(accumulator.lanes,
                                        array.columns // accumulator.lanes * accumulator.lanes))
    single = replace(chip, tiles=1, accumulator=replace(accumulator, kernels=held))
    first, last = _ends(network, single)
    layers, tiles = [first], 0
    for layer in network.layers:
        if not isinstance(layer, ConvolutionShape):
            layers.append(_without_weights(layer, chip, assumptions.energy))
            continue
        clocks, events, own = 0, Events(), 0
        for cut in cut_layer(layer, single):
            alone = replace(cut, chunks=1, window=Window(
                cut.window.positions, 1, cut.window.positions, 1), blocks=1,
                block_words=min(cut.chunk_words, cut.window_words))
            made = cut_timing(single, alone, Mode.PLAIN, DENSE, assumptions.resolution)
            clocks = max(clocks, FETCH_CLOCKS + made.timing.clocks)
            events += cut_events(single, alone, made).times(cut.count * cut.chunks)
            own += cut.count * cut.chunks
        tiles += own
        events = replace(events, tile_clocks=clocks * own)
        layers.append(_finished(layer, "plain", clocks, events, single))
    layers += last
    area = _tile_area(chip, assumptions.area, tiles, held)
    area["memory"] = _buffer_area(chip, assumptions.area)
    return DesignCost("resident", tiles, tuple(layers), area, assumptions.energy)


def digital_design(network: Network, chip: Chip, assumptions: Assumptions = DEFAULTS
                   ) -> DesignCost:
    """8-bit multiply-accumulate units, and the chip's memories around them."""
    energy = assumptions.energy
    first, last = _ends(network, chip)
    layers = [first]
    for layer in network.layers:
        if not isinstance(layer, ConvolutionShape):
            layers.append(_without_weights(layer, chip, energy))
            continue
        values = layer.input_values + layer.output_values
        clocks, events = _digital(layer.macs, values, chip, energy)
        events += Events(outputs=layer.output_values, tile_clocks=clocks * chip.tiles)
        layers.append(_finished(layer, "digital", clocks, events, chip))
    layers += last
    weights = sum(layer.weights for layer in network.convolutions)
    if weights * ACTIVATION_BITS > _coefficient_bits(chip):
        layers.append(_bus("weights", -(-weights // ACTIVATIONS_PER_WORD), chip, energy))
    units = ceil(energy.digital_rate / energy.clock * chip.tiles)
    area = {"digital": units * assumptions.area.digital, "control": assumptions.area.shared,
            "memory": _buffer_area(chip, assumptions.area)
            + _coefficient_bits(chip) * assumptions.area.memory}
    return DesignCost("digital", 0, tuple(layers), area, energy)


def network_costs(network: Network, chip: Chip, assumptions: Assumptions = DEFAULTS
                  ) -> dict[str, DesignCost]:
    """Every design's cost, by the names in `DESIGNS`."""
    bits = chip.converter
    if assumptions.resolution is not None and not (
            bits.minimum_bits <= assumptions.resolution <= bits.bits):
        raise ValueError(f"resolution must be {bits.minimum_bits} to {bits.bits} on chip "
                         f"{chip.name!r}, not {assumptions.resolution!r}")
    made = (basis_design, reprogramming_design, resident_design, digital_design)
    return {cost.design: cost for cost in (make(network, chip, assumptions) for make in made)}
