"""The activation buffer: in banks, behind the tenants' windows."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from golden.chip import WORD_BITS, Chip, bits_for

from .arithmetic import modulo
from .pitches import ADDRESS_BITS
from .tenants import each_tenant, tenant_windows

__all__ = ["ActivationBuffer"]

#: A read or a write that asks for the buffer; the address counts from the window's first word.
_READ = data.StructLayout({"enable": 1, "address": ADDRESS_BITS})
_WRITE = data.StructLayout({"enable": 1, "address": ADDRESS_BITS, "data": WORD_BITS})


class ActivationBuffer(Component):
    """Takes a read and a write per bank and clock, of whoever may.

    The units (those of convolutions, adds and pools, one of which works at a time) come first:
    their clocks depend on nobody. The tenants' transfers share what they leave, in turns that
    change from clock to clock. Tenants whose windows lie in different banks never meet.

    Every address is compared with the length of its tenant's window before the window's first
    word is added, and with the end of the memory after that, both wide enough not to wrap. A
    write that fails is not done, whatever led to it.

    Parameters
    ----------
    chip
        Configuration: as many banks as tenants, each of ``activation_words / tenants`` words.

    Members
    -------
    tenant, window : in
        The tenant that the units work for, and its window.
    read, write : in; read_data : out
        The units' ports; data in the clock after the read.
    beyond : out
        The units' read or write in this clock is outside the window.
    windows : in
        Window of each tenant, for its transfers.
    transfer_read, transfer_write : in; transfer_read_ready, transfer_write_ready : out
        Each tenant's transfer; what is asked for waits until it is ready.
    transfer_read_data : out
        Data in the clock after a read that was ready.
    transfer_beyond : out
        Of each tenant: the transfer's read or write is outside the window (and ready).
    written : out
        Of each tenant: a word of its own is written in this clock, by a unit or its transfer.

    Latency
    -------
    One clock from an address to its data.
    """

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        windows = tenant_windows(chip)
        super().__init__({
            "window": In(windows), "read": In(_READ), "read_data": Out(WORD_BITS),
            "write": In(_WRITE), "beyond": Out(1),
            "windows": In(each_tenant(chip, windows)),
            "transfer_read": In(each_tenant(chip, _READ)),
            "transfer_read_ready": Out(chip.tenants),
            "transfer_read_data": Out(each_tenant(chip, WORD_BITS)),
            "transfer_write": In(each_tenant(chip, _WRITE)),
            "transfer_write_ready": Out(chip.tenants),
            "transfer_beyond": Out(chip.tenants), "tenant": In(bits_for(chip.tenants - 1)),
            "written": Out(chip.tenants),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        tenants = self.chip.tenants
        turn = Signal(max(1, (tenants - 1).bit_length()))
        if tenants > 1:
            m.d.sync += turn.eq(modulo(turn + 1, len(turn)))

        reads, writes = [], []
        outside = Signal(2)
        for kind, port, requests in ((0, self.read, reads), (1, self.write, writes)):
            requests.append(_Request(m, self.chip, f"units{kind}", port, self.window))
            m.d.comb += outside[kind].eq(port.enable & ~requests[0].inside)
        m.d.comb += self.beyond.eq(outside.any())
        for t in range(tenants):
            for kind, port, requests in ((0, self.transfer_read[t], reads),
                                         (1, self.transfer_write[t], writes)):
                requests.append(_Request(m, self.chip, f"transfer{t}_{kind}", port,
                                         self.windows[t]))
            m.d.comb += self.transfer_beyond[t].eq(
                self.transfer_read[t].enable & ~reads[-1].inside
                | self.transfer_write[t].enable & ~writes[-1].inside)

        ready = [_Ready(tenants + 1), _Ready(tenants + 1)]
        words = self.chip.memories.activation_words // tenants
        arrived = []
        for bank in range(tenants):
            m.submodules[f"bank{bank}"] = memory = Memory(shape=WORD_BITS, depth=words, init=[])
            read, write = memory.read_port(), memory.write_port()
            chosen = self._choose(m, reads, bank, turn, ready[0], f"read{bank}")
            m.d.comb += [read.en.eq(Cat(*chosen).any()),
                         read.addr.eq(_select(chosen, [each.word for each in reads]))]
            chosen = self._choose(m, writes, bank, turn, ready[1], f"write{bank}")
            enable, word, value = (Signal(width, name=f"bank{bank}_{name}") for name, width in (
                ("write", 1), ("word", len(write.addr)), ("data", WORD_BITS)))
            m.d.comb += [enable.eq(Cat(*chosen).any()),
                         word.eq(_select(chosen, [each.word for each in writes])),
                         value.eq(_select(chosen, [each.data for each in writes])),
                         write.en.eq(enable), write.addr.eq(word), write.data.eq(value)]
            arrived.append(read.data)

        targets = [self.read_data, *(self.transfer_read_data[t] for t in range(tenants))]
        for request, target in zip(reads, targets, strict=True):
            bank = Signal.like(request.bank, name="read_bank")
            m.d.sync += bank.eq(request.bank)
            with m.Switch(bank):
                for number, word in enumerate(arrived):
                    with m.Case(number):
                        m.d.comb += target.eq(word)
        for t in range(tenants):
            # What is outside the window waits for nothing: it is not done.
            m.d.comb += [
                self.transfer_read_ready[t].eq(Cat(*ready[0].of[t + 1]).any()
                                               | ~reads[t + 1].inside),
                self.transfer_write_ready[t].eq(Cat(*ready[1].of[t + 1]).any()
                                                | ~writes[t + 1].inside),
                self.written[t].eq(Cat(*ready[1].of[t + 1]).any()
                                   | writes[0].wanted & (self.tenant == t)),
            ]
        return m

    def _choose(self, m: Module, requests: list["_Request"], bank: int, turn: Signal,
                ready: "_Ready", name: str) -> list[Signal]:
        """Which of ``requests`` gets ``bank``, one hot: the units, then transfers in turn."""
        tenants = self.chip.tenants
        asking = Signal(tenants + 1, name=f"{name}_asking")
        chosen = Signal(tenants + 1, name=f"{name}_chosen")
        m.d.comb += asking.eq(Cat(*(each.wanted & (each.bank == bank) for each in requests)))
        m.d.comb += chosen[0].eq(asking[0])
        with m.Switch(turn):
            for first in range(tenants):
                with m.Case(first):
                    before = asking[0]
                    for t in ((first + distance) % tenants for distance in range(tenants)):
                        m.d.comb += chosen[t + 1].eq(asking[t + 1] & ~before)
                        before = before | asking[t + 1]
        for number in range(tenants + 1):
            ready.of[number].append(chosen[number])
        return list(chosen)


class _Request:
    """A port's access as the banks see it: whether it is ``inside``, its bank and word there."""

    def __init__(self, m: Module, chip: Chip, name: str, port: data.View, window: data.View
                 ) -> None:
        words = chip.memories.activation_words
        word_bits = (words // chip.tenants - 1).bit_length()
        address_bits = (words - 1).bit_length()
        place = Signal(ADDRESS_BITS + 1, name=f"{name}_place")
        self.inside, self.wanted = Signal(name=f"{name}_inside"), Signal(name=f"{name}_wanted")
        self.bank = Signal(max(1, address_bits - word_bits), name=f"{name}_bank")
        m.d.comb += [
            place.eq(port.address + window.activation_base),
            self.inside.eq((port.address < window.activation_words)
                           & ~place[address_bits:].any()),
            self.wanted.eq(port.enable & self.inside),
            self.bank.eq(place[word_bits:address_bits]),
        ]
        self.word = place[:word_bits]
        self.data = getattr(port, "data", None) if "data" in dict(port.shape()) else None


class _Ready:
    """For each request, whether each bank has taken it."""

    def __init__(self, requests: int) -> None:
        self.of: list[list[Signal]] = [[] for _ in range(requests)]


def _select(chosen: list[Signal], values: list[Value]) -> Value:
    """The one of ``values`` whose bit in ``chosen`` is set, of which there is at most one."""
    result = values[0] & chosen[0].replicate(len(values[0]))
    for bit, value in zip(chosen[1:], values[1:], strict=True):
        result = result | value & bit.replicate(len(value))
    return result
