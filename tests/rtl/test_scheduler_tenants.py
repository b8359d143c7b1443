"""Tile scheduler of two tenants with random programs, compared with a model in every clock."""

from dataclasses import replace
import random

from amaranth.hdl import Value
import pytest

from golden.chip.descriptor import DESCRIPTOR_WORDS, Opcode
from rtl.scheduler import TileScheduler
from tests.rtl.descriptors import CHIP, LOOKED_AT, disturb, legal_case, words_of
from tests.rtl.scheduler_model import Inputs, SchedulerModel
from tests.rtl.simulation import simulate

TENANTS = 2
DESCRIPTORS = CHIP.memories.program_words // DESCRIPTOR_WORDS
#: As often as they are drawn: most programs have several layers.
OPCODES = [opcode for opcode in Opcode if opcode is not Opcode.END] * 4 + [Opcode.END, 11]


def random_window(generator):
    """Mostly wide enough for what `random_descriptor` has."""
    narrow = generator.random() < 0.1

    def length(bits):
        return (1 << bits) - 1 - generator.getrandbits(bits if narrow else bits // 2)

    return {
        "program_base": generator.choice((0, generator.getrandbits(12))),
        "program_length": generator.choice((
            generator.randrange(6), generator.randrange(DESCRIPTORS),
            *((1 << generator.randrange(12)) + extra for extra in (1, 2, 2)), 0xFFF)),
        "activation_base": generator.getrandbits(16), "activation_words": length(17),
        "constants_base": generator.getrandbits(16), "constant_entries": length(17),
        "coefficients_base": generator.getrandbits(20), "coefficient_words": length(21),
        "tiles": generator.choice((1, 2, 3) * 5 + (0,))}


def random_descriptor(generator, calm):
    """Most are legal in most windows."""
    opcode = generator.choice(OPCODES[:-2] if calm and generator.random() < 0.8 else OPCODES)
    fields, window = legal_case(generator, opcode)
    if LOOKED_AT.get(opcode) and generator.random() < (0.02 if calm else 0.15):
        disturb(generator, opcode, fields, window)
    if opcode == Opcode.CONVOLVE and not calm and generator.random() < 0.2:
        # Each in its range, and often more together than may be summed.
        fields["chunks"], fields["row_groups"] = (
            generator.randint(1, CHIP.accumulator.products) for _ in range(2))
    return words_of(generator, opcode, fields)


class Units:
    """When what was started ends."""

    def __init__(self, generator):
        self.generator = generator
        self.left = {}              # clocks, of each tenant's transfer and of "unit"

    def start(self, who):
        self.left[who] = self.generator.choice((1, 1, 2, 2, 5, 5, 12, 30, 300))

    def ending(self):
        self.left = {who: clocks - 1 for who, clocks in self.left.items()}
        return {who for who, clocks in self.left.items() if clocks == 0}

    def drop(self, who):
        self.left.pop(who, None)


def random_inputs(generator, model, units, calm):
    def some(rate):
        return {t for t in range(TENANTS) if generator.random() < rate}

    ending = units.ending()
    # The clock before a unit starts is the last in which it can be kept from it.
    rare = 0.05 if model.clock == DESCRIPTOR_WORDS else 0.0002 if calm else 0.001
    return Inputs(
        start=some(0.02 if calm else 0.1), abort=some(rare), illegal=some(rare),
        host_late={t for t in some(rare * 10) if model.tenants[t].transferring},
        transfer_done={t for t in ending if t != "unit"},
        unit_done="unit" in ending, timed_out=generator.random() < rare)


@pytest.mark.parametrize("calm", [False, True], ids=["eventful", "calm"])
@pytest.mark.parametrize("seed", range(4))
def test_in_every_clock(seed, calm):
    generator = random.Random(f"scheduler {seed} {calm}")
    dut = TileScheduler(replace(CHIP, tenants=TENANTS))
    windows = [random_window(generator) for _ in range(TENANTS)]
    model = SchedulerModel([random_descriptor(generator, calm) for _ in range(DESCRIPTORS)],
                           windows)
    units = Units(generator)
    seen = dict.fromkeys(("convolve", "combine", "calibrate", "ended", "failed", "layer_done"), 0)

    def as_bits(value):
        return sum(1 << t for t in value) if isinstance(value, set) else int(value)

    async def testbench(context):
        for clock in range(2500):
            for t in range(TENANTS):
                if clock == 0 or generator.random() < 0.03:
                    windows[t].update(random_window(generator))
                    for name, value in windows[t].items():
                        context.set(getattr(dut.windows[t], name), value)
            if model.state == "choose" or generator.random() < 0.02:
                index = generator.randrange(DESCRIPTORS)
                if model.state != "fetch" or index != model.tenants[model.tenant].index:
                    model.programs[index] = random_descriptor(generator, calm)
            inputs = random_inputs(generator, model, units, calm)
            for name, value in vars(inputs).items():
                context.set(getattr(dut, name), as_bits(value))
            expected = model.outputs(inputs)
            for name, value in expected.items():
                if name == "window":
                    found = {field: context.get(getattr(dut.window, field)) for field in value}
                elif name == "words":
                    found = [context.get(dut.descriptor[i]) for i in range(DESCRIPTOR_WORDS)]
                elif isinstance(value, list):
                    found = [context.get(Value.cast(getattr(dut, name)[t]))
                             for t in range(TENANTS)]
                    found = [each if want is not None else None
                             for each, want in zip(found, value, strict=True)]
                else:
                    found = context.get(getattr(dut, name)) if value is not None else None
                assert found == value, (clock, name)
            for name in seen:
                seen[name] += sum(expected[name]) if isinstance(expected[name], list) \
                    else expected[name]
            if expected["convolve"] or expected["combine"]:
                units.start("unit")
            for t in range(TENANTS):
                if expected["transfer"][t]:
                    units.start(t)
            model.step(inputs)
            for t in range(TENANTS):
                if not model.tenants[t].transferring:
                    units.drop(t)
            if model.state not in ("start", "run"):
                units.drop("unit")
            await context.tick()

    async def memory(context):
        async for _, _, enable, address in context.tick().sample(dut.read_enable,
                                                                 dut.read_address):
            if enable:
                index, word = divmod(address, DESCRIPTOR_WORDS)
                context.set(dut.read_data, model.programs[index][word])

    simulate(dut, testbench, memory)
    assert min(seen.values()) > 0
