"""The chip with digital twins for macros: all of it is logic, so that an FPGA can hold it."""

from amaranth.hdl import ClockDomain, DomainRenamer, Module
from amaranth.lib.wiring import Component, Out, Signature

from golden.chip import Chip

from .chip import ChipTop, chip_signature
from .twin import MacroTwin

__all__ = ["EmulatedChip"]


class EmulatedChip(Component):
    """A `ChipTop` whose macros are `MacroTwin`.

    Parameters
    ----------
    chip
        Configuration. Programs need the phases of `rtl.twin.twin_phases`.
    observed
        Whether the macros' pins, all as outputs, and the trace ports are ports too.

    Members
    -------
    aclk, aresetn, s_axi_*, s_axis_*, m_axis_*, irq
        Those of `ChipTop`.
    macro0, ..., trace0, ..., trace_sum, trace_word, trace_layer : out
        Those of `ChipTop`, if ``observed``.
    """

    def __init__(self, chip: Chip, observed: bool = False) -> None:
        self.chip = chip
        members = {}
        for name, member in chip_signature(chip).members.items():
            if not name.startswith(("macro", "trace")):
                members[name] = member
            elif observed and name.startswith("macro"):
                pins = member.signature.members.items()
                members[name] = Out(Signature({pin: Out(each.shape) for pin, each in pins}))
            elif observed:
                members[name] = member
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.chip = top = ChipTop(self.chip)
        m.domains.twin = domain = ClockDomain("twin")
        m.d.comb += [domain.clk.eq(self.aclk), domain.rst.eq(~self.aresetn)]
        for path, member, port in self.signature.flatten(self):
            if path[0].startswith("macro"):
                continue
            inner = top
            for name in path:
                inner = getattr(inner, name)
            m.d.comb += port.eq(inner) if member.flow is Out else inner.eq(port)
        for tile in range(self.chip.tiles):
            twin = MacroTwin(self.chip)
            m.submodules[f"twin{tile}"] = DomainRenamer("twin")(twin)
            pins, observed = getattr(top, f"macro{tile}"), getattr(self, f"macro{tile}", None)
            for name, member in twin.signature.members.items():
                inner, outer = getattr(twin, name), getattr(pins, name)
                m.d.comb += outer.eq(inner) if member.flow is Out else inner.eq(outer)
                if observed is not None:
                    m.d.comb += getattr(observed, name).eq(inner)
        return m
