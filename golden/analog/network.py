"""A whole network on analog arrays."""

from collections.abc import Collection, Iterable
from contextlib import contextmanager
from copy import deepcopy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from golden.arrays import BitSlicing, DifferentialPair, Encoding
from golden.arrays.converter import Magnitudes, best_range
from golden.arrays.interconnect import Wires
from golden.arrays.readout import Readout
from golden.chip import Chip
from golden.devices import Device

from .layer import AnalogLayer
from .mapping import Mapping, Scaling
from .tracing import exchange, trace

__all__ = ["AnalogNetwork", "images_of", "map_network"]


def map_network(model: nn.Module, chip: Chip, device: Device, *,
                encoding: Encoding | None = None, slicing: BitSlicing | None = None,
                bit_serial: bool = False, active_rows: int | None = None,
                wires: Wires | None = None, readout: Readout | None = None,
                single_read: bool = False, scaling: Scaling = Scaling.COLUMN,
                digital: Collection[str] = ()) -> "AnalogNetwork":
    """``model`` with its convolutions and linear layers on arrays of ``chip`` and ``device``.

    ``model`` itself is not changed. `Mapping` explains the options; without ``encoding`` weights
    are differential pairs. Layers named in ``digital``, and everything but Conv2d and Linear,
    stay digital. ValueError, naming the layer, for an operator that is not supported or weights
    that are not finite.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch.nn.Module, not {model!r}")
    mapping = Mapping(chip, device, encoding if encoding is not None else DifferentialPair(),
                      slicing, bit_serial, active_rows, wires, readout, single_read, scaling)
    graph = trace(deepcopy(model).eval())
    layers = exchange(graph, mapping, digital)
    return AnalogNetwork(graph, layers, mapping)


def images_of(loader: Iterable) -> Iterator[Tensor]:
    """The images of each batch of ``loader``, whose items are images or (images, labels)."""
    for batch in loader:
        yield batch if isinstance(batch, Tensor) else batch[0]


class AnalogNetwork(nn.Module):
    """What `map_network` gives back: runs like the model, on analog arrays.

    Order of use: `calibrate` once, `program` for each chip, `at` for each time, then call it.
    Images are counted from 0 after each `at`; a product's read noise belongs to its image's
    number (with ``single_read`` to the time alone), so the size of the batches does not change a
    result.

    Attributes
    ----------
    layers
        Analog layers by name, in the order of the model's calls.
    mapping
        What the network was mapped onto.
    """

    def __init__(self, graph: nn.Module, layers: dict[str, AnalogLayer],
                 mapping: Mapping) -> None:
        super().__init__()
        self.graph = graph
        self.layers = layers
        self.mapping = mapping
        self.images = 0
        self.eval()
        self._trained = {name: buffer.clone() for name, buffer in self.graph.named_buffers()
                         if name.endswith(("running_mean", "running_var"))}

    def train(self, mode: bool = True) -> "AnalogNetwork":
        """Analog networks run in evaluation mode; ValueError for training mode."""
        if mode:
            raise ValueError("an AnalogNetwork does not train; train the model itself, with "
                             "golden.analog.NoiseAware, and map it then")
        return super().train(False)

    def program(self, seed: int, cycle: int = 0) -> "AnalogNetwork":
        """Program all devices of the chip that ``seed`` makes, for the ``cycle``-th time.

        The same chip keeps its device-to-device spread and stuck cells from cycle to cycle.
        Drift compensation starts anew; time is the device's first.
        """
        self.restore_normalisation()
        for name, value in (("seed", seed), ("cycle", cycle)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(f"{name} must be an integer of 0 or more, not {value!r}")
        for layer in self.layers.values():
            layer.program(seed, cycle)
        self.images = 0
        return self

    def at(self, time: float) -> "AnalogNetwork":
        """Take the devices as they are at ``time``, s after programming."""
        for layer in self.layers.values():
            layer.set_time(time)
        self.images = 0
        return self

    def restore_normalisation(self) -> None:
        """Give all batch normalisations the statistics that the model was trained with."""
        for name, trained in self._trained.items():
            self.graph.get_buffer(name).copy_(trained)

    @torch.no_grad()
    def forward(self, *inputs: Tensor) -> Tensor:
        """The network's output; the first dimension of the first input counts images."""
        for layer in self.layers.values():
            layer.begin(self.images)
        result = self.graph(*inputs)
        self.images += len(inputs[0])
        return result

    @torch.no_grad()
    def calibrate(self, loader: Iterable) -> "AnalogNetwork":
        """Choose all converter ranges on the images of ``loader`` and store them as registers.

        Two passes with ideal devices: over the float network for the DACs, then with the DACs'
        codes for the ADCs. Each range has the least mean squared error (`best_range`). The
        ranges do not depend on a chip's devices and stay as they are from then on. Columns of a
        memory technology have references instead of a range, so their second pass is left out.
        """
        batches = list(images_of(loader))
        if not batches:
            raise ValueError("loader must give at least one batch to calibrate on, not none")
        layers = list(self.layers.values())
        observers = [_RangeObserver(len(layer.encoded.slices)) for layer in layers]
        previous = [(layer.input_range, list(layer.output_ranges), layer.signed_inputs)
                    for layer in layers]
        try:
            for layer in layers:
                layer.signed_inputs = True
            self._observe(batches, observers, convert_inputs=False)
            for layer, observer in zip(layers, observers, strict=True):
                layer.input_range = best_range(observer.seen_inputs, self.mapping.input_bits) or 1.0
                layer.signed_inputs = observer.negative
            if self.mapping.readout is None:
                self._observe(batches, observers, convert_inputs=True)
        except BaseException:
            for layer, (inputs, outputs, signed) in zip(layers, previous, strict=True):
                layer.input_range, layer.output_ranges, layer.signed_inputs = (
                    inputs, outputs, signed)
            raise
        for layer, observer in zip(layers, observers, strict=True):
            layer.output_ranges = [best_range(seen, self.mapping.output_bits) or 1.0
                                   for seen in observer.seen_outputs]
            if layer.cells:
                layer.set_time(layer.time)
            else:
                layer.weights = nn.ModuleList()
        return self

    def _observe(self, batches: list[Tensor], observers: list["_RangeObserver"],
                 convert_inputs: bool) -> None:
        """Run ``batches`` with ideal devices and no ADCs, watched by one observer per layer."""
        layers = list(self.layers.values())
        try:
            for layer, observer in zip(layers, observers, strict=True):
                layer.convert_inputs, layer.convert_outputs = convert_inputs, False
                layer.fold(layer.ideal_moments())
                layer.observer = observer
                observer.watch_outputs = convert_inputs
            for images in batches:
                try:
                    self.graph(images)
                except ValueError as error:
                    raise ValueError(f"calibration failed: {error}") from error
        finally:
            for layer in layers:
                layer.convert_inputs = layer.convert_outputs = True
                layer.observer = None

    @contextmanager
    def observed(self, observers: dict[str, object]) -> Iterator[None]:
        """While it lasts, ``observers`` (by layer name) watch the layers' converters."""
        try:
            for name, observer in observers.items():
                self.layers[name].observer = observer
            yield
        finally:
            for name in observers:
                self.layers[name].observer = None


class _RangeObserver:
    """Collects the magnitudes that the converters of one layer see."""

    def __init__(self, slices: int) -> None:
        self.seen_inputs = Magnitudes()
        self.seen_outputs = [Magnitudes() for _ in range(slices)]
        self.negative = False
        self.watch_outputs = False

    def inputs(self, values: Tensor) -> None:
        """See `Observer.inputs`."""
        if not self.watch_outputs:
            self.seen_inputs.add(values)
            self.negative = self.negative or bool((values < 0).any())

    def outputs(self, number: int, values: Tensor) -> None:
        """See `Observer.outputs`."""
        if self.watch_outputs:
            self.seen_outputs[number].add(values)
