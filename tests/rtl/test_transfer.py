"""Loads and stores: every word, order, stability of the stream, and clocks."""

from collections import deque
import random

import pytest

from golden.chip import PRESETS
from golden.chip.descriptor import Opcode, encode
from golden.program import Transfer
from golden.timing_transfer import LOAD_OVERHEAD, STORE_OVERHEAD, transfer_clocks
from rtl.buffer import READ_CLOCKS
from rtl.transfer import TransferUnit
from tests.rtl.simulation import simulate

SIZE = 1 << 16
COUNTS = (1, 2, 3, 4, 5, 40)


def descriptor(layer):
    if layer.load:
        return encode(Opcode.LOAD, destination=layer.address, count=layer.count)
    return encode(Opcode.STORE, source=layer.address, count=layer.count)


class Bench:
    """Buffer and both streams around the unit, with a chance of pauses on each side."""

    def __init__(self, dut, seed, pause):
        self.dut, self.pause = dut, pause
        self.generator = random.Random(seed)
        self.memory = [self.generator.getrandbits(32) for _ in range(SIZE)]
        self.clear()

    def clear(self):
        self.reads, self.writes, self.sent, self.beats = [], [], [], []

    async def buffer(self, context):
        dut = self.dut
        ports = context.tick().sample(dut.read_enable, dut.read_address, dut.write_enable,
                                      dut.write_address, dut.write_data, dut.abort)
        nothing = 0, 0x5A5A_A5A5
        arriving = deque([nothing] * (READ_CLOCKS - 1))
        async for _, _, reading, read_address, writing, write_address, data, abort in ports:
            arriving.append((1, self.memory[read_address]) if reading else nothing)
            if abort:
                arriving = deque([nothing] * len(arriving))
            valid, word = arriving.popleft()
            context.set(dut.read_valid, valid)
            context.set(dut.read_data, word)
            if reading:
                self.reads.append(read_address)
            if writing:
                self.writes.append((write_address, data))

    async def source(self, context):
        """A source never withdraws a beat: it keeps the AXI-stream rules itself."""
        dut = self.dut
        while True:
            while self.generator.random() < self.pause:
                await context.tick()
            word = self.generator.getrandbits(32)
            context.set(dut.in_valid, 1)
            context.set(dut.in_data, word)
            while not context.get(dut.in_ready):
                await context.tick()
            await context.tick()
            self.sent.append(word)
            context.set(dut.in_valid, 0)

    async def sink(self, context):
        dut = self.dut
        offered = None
        while True:
            ready = self.generator.random() >= self.pause
            context.set(dut.out_ready, ready)
            beat = context.get(dut.out_data), context.get(dut.out_last)
            valid = context.get(dut.out_valid)
            assert offered is None or (valid and beat == offered), "a beat was withdrawn"
            offered = beat if valid and not ready else None
            if valid and ready:
                self.beats.append(beat)
            await context.tick()
            if context.get(dut.abort):
                offered = None

    def run(self, testbench):
        simulate(self.dut, testbench, self.buffer, self.source, self.sink)


async def begin(context, dut, layer):
    context.set(dut.read_ready, 1)
    context.set(dut.write_ready, 1)
    for i, word in enumerate(descriptor(layer)):
        context.set(dut.descriptor[i], word)
    context.set(dut.start, 1)
    await context.tick()
    context.set(dut.start, 0)


async def finish(context, dut, restart=False):
    """Clocks from the start to `done`; begun in the clock after the start.

    ``restart`` pulses `start` again now and then, which must change nothing.
    """
    clocks = 1
    while not context.get(dut.done):
        assert context.get(dut.busy)
        context.set(dut.start, restart and clocks % 3 == 0)
        await context.tick()
        context.set(dut.start, 0)
        clocks += 1
    assert not context.get(dut.busy) and not context.get(dut.in_ready)
    assert not context.get(dut.out_valid)
    return clocks


def check(bench, layer):
    addresses = [(layer.address + i) % SIZE for i in range(layer.count)]
    if layer.load:
        assert bench.writes == list(zip(addresses, bench.sent, strict=True))
        assert bench.reads == [] and bench.beats == []
    else:
        assert bench.reads == addresses
        assert bench.beats == [(bench.memory[address], i == layer.count - 1)
                               for i, address in enumerate(addresses)]
        assert bench.writes == [] and bench.sent == []


