"""The activation buffer: in banks, behind the tenants' windows."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from golden.chip import WORD_BITS, Chip, bits_for

from .arithmetic import modulo
from .collisions import COLLISIONS_ARE_AVOIDED
from .delay import delayed
from .gating import carried
from .pitches import ADDRESS_BITS
from .tenants import each_tenant, tenant_windows

__all__ = ["READ_CLOCKS", "ActivationBuffer"]

#: Clocks from an address at a read port to its data: check, memory, the memory's output.
READ_CLOCKS = 3

#: A read or a write that asks for the buffer; the address counts from the window's first word.
_READ = data.StructLayout({"enable": 1, "address": ADDRESS_BITS})
_WRITE = data.StructLayout({"enable": 1, "address": ADDRESS_BITS, "data": WORD_BITS})


class ActivationBuffer(Component):
    """Takes a read and a write per bank and clock, of whoever may.

    The units (those of convolutions, adds and pools, one of which works at a time) come first:
    their clocks depend on nobody. The tenants' transfers share what they leave, in turns that
    change from clock to clock. Tenants whose windows lie in different banks never meet.

    Which transfer may have a bank is found a clock before, from who is going to ask for it, so that
    an address meets a single choice on its way to the memories. That is too soon to know whether it
    is inside its window: a transfer that is not, and ends thereby, may keep another from a bank for
    a clock.

    Every address is compared with the length of its tenant's window, or with what the memory has
    of it, if that is less, and nothing wraps: the window's first word is added to what passes. That
    waits in a register for its bank; a write that fails never gets there, whatever led to it.
    Windows count as they stood a clock before.

    What a memory reads of a word in the clock that writes it is never used, so that any memory with
    a read and a write port will do: the last write stays in a register, and a read of the same word
    has it from there.

    Parameters
    ----------
    chip
        Configuration: as many banks as tenants, each of ``activation_words / tenants`` words.

    Members
    -------
    tenant, window : in
        The tenant that the units work for, and its window.
    read, write : in; read_data : out
        The units' ports; data `READ_CLOCKS` after the read.
    beyond : out
        The units' read or write in the clock before was outside the window.
    windows : in
        Window of each tenant, for its transfers.
    transfer_read, transfer_write : in; transfer_read_ready, transfer_write_ready : out
        Each tenant's transfer; what is asked for waits until it is ready. Ready also says that
        nothing taken before is still to be read or written after this clock.
    transfer_read_valid, transfer_read_data : out
        Data of the reads that were ready, in order.
    transfer_beyond : out
        Of each tenant: the transfer's read or write in the clock before was outside the window.
    transfer_abort : in
        Of each tenant: forget what its transfer has asked for.
    written : out
        Of each tenant: the word of its own that is written in this clock, by a unit or its
        transfer, and its address from the window's first word.

    Latency
    -------
    `READ_CLOCKS` from an address to its data, three clocks from a write to the memory; where a
    transfer's bank is busy, as many more. A word is read as the writes left it that reached the
    bank before its read did.
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
            "transfer_read_valid": Out(chip.tenants),
            "transfer_read_data": Out(each_tenant(chip, WORD_BITS)),
            "transfer_write": In(each_tenant(chip, _WRITE)),
            "transfer_write_ready": Out(chip.tenants),
            "transfer_beyond": Out(chip.tenants), "transfer_abort": In(chip.tenants),
            "tenant": In(bits_for(chip.tenants - 1)),
            "written": Out(each_tenant(chip, _WRITE)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        tenants = self.chip.tenants
        turn = Signal(max(1, (tenants - 1).bit_length()))
        if tenants > 1:
            m.d.sync += turn.eq(modulo(turn + 1, len(turn)))

        reads, writes = [], []
        reach = _Reach(m, self.chip, "units", self.window)
        for kind, port, requests in ((0, self.read, reads), (1, self.write, writes)):
            requests.append(_Request(m, self.chip, f"units{kind}", port, reach, Const(0)))
        m.d.comb += self.beyond.eq(reads[0].strayed | writes[0].strayed)
        for t in range(tenants):
            reach = _Reach(m, self.chip, f"transfer{t}", self.windows[t])
            for kind, port, requests in ((0, self.transfer_read[t], reads),
                                         (1, self.transfer_write[t], writes)):
                requests.append(_Request(m, self.chip, f"transfer{t}_{kind}", port, reach,
                                         self.transfer_abort[t]))
            m.d.comb += self.transfer_beyond[t].eq(reads[-1].strayed | writes[-1].strayed)

        words = self.chip.memories.activation_words // tenants
        arrived = []
        for bank in range(tenants):
            m.submodules[f"bank{bank}"] = memory = Memory(
                shape=WORD_BITS, depth=words, init=[], attrs=COLLISIONS_ARE_AVOIDED)
            read, write = memory.read_port(), memory.write_port()
            taken, chosen = self._choose(m, reads, [each.word for each in reads], bank, turn,
                                         f"read{bank}")
            m.d.comb += [read.en.eq(taken), read.addr.eq(chosen)]
            taken, chosen = self._choose(m, writes, [Cat(each.word, each.data) for each in writes],
                                         bank, turn, f"write{bank}")
            enable, word, value = (Signal(width, name=f"bank{bank}_{name}") for name, width in (
                ("write", 1), ("word", len(write.addr)), ("data", WORD_BITS)))
            m.d.comb += [enable.eq(taken), Cat(word, value).eq(chosen),
                         write.en.eq(delayed(m, enable, 1))]
            written = carried(m, Cat(word, value), [enable], f"bank{bank}_written")
            m.d.comb += Cat(write.addr, write.data).eq(written)
            # The bank's last write stays in its register, so that a read of that word may have it
            # from there at any time. Whether it does is found a clock later, and the choice comes
            # behind the register that the memory's slow output goes to.
            meeting = delayed(m, read.addr, 1, reset_less=True) \
                == delayed(m, write.addr, 1, reset_less=True)
            arrived.append(Mux(delayed(m, meeting, 1), delayed(m, write.data, 2, reset_less=True),
                               delayed(m, read.data, 1, reset_less=True)))
        for request in (*reads, *writes):
            m.d.comb += request.taken.eq(Cat(*request.chosen).any())

        targets = [self.read_data, *(self.transfer_read_data[t] for t in range(tenants))]
        for request, target in zip(reads, targets, strict=True):
            with m.Switch(delayed(m, request.bank, READ_CLOCKS - 1)):
                for number, word in enumerate(arrived):
                    with m.Case(number):
                        m.d.comb += target.eq(word)
        tenant = delayed(m, self.tenant, 1)
        for t in range(tenants):
            self._answer(m, t, reads[t + 1], writes[t + 1])
            written = self.written[t]
            m.d.comb += [written.enable.eq(writes[t + 1].taken),
                         written.address.eq(writes[t + 1].address),
                         written.data.eq(writes[t + 1].data)]
            # A tenant's own units and its transfer never work at the same time.
            with m.If(writes[0].full & (tenant == t)):
                m.d.comb += [written.enable.eq(1), written.address.eq(writes[0].address),
                             written.data.eq(writes[0].data)]
        return m

    def _answer(self, m: Module, t: int, read: "_Request", write: "_Request") -> None:
        """What tenant ``t``'s transfer hears; an abort also drops the words on their way."""
        reading, valid = Signal(name=f"reading{t}"), Signal(name=f"valid{t}")
        abort = self.transfer_abort[t]
        m.d.sync += [reading.eq(read.taken & ~abort), valid.eq(reading & ~abort)]
        m.d.comb += [self.transfer_read_ready[t].eq(read.ready),
                     self.transfer_write_ready[t].eq(write.ready),
                     self.transfer_read_valid[t].eq(valid)]

    def _choose(self, m: Module, requests: list["_Request"], values: list[Value], bank: int,
                turn: Signal, name: str) -> tuple[Value, Signal]:
        """Tell ``requests`` which of them gets ``bank``: the units, else the favoured transfer.

        Favoured is, of the transfers that may ask in the next clock, the first from ``turn`` on.
        Gives whether any does, and whose of the ``values``; any of them where none does.
        """
        units, *transfers = requests
        tenants = len(transfers)
        favoured: Value = Const(0)
        if tenants > 1:
            favoured = Signal(range(tenants), name=f"{name}_favoured")
            with m.Switch(turn):
                for first in range(tenants):
                    with m.Case(first):
                        chain = Const(first)
                        for distance in reversed(range(tenants)):
                            t = (first + distance) % tenants
                            chain = Mux(transfers[t].coming[bank], t, chain)
                        m.d.sync += favoured.eq(chain)
        units.chosen.append(units.asking[bank])
        for t, each in enumerate(transfers):
            chosen = Signal(name=f"{name}_chosen{t}")
            m.d.comb += chosen.eq(each.asking[bank] & (favoured == t) & ~units.asking[bank])
            each.chosen.append(chosen)
        own, other, *others = values
        for t, value in enumerate(others, 1):
            other = Mux(favoured == t, value, other)
        found = Signal(len(own), name=f"{name}_word")
        m.d.comb += found.eq(Mux(units.asking[bank], own, other))
        return Cat(*(each.chosen[bank] for each in requests)).any(), found


class _Reach:
    """What the memory has of a window: ``first`` word, and ``words`` from it on, a clock later."""

    def __init__(self, m: Module, chip: Chip, name: str, window: data.View) -> None:
        total = chip.memories.activation_words
        base, words = window.activation_base, window.activation_words
        self.first = Signal((total - 1).bit_length(), name=f"{name}_first")
        self.words = Signal.like(words, name=f"{name}_words")
        m.d.sync += [self.first.eq(modulo(base, len(self.first))), self.words.eq(words)]
        with m.If(base + words > total):
            m.d.sync += self.words.eq(Mux(base < total, modulo(total - base, len(words)), 0))


class _Request:
    """A port's access, whose address is checked, then held in a register until its bank takes it.

    ``strayed``: the access at the port in the clock before was outside. While ``full``, one that
    passed, with its ``bank`` and the ``word`` there, its ``address`` in the window and its
    ``data``, asks for its bank, whose bit in ``asking`` is set; a clock before, its bit in
    ``coming`` is, and also for one beyond its window. ``chosen`` gets a bit of each bank, of which
    one is set when it is ``taken``. ``ready``: the register can have the access at the port.
    """

    def __init__(self, m: Module, chip: Chip, name: str, port: data.View, reach: _Reach,
                 abort: Value) -> None:
        word_bits = (chip.memories.activation_words // chip.tenants - 1).bit_length()
        place = Signal.like(reach.first, name=f"{name}_place")
        inside = Signal(name=f"{name}_inside")
        self.strayed, self.full, self.taken, self.ready = (
            Signal(name=f"{name}_{member}") for member in ("strayed", "full", "taken", "ready"))
        self.bank = Signal(max(1, len(place) - word_bits), name=f"{name}_bank")
        self.word = Signal(word_bits, name=f"{name}_word")
        self.asking = Signal(chip.tenants, name=f"{name}_asking")
        self.coming = Signal(chip.tenants, name=f"{name}_coming")
        self.chosen: list[Value] = []
        m.d.comb += [
            place.eq(modulo(port.address + reach.first, len(place))),
            inside.eq(port.address < reach.words),
            self.ready.eq(~self.full | self.taken),
        ]
        bank = place[word_bits:]
        passing = port.enable & inside
        m.d.sync += self.strayed.eq(port.enable & ~inside)
        banks = chip.tenants
        here = Cat(*(bank == number for number in range(banks)))
        arriving = self.ready & port.enable & ~abort
        m.d.comb += self.coming.eq(
            here & arriving.replicate(banks)
            | self.asking & ~(self.taken | abort).replicate(banks))
        with m.If(self.ready):
            m.d.sync += [self.full.eq(passing), self.bank.eq(bank), self.word.eq(place[:word_bits]),
                         self.asking.eq(passing.replicate(banks) & here)]
        with m.If(abort):
            m.d.sync += [self.full.eq(0), self.asking.eq(0)]
        if "data" in dict(port.shape()):
            self.address = Signal(ADDRESS_BITS, name=f"{name}_address")
            self.data = Signal(WORD_BITS, name=f"{name}_data")
            with m.If(self.ready):
                m.d.sync += [self.address.eq(port.address), self.data.eq(port.data)]
