"""The charge controller: walks the analog macro through its phases."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, ValueLike
from amaranth.lib.wiring import Component, In, Out

from golden.chip import PRODUCT_BITS, Chip, Phases

from .messages import (
    AVERAGING_BITS, CONVERSION_BITS, PhaseLengths, job_layout, product_layout,
    tag_layout,
)

__all__ = ["ChargeController"]


class _Timer:
    """Counts phases down.

    ``over``, a register since much depends on it, is high from the last clock of a phase until the
    next one starts. Until then ``count`` holds the length of that: it is loaded without waiting
    for what decides on the start.
    """

    def __init__(self) -> None:
        self.count = Signal(Phases.BITS)
        self.over = Signal(init=1, name="count_over")
        self._following: Value | None = None

    def run(self, m: Module, following: Value) -> None:
        """A clock of a state that a phase of ``following`` clocks may follow."""
        self._following = following
        m.d.sync += self.count.eq(Mux(self.over, following, self.count - 1))
        with m.If(~self.over):
            m.d.sync += self.over.eq(self.count == 2)

    def start(self, m: Module) -> None:
        """The phase that `run` was told of last begins with the next clock; where it is over."""
        m.d.sync += self.over.eq(self._following == 1)


class ChargeController(Component):
    """Phases of a tile's macro: reset, drive, share, hold per product; clear, add per conversion.

    Two sequencers run side by side. The array sequencer prepares the next product while the
    adder sequencer still samples the held one; it closes `hold` only when the last conversion of
    the held product has been sampled. The adder sequencer fills one sampling capacitor while the
    converter works on the other. Every switch is a flip-flop, and after each phase all switches
    of its group stay open for `lengths.gap` clocks.

    A job is sampled ``2**averaging`` times in a row, each time with a conversion number of its
    own; the tags of all but the last are `partial`. A void is sampled once.

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    lengths : PhaseLengths, in
        Length of each phase in clocks, at least 1, constant while a product is under way.
    averaging : in
        Logarithm of the samples of a job, constant while a job is under way.
    product_valid, product, product_ready
        Products, in order. Accepted when the array is free.
    bank_released : out
        Pulse: the product's latch bank has been used and may be written (product.release).
    job_valid, job, job_ready
        Conversion jobs, in order; `job.last` ends the held product.
    sample_valid, tag, sample_ready
        A sampled sum waits for the converter. Taking it swaps the sampling capacitors.
    reset, drive, share, hold, bank, row_enable, product_number : out
        Array switches and what they act on.
    clear, add, side, convert_side, select, negate, conversion : out
        Adder switches and what they act on.

    Latency
    -------
    A product accepted in clock 0 closes `reset` in clock 1. A job accepted in clock 0 closes
    `clear` in clock 1 and is sampled in clock ``clear + add + 2*gap + 1``; a void job in clock 1.
    A job that is sampled again closes `clear` 2 clocks after the sample before was taken.
    """

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        super().__init__({
            "lengths": In(PhaseLengths), "averaging": In(AVERAGING_BITS),
            "product_valid": In(1), "product": In(product_layout(chip)),
            "product_ready": Out(1),
            "bank_released": Out(1),
            "job_valid": In(1), "job": In(job_layout(chip)), "job_ready": Out(1),
            "sample_valid": Out(1), "tag": Out(tag_layout(chip)), "sample_ready": In(1),
            "reset": Out(1), "drive": Out(1), "share": Out(1), "hold": Out(1),
            "bank": Out(1), "row_enable": Out(chip.array.granules),
            "product_number": Out(PRODUCT_BITS),
            "clear": Out(1), "add": Out(1), "side": Out(1), "convert_side": Out(1, init=1),
            "select": Out(chip.array.columns), "negate": Out(chip.array.columns),
            "conversion": Out(CONVERSION_BITS),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held_valid = Signal()
        holds = Signal()        # `held_valid` rises after this clock
        held = Signal(product_layout(self.chip))
        ending = Signal()       # the last conversion of the held product is sampled
        with m.If(ending):
            m.d.sync += held_valid.eq(0)
        self._array_sequencer(m, held_valid, holds, held, ending)
        self._adder_sequencer(m, held_valid, holds, held, ending)
        return m

    def _array_sequencer(self, m: Module, held_valid: Signal, holds: Signal, held: Signal,
                         ending: Signal) -> None:
        current = Signal(product_layout(self.chip))
        timer = _Timer()
        lengths = self.lengths
        m.d.comb += [self.bank.eq(current.bank), self.row_enable.eq(current.row_enable),
                     self.product_number.eq(current.number)]
        # Each entry: switch, its length, condition to close it once the gap before it is over.
        chain: list[tuple[str, ValueLike]] = [
            ("reset", 1), ("drive", 1), ("share", 1), ("hold", ~held_valid | ending)]
        idle = Signal(init=1)       # the state of that name
        m.d.comb += self.product_ready.eq(idle)
        with m.FSM(name="array_phase"):
            with m.State("IDLE"):
                timer.run(m, lengths.reset)
                with m.If(self.product_valid):
                    m.d.sync += [current.eq(self.product), self.reset.eq(1), idle.eq(0)]
                    timer.start(m)
                    m.next = "RESET"
            for i, (name, _) in enumerate(chain):
                switch: Signal = getattr(self, name)
                with m.State(name.upper()):
                    timer.run(m, lengths.gap)
                    with m.If(timer.over):
                        m.d.sync += switch.eq(0)
                        timer.start(m)
                        m.next = f"{name.upper()}_GAP"
                with m.State(f"{name.upper()}_GAP"):
                    if i + 1 < len(chain):
                        following, permission = chain[i + 1]
                        timer.run(m, lengths[following])
                        with m.If(timer.over & permission):
                            m.d.sync += getattr(self, following).eq(1)
                            timer.start(m)
                            if following == "share":
                                m.d.comb += self.bank_released.eq(current.release)
                            m.next = following.upper()
                    else:
                        timer.run(m, lengths.reset)
                        with m.If(timer.over):
                            m.d.comb += holds.eq(1)
                            m.d.sync += [held_valid.eq(1), held.eq(current), idle.eq(1)]
                            m.next = "IDLE"

    def _adder_sequencer(self, m: Module, held_valid: Signal, holds: Signal, held: Signal,
                         ending: Signal) -> None:
        timer = _Timer()
        next_conversion = Signal(CONVERSION_BITS)
        lengths, job, tag = self.lengths, self.job, self.tag
        left = Signal((1 << AVERAGING_BITS) - 1)    # samples of this job still to begin
        again = Signal()                            # there are any
        repeated = Signal()                         # the job on offer is sampled more than once
        m.d.comb += [self.conversion.eq(tag.conversion),
                     repeated.eq((self.averaging != 0) & ~job.void)]
        with m.If(self.sample_valid & self.sample_ready):
            m.d.sync += self.sample_valid.eq(0)
            with m.If(~tag.void):
                m.d.sync += [self.side.eq(~self.side), self.convert_side.eq(self.side)]
        # A register: idle, without a sample or one to repeat, in the next clock. `held_valid` falls
        # with the last job, so a job never reaches a stale product.
        idle = Signal()
        m.d.sync += self.job_ready.eq(
            idle & ~(self.job_valid & self.job_ready) & ~again & (held_valid | holds)
            & (~self.sample_valid | self.sample_ready))
        # A void job is sampled at once. While `job_ready` this sequencer is idle.
        m.d.comb += ending.eq(self.job_valid & self.job_ready & job.void & job.last)
        with m.FSM(name="adder_phase"):
            with m.State("IDLE"):
                m.d.comb += idle.eq(1)
                timer.run(m, lengths.clear)
                with m.If(again & ~self.sample_valid):
                    m.d.sync += [left.eq(left - 1), again.eq(left != 1),
                                 tag.partial.eq(left != 1), tag.conversion.eq(next_conversion),
                                 next_conversion.eq(next_conversion + 1),
                                 self.clear.eq(1)]
                    timer.start(m)
                    with m.If(tag.last & (left == 1)):
                        m.d.sync += next_conversion.eq(0)
                    m.next = "CLEAR"
                with m.If(self.job_valid & self.job_ready):
                    m.d.sync += [
                        Cat(tag.index, tag.plane, tag.stop, tag.void, tag.last).eq(
                            Cat(job.index, job.plane, job.stop, job.void, job.last)),
                        tag.release.eq(held.release), tag.final.eq(held.final),
                        tag.product.eq(held.number), tag.conversion.eq(next_conversion),
                        tag.partial.eq(repeated), again.eq(repeated),
                        left.eq((1 << self.averaging) - 1),
                    ]
                    with m.If(job.last & ~repeated):
                        m.d.sync += next_conversion.eq(0)
                    with m.Elif(~job.void):
                        m.d.sync += next_conversion.eq(next_conversion + 1)
                    with m.If(job.void):
                        m.d.sync += self.sample_valid.eq(1)
                    with m.Else():
                        m.d.sync += [self.select.eq(job.select), self.negate.eq(job.negate),
                                     self.clear.eq(1)]
                        timer.start(m)
                        m.next = "CLEAR"
            with m.State("CLEAR"):
                timer.run(m, lengths.gap)
                with m.If(timer.over):
                    m.d.sync += self.clear.eq(0)
                    timer.start(m)
                    m.next = "CLEAR_GAP"
            with m.State("CLEAR_GAP"):
                timer.run(m, lengths.add)
                with m.If(timer.over):
                    m.d.sync += self.add.eq(1)
                    timer.start(m)
                    m.next = "ADD"
            with m.State("ADD"):
                timer.run(m, lengths.gap)
                with m.If(timer.over):
                    m.d.sync += self.add.eq(0)
                    timer.start(m)
                    m.next = "ADD_GAP"
            with m.State("ADD_GAP"):
                timer.run(m, lengths.clear)
                with m.If(timer.over):
                    m.d.sync += self.sample_valid.eq(1)
                    m.d.comb += ending.eq(tag.last & ~again)
                    m.next = "IDLE"
