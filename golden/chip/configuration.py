"""Configuration of the chip: one frozen dataclass per physical thing, and the widths they imply.

Plain Python: both halves of the project, golden and rtl, read their numbers from here.
"""

from dataclasses import asdict, dataclass
import hashlib
import json
import re

__all__ = [
    "ACTIVATION_BITS", "ACTIVATIONS_PER_WORD", "WORD_BITS", "ACCUMULATOR_LIMIT_BITS",
    "AVERAGING_LIMIT", "GAIN_BITS", "GAIN_FRACTION_BITS", "LEVEL_FRACTION_BITS", "PRODUCT_BITS",
    "PRODUCT_COUNT_BITS", "TENANT_BITS",
    "Array", "Converter", "Accumulator", "Requantizer", "Memories", "Phases", "Chip",
    "bits_for", "multiplier_clocks", "signed_bits_for",
]

#: Width of an activation, which is also a row code (design contract: signed, 8 b).
ACTIVATION_BITS = 8
#: Width of a bus, register and program word.
WORD_BITS = 32
#: Activations in one word of the activation buffer, and rows loaded into the macro per clock.
ACTIVATIONS_PER_WORD = WORD_BITS // ACTIVATION_BITS
#: A configuration whose sums need more bits than this is refused, never wrapped.
ACCUMULATOR_LIMIT_BITS = 32
#: Width of a product's number: a count of the products of one program run, the tenant above it.
PRODUCT_BITS = 32
#: Bits of a product's number, from the highest down, that tell the tenant.
TENANT_BITS = 2
#: Bits of a product's number that count.
PRODUCT_COUNT_BITS = PRODUCT_BITS - TENANT_BITS
#: A convolution averages at most 2**AVERAGING_LIMIT conversions to a code.
AVERAGING_LIMIT = 3
#: A drift gain is unsigned, with this many bits, of which so many stand behind the point.
GAIN_BITS = 16
GAIN_FRACTION_BITS = 14
#: A level of the converter's DAC is a code with so many bits behind the point.
LEVEL_FRACTION_BITS = 4


def bits_for(maximum: int) -> int:
    """Bits of the narrowest unsigned field, at least one, that holds 0 to ``maximum``."""
    return max(1, maximum.bit_length())


def signed_bits_for(low: int, high: int) -> int:
    """Bits of the narrowest two's-complement field that holds ``low`` to ``high``."""
    return 1 + max((-low - 1).bit_length() if low < 0 else 0, max(high, 0).bit_length())