@pytest.mark.parametrize("pause", [0, 0.3, 0.8])
def test_transfers(pause):
    dut = TransferUnit(PRESETS["tiny"])
    bench = Bench(dut, 17, pause)
    layers = [Transfer("layer", load, address, count)
              for count in COUNTS for load in (True, False)
              for address in (0, 0xFFFE, 0x5555, 0xAAAA)]

    async def testbench(context):
        for layer in layers:
            bench.clear()
            await begin(context, dut, layer)
            clocks = await finish(context, dut)
            check(bench, layer)
            if pause:
                assert clocks >= transfer_clocks(layer)
            else:
                assert clocks == transfer_clocks(layer)

    bench.run(testbench)


@pytest.mark.parametrize("more", [0, 3])
@pytest.mark.parametrize("bit", range(4, 17))
@pytest.mark.parametrize("load", [True, False])
def test_every_bit_of_the_count_counts(load, bit, more):
    """None of the first words is the last."""
    dut = TransferUnit(PRESETS["tiny"])
    bench = Bench(dut, bit, 0)
    count = min((1 << bit) + more, SIZE)

    async def testbench(context):
        await begin(context, dut, Transfer("layer", load, 0, count))
        for _ in range(6 + TransferUnit.STORE_OVERHEAD):
            await context.tick()
            assert context.get(dut.busy) and not context.get(dut.out_last)
        assert len(bench.writes if load else bench.beats) >= 6

    bench.run(testbench)


@pytest.mark.parametrize("load", [True, False])
def test_many_words(load):
    """Enough for most bits of the counters."""
    dut = TransferUnit(PRESETS["tiny"])
    bench = Bench(dut, 31, 0)
    layer = Transfer("layer", load, 0x9234, (1 << 15) + 17)

    async def testbench(context):
        await begin(context, dut, layer)
        assert await finish(context, dut) == transfer_clocks(layer)
        check(bench, layer)

    bench.run(testbench)


def test_overheads_of_the_unit_are_those_of_the_cost_model():
    assert (TransferUnit.LOAD_OVERHEAD, TransferUnit.STORE_OVERHEAD) == (LOAD_OVERHEAD,
                                                                        STORE_OVERHEAD)


@pytest.mark.parametrize("load", [True, False])
@pytest.mark.parametrize("pause", [0, 0.5])
def test_abort_and_start_while_busy(load, pause):
    dut = TransferUnit(PRESETS["tiny"])
    bench = Bench(dut, 23, pause)
    layer = Transfer("layer", load, 100, 6)

    async def testbench(context):
        for clocks in range(transfer_clocks(layer) - 1):
            await begin(context, dut, layer)
            for _ in range(clocks):
                await context.tick()
            context.set(dut.abort, 1)
            await context.tick()
            context.set(dut.abort, 0)
            for _ in range(4):
                for name in ("busy", "done", "in_ready", "out_valid", "read_enable",
                             "write_enable"):
                    assert not context.get(getattr(dut, name)), name
                await context.tick()
            bench.clear()
            await begin(context, dut, layer)
            taken = await finish(context, dut, restart=True)
            assert pause or taken == transfer_clocks(layer)
            check(bench, layer)

    bench.run(testbench)


@pytest.mark.parametrize("load", [True, False])
@pytest.mark.parametrize("timeout", [0, 1, 2, 7])
def test_a_host_that_does_nothing(load, timeout):
    """The time-out strikes in the clock that is the `timeout`-th of a wait, without one never."""
    dut = TransferUnit(PRESETS["tiny"])

    async def testbench(context):
        context.set(dut.timeout, timeout)
        await begin(context, dut, Transfer("layer", load, 0, 2))
        waited = 0
        for _ in range(30):
            assert not (context.get(dut.host_wait) and context.get(dut.buffer_wait))
            waited += context.get(dut.host_wait)
            if context.get(dut.late):
                break
            await context.tick()
        assert context.get(dut.late) == bool(timeout)
        assert waited == timeout if timeout else waited > 20
        # A host that moves in time starts the count again.
        context.set(dut.abort, 1)
        await context.tick()
        context.set(dut.abort, 0)
        await begin(context, dut, Transfer("layer", load, 0, 2))
        for clock in range(40):
            ready = timeout > 1 and clock % timeout == timeout - 1
            context.set(dut.in_valid, ready)
            context.set(dut.out_ready, ready)
            assert not context.get(dut.late) or timeout == 1
            await context.tick()
            if timeout > 1 and context.get(dut.done):
                return
        assert timeout < 2

    simulate(dut, testbench, Bench(dut, 5, 0).buffer)


