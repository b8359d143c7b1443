"""AXI4-Lite subordinate (ARM IHI 0022), one write and one read at a time."""

from enum import IntEnum

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import Component, In, Out, Signature

__all__ = ["Response", "AxiLiteSignature", "AxiLiteSubordinate"]


class Response(IntEnum):
    """Response codes; AXI4-Lite has no exclusive access, so 1 is never used."""

    OKAY = 0
    SLVERR = 2
    DECERR = 3


class AxiLiteSignature(Signature):
    """AXI4-Lite with 32-bit data, seen from the manager.

    Parameters
    ----------
    address_bits
        Width of a byte address.
    """

    def __init__(self, address_bits: int) -> None:
        if isinstance(address_bits, bool) or not isinstance(address_bits, int) \
                or not 2 < address_bits <= 64:
            raise ValueError(f"address_bits must be an integer from 3 to 64, not {address_bits!r}")
        self.address_bits = address_bits
        super().__init__({
            "awaddr": Out(address_bits), "awprot": Out(3), "awvalid": Out(1), "awready": In(1),
            "wdata": Out(32), "wstrb": Out(4), "wvalid": Out(1), "wready": In(1),
            "bresp": In(2), "bvalid": In(1), "bready": Out(1),
            "araddr": Out(address_bits), "arprot": Out(3), "arvalid": Out(1), "arready": In(1),
            "rdata": In(32), "rresp": In(2), "rvalid": In(1), "rready": Out(1),
        })


class AxiLiteSubordinate(Component):
    """Turns AXI4-Lite transactions into accesses of a simple inner side.

    Address and data of a write may come in either order. A write with a strobe other than 0b1111,
    and any access to an address that is not a multiple of four, is answered SLVERR without an
    access of the inner side; an error of the inner side is answered DECERR, with zero as data.
    The protection bits are not looked at. A response holds until it is taken, and only then is
    the next address (and data) of its kind accepted.

    Parameters
    ----------
    address_bits
        Width of a byte address.

    Members
    -------
    awaddr to rready
        As in `AxiLiteSignature`, seen from the subordinate. No output depends on an input of the
        same clock.
    write_valid, write_address, write_data : out; write_error : in
        `write_valid` for one clock per write, address and data until the response is taken. The
        error is looked at `ANSWER_CLOCKS` after `write_valid`.
    read_valid, read_address : out; read_data, read_error : in
        The same for a read.

    Latency
    -------
    The inner access happens in the clock after the last of address and data was taken, the
    response is valid ``ANSWER_CLOCKS + 1`` clocks later: at best one write and one read every
    ``ANSWER_CLOCKS + 3`` clocks.
    """

    #: Clocks that the inner side has to decode an address and to answer.
    ANSWER_CLOCKS = 3

    def __init__(self, address_bits: int) -> None:
        super().__init__({
            **AxiLiteSignature(address_bits).flip().members,
            "write_valid": Out(1), "write_address": Out(address_bits), "write_data": Out(32),
            "write_error": In(1),
            "read_valid": Out(1), "read_address": Out(address_bits), "read_data": In(32),
            "read_error": In(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._add_write(m)
        self._add_read(m)
        return m

    def _answer(self, m: Module, access: Value, name: str) -> Value:
        """Pulse: the inner side's answer to ``access`` is there."""
        waited = Signal(self.ANSWER_CLOCKS, name=f"{name}_waited")
        m.d.sync += waited.eq(Cat(access, waited)[:self.ANSWER_CLOCKS])
        return waited[-1]

    def _add_write(self, m: Module) -> None:
        address_taken, data_taken, strobe = Signal(), Signal(), Signal(4)
        access, accessed, whole = (Signal(name=f"write_{n}") for n in (
            "access", "accessed", "whole"))
        m.d.comb += [
            self.awready.eq(~address_taken), self.wready.eq(~data_taken),
            access.eq(address_taken & data_taken & ~accessed),
            whole.eq(strobe.all() & (self.write_address[:2] == 0)),
            self.write_valid.eq(access & whole),
        ]
        with m.If(self.awvalid & self.awready):
            m.d.sync += [address_taken.eq(1), self.write_address.eq(self.awaddr)]
        with m.If(self.wvalid & self.wready):
            m.d.sync += [data_taken.eq(1), self.write_data.eq(self.wdata), strobe.eq(self.wstrb)]
        with m.If(access):
            m.d.sync += accessed.eq(1)
        with m.If(self._answer(m, access, "write")):
            m.d.sync += [self.bvalid.eq(1), self.bresp.eq(_response(whole, self.write_error))]
        with m.If(self.bvalid & self.bready):
            m.d.sync += [self.bvalid.eq(0), address_taken.eq(0), data_taken.eq(0), accessed.eq(0)]

    def _add_read(self, m: Module) -> None:
        address_taken, access, accessed, whole = (Signal(name=f"read_{n}") for n in (
            "address_taken", "access", "accessed", "whole"))
        m.d.comb += [
            self.arready.eq(~address_taken), access.eq(address_taken & ~accessed),
            whole.eq(self.read_address[:2] == 0), self.read_valid.eq(access & whole),
        ]
        with m.If(self.arvalid & self.arready):
            m.d.sync += [address_taken.eq(1), self.read_address.eq(self.araddr)]
        with m.If(access):
            m.d.sync += accessed.eq(1)
        with m.If(self._answer(m, access, "read")):
            m.d.sync += [
                self.rvalid.eq(1), self.rresp.eq(_response(whole, self.read_error)),
                self.rdata.eq(Mux(whole & ~self.read_error, self.read_data, 0)),
            ]
        with m.If(self.rvalid & self.rready):
            m.d.sync += [self.rvalid.eq(0), address_taken.eq(0), accessed.eq(0)]


def _response(whole: Value, error: Value) -> Value:
    return Mux(whole, Mux(error, Response.DECERR, Response.OKAY),
               Response.SLVERR)
