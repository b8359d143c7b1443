"""Activation buffer: whatever is asked of it, nobody writes outside the own window."""

from dataclasses import replace

from amaranth.hdl import Cat, Const, Signal
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
    # Writes by name inside, the port, its window, and what takes them from the port.
    askers = [("units1", dut.write, dut.window, Const(1), Const(0))] + [
        (f"transfer{t}_1", dut.transfer_write[t], dut.windows[t], dut.transfer_write_ready[t],
         dut.transfer_abort[t]) for t in range(tenants)]
    accesses = [_Access(bench, chip, *asker) for asker in askers]
    written = [[] for _ in accesses]        # of each, by bank
    for bank in range(tenants):
        write = bench.probe(f"dut.bank{bank}_write", 1)
        word = bench.probe(f"dut.bank{bank}_word", (words - 1).bit_length())
        data = bench.probe(f"dut.bank{bank}_data", 32)
        # Sums of integers, as wide as they come: no address wraps into another's window.
        whose = [each.waits & (word + bank * words == each.place) & (data == each.data)
                 for each in accesses]
        bench.always(f"bank {bank} is written in the window of who asks",
                     implies(write, Cat(*whose).any()))
        bench.cover(f"bank {bank} is written", write)
        for mine, own in zip(written, whose, strict=True):
            mine.append(write & own)
    units, *transfers = accesses
    # Each access has a register, which holds it, or nothing.
    for each in accesses:
        bench.lemma(each.full == each.waits)
        for bank in range(tenants):
            bench.lemma(each.asking[bank] == (each.full & (each.bank == bank)))
        bench.lemma(implies(each.full, (each.word + each.bank * words == each.place)
                            & (each.held == each.data)))
    bench.always("the units never wait", implies(units.waits, Cat(*written[0]).any()))
    bench.always("the units hear of what is outside",
                 implies(bench.past(dut.write.enable & ~units.inside), dut.beyond))
    for t, each in enumerate(transfers):
        bench.always(f"tenant {t} hears of what is outside",
                     implies(bench.past(dut.transfer_write[t].enable & ~each.inside),
                             dut.transfer_beyond[t]))
        bench.always(f"tenant {t} is ready with nothing on its way but what is written now",
                     implies(dut.transfer_write_ready[t], ~each.waits | each.taken))
        bench.always(f"tenant {t} has written what was taken",
                     implies(each.waits & each.taken, Cat(*written[t + 1]).any()))
        # The units leave the port to the transfers: then each has it within as many clocks.
        waits = each.waits & ~each.taken & ~units.waits
        ago = waits
        for _ in range(tenants - 1):
            ago = bench.past(ago) & waits
        if tenants > 1:
            bench.always(f"tenant {t} waits {tenants - 1} clocks at most", ~ago)
        else:
            bench.always(f"tenant {t} does not wait", ~waits)
        bench.always(f"tenant {t}: nothing is left after an abort",
                     implies(bench.past(dut.transfer_abort[t]), ~each.full))
        bench.always(f"tenant {t}: no word is read after an abort",
                     implies(bench.past(dut.transfer_abort[t]), ~dut.transfer_read_valid[t]))
    return bench


class _Access:
    """A write as it was at its port, while it waits for its bank; and the register it is in."""

    def __init__(self, bench, chip, name, port, window, ready, abort):
        m = bench.module
        words = chip.memories.activation_words
        bank_words = words // chip.tenants
        self.place, self.data = Signal(18, name=f"{name}_place"), Signal(32, name=f"{name}_data")
        self.waits = Signal(name=f"{name}_waits")
        self.full = bench.probe(f"dut.{name}_full", 1)
        self.taken = bench.probe(f"dut.{name}_taken", 1)
        self.word = bench.probe(f"dut.{name}_word", (bank_words - 1).bit_length())
        self.bank = bench.probe(f"dut.{name}_bank", max(1, (chip.tenants - 1).bit_length()))
        self.held = bench.probe(f"dut.{name}_data", 32)
        self.asking = bench.probe(f"dut.{name}_asking", chip.tenants)
        # The window as it stood a clock before.
        length, first = (bench.past(window[f"activation_{name}"]) for name in ("words", "base"))
        self.inside = (port.address < length) & (port.address + first < words)
        with m.If(ready):
            m.d.sync += [self.waits.eq(port.enable & self.inside), self.data.eq(port.data),
                         self.place.eq(port.address + first)]
        with m.If(abort):
            m.d.sync += self.waits.eq(0)


@pytest.mark.parametrize("tenants", [1, 2, 4])
def test_proof(tenants):
    verdict = bench_of(tenants).check()
    assert verdict.proved, verdict


@pytest.mark.parametrize("old, new, broken", [
    ("passing = port.enable & inside", "passing = port.enable",
     "bank 0 is written in the window of who asks"),
    ("port.address < reach.words", "port.address <= reach.words",
     "bank 1 is written in the window of who asks"),
    ("with m.If(base + words > total):", "with m.If(0):",
     "bank 0 is written in the window of who asks"),
    ("Mux(base < total, modulo(total - base, len(words)), 0)",
     "modulo(total - base, len(words))", "bank 0 is written in the window of who asks"),
    ("(favoured == t) & ~units.asking[bank])", "(favoured == t))",
     "tenant 0 has written what was taken"),
    ("each.asking[bank] & (favoured == t) &", "each.asking[bank] &",
     "tenant 0 has written what was taken"),
    ("Mux(units.asking[bank], own, other)", "Mux(units.asking[bank], other, own)",
     "bank 0 is written in the window of who asks"),
    ("Mux(transfers[t].coming[bank], t, chain)", "Mux(transfers[t].coming[bank], chain, t)",
     "tenant 0 waits 1 clocks at most"),
    ("turn.eq(modulo(turn + 1, len(turn)))", "turn.eq(turn)", "tenant 1 waits 1 clocks at most"),
    ("self.ready.eq(~self.full | self.taken)", "self.ready.eq(1)",
     "tenant 0 is ready with nothing on its way but what is written now"),
    ("m.d.sync += [self.full.eq(0), self.asking.eq(0)]", "pass",
     "tenant 0: nothing is left after an abort"),
    ("valid.eq(reading & ~abort)", "valid.eq(reading)",
     "tenant 0: no word is read after an abort"),
])
def test_defects_are_found(old, new, broken):
    assert bench_of(2, defective(ActivationBuffer, old, new)).check([broken]).violated
