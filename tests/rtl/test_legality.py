"""Descriptor check: what is refused, and that nothing else is, at the ends of every range."""

import random

import pytest

from golden.chip.descriptor import DESCRIPTOR_WORDS, Opcode
from rtl.legality import DescriptorCheck
from tests.rtl.descriptors import (
    CHIP, LOOKED_AT, disturb, fields_of, lawful, legal_case, words_of,
)
from tests.rtl.simulation import simulate


async def found_legal(context, dut, words, window):
    """What the check says of a descriptor whose words come one by one."""
    for clock in range(DESCRIPTOR_WORDS + 2):
        context.set(dut.clock, clock)
        if clock == 2:
            for name, value in window.items():
                context.set(getattr(dut.window, name), value)
        if clock >= 3:
            context.set(dut.descriptor[clock - 3], words[clock - 3])
        if clock == DESCRIPTOR_WORDS:
            legal = context.get(dut.legal)
        await context.tick()
    return legal


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("opcodes", [
    *((opcode,) for opcode in (Opcode.CONVOLVE, Opcode.CALIBRATE, Opcode.ADD)),
    (*Opcode, 8, 9, 12, 15)], ids=lambda opcodes: Opcode(opcodes[0]).name if len(opcodes) == 1
    else "any")
def test_ranges(opcodes, seed):
    generator = random.Random(f"{opcodes} {seed}")
    dut = DescriptorCheck(CHIP)
    told = {False: 0, True: 0}

    async def testbench(context):
        for case in range(300):
            opcode = generator.choice(opcodes)
            fields, window = legal_case(generator, opcode)
            for _ in range(generator.choice((0, 1, 1, 1, 2)) if LOOKED_AT.get(opcode) else 0):
                disturb(generator, opcode, fields, window)
            words = words_of(generator, opcode, fields)
            expected = lawful(opcode, fields_of(words), window)
            assert await found_legal(context, dut, words, window) == expected, (
                case, fields_of(words), window)
            told[expected] += 1

    simulate(dut, testbench)
    assert min(told.values()) > 30


@pytest.mark.parametrize("opcode", [Opcode.LOAD, Opcode.STORE])
def test_transfers_of_no_words(opcode):
    generator = random.Random(opcode.name)
    dut = DescriptorCheck(CHIP)

    async def testbench(context):
        for _ in range(20):
            fields, window = legal_case(generator, opcode)
            for count, legal in ((fields["count"], True), (0, False)):
                words = words_of(generator, opcode, fields | {"count": count})
                assert lawful(opcode, fields_of(words), window) == legal
                assert await found_legal(context, dut, words, window) == legal

    simulate(dut, testbench)
