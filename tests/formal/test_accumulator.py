"""Basis accumulator: every position done once, banks kept apart, and sums that cannot wrap.

That no sum wraps is put together from four facts. One code adds one product to a word, and a
product lies in `widest_interval` (proved here). The word that it is added to is the
sum of the products of this position so far: it was zeroed, it is read after the last write, and
the other bank's traffic does not touch it (proved here). A position has at most
``columns * products`` codes, since the scheduler starts no layer beyond those limits (proved in
test_scheduler.py). The accumulator holds that many extreme products (tested here).
"""

from itertools import product

from amaranth.hdl import Cat, Mux, Signal, signed
import pytest

from golden.chip import PRESETS, multiplier_clocks
from rtl.accumulator import BasisAccumulator
from tests.formal.bench import Bench, implies
from tests.formal.defects import defective

CHIP = PRESETS["tiny"]
GROUPS = CHIP.accumulator.kernels // CHIP.accumulator.lanes
#: Clocks from the acceptance of a code to the write of its first word.
STORE = 4 + multiplier_clocks(CHIP.accumulator.coefficient_bits)


def signed_range(bits):
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def step_interval(chip, codes):
    """Least and greatest product of a compensated code, out of the range ``codes``."""
    coefficients = signed_range(chip.accumulator.coefficient_bits)
    products = [code * coefficient for code, coefficient in product(codes, coefficients)]
    return min(products), max(products)


def widest_interval(chip):
    """Products of everything that fits a compensated code: what the configuration counts with."""
    return step_interval(chip, signed_range(chip.converter.compensated_bits))


def attained_interval(chip):
    """Products of a code with its correction."""
    ranges = signed_range(chip.converter.bits), signed_range(chip.converter.correction_bits)
    return step_interval(chip, [sum(ends) for ends in zip(*ranges, strict=True)])


def bench_of(component=BasisAccumulator):
    bench = Bench()
    m = bench.module
    dut = bench.add("dut", component(CHIP), driven=("groups", "stream", "summing"))
    tag = dut.code.tag

    def history(value, clocks):
        """``value`` as it was 1 to ``clocks`` clocks ago, at those indices."""
        values = [value]
        for _ in range(clocks):
            values.append(bench.past(values[-1]))
        return values

    # A layer starts when the sums of the one before are written, drained or not, and its codes
    # come after.
    ended = Signal()        # no position is under way
    used, quiet = Signal(), Signal()
    start = dut.start
    accept = dut.code_valid & dut.code_ready
    summed = accept & dut.summing
    finishes = summed & tag.last & tag.final
    with m.If(summed):
        m.d.sync += ended.eq(finishes)
    inside, finished = Signal(3), Signal(3)     # positions not freed; of those, ready to drain
    m.d.sync += [inside.eq(inside + finishes - dut.position_freed),
                 finished.eq(finished + dut.position_done - dut.position_freed)]
    with m.If(start):
        m.d.sync += [ended.eq(1), used.eq(1), inside.eq(0), finished.eq(0)]
    accepts = history(summed, STORE + GROUPS)
    m.d.comb += quiet.eq(~Cat(accepts).any() & ~bench.past(start))
    bench.assume(implies(start, quiet))
    bench.assume(implies(dut.code_valid, used & ~start))
    for port, name in ((dut.groups, "groups"), (dut.stream, "stream"), (dut.summing, "summing")):
        chosen, value = bench.free(f"chosen_{name}", len(port)), Signal(len(port), name=name)
        with m.If(start):
            m.d.sync += value.eq(chosen)
        m.d.comb += port.eq(Mux(start, chosen, value))
    bench.assume(implies(start, (dut.groups >= 1) & (dut.groups <= GROUPS)))
    # The collector drains and frees what is finished, and nothing else.
    bench.assume(implies(dut.drain_clear | dut.position_freed, finished != 0))

    # Positions: at most two, and each is done once, at its time.
    interval = Mux(dut.stream, dut.groups, 1)
    ends = history(finishes, STORE + GROUPS)
    due = Signal()
    with m.Switch(interval):
        for count in range(1, GROUPS + 1):
            with m.Case(count):
                m.d.comb += due.eq(ends[STORE - 1 + count])
    full = bench.probe("dut.full", 2)
    counted = (full == inside) & (inside <= 2)
    bench.lemma(counted)
    groups_bits = len(dut.groups)
    bench.lemma(bench.probe("dut.blocked", 1) == (full == 2))
    bench.lemma(bench.probe("dut.working", 1) == (bench.probe("dut.remaining", groups_bits) != 0))
    bench.lemma(implies(used & ~start & ~bench.past(start),
                        (bench.probe("dut.interval", groups_bits) == interval)
                        & (bench.probe("dut.adding", 1) == dut.summing)))
    bench.always("two positions at most, and counted", counted)
    bench.always("done once for each final code, in time", dut.position_done == due)
    coming = sum(ends[clock] & (clock < STORE + interval) for clock in range(1, STORE + GROUPS))
    bench.lemma(inside == finished + coming)
    bench.always("nothing freed that is not finished", finished <= inside)

    # Words: one write for each code and kernel group, of the code's position.
    issue = bench.probe("dut.issue", 1)
    reading, writing = history(issue, STORE - 1)[-2:]
    read_word, write_word = bench.probe("dut.read_word", 2), bench.probe("dut.store_word", 2)
    read_bank, write_bank = bench.probe("dut.read_bank", 1), bench.probe("dut.store_bank", 1)
    drain_bank = bench.probe("dut.drain_bank", 1)
    lane_bits = (CHIP.accumulator.lanes - 1).bit_length()
    words = history(tag.index >> lane_bits, STORE)
    for word in range(GROUPS):
        wanted = Mux(dut.stream, accepts[STORE + word] & (word < dut.groups),
                     accepts[STORE] & (words[STORE] == word))
        bench.always(f"word {word} is written once for each code",
                     (writing & (write_word == word)) == wanted)
    bench.always("read after the last write", implies(
        reading & writing, (read_word != write_word) | (read_bank != write_bank)))
    fill, of_code = Signal(), Signal()
    m.d.sync += fill.eq(fill ^ finishes)
    with m.If(accept):
        m.d.sync += of_code.eq(fill)
    with m.If(start):
        m.d.sync += fill.eq(0)
    bench.always("written to the bank of its position", implies(
        writing, write_bank == history(of_code, STORE - 1)[-1]))
    bench.lemma(fill ^ drain_bank == inside[0])
    # The bank of the code being issued, and of those to come.
    steps, fill_bank = bench.probe("dut.steps", groups_bits), bench.probe("dut.fill_bank", 1)
    bench.lemma(bench.probe("dut.issue_end", 1) == (steps == 1) & ended)
    bench.lemma(implies(steps != 0, fill ^ of_code == ended))
    bench.lemma(fill_bank == Mux(steps != 0, of_code, fill))
    bench.always("the bank being drained is not written", implies(
        dut.drain_clear | dut.position_freed,
        implies(writing, write_bank != drain_bank) & implies(reading, read_bank != drain_bank)))
    clearing = bench.probe("dut.clearing", 1)
    bench.always("no code while the banks are zeroed",
                 implies(clearing, ~accept & ~reading & ~writing))
    zeroed = Signal(range(GROUPS + 1))
    with m.If(start):
        m.d.sync += zeroed.eq(0)
    with m.Elif(clearing):
        m.d.sync += zeroed.eq(zeroed + 1)
    word = bench.probe("dut.clear_word", (GROUPS - 1).bit_length())
    bench.lemma(implies(clearing, (zeroed == word) & (zeroed < GROUPS)))
    bench.always("every word is zeroed before the first code",
                 implies(accept, zeroed == GROUPS))

    # Products: each in the interval of one step.
    low, high = widest_interval(CHIP)
    least, greatest = attained_interval(CHIP)
    width = CHIP.converter.compensated_bits + CHIP.accumulator.coefficient_bits
    for lane in range(CHIP.accumulator.lanes):
        value = bench.probe(f"dut.multiplier{lane}.product", signed(width))
        bench.always(f"product {lane} in its interval", (value >= low) & (value <= high))
        bench.cover(f"product {lane} at its low end", value == least)
        bench.cover(f"product {lane} at its high end", value == greatest)

    for stream in (0, 1):
        bench.cover(f"two positions inside, stream {stream}",
                    (inside == 2) & accepts[1] & (dut.stream == stream))
        bench.cover(f"codes in a row, stream {stream}", accept & (dut.stream == stream) & Mux(
            stream, accepts[GROUPS] & (dut.groups == GROUPS), accepts[2]))
    bench.cover("a second layer", start & used)
    bench.cover("a layer after a position that nobody drained", start & (inside != 0))
    bench.cover("codes that are not summed", accept & ~dut.summing & bench.past(bench.past(accept)))
    bench.cover("one position drained while the other fills", dut.drain_clear & writing)
    return bench


