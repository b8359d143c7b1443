"""What the converters of every layer saw: clipping and codes."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from golden.arrays.converter import levels

from .network import AnalogNetwork, images_of

__all__ = ["LayerStatistics", "conversion_statistics"]


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """Counts over all conversions of a layer.

    Attributes
    ----------
    inputs_clipped, outputs_clipped
        Share of values beyond the range of the DACs and of the ADC.
    input_codes, output_codes
        How often each code was used, int64, lowest code first.
    lowest_input_code, lowest_output_code
        The codes that these begin with.
    """

    inputs_clipped: float
    outputs_clipped: float
    input_codes: Tensor
    output_codes: Tensor
    lowest_input_code: int
    lowest_output_code: int


class _Counter:
    """Counts the codes of one converter of ``bits``, from ``lowest`` on."""

    def __init__(self, lowest: int, highest: int) -> None:
        self.lowest, self.highest = lowest, highest
        self.codes = torch.zeros(highest - lowest + 1, dtype=torch.int64)
        self.clipped = 0

    def add(self, values: Tensor) -> None:
        rounded = values.round()
        inside = rounded.clamp(self.lowest, self.highest)
        self.clipped += int((inside != rounded).sum())
        codes = (inside - self.lowest).to(torch.int64).flatten()
        self.codes += torch.bincount(codes, minlength=len(self.codes)).cpu()

    @property
    def share(self) -> float:
        return self.clipped / max(int(self.codes.sum()), 1)


class _ConversionObserver:
    """Counts the codes of one layer's converters."""

    def __init__(self, input_bits: int, output_bits: int) -> None:
        self.input_counter = _Counter(-levels(input_bits), levels(input_bits))
        self.output_counter = _Counter(-levels(output_bits) - 1, levels(output_bits))

    def inputs(self, values: Tensor) -> None:
        """See `Observer.inputs`."""
        self.input_counter.add(values)

    def outputs(self, number: int, values: Tensor) -> None:
        """See `Observer.outputs`."""
        self.output_counter.add(values)


def conversion_statistics(network: AnalogNetwork, loader: Iterable) -> dict[str, LayerStatistics]:
    """Run the images of ``loader`` and count every conversion, per layer name.

    ValueError for columns of a memory technology, whose conversions are not taken one by one.
    """
    if network.mapping.readout is not None:
        raise ValueError("network must not be read out as a memory technology: its conversions "
                         "are not taken one by one")
    observers = {name: _ConversionObserver(network.mapping.input_bits, network.mapping.output_bits)
                 for name in network.layers}
    with network.observed(observers):
        for images in images_of(loader):
            network(images)
    return {name: LayerStatistics(seen.input_counter.share, seen.output_counter.share,
                                  seen.input_counter.codes, seen.output_counter.codes,
                                  seen.input_counter.lowest, seen.output_counter.lowest)
            for name, seen in observers.items()}
