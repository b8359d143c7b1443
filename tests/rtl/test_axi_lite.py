"""AXI4-Lite subordinate in front of a small memory, with stalls on every channel."""

import random

from amaranth.hdl import Signal
import pytest

from rtl.axi_lite import AxiLiteSignature, AxiLiteSubordinate, Response
from tests.rtl.simulation import simulate

ADDRESS_BITS = 8
#: Byte addresses from here up are refused by the inner side.
REFUSED = 0xC0


class Inner:
    """The inner side: a memory that counts accesses and refuses the upper addresses."""

    def __init__(self, dut):
        self.dut, self.memory = dut, {}
        self.writes = self.reads = 0

    async def serve(self, context):
        """Accesses are done in their clock, and answered by the clock in which that counts.

        Address and data stay until the response is taken.
        """
        dut = self.dut
        written = asked = None
        async for (_, _, valid, address, data, reading, read, write_taken,
                   read_taken) in context.tick().sample(
                dut.write_valid, dut.write_address, dut.write_data, dut.read_valid,
                dut.read_address, dut.bvalid & dut.bready, dut.rvalid & dut.rready):
            assert written in (None, (address, data)) and asked in (None, read)
            written = None if write_taken else (address, data) if valid else written
            asked = None if read_taken else read if reading else asked
            self.reads += reading
            self.writes += valid
            if valid and address < REFUSED:
                self.memory[address] = data
            read, write = context.get(dut.read_address), context.get(dut.write_address)
            context.set(dut.read_data, self.memory.get(read, 0xDEAD_0000 | read))
            context.set(dut.read_error, read >= REFUSED)
            context.set(dut.write_error, write >= REFUSED)


async def offer(context, dut, prefix, payload, delay):
    """Drive one channel after ``delay`` clocks until it is taken."""
    for _ in range(delay):
        await context.tick()
    for name, value in payload.items():
        context.set(getattr(dut, name), value)
    context.set(getattr(dut, f"{prefix}valid"), 1)
    taken = False
    while not taken:
        taken = context.get(getattr(dut, f"{prefix}ready"))
        await context.tick()
    context.set(getattr(dut, f"{prefix}valid"), 0)


async def take(context, dut, prefix, names, delay):
    """Wait for a response, hold it off for ``delay`` clocks while it must stay, and take it."""
    while not context.get(getattr(dut, f"{prefix}valid")):
        await context.tick()
    held = [context.get(getattr(dut, name)) for name in names]
    for _ in range(delay):
        await context.tick()
        assert context.get(getattr(dut, f"{prefix}valid"))
        assert [context.get(getattr(dut, name)) for name in names] == held
    context.set(getattr(dut, f"{prefix}ready"), 1)
    await context.tick()
    context.set(getattr(dut, f"{prefix}ready"), 0)
    return held


def write_response(address, strobe):
    if strobe != 0xF or address % 4:
        return Response.SLVERR
    return Response.DECERR if address >= REFUSED else Response.OKAY


ADDRESSES = (0, 4, REFUSED - 4, REFUSED, 0xFC, 1, 2, 3, 0xFF)


@pytest.mark.parametrize("stalls", [0, 4])
def test_writes(stalls):
    generator = random.Random(stalls)
    dut = AxiLiteSubordinate(ADDRESS_BITS)
    inner = Inner(dut)
    cases = [(a, s, 0xFFFF_FFFF) for a in ADDRESSES for s in (0xF, 0, 1, 0xE, 7)]
    cases += [(generator.randrange(256) & generator.choice((~0, ~3)),
               generator.choice((0xF, 0xF, generator.randrange(16))), generator.getrandbits(32))
              for _ in range(80)]
    answers, expected_memory = [], {}

    def delay():
        return generator.randint(0, stalls)

    async def addresses(context):
        for address, _, _ in cases:
            await offer(context, dut, "aw", {"awaddr": address}, delay())

    async def data(context):
        for _, strobe, value in cases:
            await offer(context, dut, "w", {"wstrb": strobe, "wdata": value}, delay())

    async def responses(context):
        for _ in cases:
            answers.append((await take(context, dut, "b", ["bresp"], delay()))[0])
        for _ in range(10):
            await context.tick()
            assert not context.get(dut.bvalid)

    simulate(dut, responses, addresses, data, inner.serve)
    assert answers == [write_response(address, strobe) for address, strobe, _ in cases]
    for address, strobe, value in cases:
        if write_response(address, strobe) == Response.OKAY:
            expected_memory[address] = value
    assert inner.memory == expected_memory
    assert inner.writes == sum(answer != Response.SLVERR for answer in answers)
    assert inner.reads == 0


