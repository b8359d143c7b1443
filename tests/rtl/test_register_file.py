"""Register file against the specification it is built from."""

from dataclasses import fields, replace
import random

import pytest

from golden.chip import PRESETS, Accumulator, Array, Chip, Converter, Memories, Phases
from golden.chip.registers import (
    ADDRESS_BITS, COUNTERS, TENANT_PITCH, WAITS, registers, tenant_prefix, windows,
)
from rtl.register_file import RegisterFile
from tests.rtl.simulation import simulate

#: Entries and columns that are no power of two, coefficient words of two bus words.
ODD = Chip("odd", tiles=3, array=Array(rows=12, columns=12, row_granule=4),
           converter=Converter(bits=5, correction_bits=4),
           accumulator=Accumulator(coefficient_bits=6, lanes=8, kernels=16, products=4),
           memories=Memories(program_words=32, coefficient_words=32, constant_entries=16,
                             activation_words=64))
#: Whose register file the tests of single registers are of; it has two tenants.
CHIP = PRESETS["default"]
CHIPS = {**PRESETS, "odd": ODD, "shared": replace(ODD, name="shared", tenants=4)}
WRITES = ("program_write", "constants_write", "coefficients_write", "weights_write",
          "corrections_write", "levels_write")


def address_of(name):
    return next(r.offset for r in registers(CHIP) if r.name == name)


async def write(context, dut, address, value):
    """One write; its answer."""
    context.set(dut.write_valid, 1)
    context.set(dut.write_address, address)
    context.set(dut.write_data, value)
    await context.tick()
    context.set(dut.write_valid, 0)
    for _ in range(RegisterFile.ANSWER_CLOCKS - 1):
        await context.tick()
    return context.get(dut.write_error)


async def read(context, dut, address):
    context.set(dut.read_valid, 1)
    context.set(dut.read_address, address)
    await context.tick()
    context.set(dut.read_valid, 0)
    for _ in range(RegisterFile.ANSWER_CLOCKS - 1):
        await context.tick()
    result = context.get(dut.read_data), context.get(dut.read_error)
    await context.tick()
    assert not context.get(dut.read_error)
    return result


def reset_value(register):
    return sum(bits.reset << bits.low for bits in register.bits)


@pytest.mark.parametrize("name", CHIPS)
def test_every_register(name):
    """Reset values, writable bits, and nothing else changes; each word of the first page.

    Nor does an address one bit from a register's find it, where it finds no other.
    """
    chip = CHIPS[name]
    dut = RegisterFile(chip)
    by_offset = {register.offset: register for register in registers(chip)}

    async def testbench(context):
        for offset in range(0, 0x1000, 4):
            expected = reset_value(by_offset[offset]) if offset in by_offset else 0
            assert await read(context, dut, offset) == (expected, offset not in by_offset)
        for mask in (0, 0xFFFF_FFFF):
            held = {}
            for number, (offset, register) in enumerate(by_offset.items(), 1):
                pattern = 0x9E37_79B1 * number & 0xFFFF_FFFF ^ mask
                if register.name.endswith("control"):
                    pattern |= 1 << next(b.low for b in register.bits if b.name == "abort")
                assert await write(context, dut, offset, pattern) == 0
                held[offset] = 0
                for bits in register.bits:
                    ones = (1 << bits.width) - 1
                    value = {"RW": pattern >> bits.low & ones, "R": bits.reset,
                             "CNT": pattern, "W1C": 0, "W1S": 0}[bits.access]
                    held[offset] |= value << bits.low
            for offset, expected in held.items():
                assert await read(context, dut, offset) == (expected, 0)
        for offset in by_offset:
            for bit in range(2, ADDRESS_BITS):
                other = offset ^ 1 << bit
                assert await read(context, dut, other) == (held.get(other, 0), other not in held)
        for offset in set(range(0, 0x1000, 4)) - set(by_offset):
            assert await write(context, dut, offset, 0xFFFF_FFFF) == 1

    simulate(dut, testbench)


