"""The port list of a chip: name, direction, width and meaning of every pin."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any
import json
import re

__all__ = ["Port", "ports", "as_markdown", "as_json"]

#: What each pin means, by a pattern that its whole name matches; the first match counts.
_MEANINGS: tuple[tuple[str, str], ...] = (
    (r"aclk", "clock; everything changes just after its rising edge"),
    (r"aresetn", "reset, active low, synchronous"),
    (r"irq", "interrupt: level, while an enabled status bit is set"),
    (r"s_axi_aw.*", "AXI4-Lite write address channel"),
    (r"s_axi_w.*", "AXI4-Lite write data channel"),
    (r"s_axi_b.*", "AXI4-Lite write response channel"),
    (r"s_axi_ar.*", "AXI4-Lite read address channel"),
    (r"s_axi_r.*", "AXI4-Lite read data channel"),
    (r"s_axis_.*", "AXI4-Stream of activations in: four channels of a pixel per beat"),
    (r"m_axis_tlast", "AXI4-Stream out: last word of a STORE"),
    (r"m_axis_.*", "AXI4-Stream of activations out: four channels of a pixel per beat"),
    (r"s_axis\d_.*", "AXI4-Stream of activations in, of the tenant with this number"),
    (r"m_axis\d_.*", "AXI4-Stream of activations out, of the tenant with this number"),
    (r"macro\d+__write_enable", "write four weights of one row"),
    (r"macro\d+__write_row", "row of the weights being written"),
    (r"macro\d+__write_group", "weights of columns 4*group to 4*group+3"),
    (r"macro\d+__write_data", "byte i: signed weight of column 4*group+i"),
    (r"macro\d+__load_enable", "write four row latches of bank load_bank"),
    (r"macro\d+__load_bank", "latch bank being written"),
    (r"macro\d+__load_clear", "with load_enable: every other row of the bank becomes zero"),
    (r"macro\d+__load_row", "rows 4*load_row to 4*load_row+3"),
    (r"macro\d+__load_codes", "byte i: signed code of row 4*load_row+i"),
    (r"macro\d+__bank", "latch bank that drives the word lines"),
    (r"macro\d+__row_enable", "row granules that take part in the product"),
    (r"macro\d+__reset", "array switch: discharge the unit capacitors"),
    (r"macro\d+__drive", "array switch: activation times weight bit onto the unit capacitors"),
    (r"macro\d+__share", "array switch: join each column's bits with binary ratio"),
    (r"macro\d+__hold", "array switch: column voltages into the hold capacitors"),
    (r"macro\d+__clear", "adder switch: empty sampling capacitor `side`"),
    (r"macro\d+__add", "adder switch: signed sum of the selected columns onto capacitor `side`"),
    (r"macro\d+__side", "sampling capacitor that the adder fills"),
    (r"macro\d+__select", "columns that the adder sums"),
    (r"macro\d+__negate", "columns sampled with opposite polarity"),
    (r"macro\d+__convert", "comparator strobe, once per clock of a conversion"),
    (r"macro\d+__convert_side", "sampling capacitor being converted"),
    (r"macro\d+__trial", "signed trial code of the successive approximation"),
    (r"macro\d+__level", "signed level of the DAC for the trial code, in 1/16 of a code"),
    (r"macro\d+__reference", "converter step, in product units"),
    (r"macro\d+__product", "tag: number of the array's present product, the tenant in bits 31:30"),
    (r"macro\d+__conversion", "tag: conversion number of the present `add`"),
    (r"macro\d+__comparator", "answer, valid before the rising edge after `convert`"),
    (r"macro\d+__decided", "the comparator has decided; low makes the converter wait"),
    (r"trace\d+__.*", "trace of a tile's codes, for scoreboards; leave open on silicon"),
    (r"trace_sum__.*", "trace of the sums over tiles and the requantised outputs; leave open"),
    (r"trace_tenant", "trace: whose descriptor the tiles run; leave open"),
    (r"trace_word\d?__.*", "trace of a tenant's words written to the buffer; leave open"),
    (r"trace_layer\d?__.*", "trace of a tenant's descriptors' ends and clocks; leave open"),
)


_PORT = re.compile(r"^  (input|output)(?: signed)?(?: \[(\d+):0\])? (\w+);", re.M)


@dataclass(frozen=True)
class Port:
    """One port: ``direction`` is ``input`` or ``output`` as the chip sees it, ``width`` in bits."""

    name: str
    direction: str
    width: int
    meaning: str


def _meaning(name: str) -> str:
    for pattern, meaning in _MEANINGS:
        if re.fullmatch(pattern, name):
            return meaning
    raise ValueError(f"port {name!r} has no meaning in the port table")


def ports(verilog: str, module: str) -> tuple[Port, ...]:
    """Every port of ``module`` in the text ``verilog``, inputs and outputs as they stand there.

    ValueError for a text without the module, or a port whose meaning is not known.
    """
    body = re.search(rf"^module {re.escape(module)}\(.*?^endmodule", verilog, re.M | re.S)
    if body is None:
        raise ValueError(f"the Verilog has no module {module!r}")
    return tuple(Port(name, direction, int(high) + 1 if high else 1, _meaning(name))
                 for direction, high, name in _PORT.findall(body.group()))


def as_markdown(chip_name: str, listed: Iterable[Port]) -> str:
    """The port list as a Markdown page."""
    rows = "".join(f"| `{port.name}` | {port.direction} | {port.width} | {port.meaning} |\n"
                   for port in listed)
    return (f"# Ports of the chip `{chip_name}`\n\n"
            "Directions as the chip sees them; widths in bits.\n\n"
            f"| port | direction | width | meaning |\n|---|---|---|---|\n{rows}")


def as_json(chip_name: str, listed: Iterable[Port]) -> str:
    """The port list as JSON text: ``{"chip": name, "ports": [{name, direction, ...}]}``."""
    content: dict[str, Any] = {"chip": chip_name, "ports": [asdict(port) for port in listed]}
    return json.dumps(content, indent=2) + "\n"