@pytest.mark.parametrize("stalls", [0, 4])
def test_reads(stalls):
    generator = random.Random(stalls)
    dut = AxiLiteSubordinate(ADDRESS_BITS)
    inner = Inner(dut)
    inner.memory = {4 * i: generator.getrandbits(32) for i in range(32)}
    cases = list(ADDRESSES) + [generator.randrange(256) & generator.choice((~0, ~3))
                               for _ in range(80)]
    answers = []

    async def addresses(context):
        for address in cases:
            await offer(context, dut, "ar", {"araddr": address}, generator.randint(0, stalls))

    async def responses(context):
        for _ in cases:
            answers.append(tuple(await take(context, dut, "r", ["rresp", "rdata"],
                                            generator.randint(0, stalls))))

    simulate(dut, responses, addresses, inner.serve)
    expected = []
    for address in cases:
        response = write_response(address, 0xF)
        expected.append((response, inner.memory.get(address, 0xDEAD_0000 | address)
                         if response == Response.OKAY else 0))
    assert answers == expected
    assert inner.reads == sum(answer != Response.SLVERR for answer, _ in answers)
    assert inner.writes == 0


@pytest.mark.parametrize("early", ["aw", "w", None])
def test_order_and_latency(early):
    """Either channel may come first; the inner access is in the clock after the second."""
    dut = AxiLiteSubordinate(ADDRESS_BITS)

    async def testbench(context):
        for round_ in range(3):
            context.set(dut.awaddr, 4 * round_)
            context.set(dut.wdata, round_)
            context.set(dut.wstrb, 0xF)
            context.set(dut.bready, 1)
            if early:
                context.set(getattr(dut, f"{early}valid"), 1)
                await context.tick()
                context.set(getattr(dut, f"{early}valid"), 0)
                for _ in range(3):
                    assert not context.get(dut.write_valid)
                    assert not context.get(getattr(dut, f"{early}ready"))
                    await context.tick()
            for channel in {"aw", "w"} - {early}:
                context.set(getattr(dut, f"{channel}valid"), 1)
            await context.tick()
            context.set(dut.awvalid, 0)
            context.set(dut.wvalid, 0)
            assert context.get(dut.write_valid) and not context.get(dut.bvalid)
            assert context.get(dut.write_address) == 4 * round_
            assert context.get(dut.write_data) == round_
            await context.tick()
            for _ in range(AxiLiteSubordinate.ANSWER_CLOCKS):
                assert not context.get(dut.write_valid) and not context.get(dut.bvalid)
                await context.tick()
            assert context.get(dut.bvalid)
            await context.tick()
            assert not context.get(dut.bvalid)
            assert context.get(dut.awready) and context.get(dut.wready)

    simulate(dut, testbench)


def test_full_rate():
    """A write and a read every six clocks when the manager never waits."""
    dut = AxiLiteSubordinate(ADDRESS_BITS)

    async def testbench(context):
        for name in ("awvalid", "wvalid", "bready", "arvalid", "rready"):
            context.set(getattr(dut, name), 1)
        context.set(dut.wstrb, 0xF)
        writes = reads = 0
        for _ in range(60):
            writes += context.get(dut.bvalid)
            reads += context.get(dut.rvalid)
            await context.tick()
        assert (writes, reads) == (10, 10)

    simulate(dut, testbench)


def test_reset_in_mid_transaction():
    reset = Signal()
    dut = AxiLiteSubordinate(ADDRESS_BITS)

    async def testbench(context):
        for clocks in range(4):
            for name in ("awvalid", "wvalid", "arvalid"):
                context.set(getattr(dut, name), 1)
            context.set(dut.wstrb, 0xF)
            for _ in range(clocks):
                await context.tick()
            context.set(reset, 1)
            await context.tick()
            context.set(reset, 0)
            for name in ("bvalid", "rvalid", "write_valid", "read_valid"):
                assert not context.get(getattr(dut, name))
            for name in ("awready", "wready", "arready"):
                assert context.get(getattr(dut, name))

    simulate(dut, testbench, reset=reset)


@pytest.mark.parametrize("address_bits", [2, 65, True, "8"])
def test_refuses_address_bits(address_bits):
    with pytest.raises(ValueError, match="address_bits must be an integer from 3 to 64, not"):
        AxiLiteSignature(address_bits)