def test_no_error_without_a_valid_access():
    dut = RegisterFile(CHIP)

    async def testbench(context):
        context.set(dut.read_address, 0xFFC)
        context.set(dut.write_address, 0xFFC)
        for _ in range(5):
            await context.tick()
            assert (context.get(dut.read_error), context.get(dut.write_error)) == (0, 0)

    simulate(dut, testbench)


def test_phases_and_timeout():
    chip = CHIP
    dut = RegisterFile(chip)

    async def testbench(context):
        for i, field in enumerate(fields(Phases)):
            output = getattr(dut, f"phase_{field.name}")
            assert context.get(output) == getattr(chip.phases, field.name)
            for value, expected in ((0, 1), (1, 1), (2, 2), (63, 63), (i + 3, i + 3)):
                await write(context, dut, address_of(f"phase_{field.name}"), value)
                assert context.get(output) == expected
        for i, field in enumerate(fields(Phases)):
            assert context.get(getattr(dut, f"phase_{field.name}")) == i + 3
        assert context.get(dut.comparator_timeout) == 1024
        for value in (0, 0xFFFF):
            await write(context, dut, address_of("comparator_timeout"), value)
            assert context.get(dut.comparator_timeout) == value

    simulate(dut, testbench)


@pytest.mark.parametrize("name", CHIPS)
def test_every_window(name):
    """First, last and random entries of each memory; what lies beyond is refused."""
    chip = CHIPS[name]
    dut = RegisterFile(chip)
    generator = random.Random(name)

    async def testbench(context):
        quiet = {pulse: 0 for pulse in WRITES}
        for window in windows(chip):
            pitch = 1 << (window.entry_words - 1).bit_length()
            kind = window.name.rstrip("0123456789")
            expected = dict(quiet)
            expected[f"{kind}_write"] = 1 << int(window.name[len(kind):] or 0)
            for index in (0, 1, window.entries - 1, generator.randrange(window.entries)):
                data = [generator.getrandbits(32) for _ in range(window.entry_words)]
                for i, word in enumerate(data):
                    assert {p: context.get(getattr(dut, p)) for p in WRITES} == quiet
                    where = window.offset + 4 * (index * pitch + i)
                    assert await write(context, dut, where, word) == 0
                assert {p: context.get(getattr(dut, p)) for p in WRITES} == expected
                assert context.get(dut.memory_index) == index
                assert context.get(dut.memory_data) == sum(w << (32 * i)
                                                           for i, w in enumerate(data))
                assert await read(context, dut, where) == (0, 1)
            holes = [window.offset + 4 * (index * pitch + i)
                     for index in (0, window.entries - 1)
                     for i in range(window.entry_words, pitch)]
            end = 1 << (4 * window.entries * pitch - 1).bit_length()
            if window.entries * pitch * 4 < end:
                holes += [window.offset + 4 * window.entries * pitch, window.offset + end - 4]
            for where in holes:
                assert await write(context, dut, where, 1) == 1
                assert {p: context.get(getattr(dut, p)) for p in WRITES} == quiet

    simulate(dut, testbench)


