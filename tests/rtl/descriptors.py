"""Descriptors at the ends of what a chip runs, and which it must refuse."""

from golden.chip import ACTIVATIONS_PER_WORD, AVERAGING_LIMIT, PRESETS
from golden.chip.descriptor import DESCRIPTOR_WORDS, FIELDS, Opcode

__all__ = ["CHIP", "LOOKED_AT", "disturb", "fields_of", "lawful", "legal_case", "words_of"]

CHIP = PRESETS["tiny"]
PRODUCTS = CHIP.accumulator.products
#: Fields of a window, with the most that its registers hold, which may be more than there is.
WINDOW = {"activation_words": (1 << 17) - 1, "constant_entries": (1 << 17) - 1,
          "coefficient_words": (1 << 21) - 1, "tiles": (1 << CHIP.tiles) - 1}
MOST = {name: field.mask for name, field in FIELDS.items()} | {
    "resolution": CHIP.converter.bits, "averaging": AVERAGING_LIMIT, "measure": 2,
    "chunk_words": CHIP.array.row_words, "chunks": PRODUCTS, "row_groups": PRODUCTS,
    "group_granules": CHIP.array.granules, "kernels": CHIP.accumulator.kernels,
    "columns": CHIP.array.columns, "reference": (1 << CHIP.reference_bits) - 1}
LEAST = dict.fromkeys((
    "in_width", "in_height", "out_width", "out_height", "kernel_width", "kernel_height", "stride",
    "block_words", "blocks", "chunk_words", "chunks", "row_groups", "group_granules", "kernels",
    "columns", "reference", "count", "channel_words", "second_stride"), 1) | {
        "resolution": CHIP.converter.minimum_bits}
#: Fields that are looked at, by opcode.
SHAPE = ("source", "destination", "in_width", "in_height", "out_width", "out_height",
         "kernel_width", "kernel_height", "stride")
CONVOLVE = (*SHAPE, "resolution", "averaging", "block_words", "blocks", "chunk_words", "chunks",
            "row_groups", "group_granules", "kernels", "columns", "reference", "coefficients",
            "constants", "destination_pixel_words")
CALIBRATE = (*SHAPE, "resolution", "measure", "stream", "block_words", "blocks", "chunk_words",
             "chunks", "row_groups", "group_granules", "kernels", "columns", "reference")
POOL = (*SHAPE, "channel_words", "destination_pixel_words")
LOOKED_AT = {
    Opcode.CONVOLVE: CONVOLVE, Opcode.CALIBRATE: CALIBRATE,
    Opcode.ADD: (*POOL, "second_source", "second_stride"),
    Opcode.AVERAGE_POOL: POOL, Opcode.MAX_POOL: POOL,
    Opcode.LOAD: ("destination", "count"), Opcode.STORE: ("source", "count"), Opcode.END: ()}
#: Fields that must be one.
SINGLE = {Opcode.CALIBRATE: ("out_width", "out_height", "blocks", "kernel_width", "kernel_height",
                             "chunks", "row_groups", "kernels", "stream"),
          Opcode.ADD: ("kernel_width", "kernel_height")}
#: Their ends are in the window, not in the field.
IMAGES = ("source", "destination", "second_source")


