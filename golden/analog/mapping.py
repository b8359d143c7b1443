"""What a network is mapped onto: chip, device, encoding and how inputs are driven."""

from dataclasses import dataclass
from enum import Enum

from torch import Tensor

from golden.arrays import BitSlicing, DifferentialPair, Encoding
from golden.arrays.interconnect import Wires
from golden.arrays.readout import Readout
from golden.chip import ACTIVATION_BITS, Chip
from golden.devices import Device, IdealDevice

__all__ = ["Mapping", "Scaling"]


class Scaling(Enum):
    """Which weights share the scale by which the largest of them takes the whole conductance."""

    #: All of a layer, as Joshi et al. (2020) have it.
    LAYER = "layer"
    #: Those of one output: one factor for each, which the digital periphery has in any case.
    COLUMN = "column"

    def sharing(self, weight: Tensor) -> Tensor:
        """``weight`` [outputs, ...] as [scales, weights that share it]."""
        return weight.flatten(1) if self is Scaling.COLUMN else weight.reshape(1, -1)

    @staticmethod
    def spread(values: Tensor, weight: Tensor) -> Tensor:
        """``values`` [scales] in a shape that broadcasts over ``weight``."""
        return values.view(-1, *[1] * (weight.dim() - 1))


@dataclass(frozen=True)
class Mapping:
    """How layers become arrays.

    Parameters
    ----------
    chip
        Rows and columns of an array and the converter's bits are taken from it.
    device
        The memory device of all arrays.
    encoding
        Signed weights as conductances.
    slicing
        Weights as integers over several devices; None: one analog device per part.
    bit_serial
        Drive the bits of an input code one after the other, each with its own conversion;
        otherwise a DAC drives the whole code at once.
    active_rows
        Rows that are driven at a time, at most those of the array; sums are added digitally.
        None: all rows.
    wires
        Interconnect resistance; None: ideal wires.
    readout
        Columns of a memory technology; None: conversions of ideal sums. Needs an `IdealDevice`
        (the cells' deviations are the readout's), no ``wires``, bit-serial inputs, as many
        levels per device, differential pairs at floor 0, and as many rows at once. Each column of
        a pair is converted alone, after a dummy column at the lowest level has been subtracted.
    single_read
        Read every device once at each time, and take all products from that. Joshi et al. (2020)
        read the chip's conductances and took the products in software, and aihwkit draws read noise
        once for each time, too; most of a 1/f noise is slower than a test set. Otherwise every
        product reads its devices anew.
    scaling
        Which weights share a scale. The error of a device is less in proportion the more of its
        range a weight takes, so columns that are scaled each for itself lose less.
    """

    chip: Chip
    device: Device
    encoding: Encoding = DifferentialPair()
    slicing: BitSlicing | None = None
    bit_serial: bool = False
    active_rows: int | None = None
    wires: Wires | None = None
    readout: Readout | None = None
    single_read: bool = False
    scaling: Scaling = Scaling.COLUMN

    def __post_init__(self) -> None:
        kinds = {"chip": Chip, "device": Device, "encoding": Encoding,
                 "slicing": (BitSlicing, type(None)), "bit_serial": bool, "single_read": bool,
                 "wires": (Wires, type(None)), "readout": (Readout, type(None)),
                 "scaling": Scaling}
        for name, kind in kinds.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                expected = kind if isinstance(kind, type) else kind[0]
                raise ValueError(f"{name} must be a {expected.__name__}, not {value!r}")
        rows = self.active_rows
        if rows is not None and (isinstance(rows, bool) or not isinstance(rows, int)
                                 or not 1 <= rows <= self.chip.array.rows):
            raise ValueError(f"active_rows must be 1 to {self.chip.array.rows}, not {rows!r}")
        if self.readout is not None and not (
                isinstance(self.device, IdealDevice) and self.bit_serial and self.wires is None
                and self.encoding == DifferentialPair() and self.slicing is not None
                and (1 << self.slicing.bits_per_device) - 1 == self.readout.levels
                and self.readout.active_rows == self.rows_at_once):
            raise ValueError(
                f"readout needs an IdealDevice, bit_serial, no wires, slicing with levels up to "
                f"{self.readout.levels}, DifferentialPair() and active_rows "
                f"{self.readout.active_rows}, not {self.device!r}, {self.bit_serial!r}, "
                f"{self.wires!r}, {self.slicing!r}, {self.encoding!r}, {self.rows_at_once!r}")

    @property
    def input_bits(self) -> int:
        """Bits of a signed input code; the symmetric range is used."""
        return ACTIVATION_BITS

    @property
    def output_bits(self) -> int:
        """Bits of the converter."""
        return self.chip.converter.bits

    @property
    def rows_at_once(self) -> int:
        """Rows that one conversion sums at most."""
        return self.active_rows or self.chip.array.rows
