"""Energy and area of the blocks, and what writing a crossbar takes: each with unit and source.

Sources, as tags in the fields' metadata:

* ``macro``: 51.2 GOPS and 10.3 TOPS/W of an 8-bit charge-domain SRAM macro in 65 nm, from the
  abstract of Yin et al., arXiv 2212.04320; so 97 fJ per operation, 194 fJ per multiplication with
  its addition, and 4.97 mW.
* ``MNSIM``: defaults of MNSIM 2.0, SimConfig.ini (resistive memory with one transistor).
* ``reconstruction``: our division of a published number.
* ``assumption``: our estimate for 65 nm; change it where you know better.
"""

from dataclasses import dataclass, field, fields
from typing import Any

__all__ = ["EnergyParameters", "AreaParameters", "WriteParameters", "WRITE_STYLES", "described"]

#: How a row is written: all its cells at once, with as many sense amplifiers; all its cells at
#: once, but verified column by column through the tile's converter; or one weight at a time.
WRITE_STYLES = ("row", "converter", "cell")


def _quantity(default: float, unit: str, source: str) -> Any:
    return field(default=default, metadata={"unit": unit, "source": source})


def _check_positive(owner: object, *but: str) -> None:
    for item in fields(owner):  # type: ignore[arg-type]
        value = getattr(owner, item.name)
        if item.name in but:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
            raise ValueError(f"{type(owner).__name__}.{item.name} must be a number of at least 0 "
                             f"({item.metadata.get('unit', '')}), not {value!r}")


@dataclass(frozen=True)
class EnergyParameters:
    """Energy per event, pJ, and what turns clocks into seconds.

    The 194 fJ of a multiplication in the published macro are divided into the array, the adder
    network and the converter, the latter two shared by the 128 rows of a dot product.
    """

    clock: float = _quantity(150.0, "MHz", "reconstruction: clock of the phase lengths")
    array: float = _quantity(0.5 * 0.194, "pJ per cell of 8 bits and product",
                             "reconstruction: half of the macro's 194 fJ")
    adder: float = _quantity(0.1 * 0.194 * 128, "pJ per conversion",
                             "reconstruction: a tenth of the macro's 194 fJ, 128 rows")
    converter: float = _quantity(0.4 * 0.194 * 128 / 8, "pJ per comparison",
                                 "reconstruction: four tenths of the macro's 194 fJ, 128 rows, "
                                 "8 comparisons")
    latch: float = _quantity(0.1, "pJ per row code loaded", "assumption")
    accumulate: float = _quantity(0.05, "pJ per code added (merge, plain)", "assumption")
    multiply: float = _quantity(0.1, "pJ per code times coefficient, added (stream)", "assumption")
    memory: float = _quantity(0.03, "pJ per bit of on-chip memory read or written", "assumption")
    requantize: float = _quantity(1.0, "pJ per output", "assumption")
    elementwise: float = _quantity(0.3, "pJ per operand of an add or pool", "assumption")
    external: float = _quantity(5.0, "pJ per bit from or to external memory", "assumption")
    digital: float = _quantity(1.0, "pJ per digital 8-bit MAC with its operands' delivery",
                               "assumption")
    idle: float = _quantity(0.25, "mW per powered tile",
                            "assumption: 5 % of the macro's 4.97 mW")
    digital_rate: float = _quantity(25.6e3, "million MACs per second of digital logic per tile",
                                    "reconstruction: the macro's 51.2 GOPS")
    bus: float = _quantity(2.0, "clocks per 32-bit word written through AXI4-Lite", "assumption")

    def __post_init__(self) -> None:
        _check_positive(self)
        for name in ("clock", "digital_rate"):
            if getattr(self, name) == 0:
                raise ValueError(f"EnergyParameters.{name} must be more than 0, not 0")


@dataclass(frozen=True)
class AreaParameters:
    """Area of the blocks in square micrometres, 65 nm."""

    cell: float = _quantity(16.0, "um2 per weight of 8 bits", "assumption: 8 cells of 2 um2")
    converter: float = _quantity(5000.0, "um2 per converter with its adder network", "assumption")
    accumulator: float = _quantity(15.0, "um2 per bit of accumulator", "assumption")
    lane: float = _quantity(400.0, "um2 per lane, code times coefficient", "assumption")
    memory: float = _quantity(1.0, "um2 per bit of on-chip memory", "assumption")
    control: float = _quantity(10000.0, "um2 per tile: phases, converter logic", "assumption")
    shared: float = _quantity(60000.0, "um2 per chip: scheduler, window, requantizer, buses",
                              "assumption")
    driver: float = _quantity(100.0, "um2 per column: write and verify circuits", "assumption")
    digital: float = _quantity(1000.0, "um2 per digital 8-bit MAC unit", "assumption")

    def __post_init__(self) -> None:
        _check_positive(self)


@dataclass(frozen=True)
class WriteParameters:
    """Programming of a resistive crossbar by write pulses, each followed by a verifying read.

    Rows are written one after the other, all tiles at the same time.
    """

    pulse: float = _quantity(10.0, "ns per write pulse", "MNSIM: Write_Latency")
    verify: float = _quantity(3.16, "ns per verifying read", "MNSIM: Read_Latency")
    pulses: int = _quantity(32, "pulses until a row is verified",
                            "reconstruction: geometric mean of 10 and 100")
    voltage: float = _quantity(3.0, "V", "MNSIM: Write_Voltage")
    high_resistance: float = _quantity(1e6, "ohm", "MNSIM: Device_Resistance")
    low_resistance: float = _quantity(1e4, "ohm", "MNSIM: Device_Resistance")
    cells: int = _quantity(2, "cells per weight", "reconstruction: a conductance pair")
    style: str = "row"
    images: int = _quantity(1, "images that share one writing of the crossbars", "one inference")

    def __post_init__(self) -> None:
        _check_positive(self, "style")
        for name in ("pulses", "cells", "images"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"WriteParameters.{name} must be an integer of at least 1, "
                                 f"not {value!r}")
        for name in ("high_resistance", "low_resistance", "pulse"):
            if not getattr(self, name) > 0:
                raise ValueError(f"WriteParameters.{name} must be more than 0, "
                                 f"not {getattr(self, name)!r}")
        if self.style not in WRITE_STYLES:
            raise ValueError(f"WriteParameters.style must be one of {', '.join(WRITE_STYLES)}, "
                             f"not {self.style!r}")

    @property
    def pulse_energy(self) -> float:
        """pJ of one pulse on one cell: V**2 G t with the mean of the two states' conductances."""
        conductance = (1 / self.high_resistance + 1 / self.low_resistance) / 2
        return self.voltage**2 * conductance * self.pulse * 1e3


def described(parameters: object) -> list[tuple[str, Any, str, str]]:
    """(name, value, unit, source) of every field, for tables and files."""
    return [(f.name, getattr(parameters, f.name), f.metadata.get("unit", ""),
             f.metadata.get("source", "")) for f in fields(parameters)]  # type: ignore[arg-type]
