"""Tile scheduler: back to idle from everywhere, and units started one by one, on legal layers."""

from dataclasses import replace

from amaranth.hdl import Cat, Signal, Value
import pytest

from golden.chip import ACTIVATIONS_PER_WORD, PRESETS
from golden.chip.descriptor import FIELDS, USED_WORDS, Opcode
from rtl.descriptor import read_field
from rtl.scheduler import TileScheduler
from tests.formal.bench import Bench, implies
from tests.formal.defects import defective

CHIP = replace(PRESETS["tiny"], tenants=2)
#: History of an inductive step: a whole fetch, so that no field is left from an unknown past.
FETCH = TileScheduler.FETCH_CLOCKS + 2


def convolution_ranges(chip):
    """Least and greatest value of each field of a convolution, by the contract's text."""
    fields = {name: (1, None) for name in (
        "in_width", "in_height", "out_width", "out_height", "kernel_width", "kernel_height",
        "stride", "block_words", "blocks")}
    limits = {
        "resolution": (chip.converter.minimum_bits, chip.converter.bits),
        "averaging": (0, 3),
        "chunk_words": (1, chip.array.rows // ACTIVATIONS_PER_WORD),
        "chunks": (1, chip.accumulator.products), "row_groups": (1, chip.accumulator.products),
        "group_granules": (1, chip.array.granules), "kernels": (1, chip.accumulator.kernels),
        "columns": (1, chip.array.columns), "reference": (1, (1 << chip.reference_bits) - 1),
    }
    return fields | limits


def bench_of(component=TileScheduler, chip=CHIP, contents=True):
    """The scheduler of ``chip``; ``contents``: also what descriptors say, beside who has one."""
    bench = Bench()
    m = bench.module
    tenants = chip.tenants
    dut = bench.add("dut", component(chip), driven=("read_data", "unit_done", "transfer_done"))

    def field(name):
        return read_field(dut.descriptor, name)

    # The program memory: one word of every descriptor is watched, the rest is free.
    index, word = bench.constant("index", 4), bench.constant("word", 32)
    answer = bench.free("answer", 32)
    watched = bench.past(dut.read_enable & (dut.read_address[:4] == index))
    with m.If(watched):
        m.d.comb += dut.read_data.eq(word)
    with m.Else():
        m.d.comb += dut.read_data.eq(answer)

    # Units: one for convolutions, adds and pools, and a transfer unit of each tenant.
    started = dut.convolve | dut.combine
    running = Signal()
    finished = bench.free("finished")
    m.d.comb += dut.unit_done.eq(running & finished)
    with m.If(started):
        m.d.sync += running.eq(1)
    with m.If(dut.unit_done | dut.clear):
        m.d.sync += running.eq(0)
    moving = Signal(tenants)
    m.d.comb += dut.transfer_done.eq(moving & bench.free("moved", tenants))
    m.d.sync += moving.eq((moving | dut.transfer) & ~dut.transfer_done & ~dut.transfer_clear)
    bench.lemma((moving & ~dut.busy) == 0)

    starts = Cat(dut.convolve, dut.combine, dut.transfer)
    # Starts are registers: what they start belongs to a tenant that is busy still.
    present_busy = dut.busy.bit_select(dut.tenant, 1)
    bench.lemma(implies(starts.any(), present_busy))
    bench.lemma(implies(running & ~dut.clear, present_busy))
    bench.always("idle after reset", implies(~bench.started, ~dut.busy.any() & ~starts.any()))
    stopped = (dut.abort & dut.busy) | dut.failed
    for t in range(tenants):
        present = dut.tenant == t

        def always(name, value, t=t):
            bench.always(f"tenant {t}: {name}", value)

        # Back to idle, from every state there is.
        leaving = dut.abort[t] | dut.illegal[t] | dut.host_late[t] | dut.failed[t] | dut.ended[t]
        always("idle after abort, failure or end", implies(
            bench.past(leaving & dut.busy[t]), ~dut.busy[t] & ~dut.transfer[t]))
        always("an abort or failure clears its transfer",
               implies(stopped[t] & (moving[t] & ~dut.transfer_done[t] | dut.transfer[t]),
                       dut.transfer_clear[t]))
        always("its transfer is cleared only by its own abort or failure",
               implies(dut.transfer_clear[t], stopped[t]))
        always("nothing happens while idle", implies(
            ~dut.busy[t], ~dut.transfer[t] & ~dut.failed[t] & ~dut.layer_done[t]
            & ~dut.ended[t] & ~(present & (dut.read_enable | started | running & ~dut.clear))))
        always("busy from the start", implies(bench.past(dut.start[t] & ~dut.busy[t]),
                                              dut.busy[t]))
        always("end or failure, not both", ~(dut.ended[t] & dut.failed[t]))
        always("fails for its own doing", implies(dut.failed[t], dut.illegal[t]
                                                  | dut.host_late[t] | present
                                                  | dut.transfer_done[t]))
        # Its program counter stays with its program.
        base = Signal(12, name=f"base{t}")
        with m.If(dut.start[t] & ~dut.busy[t]):
            m.d.sync += base.eq(dut.windows[t].program_base)
        always("each word from its own descriptor", implies(
            dut.read_enable & present, dut.read_address[4:] == (base + dut.layer[t])[:4]))
        bench.lemma(implies(dut.busy[t], bench.probe(f"dut.index{t}", 4)
                            == (base + dut.layer[t])[:4]))
        # Turns: while it waits, no other gets two.
        for other in range(tenants):
            if other == t:
                continue
            had = Signal(name=f"had{t}_{other}")
            again = dut.read_enable & (dut.read_address[:4] == 0) & (dut.tenant == other)
            m.d.sync += had.eq(dut.turn[t] & (had | again))
            # Its turn came, or the others' order puts it before the present tenant's next one.
            always(f"no two descriptors of tenant {other} while it waits",
                   implies(dut.turn[t] & again, ~had))
    fallen = bench.past(Cat(stopped[t] & (dut.tenant == t) for t in range(tenants)).any())
    bench.always("an abort or failure clears the units",
                 implies(fallen & bench.past(running | started), dut.clear))
    bench.always("the units are cleared only for their tenant", implies(dut.clear, fallen))
    bench.always("a timed-out unit is stopped", implies(
        bench.past(dut.timed_out & running & ~dut.clear), dut.clear))

    # One unit at a time, and its descriptor stands still.
    bench.always("one unit started", (starts & (starts - 1)[:len(starts)]) == 0)
    bench.always("no start while a unit runs", implies(starts.any(), ~running))
    bench.always("nothing fetched while a unit runs", implies(running, ~dut.read_enable))
    for t in range(tenants):
        bench.always(f"tenant {t}: no second transfer",
                     implies(dut.transfer[t], ~moving[t] & (dut.tenant == t)))
    bench.cover("a second layer", starts.any() & (dut.layer[0] == 1))
    if tenants > 1:
        bench.cover("a transfer beside a unit", running & moving.any())
    first = dut.read_enable & (dut.read_address[:4] == 0)
    for t in range(tenants):
        # Two clocks after its first fetch, and long before anything works in them.
        bench.always(f"tenant {t}: works in its own windows", implies(
            bench.past(bench.past(first & (dut.tenant == t))),
            Value.cast(dut.window) == bench.past(dut.windows[t])))
    bench.always("the windows change with a new descriptor alone",
                 implies(bench.started & ~bench.past(bench.past(first)),
                         Value.cast(dut.window) == bench.past(dut.window)))
    still = bench.past(Cat(dut.tenant, dut.window))
    bench.always("tenant and windows stand still",
                 implies(running, Cat(dut.tenant, dut.window) == still))
    if not contents:
        return bench

    # What is started is what the memory says, and legal.
    chosen = Signal(32)
    m.d.comb += chosen.eq(dut.descriptor[index])
    bench.always("the descriptor stands still", implies(running, chosen == bench.past(chosen)))
    bench.always("the descriptor is the memory's",
                 implies(starts.any() & (index < USED_WORDS), chosen == word))
    window = dut.window
    bench.always("products that an accumulator can sum", implies(
        dut.convolve, field("chunks") * field("row_groups") <= chip.accumulator.products))
    bench.always("a convolution inside its windows", implies(dut.convolve & ~dut.calibrate, Cat(
        field("constants") + field("kernels") <= window.constant_entries,
        field("coefficients") < window.coefficient_words, window.tiles.any(),
        field("source") < window.activation_words,
        field("destination") < window.activation_words).all()))
    legal = []
    for name, (low, high) in convolution_ranges(chip).items():
        top = (1 << FIELDS[name].width) - 1 if high is None else high
        legal += [field(name) >= low, field(name) <= top]
    bench.always("a legal convolution",
                 implies(dut.convolve & ~dut.calibrate, Cat(*legal).all()))
    single = [field(name) == 1 for name in (
        "stream", "out_width", "out_height", "kernel_width", "kernel_height", "blocks", "chunks",
        "row_groups", "kernels")]
    for name, (low, high) in convolution_ranges(chip).items():
        if name in ("columns", "chunk_words", "resolution", "reference"):
            single.append((field(name) >= low) & (field(name) <= high))
    single += [field("block_words") == field("chunk_words"), field("measure") <= 2,
               field("group_granules") <= chip.array.granules, window.tiles.any(),
               field("source") < window.activation_words]
    bench.always("a legal calibration",
                 implies(dut.calibrate, dut.convolve & Cat(*single).all()))
    bench.cover("a calibration", dut.calibrate)
    for name, end in (("load", "destination"), ("store", "source")):
        bench.always(f"legal {name}", implies(
            dut.transfer.any() & (field("opcode") == Opcode[name.upper()]),
            (field("count") != 0) & (field(end) + field("count") <= window.activation_words)))
    units = ((dut.convolve & ~dut.calibrate, {Opcode.CONVOLVE}),
             (dut.calibrate, {Opcode.CALIBRATE}), (dut.transfer.any(), {Opcode.LOAD, Opcode.STORE}),
             (dut.combine, {Opcode.ADD, Opcode.AVERAGE_POOL, Opcode.MAX_POOL}))
    bench.always("the unit of the opcode", Cat(
        implies(start, Cat(field("opcode") == opcode for opcode in opcodes).any())
        for start, opcodes in units).all())
    bench.cover("a convolution", dut.convolve)
    return bench


@pytest.mark.parametrize("tenants, contents", [(1, True), (2, False)])
def test_proof(tenants, contents):
    """What a descriptor may say does not depend on how many tenants there are."""
    chip = replace(CHIP, tenants=tenants)
    verdict = bench_of(chip=chip, contents=contents).check(induction=FETCH)
    assert verdict.proved, verdict


@pytest.mark.parametrize("old, new, broken", [
    ("m.d.sync += self.clear.eq(stopped)", "m.d.sync += self.clear.eq(stopped & ~self.working)",
     "an abort or failure clears the units"),
    ("with m.If(present & (aborted | self.failed[t])):", "with m.If(aborted | self.failed[t]):",
     "the units are cleared only for their tenant"),
    ('''                    m.next = "START"
                with m.If(halt | ~alive):''',
     '''                    m.next = "START"
                with m.If(0):''', "tenant 0: nothing happens while idle"),
    ("opening.eq(alive & ~halt & check.legal)", "opening.eq(alive & ~halt)",
     "a legal convolution"),
    ("(self.calibrate, (Opcode.CALIBRATE,))", "(self.calibrate, (Opcode.CONVOLVE,))",
     "a legal calibration"),
    ("with m.If(self.unit_done):", "with m.If(1):", "no start while a unit runs"),
    ("descriptor[place]", "descriptor[place ^ 1]", "the descriptor is the memory's"),
    ("candidate = (last + distance) % tenants", "candidate = distance % tenants",
     "tenant 0: no two descriptors of tenant 1 while it waits"),
])
def test_defects_are_found(old, new, broken):
    bench = bench_of(defective(TileScheduler, old, new))
    assert bench.check([broken], induction=FETCH).violated