def multiplier_clocks(bits: int, joined: int = 2, offset: bool = False) -> int:
    """Clocks of a pipelined multiplication by ``bits`` bits, of which two make a number to add.

    A tree joins ``joined`` numbers at a time, a level a clock; an ``offset`` is one more number.
    """
    numbers, clocks = -(-bits // 2) + offset, 1
    while numbers > 1:
        numbers, clocks = -(-numbers // joined), clocks + 1
    return clocks


def _check(owner: object, name: str, low: int, high: int, multiple: int = 1) -> None:
    value = getattr(owner, name)
    allowed = f"an integer from {low} to {high}"
    if multiple > 1:
        allowed += f", a multiple of {multiple}"
    if (isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high
            or value % multiple):
        raise ValueError(f"{type(owner).__name__}.{name} must be {allowed}, not {value!r}")


@dataclass(frozen=True)
class Array:
    """The analog macro of a tile.

    Parameters
    ----------
    rows
        Word lines, each with a signed 8-bit row code.
    columns
        Logical columns, each a signed 8-bit weight per row. The adder network can select any
        set of them for one conversion.
    row_granule
        Rows that share one row-enable line: the step of partial word-line activation.
    weight_bits
        Bits of a weight, two's complement, one bit column each.
    polarity
        Whether the adder network can sample a column with opposite polarity. Without it, merge
        uses two's-complement coefficient planes.
    """

    rows: int
    columns: int
    row_granule: int
    weight_bits: int = 8
    polarity: bool = True

    def __post_init__(self) -> None:
        _check(self, "rows", ACTIVATIONS_PER_WORD, 1024, ACTIVATIONS_PER_WORD)
        _check(self, "columns", ACTIVATIONS_PER_WORD, 1024, ACTIVATIONS_PER_WORD)
        _check(self, "row_granule", ACTIVATIONS_PER_WORD, self.rows, ACTIVATIONS_PER_WORD)
        _check(self, "weight_bits", 8, 8)
        if self.rows % self.row_granule:
            raise ValueError(f"Array.row_granule must divide rows ({self.rows}), "
                             f"not {self.row_granule!r}")
        if not isinstance(self.polarity, bool):
            raise ValueError(f"Array.polarity must be True or False, not {self.polarity!r}")

    @property
    def row_words(self) -> int:
        """Words that fill every row latch of one bank."""
        return self.rows // ACTIVATIONS_PER_WORD

    @property
    def granules(self) -> int:
        """Row-enable lines."""
        return self.rows // self.row_granule

    @property
    def product_limit(self) -> int:
        """Largest magnitude of a column's product, in product units (activation times weight)."""
        return self.rows << (ACTIVATION_BITS - 1 + self.weight_bits - 1)


@dataclass(frozen=True)
class Converter:
    """The successive-approximation converter of a tile.

    Parameters
    ----------
    bits
        Highest resolution; the run-time resolution is 4 (or this, if lower) up to this.
    correction_bits
        Width of a signed entry of the code compensation table.
    """

    bits: int = 8
    correction_bits: int = 6

    def __post_init__(self) -> None:
        _check(self, "bits", 4, 10)
        _check(self, "correction_bits", 2, self.bits)

    @property
    def minimum_bits(self) -> int:
        """Lowest run-time resolution."""
        return 4

    @property
    def level_bits(self) -> int:
        """Width of a signed level of the DAC."""
        return self.bits + LEVEL_FRACTION_BITS

    @property
    def compensated_bits(self) -> int:
        """Width of a compensated code: one bit wider than a code."""
        return self.bits + 1


@dataclass(frozen=True)
class Accumulator:
    """The basis coefficient accumulator of a tile.

    Parameters
    ----------
    coefficient_bits
        Width of a signed coefficient. The compiler keeps to the symmetric range.
    lanes
        Coefficients multiplied per clock in stream mode; a coefficient word holds one per lane.
    kernels
        Kernels that accumulate at once; a layer with more runs in several passes.
    products
        Most products (chunks times row groups) summed into one output.
    """

    coefficient_bits: int = 4
    lanes: int = 8
    kernels: int = 64
    products: int = 64

    def __post_init__(self) -> None:
        _check(self, "coefficient_bits", 2, 8)
        _check(self, "lanes", 1, 64)
        _check(self, "kernels", ACTIVATIONS_PER_WORD, 1024, ACTIVATIONS_PER_WORD)
        _check(self, "products", 1, 4095)
        if self.lanes & (self.lanes - 1) or self.kernels % self.lanes:
            raise ValueError("Accumulator.lanes must be a power of two that divides kernels "
                             f"({self.kernels}), not {self.lanes!r}")
        if self.word_bits > 2 * WORD_BITS:
            raise ValueError(f"Accumulator.lanes * coefficient_bits must be at most "
                             f"{2 * WORD_BITS}, two bus words, not {self.word_bits}")

    @property
    def word_bits(self) -> int:
        """Width of a word of the coefficient memory."""
        return self.lanes * self.coefficient_bits

    @property
    def coefficient_limit(self) -> int:
        """Largest coefficient magnitude that the compiler uses (symmetric range)."""
        return (1 << (self.coefficient_bits - 1)) - 1


@dataclass(frozen=True)
class Requantizer:
    """Constants of ``clamp((acc * m + bias + 2**(s - 1)) >> s)``: m unsigned, bias signed."""

    multiplier_bits: int = 16
    bias_bits: int = 32
    shift_bits: int = 5

    def __post_init__(self) -> None:
        _check(self, "multiplier_bits", 8, 16)
        _check(self, "bias_bits", 16, 32)
        _check(self, "shift_bits", 3, 5)


@dataclass(frozen=True)
class Memories:
    """Depths, each a power of two so that addresses need no comparison.

    Parameters
    ----------
    program_words
        Descriptor words (16 per layer).
    coefficient_words
        Coefficient words of each tile.
    constant_entries
        Requantizer entries, one per output channel of each layer.
    activation_words
        Words of the activation buffer, four activations each.
    """

    program_words: int
    coefficient_words: int
    constant_entries: int
    activation_words: int

    def __post_init__(self) -> None:
        limits = {"program_words": 1 << 14, "coefficient_words": 1 << 20,
                  "constant_entries": 1 << 16, "activation_words": 1 << 16}
        for name, high in limits.items():
            _check(self, name, 16, high)
            if getattr(self, name) & (getattr(self, name) - 1):
                raise ValueError(f"Memories.{name} must be a power of two, "
                                 f"not {getattr(self, name)!r}")


@dataclass(frozen=True)
class Phases:
    """Lengths, in clocks, of the charge controller's phases: reset values of its registers.

    ``gap`` is the break-before-make time, all switches of the group open, after each phase.
    The defaults are a reconstruction: at 150 MHz a clock is 6.7 ns, and the row drivers, which
    settle through the word-line resistance, get four of them.
    """

    reset: int = 2
    drive: int = 4
    share: int = 2
    hold: int = 2
    clear: int = 1
    add: int = 2
    gap: int = 1

    #: Width of each phase-length register.
    BITS = 6

    def __post_init__(self) -> None:
        for name in asdict(self):
            _check(self, name, 1, (1 << self.BITS) - 1)


@dataclass(frozen=True)
class Chip:
    """A whole chip: ``tiles`` identical tiles around one scheduler and activation buffer.

    ``tenants``, a power of two, is how many programs it can run side by side; the activation
    buffer has as many banks.
    """

    name: str
    tiles: int
    array: Array
    converter: Converter
    accumulator: Accumulator
    memories: Memories
    requantizer: Requantizer = Requantizer()
    phases: Phases = Phases()
    tenants: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError("Chip.name must be a lower-case identifier (letters, digits, _), "
                             f"not {self.name!r}")
        _check(self, "tiles", 1, 32)
        _check(self, "tenants", 1, 1 << TENANT_BITS)
        if self.tenants & (self.tenants - 1):
            raise ValueError(f"Chip.tenants must be 1, 2 or 4, not {self.tenants!r}")
        if self.sum_bits > ACCUMULATOR_LIMIT_BITS:
            raise ValueError(
                f"Chip {self.name!r} needs {self.sum_bits}-bit sums, more than the "
                f"{ACCUMULATOR_LIMIT_BITS} allowed: lower tiles, Array.columns, Converter.bits, "
                "Accumulator.coefficient_bits or Accumulator.products")
        word_bits, columns = self.accumulator.word_bits, self.array.columns
        if columns % word_bits and word_bits % columns:
            raise ValueError(f"Accumulator.lanes * coefficient_bits ({word_bits}) must divide, "
                             f"or be a multiple of, Array.columns ({columns})")
        if self.entry_header_bits > word_bits:
            raise ValueError(f"Accumulator.lanes * coefficient_bits ({word_bits}) must be at "
                             f"least {self.entry_header_bits}, the width of a merge entry header")

    @property
    def accumulator_interval(self) -> tuple[int, int]:
        """Range of one tile's accumulator over every legal sequence of codes."""
        code_low = -(1 << self.converter.bits)
        code_high = (1 << self.converter.bits) - 1
        extreme = -(1 << (self.accumulator.coefficient_bits - 1))
        terms = self.array.columns * self.accumulator.products
        return terms * code_high * extreme, terms * code_low * extreme

    @property
    def accumulator_bits(self) -> int:
        """Width of one tile's accumulator; it holds `accumulator_interval`, so never wraps."""
        return signed_bits_for(*self.accumulator_interval)

    @property
    def scaled_interval(self) -> tuple[int, int]:
        """Range of one tile's accumulator times its drift gain, saturated to the same width."""
        half = 1 << (self.accumulator_bits - 1)
        return -half, half - 1

    @property
    def sum_bits(self) -> int:
        """Width of the sum of all tiles' accumulators, each times its gain."""
        low, high = self.scaled_interval
        return signed_bits_for(low * self.tiles, high * self.tiles)

    @property
    def scaled_bits(self) -> int:
        """Width of ``acc * m + bias + rounding`` inside the requantizer."""
        low, high = self.scaled_interval
        multiplier = (1 << self.requantizer.multiplier_bits) - 1
        rest = 1 << (self.requantizer.bias_bits - 1)
        rounding = 1 << ((1 << self.requantizer.shift_bits) - 2)
        return signed_bits_for(low * self.tiles * multiplier - rest,
                               high * self.tiles * multiplier + rest + rounding)

    @property
    def calibration_bits(self) -> int:
        """Width of the codes' magnitudes summed over all columns of a tile."""
        return bits_for(self.array.columns << self.converter.bits)

    @property
    def reference_bits(self) -> int:
        """Width of the converter reference: one code step, in product units.

        Wide enough that all columns merged at their extreme still fit four-bit codes.
        """
        limit = self.array.product_limit * self.array.columns
        return bits_for(limit >> (self.converter.minimum_bits - 1))

    @property
    def mask_words(self) -> int:
        """Coefficient words that hold one bit per column (a sign or plane mask)."""
        return -(-self.array.columns // self.accumulator.word_bits)

    @property
    def planes(self) -> int:
        """Bit-planes of a coefficient in merge mode."""
        return self.accumulator.coefficient_bits - (1 if self.array.polarity else 0)

    @property
    def entry_header_bits(self) -> int:
        """Width of the header of a merge entry: last, stop, planes, kernel (from bit 0 up)."""
        return 2 + self.planes + bits_for(self.accumulator.kernels - 1)

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the configuration, the name left out.

        Programs carry it, and a chip refuses the program of another.
        """
        content = asdict(self)
        del content["name"]
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