def lawful(opcode, fields, window):
    """Whether the chip runs it: the descriptor's rules, one by one."""
    if opcode not in LOOKED_AT:
        return True             # its opcode is refused elsewhere
    names = LOOKED_AT[opcode]
    if opcode in (Opcode.LOAD, Opcode.STORE):
        first = fields["destination" if opcode == Opcode.LOAD else "source"]
        return fields["count"] >= 1 and first + fields["count"] <= window["activation_words"]
    if any(fields[name] != 1 for name in SINGLE.get(opcode, ())):
        return False
    least = LEAST | ({"group_granules": 0} if opcode == Opcode.CALIBRATE else {})
    if any(not least.get(name, 0) <= fields[name] <= MOST[name] for name in names):
        return False
    if any(fields[name] >= window["activation_words"] for name in names if name in IMAGES):
        return False
    if opcode == Opcode.CONVOLVE:
        return (fields["chunks"] * fields["row_groups"] <= PRODUCTS
                and fields["coefficients"] < window["coefficient_words"]
                and fields["constants"] + fields["kernels"] <= window["constant_entries"]
                and window["tiles"] != 0 and fields["destination_pixel_words"]
                >= -(-fields["kernels"] // ACTIVATIONS_PER_WORD))
    if opcode == Opcode.CALIBRATE:
        return (window["tiles"] != 0 and fields["block_words"] == fields["chunk_words"]
                and fields["block_words"] <= CHIP.array.row_words)
    if opcode in (Opcode.ADD, Opcode.AVERAGE_POOL, Opcode.MAX_POOL):
        return fields["destination_pixel_words"] >= fields["channel_words"]
    return True


def near(generator, low, high):
    """A number of ``low`` to ``high``: an end, a power of two, or any."""
    powers = [1 << bit for bit in range(high.bit_length()) if low <= 1 << bit <= high]
    return generator.choice((low, min(low + 1, high), high, max(high - 1, low),
                             generator.choice(powers or [high]), generator.randint(low, high)))


def legal_case(generator, opcode):
    """A descriptor that is run, often just so, and a window; of no opcode that is, anything."""
    looked_at = LOOKED_AT.get(opcode, ())
    window = {name: near(generator, 1, most) for name, most in WINDOW.items()}
    fields = {name: generator.getrandbits(field.width) for name, field in FIELDS.items()}
    # A word's fields lie over others' of other opcodes: those looked at come last.
    for name in looked_at:
        low, high = LEAST.get(name, 0), MOST[name]
        if name in IMAGES:
            high = min(high, window["activation_words"] - 1)
        if name in SINGLE.get(opcode, ()):
            high = 1
        fields[name] = max(low, 1) if high == 1 else near(generator, low, high)
    if opcode == Opcode.CONVOLVE:
        chunks = generator.randint(1, PRODUCTS)
        fields["chunks"] = chunks
        fields["row_groups"] = near(generator, 1, PRODUCTS // chunks)
        fields["kernels"] = min(fields["kernels"], window["constant_entries"])
        fields["constants"] = near(generator, 0, min(
            MOST["constants"], window["constant_entries"] - fields["kernels"]))
        fields["coefficients"] = near(generator, 0, min(
            MOST["coefficients"], window["coefficient_words"] - 1))
        fields["destination_pixel_words"] = near(
            generator, -(-fields["kernels"] // ACTIVATIONS_PER_WORD), 4095)
    elif opcode == Opcode.CALIBRATE:
        fields["group_granules"] = near(generator, 0, CHIP.array.granules)
        fields["block_words"] = fields["chunk_words"]
    elif "channel_words" in looked_at:
        fields["destination_pixel_words"] = near(generator, fields["channel_words"], 4095)
    elif opcode in (Opcode.LOAD, Opcode.STORE):
        first = "destination" if opcode == Opcode.LOAD else "source"
        fields["count"] = near(generator, 1, min(
            MOST["count"], window["activation_words"] - fields[first]))
    return fields, window


def disturb(generator, opcode, fields, window):
    """One field, or what the window has, changed in one bit or to an end of its range."""
    name = generator.choice(LOOKED_AT[opcode] if generator.random() < 0.7 else [*WINDOW])
    if name in WINDOW:
        most = WINDOW[name]
        ends = [fields[other] + extra for other in (*IMAGES, "coefficients") for extra in (0, 1)]
        ends += [fields["constants"] + fields["kernels"] - extra for extra in (0, 1)]
        ends += [fields[first] + fields["count"] - extra for first in IMAGES for extra in (0, 1)]
        window[name] = generator.choice([0, window[name] ^ 1 << generator.randrange(
            most.bit_length()), *(end for end in ends if end <= most)])
        return
    if name in ("chunks", "row_groups") and generator.random() < 0.5:
        fields["chunks"], fields["row_groups"] = (generator.randint(1, PRODUCTS) for _ in range(2))
        return
    width = FIELDS[name].width
    change = {0, MOST[name], MOST[name] + 1, LEAST.get(name, 0), fields[name] + 1,
              fields[name] - 1, window["activation_words"] - (name not in IMAGES),
              window["activation_words"] - fields["source"] + 1,
              window["activation_words"] - fields["destination"] + 1,
              window["constant_entries"] - fields["kernels"] + 1,
              PRODUCTS // max(fields["chunks"], 1) + 1, PRODUCTS // max(fields["row_groups"], 1),
              *(fields[name] ^ 1 << bit for bit in range(width)),
              *(MOST[name] ^ 1 << bit for bit in range(width))}
    fields[name] = generator.choice(sorted(
        value for value in change if 0 <= value < 1 << width and value != fields[name]))


def words_of(generator, opcode, fields):
    """The descriptor, its other bits drawn; of fields that share bits, those looked at win."""
    words = [generator.getrandbits(32) for _ in range(DESCRIPTOR_WORDS)]
    looked_at = LOOKED_AT.get(opcode, ())
    for name in sorted(fields, key=looked_at.__contains__):
        FIELDS[name].into(words, fields[name])
    FIELDS["opcode"].into(words, opcode)
    return words


def fields_of(words):
    """All fields as the bits of ``words`` have them."""
    return {name: field.of(words) for name, field in FIELDS.items()}