@pytest.mark.parametrize("bit", range(3, 24))
def test_every_bit_of_the_timeout_counts(bit):
    """It strikes after so many clocks, neither where the lower bits would have it nor before."""
    dut = TransferUnit(PRESETS["tiny"])

    async def testbench(context):
        for more in (0, 2):
            context.set(dut.timeout, (1 << bit) + more)
            await begin(context, dut, Transfer("layer", True, 0, 2))
            clocks = 0
            for _ in range(min(1 << bit, 70)):
                clocks += 1
                if context.get(dut.late):
                    break
                await context.tick()
            # The clock of the start counts as well, in which it was told how long to wait.
            assert context.get(dut.late) == (clocks == (1 << bit) + more)
            context.set(dut.abort, 1)
            await context.tick()
            context.set(dut.abort, 0)

    simulate(dut, testbench)


def test_long_timeouts():
    """To their end; the last is set while the host is waited for, and counts from then on."""
    dut = TransferUnit(PRESETS["tiny"])
    generator = random.Random(9)

    async def testbench(context):
        whole = [4097, 6143, *(generator.randrange(1 << 13) for _ in range(3))]
        for timeout, first in (*zip(whole, whole, strict=True), (2050, 0)):
            context.set(dut.timeout, first)
            await begin(context, dut, Transfer("layer", True, 0, 2))
            await context.tick()
            context.set(dut.timeout, timeout)
            # The clock after the start counts as well, unless nothing was counted then.
            for _ in range(timeout - 3 if first else timeout - 1):
                await context.tick()
                assert not context.get(dut.late)
            await context.tick()
            assert context.get(dut.late)
            context.set(dut.abort, 1)
            await context.tick()
            context.set(dut.abort, 0)

    simulate(dut, testbench)


@pytest.mark.parametrize("host", [1.0, 0.5])
@pytest.mark.parametrize("load", [True, False])
def test_a_buffer_that_is_busy(load, host):
    """What is asked for stays until the port is ready; each clock of it is told."""
    dut = TransferUnit(PRESETS["tiny"])
    generator = random.Random(f"busy {host}")
    layer = Transfer("layer", load, 7, 40)

    async def testbench(context):
        await begin(context, dut, layer)
        seen, clocks, waits = [], 1, 0
        arriving = deque([0] * READ_CLOCKS)
        offered = pending = False
        while not context.get(dut.done):
            ready = generator.random() < 0.5
            # A beat is not withdrawn.
            offered = offered or generator.random() < host
            context.set(dut.in_valid, offered)
            context.set(dut.out_ready, generator.random() < host)
            context.set(dut.read_ready, ready)
            context.set(dut.write_ready, ready)
            port = "write" if load else "read"
            asked = context.get(getattr(dut, f"{port}_enable"))
            if asked and ready:
                seen.append(context.get(getattr(dut, f"{port}_address")))
            arriving.append(not load and context.get(dut.read_enable) and ready)
            context.set(dut.read_valid, arriving.popleft())
            host_waits = (context.get(dut.in_ready) and not offered) if load else (
                context.get(dut.out_valid) and not context.get(dut.out_ready))
            settling = load and len(seen) == layer.count
            assert context.get(dut.host_wait) == host_waits
            assert context.get(dut.buffer_wait) == (
                not host_waits and not ready and (asked or settling))
            if load and len(seen) + pending < layer.count:
                assert context.get(dut.in_ready) == (not asked or ready)
            taken = context.get(dut.in_ready) and offered
            pending = taken or (pending and not (asked and ready))
            offered = offered and not taken
            waits += host_waits or context.get(dut.buffer_wait)
            await context.tick()
            clocks += 1
        assert seen == list(range(7, 7 + layer.count))
        assert waits > 0
        if load:        # every clock of waiting delays the end
            assert clocks == transfer_clocks(layer) + waits

    simulate(dut, testbench)