@pytest.mark.parametrize("name", CHIPS)
def test_random_addresses(name):
    """An address belongs to what the specification says, and to nothing else."""
    chip = CHIPS[name]
    dut = RegisterFile(chip)
    generator = random.Random(name)
    legal = {register.offset for register in registers(chip)}
    spans = []
    for window in windows(chip):
        pitch = 1 << (window.entry_words - 1).bit_length()
        spans.append((window.offset, window.entries, pitch, window.entry_words))

    async def testbench(context):
        hits = 0
        for _ in range(600):
            address = 4 * generator.randrange(1 << generator.randint(4, ADDRESS_BITS - 2))
            inside = address in legal
            for offset, entries, pitch, words in spans:
                index, word = divmod((address - offset) // 4, pitch)
                inside |= address >= offset and index < entries and word < words
            hits += inside
            assert await write(context, dut, address, 0) == (not inside), hex(address)
        assert 0 < hits < 600

    simulate(dut, testbench)


@pytest.mark.parametrize("tenant, program, constants", [
    (0, (4, 8), (16, 32)), (0, (21, 42), (0x2A5, 0x55A)), (1, (42, 21), (0x55A, 0x2A5)),
    (1, (0, 63), (0x3FF, 0x401))])
def test_memories_are_closed_to_whom_they_would_harm(tenant, program, constants):
    """While a tenant runs: its part of the shared memories, and every memory of its tiles."""
    chip = CHIP
    dut = RegisterFile(chip)
    by_name = {window.name: window for window in windows(chip)}
    tiles = 0b0110 if tenant else 0b1001
    parts = {"program_window": program[1] << 16 | program[0], "tiles": tiles,
             "constants_base": constants[0], "constant_entries": constants[1]}

    async def allowed(context, name, entry):
        window = by_name[name]
        refused = []
        for word in range(window.entry_words):
            where = window.offset + 4 * (entry * window.entry_words + word)
            refused.append(await write(context, dut, where, 7))
        pulses = any(context.get(getattr(dut, pulse)) for pulse in WRITES)
        assert len(set(refused)) == 1 and pulses == (not refused[0])
        return pulses

    async def testbench(context):
        for name, value in parts.items():
            # The other tenant's windows are empty: nothing of it is in use.
            page = TENANT_PITCH * tenant
            assert not await write(context, dut, address_of(name) + page, value)
            assert not await write(context, dut, address_of(name) + TENANT_PITCH - page, 0)
        for busy in (0b00, 0b01, 0b10, 0b11):
            context.set(dut.busy, busy)
            await context.tick()
            mine = busy >> tenant & 1
            for name, (base, length), words in (("program", program, 16),
                                                ("constants", constants, 1)):
                first, end, size = base * words, (base + length) * words, by_name[name].entries
                for entry in {0, first - 1, first, end - 1, end, size - 1} & set(range(size)):
                    assert await allowed(context, name, entry) == (
                        not (mine and first <= entry < end)), (name, entry)
            for kind in ("coefficients", "weights", "corrections", "levels"):
                for tile in range(chip.tiles):
                    assert await allowed(context, f"{kind}{tile}", 3) == (
                        not (mine and tiles >> tile & 1))

    simulate(dut, testbench)


def test_start_and_abort():
    dut = RegisterFile(CHIP)

    async def pulses(context, address, value):
        """A write, and what leaves in each of the clocks up to its answer."""
        context.set(dut.write_valid, 1)
        context.set(dut.write_address, address)
        context.set(dut.write_data, value)
        seen = []
        for _ in range(5):
            seen.append((context.get(dut.start), context.get(dut.abort)))
            await context.tick()
            context.set(dut.write_valid, 0)
        return seen

    async def testbench(context):
        for tenant in range(2):
            control = address_of("control") + TENANT_PITCH * tenant
            for value, busy, start, abort in (
                    (1, 0, 1, 0), (2, 0, 0, 1), (3, 0, 0, 1), (0, 0, 0, 0),
                    (0xFFFF_FFFC, 0, 0, 0), (1, 1, 0, 0), (2, 1, 0, 1), (3, 1, 0, 1)):
                # The other tenant's state changes nothing.
                for other in range(2):
                    context.set(dut.busy, busy << tenant | other << (1 - tenant))
                    none = (0, 0)
                    assert await pulses(context, control, value) == [
                        none, none, (start << tenant, abort << tenant), none, none]

    simulate(dut, testbench)


@pytest.mark.parametrize("keep", [0, 1])
def test_counters(keep):
    """Begun at zero, or kept: from any value that was written while their tenant was idle."""
    chip = CHIP
    dut = RegisterFile(chip)
    generator = random.Random(5)
    shared = {"conversions": chip.tiles, "early_stops": chip.tiles, "converting": 1,
              "product": 1, "contest": 1}

    async def testbench(context):
        for _ in range(2):
            expected = []
            for tenant in range(2):
                page = TENANT_PITCH * tenant
                presets = {name: generator.choice((generator.getrandbits(32),
                                                   0xFFFF_FFFF - generator.randrange(64)))
                           for name in COUNTERS}
                for name, value in presets.items():
                    assert not await write(context, dut, address_of(name) + page, value)
                    assert await read(context, dut, address_of(name) + page) == (value, 0)
                await write(context, dut, address_of("control") + page, 1 | keep << 2)
                expected.append(presets if keep else dict.fromkeys(COUNTERS, 0))
            for _ in range(200):
                values = {name: generator.randint(0, top) for name, top in shared.items()}
                busy = generator.randrange(4)
                active = generator.randrange(4) & busy
                waits = [generator.randrange(len(WAITS) + 1) if busy >> tenant & 1
                         else len(WAITS) for tenant in range(2)]
                for name, value in values.items():
                    context.set(getattr(dut, name), value)
                context.set(dut.busy, busy)
                context.set(dut.active, active)
                for tenant, counts in enumerate(expected):
                    context.set(dut.waiting[tenant], 1 << waits[tenant] & (1 << len(WAITS)) - 1)
                    counts["cycles"] += busy >> tenant & 1
                    if waits[tenant] < len(WAITS):
                        counts[WAITS[waits[tenant]]] += 1
                    if active >> tenant & 1:
                        for name, counter in (("conversions",) * 2, ("early_stops",) * 2,
                                              ("converting",) * 2, ("product", "products"),
                                              ("contest", "contests")):
                            counts[counter] += values[name]
                # Of a tenant that is busy they are not written.
                written = next((t for t in range(2) if busy >> t & 1), None)
                context.set(dut.write_valid, written is not None)
                context.set(dut.write_address, address_of(generator.choice(COUNTERS))
                            + TENANT_PITCH * (written or 0))
                context.set(dut.write_data, generator.getrandbits(32))
                await context.tick()
            context.set(dut.write_valid, 0)
            context.set(dut.active, 0)
            for tenant in range(2):
                context.set(dut.waiting[tenant], 0)
            context.set(dut.busy, 0)
            for tenant, counts in enumerate(expected):
                for counter in COUNTERS:
                    where = address_of(counter) + TENANT_PITCH * tenant
                    assert await read(context, dut, where) == (counts[counter] & 0xFFFF_FFFF,
                                                               0), counter

    simulate(dut, testbench)


@pytest.mark.parametrize("tenant", range(2))
@pytest.mark.parametrize("event, bit", [("ended", 1), ("failed", 2)])
def test_status_and_interrupt(event, bit, tenant):
    dut = RegisterFile(CHIP)
    page = TENANT_PITCH * tenant
    status, interrupt, control = (address_of(name) + page
                                  for name in ("status", "interrupt", "control"))

    async def fire(context, cause):
        context.set(getattr(dut, event), 1 << tenant)
        # The other tenant's cause, and this one's where it has not failed, are nobody's.
        context.set(dut.failed_cause[tenant], cause)
        context.set(dut.failed_cause[1 - tenant], ~cause & 0xF)
        await context.tick()
        context.set(getattr(dut, event), 0)
        context.set(dut.failed_cause[tenant], ~cause & 0xF)

    async def testbench(context):
        for enable, cause in zip(range(4), (3, 5, 10, 12), strict=True):
            raised = 1 << bit | (cause << 8 if event == "failed" else 0)
            await write(context, dut, interrupt, enable)
            await fire(context, cause)
            assert not context.get(dut.irq)
            assert await read(context, dut, status) == (raised, 0)
            assert await read(context, dut, address_of("status") + TENANT_PITCH - page) == (0, 0)
            assert context.get(dut.irq) == (enable >> (bit - 1) & 1)
            # Writing zeros, or ones elsewhere, clears nothing.
            await write(context, dut, status, 0xFFFF_FFFF ^ 1 << bit)
            assert (await read(context, dut, status))[0] >> bit & 1
            await write(context, dut, status, 1 << bit)
            assert not (await read(context, dut, status))[0] >> bit & 1
            await context.tick()
            assert not context.get(dut.irq)
        # An event wins over a write that clears.
        context.set(getattr(dut, event), 1 << tenant)
        await write(context, dut, status, 1 << bit)
        context.set(getattr(dut, event), 0)
        context.set(dut.write_valid, 0)
        assert (await read(context, dut, status))[0] >> bit & 1
        # A start clears flags and cause; busy and layer are looked through.
        await write(context, dut, control, 1)
        await context.tick()
        assert await read(context, dut, status) == (0, 0)
        context.set(dut.busy, 1 << tenant)
        for layer in (0xABC, 0x543):
            context.set(dut.layer[tenant], layer)
            assert await read(context, dut, status) == (1 | layer << 16, 0)

    simulate(dut, testbench)


def test_what_tenants_and_tiles_get():
    """Windows, time-outs and settings are the registers', and change with nobody else's."""
    dut = RegisterFile(CHIP)
    generator = random.Random(8)
    by_name = {register.name: register for register in registers(CHIP)}
    given = {}
    for tenant in range(CHIP.tenants):
        own, view = tenant_prefix(tenant), dut.windows[tenant]
        given[f"{own}program_window", "base"] = view.program_base
        given[f"{own}program_window", "length"] = view.program_length
        given |= {(f"{own}{name}", "value"): getattr(view, name) for name in (
            "activation_base", "activation_words", "constants_base", "constant_entries",
            "coefficients_base", "coefficient_words", "tiles")}
        given[f"{own}host_timeout", "value"] = dut.host_timeout[tenant]
    for tile in range(CHIP.tiles):
        settings = dut.settings[tile]
        given |= {(f"converter{tile}", "levels"): settings.levels,
                  (f"converter{tile}", "offset"): settings.offset,
                  (f"gain{tile}", "value"): settings.gain,
                  (f"gain_reference{tile}", "value"): settings.gain_reference}

    async def testbench(context):
        def check():
            for (name, part), output in given.items():
                bits = next(bits for bits in by_name[name].bits if bits.name == part)
                ones = (1 << bits.width) - 1
                assert context.get(output) & ones == held[name] >> bits.low & ones, (name, part)

        held = {name: reset_value(by_name[name]) for name, _ in given}
        check()
        for _ in range(3):
            for name in sorted(held):
                held[name] = generator.getrandbits(32)
                await write(context, dut, by_name[name].offset, held[name])
                check()

    simulate(dut, testbench)


@pytest.mark.parametrize("tile", range(CHIP.tiles))
def test_what_a_tile_measures(tile):
    """It is set in its registers, and wins over a write; flags stay until they are cleared."""
    dut = RegisterFile(CHIP)
    generator = random.Random(tile)
    bits = CHIP.converter.bits
    flags = address_of(f"tile_flags{tile}")
    others = [address_of(f"{name}{other}") for other in range(CHIP.tiles) if other != tile
              for name in ("converter", "gain", "gain_reference", "tile_flags")]

    async def testbench(context):
        before = [await read(context, dut, where) for where in others]
        measured = dut.measured[tile]
        for valid, value, register, low, width in (
                ("offset_valid", "offset", f"converter{tile}", 16, bits),
                ("gain_valid", "gain", f"gain{tile}", 0, len(measured.gain)),
                ("reference_valid", "gain_reference", f"gain_reference{tile}", 0,
                 len(measured.gain_reference))):
            for writing in (False, True, True):
                number, kept = generator.getrandbits(width), generator.getrandbits(32)
                await write(context, dut, address_of(register), kept)
                untouched = (await read(context, dut, address_of(register)))[0] & ~(
                    (1 << width) - 1 << low)
                signed = value == "offset" and number >> width - 1
                context.set(getattr(measured, value), number - (signed << width))
                context.set(getattr(measured, valid), 1)
                if writing:
                    await write(context, dut, address_of(register), kept)
                else:
                    await context.tick()
                context.set(getattr(measured, valid), 0)
                context.set(getattr(measured, value), 0)
                assert await read(context, dut, address_of(register)) == (
                    untouched | number << low, 0)
        for event, flag in ((measured.failed, 1), (dut.saturated[tile], 2)):
            context.set(event, 1)
            await context.tick()
            context.set(event, 0)
            assert await read(context, dut, flags) == (flag, 0)
            await write(context, dut, flags, 0xFFFF_FFFF ^ flag)
            assert await read(context, dut, flags) == (flag, 0)
            context.set(event, 1)
            await write(context, dut, flags, flag)
            context.set(event, 0)
            assert await read(context, dut, flags) == (flag, 0)
            await write(context, dut, flags, flag)
            assert await read(context, dut, flags) == (0, 0)
        assert [await read(context, dut, where) for where in others] == before

    simulate(dut, testbench)
