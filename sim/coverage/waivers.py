"""What no run of the chip reaches, or none in reasonable time, and why."""

from golden.chip import PRODUCT_BITS, WORD_BITS, Chip
from golden.chip.descriptor import USED_WORDS
from golden.chip.registers import Register, registers

from .counts import LINE, TOGGLE
from .measure import Waiver

__all__ = ["waivers"]

#: Registers that hold a constant.
_CONSTANTS = ("id", "version", "configuration", "tenants")


def waivers(chip: Chip) -> tuple[Waiver, ...]:
    """Of `sim.coverage.run.covered_chip`."""
    return (*_register_waivers(chip), *_COUNTS, *_CONSTANT)


def _register_waivers(chip: Chip) -> list[Waiver]:
    """Bits of the register map that stand still."""
    result = []
    for register in registers(chip):
        if register.name in _CONSTANTS:
            result.append(Waiver(TOGGLE, "the register is a constant", "crossloom.registers",
                                 f"value_{register.name}"))
        elif _unused(register):
            result.append(Waiver(TOGGLE, "no field has these bits of the register: they read zero",
                                 "crossloom.registers", f"value_{register.name}",
                                 _unused(register)))
    return result


def _unused(register: Register) -> frozenset[int]:
    used = {bit for bits in register.bits if bits.access != "W1S"
            for bit in range(bits.low, bits.low + bits.width)}
    return frozenset(range(WORD_BITS)) - used


def _toggles(reason: str, name: str, bits: range | frozenset[int] | None = None,
             module: str = ".*") -> Waiver:
    return Waiver(TOGGLE, reason, module, name, bits)


_COUNTS = (
    _toggles("bit n of a product's number first moves after 2**n products of one run; bits 31:30 "
             "are the tenant, of which this chip has two",
             r"(.*\.)?(product\d?|number|(product|next)_number|first_product)"
             r"|(macro|trace|code)\d*__product", range(11, PRODUCT_BITS)),
    _toggles("bit n of a position's number first moves after 2**n positions of one layer",
             r"(.*\.)?position|(trace_)?sum_+position", range(10, 24)),
    _toggles("a product has at most as many conversions as a calibration of all columns "
             "averages: 2**10 on this chip",
             r"(.*\.)?(next_)?conversion|(macro|trace|code)\d*__conversion", range(10, 16)),
    _toggles("bit n of a layer's number first moves in a program of 2**n descriptors",
             r"layer\.tenant\d|trace_layer\d*__index", range(7, 12)),
    _toggles("no cause has bit 3; the others are those of a layer's number",
             r"value_(tenant\d_)?status", frozenset((11, *range(23, 28)))),
    _toggles("no cause has bit 3", r"failed_cause\.tenant\d|refusal", range(3, 4)),
)
_UNREAD = "the last word of a descriptor has no field and is not read"
_CONSTANT = (
    _toggles(_UNREAD, rf"(descriptor|convolution)\[{USED_WORDS}\]"),
    Waiver(LINE, _UNREAD, r"crossloom\.scheduler", "case", source=f"4'h{USED_WORDS:x}:"),
    _toggles("the chip does not look at the protection bits, and this host leaves them zero",
             "(s_axi_)?a[rw]prot"),
    _toggles("units within one that is reset by abort are reset with it", "abort",
             module=r"crossloom\.(collector\.requantizer|elementwise|window)(\..*)?"),
    _toggles("a step of one, or of a stride, as wide as what it is added to",
             "pixel_[xy]_(column|row|[xy])_step|(address|second|channel)_word_step",
             module=r"crossloom\.(elementwise|window)(\.nest)?"),
    _toggles("the second operand of an add has no padding",
             "pad_(rows|columns|left|top)|rotating_(left|top)",
             module=r"crossloom\.elementwise\.second_pitches"),
    _toggles("entries that stand for no code: powers of two beyond the resolution, and addresses "
             "that no trial is followed by", r"(power_(lower|upper)|bank\d)\[\d+\]",
             module=r"crossloom_tile\.converter\.levels.*"),
)
