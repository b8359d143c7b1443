"""A layer whose products are taken by analog arrays: the fast path.

For each tile of rows, each input plane and each slice of the weights there is one conversion:

    p    = sum over rows of plane * mean conductance  (+ read noise)     in converter steps
    code = clamp(round(p), lowest, highest)
    y    = sum over conversions of code * worth, times the output's scale, plus the bias

The products with the mean conductances are one matrix product or convolution per tile. Read noise
is drawn at the output: the cells' noises are independent, so the sum has exactly the mean
``plane . mean`` and the variance ``plane^2 . variance``; it is Gaussian up to the few largest
terms (`golden.devices.read_moments` gives the cells' moments). Each product of each image draws
anew, unless the mapping says ``single_read``: then the mean is one read.
`golden.analog.reference` does the same cell by cell, slowly.
"""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from golden.arrays.converter import levels
from golden.arrays.encoding import Part
from golden.arrays.tiling import RowTile, row_tiles
from golden.devices import Cells, read, read_moments

from .columns import ColumnSums
from .mapping import Mapping, Scaling
from .normal import key_of, normal

__all__ = ["AnalogLayer", "Observer", "TileWeights"]


def _scales(weight: Tensor, scaling: Scaling) -> Tensor:
    """What `AnalogLayer.scale` says, of ``weight`` [outputs, ...]."""
    largest = scaling.sharing(weight.detach()).abs().amax(1).double()
    return torch.where(largest == 0, 1.0, largest).expand(len(weight)).clone()


class Observer(Protocol):
    """Sees the numbers at a layer's converters while it runs."""

    def inputs(self, values: Tensor) -> None:
        """What the DACs get, in input steps, before rounding."""

    def outputs(self, number: int, values: Tensor) -> None:
        """What the converter of slice ``number`` gets, in its steps, before rounding."""


