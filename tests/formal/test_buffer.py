"""Activation buffer: whatever is asked of it, nobody writes outside the own window."""

from dataclasses import replace

from amaranth.hdl import Cat
import pytest

from golden.chip import PRESETS
from rtl.buffer import ActivationBuffer
from tests.formal.bench import Bench, implies
from tests.formal.defects import defective

TINY = PRESETS["tiny"]
#: Few words: what is proved are the ports in front of them.
MEMORIES = replace(TINY.memories, activation_words=32)


def chip_of(tenants):
    return replace(TINY, tenants=tenants, memories=MEMORIES)


def bench_of(tenants, component=ActivationBuffer):
    """Every input is free in every clock: ports, windows, and whose turn it is."""
    chip = chip_of(tenants)
    bench = Bench()
    dut = bench.add("dut", component(chip))
    words = chip.memories.activation_words // tenants
    askers = [(dut.write, dut.window)] + [(dut.transfer_write[t], dut.windows[t])
                                          for t in range(tenants)]
    written = []
    for bank in range(tenants):
        write = bench.probe(f"dut.bank{bank}_write", 1)
        word = bench.probe(f"dut.bank{bank}_word", (words - 1).bit_length())
        data = bench.probe(f"dut.bank{bank}_data", 32)
        # Sums of integers, as wide as they come: no address wraps into another's window.
        whose = [port.enable & (port.address < window.activation_words)
                 & (word + bank * words == port.address + window.activation_base)
                 & (data == port.data) for port, window in askers]
        bench.always(f"bank {bank} is written in the window of who asks",
                     implies(write, Cat(*whose).any()))
        bench.cover(f"bank {bank} is written", write)
        written.append(write & whose[0])
    port, window = askers[0]
    inside = (port.address < window.activation_words) \
        & (port.address + window.activation_base < chip.memories.activation_words)
    bench.always("the units never wait", implies(port.enable & inside, Cat(*written).any()))
    bench.always("the units hear of what is outside", implies(port.enable & ~inside, dut.beyond))
    for t in range(tenants):
        port, window = askers[t + 1]
        inside = (port.address < window.activation_words) \
            & (port.address + window.activation_base < chip.memories.activation_words)
        bench.always(f"tenant {t} hears of what is outside",
                     implies(port.enable & ~inside, dut.transfer_beyond[t]))
        # The units leave the port to the transfers: then each has it within as many clocks.
        asking = port.enable & inside
        idle = ~dut.write.enable
        waits = asking & ~dut.transfer_write_ready[t] & idle
        ago = waits
        for _ in range(tenants - 1):
            ago = bench.past(ago) & waits
        if tenants > 1:
            bench.always(f"tenant {t} waits {tenants - 1} clocks at most", ~ago)
        else:
            bench.always(f"tenant {t} does not wait", ~waits)
    return bench


@pytest.mark.parametrize("tenants", [1, 2, 4])
def test_proof(tenants):
    verdict = bench_of(tenants).check()
    assert verdict.proved, verdict


@pytest.mark.parametrize("old, new, broken", [
    ("self.wanted.eq(port.enable & self.inside)", "self.wanted.eq(port.enable)",
     "bank 0 is written in the window of who asks"),
    ("(port.address < window.activation_words)", "(port.address <= window.activation_words)",
     "bank 1 is written in the window of who asks"),
    ('place = Signal(ADDRESS_BITS + 1, name=f"{name}_place")',
     'place = Signal(ADDRESS_BITS, name=f"{name}_place")',
     "bank 0 is written in the window of who asks"),
    ("chosen[t + 1].eq(asking[t + 1] & ~before)", "chosen[t + 1].eq(asking[t + 1])",
     "bank 0 is written in the window of who asks"),
    ("turn.eq(modulo(turn + 1, len(turn)))", "turn.eq(turn)", "tenant 1 waits 1 clocks at most"),
])
def test_defects_are_found(old, new, broken):
    assert bench_of(2, defective(ActivationBuffer, old, new)).check([broken]).violated
