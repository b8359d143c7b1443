"""What a host can tell of a chip before it loads anything: registers, refusals, short programs.

The words of an image pass by most of the register file, the checks of descriptors and whatever
only another tenant uses. Here all of that is looked at, in some ten thousand clocks.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
import reprlib

from golden.chip import AVERAGING_LIMIT, Chip
from golden.chip.descriptor import DESCRIPTOR_WORDS, FIELDS, USED, Opcode, encode
from golden.chip.registers import (
    ADDRESS_BITS, COUNTERS, Window, registers, tenant_prefix, windows,
)
from golden.program import Elementwise
from golden.program import Window as PixelWindow
from golden.timing import FETCH_CLOCKS
from golden.timing_elementwise import elementwise_clocks
from sim.registers import RegisterModel

from .library import Harness, HarnessError

__all__ = ["BringUpError", "bring_up"]

#: Responses of AXI4-Lite.
_OKAY, _SLVERR, _DECERR = 0, 2, 3
#: Clocks by which every program here has ended, and for which those that wait are left waiting.
_LIMIT, _WAIT = 2000, 100
#: Clocks for which a host is waited for: each of the lower 15 bits of 24 set, and not.
_PATTERNS = (0x2AAA, 0x5555)
#: Pixels of which the second is wrong: enough for the chip to stop before it comes to the last.
_ROW = 32
#: Clocks from the end of a host's time to the end of its program.
_LATE = 1
#: Multiplier of Fibonacci hashing: gives each register a pattern of its own.
_HASH = 0x9E37_79B1
_WORD = 0xFFFF_FFFF
#: Causes in the status register, see golden.chip.registers.
_OPCODE, _FIELD, _HOST = 1, 2, 4


class BringUpError(HarnessError):
    """The chip did not do what it must before a program is loaded.

    ``word`` says with what, ``layer`` where: of an exercise, or just "bring-up".
    """

    def __init__(self, text: str, word: str = "", layer: str = "bring-up") -> None:
        super().__init__(text)
        self.word, self.layer = word, layer

    @classmethod
    def of(cls, word: str, text: str) -> "BringUpError":
        """With a text that names ``word``."""
        return cls(f"bring-up, {word}: {text}", word)


def bring_up(harness: Harness, chip: Chip) -> RegisterModel:
    """Try a chip that comes from its reset, and leave it as after one, but for some counters.

    Every register takes and keeps two patterns and their complements; every address next to one
    that exists is refused, and so is what is not whole; on every tenant programs end, are refused
    with their cause, wait for their host in vain, and are aborted.

    Returns what the registers hold. Raises BringUpError at the first that differs.
    """
    trial = _BringUp(harness, chip)
    try:
        trial.try_registers()
        trial.try_refusals()
        for tenant in range(chip.tenants):
            trial.try_programs(tenant)
    except BringUpError:
        raise
    except HarnessError as error:
        raise BringUpError.of("pins" if "pin " in str(error) else "bus", str(error)) from error
    return trial.model


class _BringUp:
    def __init__(self, harness: Harness, chip: Chip) -> None:
        self.harness, self.chip = harness, chip
        self.model = RegisterModel(chip)
        self.registers = registers(chip)
        self.windows = windows(chip)
        self.seen: Counter[tuple[int, str]] = Counter()
        self.offsets = {register.offset for register in self.registers}

    # Accesses.

    def write(self, name: str, value: int) -> None:
        address = self.model.address(name)
        self.respond("write", address, value, _OKAY)
        self.model.write(address, value)

    def respond(self, access: str, address: int, value: int, expected: int,
                strobe: int = 0xF) -> None:
        """``access`` must have the response ``expected``."""
        got = (self.harness.write_response(address, value, strobe) if access == "write"
               else self.harness.read_response(address))
        if got != expected:
            raise BringUpError.of(f"{access} of {address:#08x}",
                                  f"answered {got}, expected {expected}")

    def check(self, names: Iterable[str] | None = None) -> None:
        """The registers ``names``, or all of them, hold what the model says."""
        values = self.model.values()
        for name in values if names is None else names:
            self.equal(name, self.harness.read(self.model.address(name)), values[name])

    def equal(self, word: str, got: int, expected: int) -> None:
        if got != expected:
            raise BringUpError.of(word, f"expected {expected:#010x}, got {got:#010x}")

    # Registers.

    def try_registers(self) -> None:
        """Each register holds what was written to it, and nothing that was written to another."""
        self.check()
        patterns = {register.name: _HASH * (i + 1) & _WORD
                    for i, register in enumerate(self.registers)}
        for invert in (0, _WORD):
            for register in self.registers:
                value = patterns[register.name] ^ invert
                if register.name.endswith("control"):
                    value &= ~self.model.mask(register.name, "start")
                self.write(register.name, value)
            self.check()
            if self.harness.run(2):
                raise BringUpError.of("irq", "raised though no program has run")
        for register in self.registers:
            reset = sum(bits.reset << bits.low for bits in register.bits)
            self.write(register.name, reset)
        self.check()

    # Refusals.

    def taken(self, address: int) -> bool:
        """Whether a write to ``address`` finds a register or a word of a memory."""
        return address in self.offsets or any(
            _inside(window, address) for window in self.windows)

    def neighbours(self) -> Iterator[int]:
        """Addresses one bit from a register's, or from a memory's first or last word."""
        bits = [1 << bit for bit in range(2, ADDRESS_BITS)]
        ends = [window.offset + 4 * word for window in self.windows
                for word in (0, _words(window) - 1)]
        yield from sorted({base ^ bit for base in (*self.offsets, *ends) for bit in bits}
                          - self.offsets)

    def try_refusals(self) -> None:
        """What is nowhere is refused, what is somewhere else does not change a register."""
        for address in self.neighbours():
            self.respond("read", address, 0, _DECERR)
            self.respond("write", address, ~_HASH & _WORD,
                         _OKAY if self.taken(address) else _DECERR)
        self.check()
        address = self.model.address("activation_words")
        for strobe in (0x7, 0xB, 0xD, 0xE):
            self.respond("write", address, _HASH, _SLVERR, strobe)
        for low in (1, 2):
            self.respond("write", address + low, _HASH, _SLVERR)
            self.respond("read", address + low, 0, _SLVERR)
        self.check()

    # Programs.

    def try_programs(self, tenant: int) -> None:
        """Programs of ``tenant`` that need neither tiles nor host."""
        for name, value in self.all_of_it().items():
            self.write(tenant_prefix(tenant) + name, value)
        last = self.chip.memories.program_words // DESCRIPTOR_WORDS - 1
        end = encode(Opcode.END)
        pools = self.pools()
        self.run(tenant, last - len(pools), (*(_encoded(pool) for pool, _ in pools), end),
                 layer=len(pools), units=[elementwise_clocks(pool) for pool, _ in pools],
                 words=[(pool.destination, word) for pool, word in pools])
        first, word = pools[0]
        pool = _encoded(first)
        # Without an end, in windows of several lengths.
        for length in (1, 2, 4):
            self.run(tenant, 0, (pool,) * length, cause=_OPCODE, layer=length,
                     units=[elementwise_clocks(first)] * length,
                     words=[(first.destination, word)] * length)
        for opcode in range(max(Opcode) + 1, 1 << FIELDS["opcode"].width):
            self.run(tenant, 0, ((opcode,) + end[1:], end), cause=_OPCODE)
        # One check serves all tenants, but each has windows of its own.
        for descriptor in (*self.beyond(pool), *(self.illegal(pool) if tenant == 0 else ())):
            self.run(tenant, 0, (descriptor, end), cause=_FIELD)
        if tenant == 0:
            self.try_convolutions(pool)
        for pattern in (_HASH, ~_HASH):
            self.try_window(tenant, pattern, pool)
        self.try_waiting(tenant)
        for name in self.all_of_it():
            self.write(tenant_prefix(tenant) + name,
                       RegisterModel(self.chip).values()[tenant_prefix(tenant) + name])
        self.check()

    def all_of_it(self) -> Mapping[str, int]:
        """Registers that give a tenant the whole chip."""
        reset = RegisterModel(self.chip).values()
        return {name: reset[name] for name in (
            "program_window", "activation_base", "activation_words", "constants_base",
            "constant_entries", "coefficients_base", "coefficient_words", "tiles")}

    def pools(self) -> list[tuple[Elementwise, int]]:
        """Pools that need no data to begin with, and the word that each writes.

        An average of nothing but its bias, another, and the largest of both and of one.
        """
        last = self.chip.memories.activation_words - 1
        pixel = PixelWindow(1, 1, 1, 1, 1, 1, 1, 0, 0)
        pair = replace(pixel, in_width=2, kernel_width=2)
        return [
            (_pool(Opcode.AVERAGE_POOL, pixel, last, last - 1, 0x55), 0x5555_5555),
            (_pool(Opcode.AVERAGE_POOL, pixel, last - 1, last, ~0x55), 0xAAAA_AAAA),
            (_pool(Opcode.MAX_POOL, pair, last - 1, last - 2, 0), 0x5555_5555),
            (_pool(Opcode.MAX_POOL, pixel, last, last - 1, 0), 0xAAAA_AAAA)]

    def try_window(self, tenant: int, pattern: int, pool: tuple[int, ...]) -> None:
        """The last word of a window that is part of the chip, and the first one behind it."""
        own, memories = tenant_prefix(tenant), self.chip.memories
        ends = {}
        for base, words, size in (
                ("activation_base", "activation_words", memories.activation_words),
                ("constants_base", "constant_entries", memories.constant_entries),
                ("coefficients_base", "coefficient_words", memories.coefficient_words)):
            # The lowest bits of the pattern, and at least two words; what it leaves out before.
            ends[words] = max(pattern & (size - 1), 2)
            self.write(own + words, ends[words])
            self.write(own + base, ~pattern & (size - 1) & ~ends[words])
        last, end = ends["activation_words"] - 1, encode(Opcode.END)
        kept = _pool(Opcode.AVERAGE_POOL, PixelWindow(1, 1, 1, 1, 1, 1, 1, 0, 0), last, last, 0x33)
        self.run(tenant, 0, (_encoded(kept), end), layer=1, units=[elementwise_clocks(kept)],
                 words=[(last, 0x3333_3333)])
        convolution, add = self.convolution(pool), _with(_with(pool, "opcode", Opcode.ADD),
                                                         "second_stride", 1)
        wrong = [_with(legal, name, ends[words]) for legal, name, words in (
            (pool, "source", "activation_words"), (pool, "destination", "activation_words"),
            (add, "second_source", "activation_words"),
            (convolution, "source", "activation_words"),
            (convolution, "destination", "activation_words"),
            (convolution, "constants", "constant_entries"),
            (convolution, "coefficients", "coefficient_words"))]
        wrong += [encode(Opcode.LOAD, destination=last, count=2),
                  encode(Opcode.STORE, source=last, count=2)]
        for descriptor in wrong:
            self.run(tenant, 0, (descriptor, end), cause=_FIELD)
        # A row of pixels, of which the second is read, or written, behind the end.
        row = replace(kept, window=PixelWindow(_ROW, 1, _ROW, 1), source=0, destination=0)
        for wrong_row in (replace(row, source=last), replace(row, destination=last)):
            self.stopped(tenant, wrong_row)
        # A window may reach beyond the memory, by any number of words; an access may not. One row
        # reads its first pixel alone, and padding.
        padded = replace(row, window=replace(row.window, in_width=1))
        self.write(f"{own}activation_base", memories.activation_words - 1)
        for bit in range(memories.activation_words.bit_length()):
            self.write(f"{own}activation_words", 1 + (1 << bit))
            for wrong_row in (row, padded):
                self.stopped(tenant, wrong_row)

    def stopped(self, tenant: int, pool: Elementwise) -> None:
        """A legal pool comes to a word outside its window."""
        self.start(tenant, (_encoded(pool), encode(Opcode.END)), "error")
        clocks = self.harness.read(self.model.address(f"{tenant_prefix(tenant)}elementwise"))
        self.model.ran(tenant, _FIELD, 0, {
            "cycles": FETCH_CLOCKS + clocks, "fetch": FETCH_CLOCKS, "elementwise": clocks})
        self.check(self.told(tenant))
        self.settle(tenant)
        self.pass_over(tenant)

    def beyond(self, pool: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        """Descriptors with an address or a range just outside the chip."""
        memories = self.chip.memories
        words = memories.activation_words
        convolution = self.convolution(pool)
        for descriptor in (pool, convolution):
            for name in ("source", "destination"):
                if words >> FIELDS[name].width == 0:
                    yield _with(descriptor, name, words)
        for name, value in (("coefficients", memories.coefficient_words),
                            ("constants", memories.constant_entries)):
            if value >> FIELDS[name].width == 0:
                yield _with(convolution, name, value)
        yield encode(Opcode.LOAD, destination=words - 1, count=2)
        yield encode(Opcode.STORE, source=words - 1, count=2)

    def convolution(self, pool: tuple[int, ...]) -> tuple[int, ...]:
        """A legal convolution of one pixel."""
        legal = _with(pool, "opcode", Opcode.CONVOLVE)
        for name, value in (("resolution", self.chip.converter.bits), ("reference", 1),
                            *((name, 1) for name in (
                                "block_words", "blocks", "chunk_words", "chunks", "row_groups",
                                "group_granules", "kernels", "columns"))):
            legal = _with(legal, name, value)
        return legal

    def illegal(self, pool: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        """Descriptors with one field out of range, or several whose product or sum is."""
        words = self.chip.memories.activation_words
        for name in ("in_width", "in_height", "out_width", "out_height", "kernel_width",
                     "kernel_height", "stride", "channel_words", "destination_pixel_words"):
            yield _with(pool, name, 0)
        for name, value in (("kernel_width", 2), ("kernel_height", 2), ("second_stride", 0),
                            ("source", words), ("destination", words), ("second_source", words)):
            if value >> FIELDS[name].width == 0:
                yield _with(_with(_with(pool, "opcode", Opcode.ADD), "second_stride", 1),
                            name, value)
        yield from self.illegal_convolutions(pool)
        yield encode(Opcode.LOAD, destination=0, count=0)
        yield encode(Opcode.STORE, source=0, count=0)

    def illegal_convolutions(self, pool: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        """Convolutions of one pixel with one field out of range."""
        array, accumulator = self.chip.array, self.chip.accumulator
        products, legal = accumulator.products, self.convolution(pool)
        wrong = [
            ("resolution", self.chip.converter.minimum_bits - 1),
            ("resolution", self.chip.converter.bits + 1), ("averaging", AVERAGING_LIMIT + 1),
            ("block_words", 0), ("blocks", 0), ("chunk_words", 0),
            ("chunk_words", array.row_words + 1), ("chunks", 0), ("chunks", products + 1),
            ("row_groups", 0), ("row_groups", products + 1), ("group_granules", 0),
            ("group_granules", array.granules + 1), ("kernels", 0),
            ("kernels", accumulator.kernels + 1), ("columns", 0), ("columns", array.columns + 1),
            ("reference", 0), ("reference", 1 << self.chip.reference_bits),
            ("stride", 0), ("kernel_width", 0), ("out_height", 0), ("destination_pixel_words", 0),
        ]
        for name, limit in (("chunk_words", array.row_words), ("chunks", products),
                            ("row_groups", products), ("group_granules", array.granules),
                            ("kernels", accumulator.kernels), ("columns", array.columns),
                            ("resolution", self.chip.converter.bits),
                            ("reference", (1 << self.chip.reference_bits) - 1)):
            wrong += [(name, 1 << bit) for bit in range(FIELDS[name].width) if 1 << bit > limit]
        for name, value in wrong:
            if value >> FIELDS[name].width == 0:
                yield _with(legal, name, value)
        for chunks in range(2, products + 1, max(products // 4, 1)):
            groups = products // chunks + 1
            if groups <= products:
                yield _with(_with(legal, "chunks", chunks), "row_groups", groups)

    # Convolutions without conversions: lists of void entries. They need no weights.

    def try_convolutions(self, pool: tuple[int, ...]) -> None:
        """Two chunks in two row groups each; then, on each tile, a list that does not end."""
        biases = (0x55, 0x2A, 0xAA - 0x100)
        self.write_entries("constants", 0, [bias & _WORD for bias in biases])
        for tile in range(self.chip.tiles):
            # A list for each chunk, and then what belongs to neither.
            self.write_entries(f"coefficients{tile}", 0, [
                self.void(kernel, last=True) for kernel in (0, 1, 2, 2)])
        descriptor = self.convolution(pool)
        for name, value in (("block_words", 2), ("source_pixel_words", 2), ("chunks", 2),
                            ("row_groups", 2), ("kernels", len(biases)), ("source", 0),
                            ("destination", 2)):
            descriptor = _with(descriptor, name, value)
        self.start(0, (descriptor, encode(Opcode.END)))
        values = {name: self.harness.read(self.model.address(name))
                  for name in ("cycles", "array", "rows", "drain")}
        self.model.ran(0, 0, 1, values | {
            "cycles": 2 * FETCH_CLOCKS + sum(values[name] for name in ("array", "rows", "drain")),
            "fetch": 2 * FETCH_CLOCKS, "products": 4})
        self.check(self.told(0))
        self.traced(0, "words", [(2, sum((bias & 0xFF) << 8 * i
                                         for i, bias in enumerate(biases)))])
        for tile in range(self.chip.tiles):
            got = self.harness.codes(tile)
            for field, expected in (("product", [0, 1, 2, 3]), ("index", [0, 0, 1, 1]),
                                    ("void", [1] * 4)):
                found = got[field].tolist()
                if found != expected:
                    raise BringUpError.of(f"{field} of the void entries of tile {tile}",
                                          f"expected {expected}, got {reprlib.repr(found)}")
        self.settle(0)
        size = self.chip.memories.coefficient_words
        for tile in range(self.chip.tiles):
            self.try_endless(tile, self.convolution(pool))
            clocks = []
            for pattern in (_HASH, ~_HASH):
                self.write("coefficients_base", ~pattern & (size - 1))
                self.write("coefficient_words", pattern & (size - 1))
                clocks.append(self.try_endless(tile, self.convolution(pool)))
            self.equal(f"clocks until the window's end of the list of tile {tile}", *clocks)
            self.write("coefficients_base", 0)
            self.write("coefficient_words", size)

    def try_endless(self, endless: int, descriptor: tuple[int, ...]) -> int:
        """The list of one tile goes past the end of the tenant's window; clocks until it stops."""
        values = self.model.values()
        first = values["coefficient_words"] - 2
        for tile in range(self.chip.tiles):
            self.write_entries(f"coefficients{tile}", values["coefficients_base"] + first,
                               [self.void(0, last=tile != endless)] * 2)
        for name, value in (("coefficients", first), ("source", 0), ("destination", 2)):
            descriptor = _with(descriptor, name, value)
        self.start(0, (descriptor, encode(Opcode.END)), "error")
        names = ("cycles", "array", "rows", "drain")
        counted = {name: self.harness.read(self.model.address(name)) for name in names}
        self.model.ran(0, _FIELD, 0, counted | {"fetch": FETCH_CLOCKS, "products": 1})
        self.check(self.told(0))
        self.settle(0)
        self.pass_over(0)
        return counted["cycles"]

    def void(self, kernel: int, last: bool) -> int:
        """Header of an entry without a plane."""
        return int(last) | kernel << (2 + self.chip.planes)

    def write_entries(self, memory: str, first: int, values: Sequence[int]) -> None:
        """Write entries of a memory, from ``first`` on."""
        window = next(window for window in self.windows if window.name == memory)
        for i, value in enumerate(values):
            for word in range(window.entry_words):
                self.respond("write", window.offset + 4 * (_pitch(window) * (first + i) + word),
                             value >> 32 * word & _WORD, _OKAY)

    def run(self, tenant: int, base: int, descriptors: tuple[tuple[int, ...], ...], *,
            cause: int = 0, layer: int = 0, units: Sequence[int] = (),
            words: Sequence[tuple[int, int]] = ()) -> None:
        """Run ``descriptors`` and compare what they do with what they must.

        ``cause`` 0: they end. ``layer`` is the last of them, or at fault; ``units`` the clocks of
        each that ran, ``words`` the addresses and words written.
        """
        self.start(tenant, descriptors, "error" if cause else "done", base)
        fetch = FETCH_CLOCKS * (len(units) + (len(units) < len(descriptors)))
        self.model.ran(tenant, cause, layer, {
            "cycles": fetch + sum(units), "fetch": fetch, "elementwise": sum(units)})
        self.check(self.told(tenant))
        # The last descriptor ends where the program does: with an error it is the one at fault.
        ended = [FETCH_CLOCKS + unit for unit in (units[:-1] if cause else (*units, 0))]
        self.traced(tenant, "layers", list(enumerate(ended)))
        self.traced(tenant, "words", words)
        self.settle(tenant)

    def start(self, tenant: int, descriptors: tuple[tuple[int, ...], ...], flag: str = "done",
              base: int = 0) -> None:
        """Run ``descriptors``, which lie at ``base``, until ``flag`` raises the interrupt."""
        own = tenant_prefix(tenant)
        self.load(tenant, base, descriptors, length=len(descriptors))
        self.write(f"{own}interrupt", self.model.mask(f"{own}interrupt", flag))
        self.write(f"{own}control", self.model.mask(f"{own}control", "start"))
        if not self.harness.run(_LIMIT):
            raise BringUpError.of("irq", f"not raised by a program of tenant {tenant}")

    def traced(self, tenant: int, kind: str, expected: Sequence[tuple[int, int]]) -> None:
        """``expected`` records of trace ``kind`` are new since the last program of ``tenant``."""
        records = getattr(self.harness, kind)(tenant)
        got = [tuple(record) for record in records[self.seen[tenant, kind]:].tolist()]
        self.seen[tenant, kind] = len(records)
        if got != list(expected):
            raise BringUpError.of(f"{kind} of tenant {tenant}",
                                  f"expected {list(expected)}, got {reprlib.repr(got)}")

    def pass_over(self, tenant: int) -> None:
        """Whatever ``tenant`` has left in its traces is not looked at."""
        for kind in ("words", "layers"):
            self.seen[tenant, kind] = len(getattr(self.harness, kind)(tenant))

    def told(self, tenant: int) -> Iterator[str]:
        """Registers that tell of ``tenant``'s program."""
        return (tenant_prefix(tenant) + name for name in ("status", *COUNTERS))

    def load(self, tenant: int, base: int, descriptors: tuple[tuple[int, ...], ...],
             length: int) -> None:
        """Write ``descriptors`` at ``base``, and the window of ``length`` that begins there."""
        own = tenant_prefix(tenant)
        program = next(window for window in self.windows if window.name == "program")
        address = program.offset + 4 * DESCRIPTOR_WORDS * base
        for i, word in enumerate(word for each in descriptors for word in each):
            self.respond("write", address + 4 * i, word, _OKAY)
        shift = self.model.field(f"{own}program_window", "length").low
        self.write(f"{own}program_window", base | length << shift)

    def settle(self, tenant: int) -> None:
        """Take the flags back, one by one; the interrupt is gone with the one it is for."""
        own = tenant_prefix(tenant)
        status = self.model.values()[f"{own}status"]
        flag = "error" if status & self.model.mask(f"{own}status", "error") else "done"
        other = "done" if flag == "error" else "error"
        for name in (other, flag):
            if not self.harness.run(2):
                raise BringUpError.of("irq", f"gone before status.{flag} of tenant {tenant}")
            self.write(f"{own}status", self.model.mask(f"{own}status", name))
        if self.harness.run(2):
            raise BringUpError.of("irq", f"still there after status.{flag} of tenant {tenant}")
        self.check([f"{own}status"])

    def try_waiting(self, tenant: int) -> None:
        """A load whose host never comes: it waits so long, or until it is aborted."""
        own = tenant_prefix(tenant)
        waiting = encode(Opcode.LOAD, destination=0, count=1), encode(Opcode.END)
        self.load(tenant, 0, waiting, 2)
        everything = (self.model.mask(f"{own}interrupt", "done")
                      | self.model.mask(f"{own}interrupt", "error"))
        self.write(f"{own}interrupt", everything)
        start = self.model.mask(f"{own}control", "start")
        for patience in (1, *_PATTERNS, 0):
            self.write(f"{own}host_timeout", patience)
            self.write(f"{own}control", start)
            if patience:
                if not self.harness.run(_LIMIT + patience):
                    raise BringUpError.of("irq", f"not raised by a time-out of tenant {tenant}")
                self.model.ran(tenant, _HOST, 0, {
                    "cycles": FETCH_CLOCKS + patience + _LATE, "fetch": FETCH_CLOCKS,
                    "host": patience + _LATE})
                self.check(self.told(tenant))
                self.settle(tenant)
                continue
            if self.harness.run(_WAIT):
                raise BringUpError.of("irq", f"raised while tenant {tenant} waits for its host")
            self.try_busy(tenant)
            self.write(f"{own}control", start)
            self.write(f"{own}control", start | self.model.mask(f"{own}control", "abort"))
            if not self.harness.run(_LIMIT):
                raise BringUpError.of("irq", f"not raised by an abort of tenant {tenant}")
            counted = {name: self.harness.read(self.model.address(own + name))
                       for name in ("cycles", "host")}
            self.equal(f"{own}cycles", counted["cycles"], FETCH_CLOCKS + counted["host"])
            self.model.ran(tenant, 0, 0, counted | {"fetch": FETCH_CLOCKS})
            self.check(self.told(tenant))
            self.settle(tenant)
        # A start with an abort is none.
        self.write(f"{own}control", start | self.model.mask(f"{own}control", "abort"))
        if self.harness.run(_WAIT):
            raise BringUpError.of("irq", f"raised by a start of tenant {tenant} with an abort")
        self.check(self.told(tenant))
        self.write(f"{own}interrupt", 0)

    def try_busy(self, tenant: int) -> None:
        """What a running program may be using cannot be written."""
        own = tenant_prefix(tenant)
        self.equal(f"{own}status", self.harness.read(self.model.address(f"{own}status")),
                   self.model.mask(f"{own}status", "busy"))
        # Of the shared memories its windows alone: it runs the first two descriptors.
        first, count = 5, 3
        self.write(f"{own}constants_base", first)
        self.write(f"{own}constant_entries", count)
        inside = {"program": range(2 * DESCRIPTOR_WORDS), "constants": range(first, first + count)}
        for window in self.windows:
            refused = inside.get(window.name, range(window.entries))
            edges = {entry for end in (refused.start, refused.stop) for entry in (end - 1, end)}
            for entry in sorted(edges & set(range(window.entries))):
                self.respond("write", window.offset + 4 * _pitch(window) * entry, 0,
                             _DECERR if entry in refused else _OKAY)


def _pitch(window: Window) -> int:
    """Words from entry to entry."""
    return 1 << (window.entry_words - 1).bit_length()


def _words(window: Window) -> int:
    """Words from a memory's first one to the end of its last entry."""
    return _pitch(window) * (window.entries - 1) + window.entry_words


def _inside(window: Window, address: int) -> bool:
    """Whether ``address`` is that of a word of ``window``."""
    word = (address - window.offset) // 4
    return 0 <= word < _words(window) and word % _pitch(window) < window.entry_words


def _pool(opcode: Opcode, window: PixelWindow, source: int, destination: int, bias: int
          ) -> Elementwise:
    return Elementwise("pool", opcode, window, source, destination, 1, 1, 1, False, 0, bias, 0)


def _encoded(pool: Elementwise) -> tuple[int, ...]:
    values = asdict(pool) | asdict(pool.window)
    return encode(pool.opcode, **{name: int(values[name]) for name in USED[pool.opcode]
                                  if name != "opcode"})


def _with(words: tuple[int, ...], name: str, value: int) -> tuple[int, ...]:
    """A descriptor with field ``name`` changed."""
    changed = list(words)
    FIELDS[name].into(changed, value)
    return tuple(changed)
