"""A block between shift registers, so that three pins do for any number of ports."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import Component, In, Out

__all__ = ["ShiftHarness"]


class ShiftHarness(Component):
    """Every input of a block comes from a flip-flop, every output goes to one.

    What is measured are the paths between flip-flops, the block's ports as close as they are to
    flip-flops of its neighbours. The shift registers beyond are simple enough never to limit.

    Parameters
    ----------
    block
        The component.

    Members
    -------
    serial_in : in; serial_out : out
        Ends of the shift registers.
    capture : in
        The outputs, as they were a clock before, enter the shift register.
    aclk : in
        Only where the block makes its own clock domain from a port of this name.
    """

    def __init__(self, block: Component) -> None:
        self._block = block
        ports = {"serial_in": In(1), "serial_out": Out(1), "capture": In(1)}
        super().__init__(ports | ({"aclk": In(1)} if hasattr(block, "aclk") else {}))

    def elaborate(self, platform: object) -> Module:
        """The block and its shift registers."""
        m = Module()
        m.submodules.block = block = self._block
        inputs, outputs = [], []
        for path, member, value in block.signature.flatten(block):
            if path == ("aclk",):
                m.d.comb += value.eq(self.aclk)
            else:
                (outputs if member.flow is Out else inputs).append(Value.cast(value))
        stimulus = Signal(sum(map(len, inputs)), reset_less=True)
        result = Signal(sum(map(len, outputs)), reset_less=True)
        shifted = Signal.like(result, reset_less=True)
        m.d.comb += [Cat(*inputs).eq(stimulus), self.serial_out.eq(shifted[0])]
        m.d.sync += [stimulus.eq(Cat(self.serial_in, stimulus)), result.eq(Cat(*outputs)),
                     shifted.eq(Mux(self.capture, result, shifted >> 1))]
        return m