class TileWeights(nn.Module):
    """Moments of the cells that one conversion sums, in converter steps per input step.

    ``mean`` and ``variance`` have the weights' shape, ``shared`` is the variance of reference
    columns, one per group. No variance: None.
    """

    def __init__(self, mean: Tensor, variance: Tensor | None, shared: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("variance", variance, persistent=False)
        self.register_buffer("shared", shared, persistent=False)


class AnalogLayer(nn.Module):
    """Common part of `AnalogConv2d` and `AnalogLinear`.

    Attributes
    ----------
    name
        Name of the layer in the network.
    scale
        float64 [outputs]: the magnitude of a weight that maps to the maximum conductance, the
        largest of the output's or of the layer's (`Scaling`); 1 where all of them are 0.
    input_range, output_ranges
        Converter ranges, registers of the chip: of the DACs in units of the activations, and per
        slice of the ADC in units of (input code) * (weight / scale). 0 until calibrated.
    signed_inputs
        Whether the inputs can be negative; a register. Bit-serial inputs that cannot be skip the
        sign's plane.
    gain
        Digital factor on the output that compensates drift; a register.
    norm
        The batch normalisation that follows, digital; None where there is none.
    convert_inputs, convert_outputs
        Switches of the converters' rounding and clipping.
    """

    def __init__(self, name: str, weight: Tensor, bias: Tensor | None, groups: int,
                 mapping: Mapping) -> None:
        super().__init__()
        if not bool(torch.isfinite(weight).all()):
            raise ValueError(f"layer {name!r}: weights must be finite; "
                             f"{int((~torch.isfinite(weight)).sum())} are not")
        self.name, self.groups, self.mapping = name, groups, mapping
        self.register_buffer("scale", _scales(weight, mapping.scaling), persistent=False)
        self.shape = tuple(weight.shape)
        taps = weight[0, 0].numel()
        self.tiles = row_tiles(weight.shape[1], taps, mapping.rows_at_once)
        scale = mapping.scaling.spread(self.scale, weight)
        scaled = (weight.detach() / scale).to(weight.dtype).cpu()
        self.encoded = mapping.encoding.encode(scaled, groups, mapping.slicing)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self.register_buffer("sums", None, persistent=False)
        self.norm: nn.Module | None = None
        self.input_range = 0.0
        self.output_ranges = [0.0] * len(self.encoded.slices)
        self.signed_inputs = True
        self.gain = 1.0
        self.convert_inputs = self.convert_outputs = True
        self.cells: list[list[Cells]] = []
        self.weights = nn.ModuleList()
        self.column_sums = nn.ModuleList(self._column_sums())
        self.observer: Observer | None = None
        self.seed, self.time = 0, 0.0
        self._first_image = self._calls = 0

    # What kinds of layers differ in.

    @abstractmethod
    def product(self, values: Tensor, weight: Tensor) -> Tensor:
        """``values`` times ``weight``, as the unmapped layer would compute it."""

    def spread(self, squares: Tensor, variance: Tensor) -> Tensor:
        """Square root of the product of both, neither of which has an element below zero."""
        return self.product(squares, variance).sqrt_()

    @abstractmethod
    def select(self, values: Tensor, tile: RowTile) -> Tensor:
        """Rows of ``tile`` out of the layer's input."""

    @abstractmethod
    def lay_out(self, weight: Tensor) -> Tensor:
        """``weight`` in the memory layout that `product` is fastest with."""

    @abstractmethod
    def per_output(self, values: Tensor) -> Tensor:
        """``values`` [..., groups] or [groups, ...] of a product, repeated for each output."""

    @abstractmethod
    def along_outputs(self, values: Tensor) -> Tensor:
        """``values`` [outputs] in a shape that broadcasts over the layer's output."""

    @abstractmethod
    def unfolded(self, values: Tensor) -> Tensor:
        """``values`` on every row for every product, [vectors, groups * rows]."""

    @abstractmethod
    def folded(self, values: Tensor, inputs: Tensor) -> Tensor:
        """Products [vectors, outputs] in the shape that the layer gives for ``inputs``."""

    # Programming.

    def program(self, seed: int, cycle: int = 0) -> None:
        """Program all devices of chip ``seed``; see `golden.devices.Device.program`."""
        device = self.mapping.device
        self.seed = seed
        self.cells = [[self._program(part, key_of(seed, self.name, s, p), cycle)
                       for p, part in enumerate(piece.parts)]
                      for s, piece in enumerate(self.encoded.slices)]
        self.gain = 1.0
        self.set_time(device.first_time)

    def _program(self, part: Part, key: int, cycle: int) -> Cells:
        chip = torch.Generator().manual_seed(key_of(key, "chip"))
        again = torch.Generator().manual_seed(key_of(key, "cycle", cycle))
        device = self.mapping.device
        return device.program(part.fractions * device.maximum_conductance, chip, again)

    def set_time(self, time: float) -> None:
        """Take the devices as they are at ``time``, s after programming."""
        self.require_programmed()
        moments = [self.moments(s, time) for s in range(len(self.encoded.slices))]
        self.time = time
        self.fold(moments)

    def require_programmed(self) -> None:
        """ValueError, naming the layer, unless it is programmed."""
        if not self.cells:
            raise ValueError(f"layer {self.name!r} is not programmed: call program(seed) first")

    def moments(self, number: int, time: float) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Mean, own variance and shared variance of slice ``number``'s weights at ``time``.

        In units of weight / (scale * significance); shapes as in `TileWeights`. With a single read
        the mean is that read, without variance.
        """
        device, piece = self.mapping.device, self.encoded.slices[number]
        total: Tensor | float = 0.0
        variances: dict[bool, Tensor] = {}
        for place, (part, cells) in enumerate(zip(piece.parts, self.cells[number], strict=True)):
            try:
                if self.mapping.single_read:
                    mean = read(device, cells, time, self.read_generator(time, number, place))
                    variance = None
                else:
                    mean, variance = read_moments(device, cells, time)
            except ValueError as error:
                raise ValueError(f"layer {self.name!r}: {error}") from None
            factor = part.coefficient / device.maximum_conductance
            mean, variance = self._through_wires(mean, variance)
            total = total + factor * self._expand(mean, part.shared)
            if variance is not None:
                before = variances.get(part.shared, 0.0)
                variances[part.shared] = before + factor ** 2 * variance
        return total, variances.get(False), variances.get(True)

    def read_generator(self, time: float, number: int, place: int) -> torch.Generator:
        """Generator of the single read at ``time`` of part ``place`` of slice ``number``."""
        return torch.Generator().manual_seed(
            key_of(self.seed, self.name, "read", repr(time), number, place))

    def _expand(self, values: Tensor, shared: bool) -> Tensor:
        """Weights of reference columns [groups, ...], repeated for each output of the group."""
        return values.repeat_interleave(self.shape[0] // self.groups, 0) if shared else values

    def _through_wires(self, mean: Tensor, variance: Tensor | None
                       ) -> tuple[Tensor, Tensor | None]:
        """Conductances as seen from outside of an array with resistive wires.

        The variance is reduced like the mean: first order in the drop of a single cell.
        """
        wires = self.mapping.wires
        if wires is None:
            return mean, variance
        columns = self.mapping.chip.array.columns
        flat = mean.flatten(2) if mean.dim() > 2 else mean[:, :, None]
        seen = torch.empty_like(flat)
        per_group = flat.shape[0] // self.groups
        for tile in self.tiles:
            rows = (slice(tile.first_channel, tile.last_channel),
                    slice(tile.first_tap, tile.last_tap))
            for group in range(self.groups):
                first, last = group * per_group, (group + 1) * per_group
                for start in range(first, last, columns):
                    block = (slice(start, min(start + columns, last)), *rows)
                    array = flat[block].flatten(1).T
                    seen[block] = wires.seen(array).T.reshape(flat[block].shape)
        seen = seen.reshape(mean.shape)
        if variance is not None:
            ratio = torch.where(mean > 0, seen / mean, torch.ones_like(mean))
            variance = variance * ratio.square()
        return seen, variance

    def ideal_moments(self) -> list[tuple[Tensor, Tensor | None, Tensor | None]]:
        """What `moments` gives for devices that hold their targets, per slice."""
        return [(sum(part.coefficient * self._expand(part.fractions, part.shared)
                     for part in piece.parts), None, None) for piece in self.encoded.slices]

    def fold(self, moments: list[tuple[Tensor, Tensor | None, Tensor | None]]) -> None:
        """Cut ``moments`` per slice into tiles and scale them to converter steps."""
        folded = nn.ModuleList()
        place = self.bias.device if self.bias is not None else self.weights[0].mean.device \
            if len(self.weights) else torch.device("cpu")
        for tile in self.tiles:
            for number, (mean, variance, shared) in enumerate(moments):
                step = self.output_step(number)
                folded.append(TileWeights(
                    self._cut(mean / step, tile),
                    None if variance is None else self._cut(variance / step ** 2, tile),
                    None if shared is None else self._cut(shared / step ** 2, tile)))
        self.weights = folded.to(place)
        ones = torch.ones((self.groups, *self.shape[1:]))
        self.sums = self.lay_out(ones).to(place) if self.encoded.offset else None

    def _cut(self, weight: Tensor, tile: RowTile) -> Tensor:
        """The part of ``weight`` that ``tile`` holds; taps of other tiles are 0."""
        part = weight[:, tile.first_channel:tile.last_channel]
        taps = part[0, 0].numel()
        if tile.last_tap - tile.first_tap < taps:
            inside = torch.zeros(taps, dtype=part.dtype)
            inside[tile.first_tap:tile.last_tap] = 1
            part = part * inside.view(part.shape[2:])
        return self.lay_out(part)

    # Registers.

    @property
    def input_step(self) -> float:
        """Activation of one input code; 1 while nothing is converted.

        Outputs are converted in steps that are multiples of it, whether inputs are rounded or not.
        """
        if not (self.convert_inputs or self.convert_outputs):
            return 1.0
        return (self.input_range or 1.0) / levels(self.mapping.input_bits)

    def output_step(self, number: int) -> float:
        """Step of the converter of slice ``number``; 1 while the outputs are not converted."""
        if not self.convert_outputs or self.mapping.readout is not None:
            return 1.0
        return (self.output_ranges[number] or 1.0) / levels(self.mapping.output_bits)

    # Running.

    def begin(self, first_image: int) -> None:
        """The next call is the first of a pass that starts with image ``first_image``."""
        self._first_image, self._calls = first_image, 0

    def forward(self, inputs: Tensor) -> Tensor:
        """The layer's output for ``inputs``, with its batch normalisation where it has one."""
        return self.normalise(self.raw(inputs))

    def raw(self, inputs: Tensor) -> Tensor:
        """Sum of all conversions, in units of `unit`; no bias, no offset's sum, no norm.

        With an offset in the encoding, its digital sum is included.
        """
        self._require_ready()
        call, self._calls = self._calls, self._calls + 1
        if len(self.column_sums) and self.convert_outputs:
            return self._read_columns(inputs, call)
        lowest, highest = -levels(self.mapping.output_bits) - 1, levels(self.mapping.output_bits)
        unit = self._worth(0)
        slices = len(self.encoded.slices)
        total: Tensor | None = None
        codes = self._codes(inputs)
        for t, tile in enumerate(self.tiles):
            for plane, (worth, values) in enumerate(self._planes(self.select(codes, tile))):
                squares = None
                for s in range(slices):
                    weights = self.weights[t * slices + s]
                    out = self.product(values, weights.mean)
                    if weights.variance is not None or weights.shared is not None:
                        squares = values.square() if squares is None else squares
                        self._add_noise(out, squares, weights, (call, t, plane, s))
                    if self.observer is not None:
                        self.observer.outputs(s, out)
                    if self.convert_outputs:
                        out.round_().clamp_(lowest, highest)
                    factor = worth * self._worth(s) / unit
                    if total is None:
                        total = out if factor == 1 else out.mul_(factor)
                    else:
                        total.add_(out, alpha=factor)
        return self._add_offset(total, codes)

    def _add_offset(self, total: Tensor, codes: Tensor) -> Tensor:
        if self.sums is not None:
            total.add_(self.per_output(self.product(codes, self.sums)),
                       alpha=self.encoded.offset / (self._worth(0) * self.gain))
        return total

    @property
    def unit(self) -> Tensor:
        """Worth of one unit of `raw`, in units of the layer's output: float64 [outputs]."""
        return self.scale * (self._worth(0) * self.input_step * self.gain)

    def normalise(self, raw: Tensor) -> Tensor:
        """`raw` as the layer's output: scale, bias and batch normalisation."""
        norm, unit = self.norm, self.unit
        if norm is None:
            raw = raw.mul_(self.along_outputs(unit.to(raw.dtype)))
            return raw if self.bias is None else raw.add_(self.along_outputs(self.bias))
        mean = norm.running_mean if self.bias is None else norm.running_mean - self.bias
        variance = (norm.running_var + norm.eps) / unit.square()
        return functional.batch_norm(raw, (mean / unit).to(raw.dtype), variance.to(raw.dtype),
                                     norm.weight, norm.bias, False, 0.0, 0.0)

    def _worth(self, number: int) -> float:
        return self.encoded.slices[number].significance * self.output_step(number)

    def _codes(self, values: Tensor) -> Tensor:
        """Input codes of ``values``."""
        codes = values * (1 / self.input_step)
        if self.observer is not None:
            self.observer.inputs(codes)
        if self.convert_inputs:
            highest = levels(self.mapping.input_bits)
            codes.round_().clamp_(-highest if self.signed_inputs else 0, highest)
        return codes

    def _planes(self, codes: Tensor) -> Iterator[tuple[float, Tensor]]:
        """What drives the rows, one after the other, and what each is worth."""
        if not self.mapping.bit_serial or not self.convert_inputs:
            yield 1.0, codes
            return
        bits = self.mapping.input_bits
        words = codes.to(torch.int16)  # half the memory of int32, which these steps wait for
        for bit in range(bits if self.signed_inputs else bits - 1):
            worth = float(1 << bit) if bit < bits - 1 else -float(1 << bit)
            yield worth, torch.bitwise_right_shift(words, bit).bitwise_and_(1).to(codes.dtype)

    def _add_noise(self, out: Tensor, squares: Tensor, weights: TileWeights,
                   address: tuple[int, ...]) -> None:
        """Add a fresh read's noise to every product in ``out``."""
        for kind, variance in enumerate((weights.variance, weights.shared)):
            if variance is None:
                continue
            spread = self.spread(squares, variance)
            key = key_of(self.seed, self.name, repr(self.time), kind, *address)
            noise = self._normal_like(spread, key)
            if kind == 0:
                out.addcmul_(spread, noise)
            else:
                out.add_(self.per_output(spread.mul_(noise)))

    def _column_sums(self) -> list[ColumnSums]:
        """The columns of each group where they are those of a memory technology."""
        readout, slicing = self.mapping.readout, self.mapping.slicing
        if readout is None or slicing is None:
            return []
        base = 1 << slicing.bits_per_device
        positive, negative = (
            torch.stack([(piece.parts[sign].fractions.double() * (base - 1)).round().flatten(1)
                         for piece in self.encoded.slices]) for sign in (0, 1))
        return [ColumnSums(plus, minus, base, readout) for plus, minus in zip(
            positive.chunk(self.groups, 1), negative.chunk(self.groups, 1), strict=True)]

    def _read_columns(self, inputs: Tensor, call: int) -> Tensor:
        """`raw` for the columns of a memory technology."""
        codes = self._codes(inputs)
        groups = self.unfolded(codes).chunk(self.groups, 1)
        mean, variance = torch.cat([
            sums.moments(self._planes(rows))
            for sums, rows in zip(self.column_sums, groups, strict=True)], 2)
        total, spread = (self.folded(part, inputs) for part in (mean, variance.sqrt_()))
        key = key_of(self.seed, self.name, "readout", call)
        total.addcmul_(spread, self._normal_like(spread, key))
        return self._add_offset(total, codes)

    def _normal_like(self, values: Tensor, key: int) -> Tensor:
        """Deviates of the shape and memory order of ``values``."""
        each = values[0].numel()
        noise = normal(key, self._first_image, len(values), each, values.device)
        if values.dim() == 4 and values.is_contiguous(memory_format=torch.channels_last):
            batch, channels, height, width = values.shape
            return noise.view(batch, height, width, channels).permute(0, 3, 1, 2)
        return noise.view(values.shape)

    def _require_ready(self) -> None:
        if not len(self.weights):
            self.require_programmed()
        if (self.convert_inputs and not self.input_range) or (
                self.convert_outputs and not all(self.output_ranges)):
            raise ValueError(f"layer {self.name!r}: converter ranges were never calibrated; "
                             "call calibrate(loader) first")
