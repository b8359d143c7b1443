"""The tile scheduler: fetches descriptors, checks them and starts the unit that each is for."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib.enum import Enum
from amaranth.lib.wiring import Component, In, Out

from golden.chip import Chip, bits_for
from golden.chip.descriptor import DESCRIPTOR_WORDS, USED_WORDS, Opcode

from .arithmetic import modulo
from .delay import delayed
from .descriptor import COMBINING, DescriptorLayout, read_field
from .legality import DescriptorCheck
from .tenants import each_tenant, tenant_windows

__all__ = ["Cause", "TileScheduler"]


class Cause(Enum, shape=4):
    """Why a program was stopped (status register)."""

    NONE = 0
    OPCODE = 1      #: no such opcode, or no END before the end of the program's window
    FIELD = 2       #: a field, or what it leads to, is outside what this tenant may do
    TIMEOUT = 3     #: a comparator did not decide
    HOST = 4        #: the host neither sent nor took a word of a LOAD or STORE


class TileScheduler(Component):
    """Runs the tenants' programs: fetch, check, start, wait, next.

    One descriptor is fetched at a time, and one unit other than the transfers' runs at a time.
    Each tenant has a transfer unit of its own: while that works, or waits for its host, the
    other tenants' descriptors go on. Whose descriptor comes next is decided when one has been
    handed over or has ended, in turns: of several tenants that wait, the one after the last.

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    start, abort : in
        Pulses of each tenant, from the register file.
    windows : in
        What each tenant may use; that of the program is looked at when it starts, the others with
        each descriptor.
    timed_out : in
        A comparator of the running convolution gave up.
    illegal : in
        Of each tenant: a unit was led outside what its windows, or the chip, have.
    host_late : in
        Of each tenant: its transfer unit has waited too long for the host.
    read_enable, read_address : out; read_data : in
        Program memory, data the clock after; words of a descriptor that have no field are not read.
    descriptor : out
        The descriptor being run; constant from the start of a unit to its end, but only in the
        clock of its start for a transfer.
    tenant, window : out
        Whose descriptor it is, and its windows, constant as long.
    constants, coefficients : out
        Where its requantizer entries and coefficients begin in their memories, constant as long.
    convolve, calibrate, combine : out
        Pulse: start of a convolution or, with `calibrate`, a calibration; of an add or pool. If
        the tenant is stopped in that clock, `clear` follows.
    transfer : out
        Pulse for each tenant: start of a load or store.
    unit_done : in
        Pulse: the unit started by `convolve` or `combine` has ended.
    transfer_done : in
        The same for each tenant's transfer unit.
    clear : out
        Return every unit but the transfers' to idle, with all switches open; comes the clock
        after the abort or failure.
    transfer_clear : out
        The same for each tenant's transfer unit, in the clock of what stops it.
    busy, layer, ended, failed, failed_cause : out
        Of each tenant, to the register file.
    fetching, transferring, turn : out
        Of each tenant: its descriptor is being fetched or checked; its transfer unit runs; it
        waits for others' descriptors.
    layer_begin, layer_done : out
        Trace of each tenant: the first word of the descriptor `layer` is fetched; it has ended.
    working : out
        The unit started by `convolve` or `combine` runs.

    Latency
    -------
    A unit starts `FETCH_CLOCKS` clocks after the first fetch. A tenant that is alone has its next
    first fetch in the clock after `unit_done` or `transfer_done`.
    """

    #: Clocks from the first fetch of a descriptor to the start of its unit, both included.
    FETCH_CLOCKS = DESCRIPTOR_WORDS + 2

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        tenants = chip.tenants
        super().__init__({
            "start": In(tenants), "abort": In(tenants),
            "windows": In(each_tenant(chip, tenant_windows(chip))),
            "timed_out": In(1), "illegal": In(tenants), "host_late": In(tenants),
            "read_enable": Out(1),
            "read_address": Out(bits_for(chip.memories.program_words - 1)),
            "read_data": In(32),
            "descriptor": Out(DescriptorLayout),
            "tenant": Out(bits_for(tenants - 1)), "window": Out(tenant_windows(chip)),
            "constants": Out(16), "coefficients": Out(20),
            "convolve": Out(1), "calibrate": Out(1), "combine": Out(1), "unit_done": In(1),
            "transfer": Out(tenants), "transfer_done": In(tenants),
            "clear": Out(1), "transfer_clear": Out(tenants),
            "busy": Out(tenants), "layer": Out(each_tenant(chip, 12)),
            "ended": Out(tenants), "failed": Out(tenants),
            "failed_cause": Out(each_tenant(chip, 4)),
            "fetching": Out(tenants), "transferring": Out(tenants), "turn": Out(tenants),
            "working": Out(1),
            "layer_begin": Out(tenants), "layer_done": Out(tenants),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        tenants = self.chip.tenants
        word = Signal(range(DESCRIPTOR_WORDS + 1))
        index_bits = (self.chip.memories.program_words // DESCRIPTOR_WORDS - 1).bit_length()
        index = [Signal(index_bits, name=f"index{t}") for t in range(tenants)]
        self._add_descriptor(m, word)
        m.submodules.check = check = DescriptorCheck(self.chip)
        m.d.comb += [check.descriptor.eq(self.descriptor), check.clock.eq(word),
                     check.window.eq(self.window)]

        # What the state machine has to say about the present tenant.
        engaged = Signal()              # a descriptor of it is fetched, checked or run
        handed, passed, ending = Signal(), Signal(), Signal()
        refused, refusal = Signal(), Signal(Cause)
        halted = Signal(tenants)        # who is aborted, or was led outside
        halt = Signal()                 # the present tenant is
        stopped = Signal()              # it is to be left alone: aborted or failed
        requests, chosen = Signal(tenants), Signal.like(self.tenant)
        m.d.comb += [chosen.eq(self._choice(m, requests)),
                     halted.eq(self.busy & (self.abort | self.illegal | self.host_late))]
        for t in range(tenants):
            present = Signal(name=f"present{t}")
            m.d.comb += present.eq(engaged & (self.tenant == t))
            with m.If(self.tenant == t):
                m.d.comb += halt.eq(halted[t])
            self._add_tenant(m, t, index[t], present, requests[t],
                             passed=passed & present, ending=ending & present,
                             handed=handed & present, refused=refused & present,
                             refusal=refusal, halted=halted[t], stopped=stopped)
        # A register, since it resets every unit: they go on for a clock, in which their tenant and
        # its windows still stand, and the next unit starts many clocks later.
        m.d.sync += self.clear.eq(stopped)

        def fetch_next() -> None:
            with m.If(requests.any()):
                m.d.sync += self.tenant.eq(chosen)
                m.next = "FETCH"
            with m.Else():
                m.next = "CHOOSE"

        # Behind a register, since the windows are many bits.
        begun = Signal(tenants)
        m.d.sync += begun.eq(self.layer_begin)
        for t in range(tenants):
            with m.If(begun[t]):
                m.d.sync += self.window.eq(self.windows[t])

        # Starts reach every unit, so they are registers: where the tenant is stopped in the same
        # clock, `clear` follows.
        opcode = read_field(self.descriptor, "opcode")
        opening = Signal()              # the clock before the start of a legal descriptor
        lawful = Signal()               # `check.legal` then: what is started is not refused
        m.d.sync += lawful.eq(check.legal)
        for start, opcodes in ((self.convolve, (Opcode.CONVOLVE, Opcode.CALIBRATE)),
                               (self.calibrate, (Opcode.CALIBRATE,)),
                               (self.combine, COMBINING),
                               (handed, (Opcode.LOAD, Opcode.STORE))):
            kind = Signal(name=f"{start.name}_opcode")
            m.d.sync += [kind.eq(Cat(*(opcode == each for each in opcodes)).any()),
                         start.eq(opening & kind)]
        with m.FSM(name="program"):
            with m.State("CHOOSE"):
                m.d.sync += word.eq(0)
                fetch_next()
            with m.State("FETCH"):
                # Whoever was stopped in the clock of the choice has lost the turn.
                alive = Signal()
                m.d.comb += [engaged.eq(1),
                             self.read_enable.eq(alive & (word < USED_WORDS))]
                for t in range(tenants):
                    with m.If(self.tenant == t):
                        m.d.comb += [alive.eq(self.busy[t]), self.fetching[t].eq(self.busy[t]),
                                     self.read_address.eq(Cat(word[:4], index[t]))]
                        m.d.comb += self.layer_begin[t].eq((word == 0) & self.busy[t])
                m.d.sync += word.eq(word + 1)
                with m.If(word == DESCRIPTOR_WORDS):
                    m.d.comb += opening.eq(alive & ~halt & check.legal)
                    m.next = "START"
                with m.If(halt | ~alive):
                    m.next = "CHOOSE"
            with m.State("START"):
                m.d.comb += [engaged.eq(1), self.fetching.eq(1 << self.tenant),
                             ending.eq(opcode == Opcode.END)]
                m.next = "CHOOSE"
                with m.If(opcode > max(Opcode)):
                    m.d.comb += [refused.eq(1), refusal.eq(Cause.OPCODE)]
                with m.If(~lawful):
                    m.d.comb += [refused.eq(1), refusal.eq(Cause.FIELD)]
                with m.If((self.convolve | self.combine) & ~halt):
                    m.next = "RUN"
            with m.State("RUN"):
                m.d.comb += [engaged.eq(1), self.working.eq(1)]
                m.d.sync += word.eq(0)
                with m.If(self.unit_done):
                    m.d.comb += passed.eq(1)
                    fetch_next()
                with m.If(self.timed_out):
                    m.d.comb += [refused.eq(1), refusal.eq(Cause.TIMEOUT)]
                # The same as of `stopped`: what else stops it, comes with `unit_done`.
                with m.If((halt | self.timed_out) & ~self.unit_done):
                    m.next = "CHOOSE"

        return m

    def _add_descriptor(self, m: Module, word: Signal) -> None:
        """The descriptor's registers, and where it finds what lies in windows."""
        # A register takes the word in, since the memory's output is slow and the descriptor's many
        # registers are far apart.
        arrived = delayed(m, self.read_data, 1, reset_less=True)
        place = delayed(m, word[:(DESCRIPTOR_WORDS - 1).bit_length()], 2)
        with m.If(delayed(m, self.read_enable, 2)):
            m.d.sync += self.descriptor[place].eq(arrived)
        m.d.sync += [
            self.constants.eq(modulo(self.window.constants_base
                                     + read_field(self.descriptor, "constants"), 16)),
            self.coefficients.eq(modulo(self.window.coefficients_base
                                        + read_field(self.descriptor, "coefficients"), 20)),
        ]

    def _choice(self, m: Module, requests: Signal) -> Value:
        """The first of the ``requests`` after the present tenant, which comes last."""
        tenants = self.chip.tenants
        chosen = Signal.like(self.tenant, name="first_request")
        with m.Switch(self.tenant):
            for last in range(tenants):
                with m.Case(last):
                    for distance in range(tenants, 0, -1):
                        candidate = (last + distance) % tenants
                        with m.If(requests[candidate]):
                            m.d.comb += chosen.eq(candidate)
        return chosen

    def _add_tenant(self, m: Module, t: int, index: Signal, present: Signal, request: Value, *,
                    passed: Value, ending: Value, handed: Value, refused: Value, refusal: Signal,
                    halted: Value, stopped: Signal) -> None:
        """A tenant's program counter and state; the keywords are the state machine's events."""
        busy, window, transferring = self.busy[t], self.windows[t], self.transferring[t]
        left = Signal(12, name=f"left{t}")              # descriptors of its window, this one too
        last = Signal(name=f"last{t}")                  # this one is the last: left < 2
        done, advance, aborted = (Signal(name=f"{name}{t}") for name in (
            "transfer_done", "advance", "aborted"))
        m.d.comb += [
            done.eq(self.transfer_done[t] & transferring), advance.eq(passed | done),
            aborted.eq(self.abort[t] & busy),
            self.turn[t].eq(busy & ~present & ~transferring),
            self.layer_done[t].eq((advance | ending) & ~aborted & ~self.failed[t]),
            self.ended[t].eq((ending & ~self.failed[t]) | aborted),
            self.transfer[t].eq(handed),
            self.transfer_clear[t].eq(halted),
            request.eq((busy | self.start[t]) & (~transferring | done)),
        ]

        def fail(cause: Value | Cause) -> None:
            m.d.comb += [self.failed[t].eq(1), self.failed_cause[t].eq(cause)]

        with m.If(busy & ~aborted):
            # Where several things go wrong in one clock, the last of these is told.
            with m.If(advance & last):
                fail(Cause.OPCODE)
            with m.If(refused):
                fail(refusal.as_value())
            # What a unit met comes a clock late, when the next descriptor may be on its way.
            with m.If(self.host_late[t]):
                fail(Cause.HOST)
            with m.If(self.illegal[t]):
                fail(Cause.FIELD)
        with m.If(present & (aborted | self.failed[t])):
            m.d.comb += stopped.eq(1)

        with m.If(advance):
            m.d.sync += [self.layer[t].eq(self.layer[t] + 1), left.eq(modulo(left - 1, 12)),
                         last.eq(left == 2), index.eq(modulo(index + 1, len(index))),
                         transferring.eq(0)]
        with m.If(self.transfer[t]):
            m.d.sync += transferring.eq(1)
        with m.If(self.ended[t] | self.failed[t]):      # while `busy` alone
            m.d.sync += [busy.eq(0), transferring.eq(0)]
        with m.If(self.start[t] & ~busy):
            m.d.sync += [busy.eq(1), self.layer[t].eq(0), left.eq(window.program_length),
                         last.eq(window.program_length[1:] == 0),
                         index.eq(modulo(window.program_base, len(index)))]
