"""Layout of the scheduler's program: one descriptor of 16 words per layer.

Encoder, decoder and RTL all take the positions of the fields from `FIELDS`, so that they cannot
disagree. Word 0 to 5 mean the same for every opcode that walks a window.
"""

from collections.abc import Mapping, MutableSequence, Sequence
from dataclasses import dataclass
from enum import IntEnum

from .configuration import WORD_BITS

__all__ = ["DESCRIPTOR_WORDS", "USED_WORDS", "Opcode", "Measure", "Field", "FIELDS", "encode",
           "decode"]

#: Words of a descriptor.
DESCRIPTOR_WORDS = 16


class Opcode(IntEnum):
    """What a descriptor asks for."""

    END = 0            #: stop, raise the done interrupt
    LOAD = 1           #: activation stream to buffer: `destination`, `count`
    STORE = 2          #: buffer to activation stream: `source`, `count`
    CONVOLVE = 3       #: convolution or linear layer, through the tiles
    ADD = 4            #: residual add of two operands with a multiplier each
    AVERAGE_POOL = 5   #: sum over the window, then multiplier, bias, shift
    MAX_POOL = 6       #: maximum over the window, padding counts as -128
    CALIBRATE = 7      #: convert known rows, and make a setting of each tile of the codes


class Measure(IntEnum):
    """What a CALIBRATE descriptor measures, and sets, in each tile."""

    OFFSET = 0         #: code of an empty sum: the converter's offset
    REFERENCE = 1      #: magnitudes of the codes, summed: what the gain is measured against
    GAIN = 2           #: the reference divided by the same sum, later: the drift gain


@dataclass(frozen=True)
class Field:
    """Bits ``low`` to ``low + width - 1`` of word ``word``."""

    word: int
    low: int
    width: int
    signed: bool = False

    @property
    def mask(self) -> int:
        """As many ones as it has bits."""
        return (1 << self.width) - 1

    def of(self, words: Sequence[int]) -> int:
        """Its bits in a descriptor, without a sign."""
        return int(words[self.word]) >> self.low & self.mask

    def into(self, words: MutableSequence[int], value: int) -> None:
        """Give it the low bits of ``value`` in a descriptor; all other bits stay."""
        others = int(words[self.word]) & ~(self.mask << self.low)
        words[self.word] = others | (value & self.mask) << self.low


#: Every field by name. Addresses and pitches are in words of the activation buffer (four
#: channels of one pixel each), sizes in pixels.
FIELDS: Mapping[str, Field] = {
    "opcode": Field(0, 0, 4),
    "relu": Field(0, 4, 1),
    # CONVOLVE: 1 = stream (every column converted, coefficient multiplied digitally),
    # 0 = merge (the adder network sums the columns of a coefficient bit-plane).
    "stream": Field(0, 5, 1),
    "measure": Field(0, 6, 2),                   # CALIBRATE: what
    "resolution": Field(0, 8, 4),                # converter bits
    "averaging": Field(0, 12, 3),                # 2**averaging conversions give one code
    "source": Field(1, 0, 16),
    "destination": Field(1, 16, 16),
    "in_width": Field(2, 0, 12),
    "in_height": Field(2, 12, 12),
    "out_width": Field(3, 0, 12),
    "out_height": Field(3, 12, 12),
    "kernel_width": Field(4, 0, 4),
    "kernel_height": Field(4, 4, 4),
    "stride": Field(4, 8, 4),
    "pad_left": Field(4, 12, 4),
    "pad_top": Field(4, 16, 4),
    "source_pixel_words": Field(5, 0, 12),       # pitch from pixel to pixel
    "destination_pixel_words": Field(5, 12, 12),
    # LOAD and STORE
    "count": Field(2, 0, 17),
    # CONVOLVE: rows are filled by the nest  block, ky, kx, word in block;  a chunk ends after
    # every `chunk_words` words (the last may be shorter).
    "block_words": Field(6, 0, 12),
    "blocks": Field(6, 12, 12),
    "chunk_words": Field(7, 0, 12),
    "chunks": Field(7, 12, 12),
    "row_groups": Field(8, 0, 8),                # products per chunk (partial activation)
    "group_granules": Field(8, 8, 8),            # row granules enabled in each product
    "kernels": Field(8, 16, 12),
    "columns": Field(9, 16, 12),                 # columns converted per product in stream mode
    "constants": Field(9, 0, 16),                # first requantizer entry
    "coefficients": Field(10, 0, 20),            # first coefficient word, the same in each tile
    "reference": Field(11, 0, 28),               # converter step, product units
    # ADD, AVERAGE_POOL, MAX_POOL
    "channel_words": Field(6, 0, 12),            # words of an output pixel
    "second_source": Field(9, 0, 16),            # ADD: the other operand
    "second_pixel_words": Field(10, 0, 12),
    "second_stride": Field(10, 12, 4),
    "second_width": Field(10, 16, 12),           # pixels in a row of the other operand
    "second_offset": Field(11, 0, 12),           # output word where the other operand starts
    "second_words": Field(11, 12, 12),           # its words; the rest of the channels read zero
    "multiplier": Field(12, 0, 16),
    "second_multiplier": Field(12, 16, 16),
    "bias": Field(13, 0, 32, signed=True),
    "shift": Field(14, 0, 5),
}