def test_proof():
    verdict = bench_of().check(induction=STORE + GROUPS + 1)
    assert verdict.proved, verdict


@pytest.mark.parametrize("chip", PRESETS.values(), ids=lambda chip: chip.name)
def test_the_accumulator_holds_the_most_extreme_position(chip):
    terms = chip.array.columns * chip.accumulator.products
    low, high = (terms * end for end in widest_interval(chip))
    half = 1 << (chip.accumulator_bits - 1)
    assert -half <= low and high <= half - 1
    assert (low, high) == chip.accumulator_interval
    # In merge mode the planes of a kernel, each once per product, stay below one such term.
    planes = sum(1 << plane for plane in range(chip.planes))
    assert planes <= 1 << (chip.accumulator.coefficient_bits - 1)


@pytest.mark.parametrize("old, new, broken", [
    ("(full == 1)", "(full == 2)", "two positions at most, and counted"),
    ("working.eq(1)]", "working.eq(interval > 2)]",
     "read after the last write"),
    ("accept_last.eq(accept & adding & tag.last & tag.final)",
     "accept_last.eq(accept & adding & tag.final)",
     "two positions at most, and counted"),
    ("issue_end, before + last,", "issue_end, before,",
     "done once for each final code, in time"),
    ("m.d.sync += fill_bank.eq(~fill_bank)", "m.d.sync += fill_bank.eq(fill_bank)",
     "written to the bank of its position"),
    ("full.eq(0),", "", "two positions at most, and counted"),
    ("fill_bank.eq(0),", "", "the bank being drained is not written"),
    ("accept & adding & tag.last", "accept & tag.last", "two positions at most, and counted"),
    ("m.If(accept & adding)", "m.If(accept)", "word 0 is written once for each code"),
    ("clearing.eq(clear_word != group_count - 1)", "clearing.eq(clear_word != group_count - 2)",
     "every word is zeroed before the first code"),
])
def test_defects_are_found(old, new, broken):
    bench = bench_of(defective(BasisAccumulator, old, new))
    assert bench.check([broken], induction=STORE + GROUPS + 1).violated
