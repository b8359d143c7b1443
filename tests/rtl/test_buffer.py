"""Activation buffer: every word read and written, who waits for whom, and what is refused."""

from dataclasses import replace
import random

import pytest

from golden.chip import PRESETS, Chip
from rtl.buffer import READ_CLOCKS, ActivationBuffer
from tests.rtl.simulation import simulate

TENANTS = 2
CHIP: Chip = replace(PRESETS["tiny"], tenants=TENANTS)
WORDS = CHIP.memories.activation_words


class Port:
    """One of the ports that ask for a kind of access; what waits behind it, and where."""

    def __init__(self, dut, tenant, write):
        self.tenant, self.write = tenant, write
        kind = "write" if write else "read"
        self.port = getattr(dut, kind) if tenant is None \
            else getattr(dut, f"transfer_{kind}")[tenant]
        self.window = dut.window if tenant is None else dut.windows[tenant]
        self.ready = None if tenant is None else getattr(dut, f"transfer_{kind}_ready")[tenant]
        self.enable, self.address = self.port.enable, self.port.address
        self.data = self.port.data if write else None
        self.pending = None         # (word of the memory, address in the window, data)
        self.waited = 0
        self.arriving = []          # (clock, word) of each read that will be answered


def random_window(generator):
    """Base and length: mostly legal, at times at the end of the memory or beyond it."""
    base = generator.choice((0, WORDS // 2, generator.randrange(WORDS), generator.randrange(WORDS),
                             WORDS, generator.getrandbits(16), 0xFFFF))
    past_end = generator.choice((-2, -1, 0, 1, 2, 1 << generator.randrange(16)))
    return base, generator.choice((0, 1, WORDS, generator.randrange(WORDS), 1 << 16,
                                   *(max(WORDS - base + past_end, 0),) * 4))


@pytest.mark.parametrize("rate", [0.9, 0.4])
@pytest.mark.parametrize("shared", [False, True], ids=["own banks", "any window"])
@pytest.mark.parametrize("seed", range(3))
def test_accesses(seed, shared, rate):
    generator = random.Random(f"{seed} {shared} {rate}")
    dut = ActivationBuffer(CHIP)
    ports = [Port(dut, tenant, write) for tenant in (None, *range(TENANTS))
             for write in (False, True)]
    memory = [0] * WORDS
    answers = 0

    async def testbench(context):
        nonlocal answers
        windows, coming = {}, {}    # in use, and a clock later

        def set_windows():
            for tenant in (None, *range(TENANTS)):
                base, length = random_window(generator) if shared else (
                    (0, WORDS) if tenant is None else (tenant * WORDS // TENANTS,
                                                       WORDS // TENANTS))
                coming[tenant] = base, length
                window = dut.window if tenant is None else dut.windows[tenant]
                context.set(window.activation_base, base)
                context.set(window.activation_words, length)

        set_windows()
        await context.tick()
        windows.update(coming)
        unit_tenant = units_for = 0
        strayed = dict.fromkeys((None, *range(TENANTS)), False)
        astray = set()      # banks, for reads or writes, of transfers beyond their windows
        for clock in range(1200):
            if clock % 20 == 0:
                set_windows()
                unit_tenant = generator.randrange(TENANTS)
                context.set(dut.tenant, unit_tenant)
            asked, beyond = {}, dict.fromkeys((None, *range(TENANTS)), False)
            aborts = [generator.random() < 0.03 for _ in range(TENANTS)]
            context.set(dut.transfer_abort, sum(bit << t for t, bit in enumerate(aborts)))
            for port in ports:
                # A tenant's own units and its transfer do not work at the same time.
                idle = port.tenant == unit_tenant if clock // 20 % 2 else port.tenant is None
                enable = not idle and generator.random() < rate
                base, length = windows[port.tenant]
                address = generator.choice((generator.randrange(max(length, 1)) & 0xFFFF,
                                            length & 0xFFFF, max(length - 1, 0) & 0xFFFF,
                                            (WORDS - base) & 0xFFFF, (WORDS - base - 1) & 0xFFFF,
                                            generator.getrandbits(16)))
                data = generator.getrandbits(32)
                context.set(port.enable, enable)
                context.set(port.address, address)
                if port.write:
                    context.set(port.data, data)
                inside = address < length and base + address < WORDS
                if enable and inside:
                    asked[port] = base + address, address, data
                beyond[port.tenant] |= enable and not inside
            assert context.get(dut.beyond) == strayed[None]
            assert [context.get(dut.transfer_beyond[t]) for t in range(TENANTS)] == [
                strayed[t] for t in range(TENANTS)]
            strayed = beyond

            # Who is ready has nothing waiting any more.
            ready = {port: port.ready is None or bool(context.get(port.ready)) for port in ports}
            taken = [port for port in ports if port.pending is not None and ready[port]]
            for write in (False, True):
                for bank in range(TENANTS):
                    asking = [port for port in ports if port.write == write and port.pending
                              and port.pending[0] * TENANTS // WORDS == bank]
                    served = [port for port in asking if port in taken]
                    if asking and not served and (write, bank) in astray:
                        continue
                    assert len(served) == min(len(asking), 1), "one of those who ask, each clock"
                    if asking and asking[0].tenant is None:
                        assert served == asking[:1], "the units never wait"
                        continue
                    for port in asking:
                        port.waited = 0 if port in served else port.waited + 1
                        assert port.waited < TENANTS, "each has its turn"
            assert all(ready[port] for port in ports if port.pending is None)
            for port in ports:
                if port.arriving and port.arriving[0][0] == clock:
                    word = port.arriving.pop(0)[1]
                    assert context.get(dut.read_data if port.tenant is None
                                       else dut.transfer_read_data[port.tenant]) == word
                    answered, answers = True, answers + 1
                else:
                    answered = False
                if port.tenant is not None and not port.write:
                    assert context.get(dut.transfer_read_valid[port.tenant]) == answered
            for port in taken:
                if not port.write and not (port.tenant is not None and aborts[port.tenant]):
                    port.arriving.append((clock + READ_CLOCKS - 1, memory[port.pending[0]]))
            seen = {}
            for port in taken:
                if port.write:
                    memory[port.pending[0]] = port.pending[2]
                    # The units' word is told as the one of the tenant that they work for.
                    seen[units_for if port.tenant is None else port.tenant] = port.pending[1:]
            for t in range(TENANTS):
                written = dut.written[t]
                assert context.get(written.enable) == (t in seen)
                if t in seen:
                    assert (context.get(written.address), context.get(written.data)) == seen[t]
            astray = {
                (port.write, place % WORDS * TENANTS // WORDS) for port in ports
                if port.tenant is not None and context.get(port.enable)
                for base, length in [windows[port.tenant]]
                for place in [base + context.get(port.address)]
                if place >= min(base + length, WORDS)}
            await context.tick()
            windows.update(coming)
            units_for = unit_tenant
            for port in ports:
                aborted = port.tenant is not None and aborts[port.tenant]
                if ready[port]:
                    port.pending, port.waited = asked.get(port), 0
                if aborted:
                    port.pending = None
                    port.arriving = []

    simulate(dut, testbench)
    assert answers > 20