#: Words of a descriptor that have fields, from the first on; the chip does not read the others.
USED_WORDS = 1 + max(field.word for field in FIELDS.values())

_COMMON = ("opcode", "relu", "source", "destination", "in_width", "in_height", "out_width",
           "out_height", "kernel_width", "kernel_height", "stride", "pad_left", "pad_top",
           "source_pixel_words", "destination_pixel_words")
_CONVOLVE = _COMMON + (
    "stream", "resolution", "averaging", "block_words", "blocks", "chunk_words", "chunks",
    "row_groups", "group_granules", "kernels", "columns", "constants", "coefficients", "reference")
_ELEMENTWISE = _COMMON + ("channel_words", "multiplier", "bias", "shift")

#: The fields that each opcode uses; the others' bits are zero.
USED: Mapping[Opcode, tuple[str, ...]] = {
    Opcode.END: ("opcode",),
    Opcode.LOAD: ("opcode", "destination", "count"),
    Opcode.STORE: ("opcode", "source", "count"),
    Opcode.CONVOLVE: _CONVOLVE,
    Opcode.CALIBRATE: _CONVOLVE + ("measure",),
    Opcode.ADD: _ELEMENTWISE + (
        "second_source", "second_pixel_words", "second_stride", "second_width", "second_offset",
        "second_words", "second_multiplier"),
    Opcode.AVERAGE_POOL: _ELEMENTWISE,
    Opcode.MAX_POOL: _ELEMENTWISE,
}


def encode(opcode: Opcode, **values: int) -> tuple[int, ...]:
    """Words of one descriptor.

    Raises ValueError if a field is missing, not used by ``opcode``, or out of its range.
    """
    values = {"opcode": int(opcode), **values}
    used = USED[opcode]
    if set(values) != set(used):
        wrong = sorted(set(values) ^ set(used))
        raise ValueError(f"descriptor {opcode.name}: fields missing or not used: {wrong}")
    words = [0] * DESCRIPTOR_WORDS
    for name in used:
        field, value = FIELDS[name], int(values[name])
        low = -(1 << (field.width - 1)) if field.signed else 0
        high = low + field.mask
        if not low <= value <= high:
            raise ValueError(f"descriptor {opcode.name}: {name} must be {low} to {high}, "
                             f"not {value}")
        field.into(words, value)
    return tuple(words)


def decode(words: Sequence[int]) -> tuple[Opcode, dict[str, int]]:
    """Opcode and fields of one descriptor; ValueError if it is not one."""
    if len(words) != DESCRIPTOR_WORDS:
        raise ValueError(f"a descriptor has {DESCRIPTOR_WORDS} words, not {len(words)}")
    if any(not 0 <= word < 1 << WORD_BITS for word in words):
        raise ValueError("a descriptor word must be an unsigned 32-bit integer")
    code = words[0] & 0xF
    if code not in Opcode._value2member_map_:
        raise ValueError(f"descriptor opcode must be one of {[int(o) for o in Opcode]}, "
                         f"not {code}")
    opcode = Opcode(code)
    values = {}
    for name in USED[opcode]:
        field = FIELDS[name]
        value = field.of(words)
        if field.signed and value >> (field.width - 1):
            value -= 1 << field.width
        values[name] = value
    del values["opcode"]
    return opcode, values
