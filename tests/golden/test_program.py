"""Programs: what is refused, the memory images, and the file."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load as deserialise, save as serialise

from golden.chip import preset
from golden.chip.descriptor import DESCRIPTOR_WORDS, FIELDS, Opcode, decode, encode
from golden.program import (
    Convolution, Elementwise, Program, ProgramError, Transfer, Window, merge_entries,
)
from sim.random_programs import chips, random_program

TINY = preset("tiny")


def convolution(**changes: object) -> Convolution:
    layer = Convolution("c", Window(1, 1, 1, 1), 0, 1, 1, 1, 1, 1, 1, False, False, 6, 100,
                        np.zeros((1, 2, 8, 3), np.int8), np.array([1, 2, 3]),
                        np.array([-5, 0, 5]), np.array([0, 1, 31]), np.array([True, False, True]))
    return replace(layer, **changes)


def program(*layers: Convolution | Elementwise | Transfer, **changes: object) -> Program:
    made = Program(TINY, np.zeros((2, 16, 8), np.int8), np.zeros((2, 64), np.int64),
                   layers or (convolution(),), (1, 1, 4), 0.5, 0.25, 3, "net")
    return replace(made, **changes)


def with_value(length: int, value: int) -> np.ndarray:
    """Zeros with one other value in the middle."""
    array = np.zeros(length, np.int64)
    array[length // 2] = value
    return array


# What a program refuses

@pytest.mark.parametrize("changes, message", [
    ({"weights": np.zeros((2, 16, 4), np.int8)},
     r"program weights must have shape \(2, 16, 8\), not \(2, 16, 4\)"),
    ({"corrections": np.zeros((2, 32), np.int64)},
     r"program corrections must have shape \(2, 64\), not \(2, 32\)"),
    ({"corrections": np.stack([with_value(64, 8), with_value(64, 0)])},
     "program corrections must be -8 to 7, not 8"),
    ({"corrections": np.stack([with_value(64, 0), with_value(64, -9)])},
     "program corrections must be -8 to 7, not -9")])
def test_program_refuses(changes, message):
    with pytest.raises(ProgramError, match=message):
        program(**changes)


@pytest.mark.parametrize("changes, message", [
    ({"coefficients": np.zeros((1, 2, 4, 3), np.int8)},
     r"coefficients must be \[chunks, 2, 8, kernels\], not \(1, 2, 4, 3\)"),
    ({"coefficients": np.full((1, 2, 8, 3), -8, np.int8)}, "coefficients must be -7 to 7"),
    ({"coefficients": np.zeros((1, 2, 8, 9), np.int8)}, "kernels must be 1 to 8, not 9"),
    ({"coefficients": np.zeros((1, 2, 8, 0), np.int8)}, "kernels must be 1 to 8, not 0"),
    ({"row_groups": 17}, "chunks x row groups must be 1 to 16, not 17"),
    ({"row_groups": 0}, "chunks x row groups must be 1 to 16, not 0"),
    ({"chunk_words": 5}, "chunk_words must be 1 to 4, not 5"),
    ({"block_words": 2}, "chunks must be 2 to 2, not 1"),
    ({"resolution": 3}, "resolution must be 4 to 6, not 3"),
    ({"resolution": 7}, "resolution must be 4 to 6, not 7"),
    ({"averaging": -1}, "averaging must be 0 to 3, not -1"),
    ({"averaging": 4}, "averaging must be 0 to 3, not 4"),
    ({"averaging": 1, "stop": np.array([False, True, False])},
     "stop must be False for every kernel where averaging is not 0, but is True for kernel 1"),
    ({"reference": 0}, "reference must be 1 to 524287, not 0"),
    ({"reference": 1 << 19}, "reference must be 1 to 524287, not 524288"),
    ({"group_granules": 3}, "group_granules must be 0 to 2, not 3"),
    ({"group_granules": -1}, "group_granules must be 0 to 2, not -1"),
    ({"multiplier": np.ones(2, int)}, "multiplier must have one value per kernel"),
    ({"bias": np.ones(4, int)}, "bias must have one value per kernel"),
    ({"shift": np.ones(2, int)}, "shift must have one value per kernel"),
    ({"stop": np.ones(2, bool)}, "stop must have one value per kernel"),
    ({"multiplier": with_value(3, -1)}, "multiplier must be 0 to 65535, not -1"),
    ({"multiplier": with_value(3, 1 << 16)}, "multiplier must be 0 to 65535, not 65536"),
    ({"bias": with_value(3, -(1 << 31) - 1)}, "bias must be -2147483648 to 2147483647, not -"),
    ({"bias": with_value(3, 1 << 31)}, "bias must be .*, not 2147483648"),
    ({"shift": with_value(3, -1)}, "shift must be 0 to 31, not -1"),
    ({"shift": with_value(3, 32)}, "shift must be 0 to 31, not 32"),
])
def test_convolution_refused(changes, message):
    with pytest.raises(ProgramError, match=f"layer 'c': {message}"):
        program(convolution(**changes))


def dense(kernels: int) -> Convolution:
    """All coefficients 7: an entry of five words per kernel and tile."""
    ones = np.ones(kernels, np.int64)
    return convolution(coefficients=np.full((1, 2, 8, kernels), 7, np.int8), multiplier=ones,
                       bias=ones, shift=ones, stop=ones.astype(bool))


@pytest.mark.parametrize("layers, memory, message", [
    ((), "program_words", "the program memory of chip 'tiny' has 16 entries; .* needs 32"),
    ((dense(8), dense(8), dense(8)), "constant_entries",
     "the requantizer constant memory of chip 'tiny' has 16 entries; .* needs 24"),
    ((dense(2), dense(2)), "coefficient_words",
     "the coefficient memory of chip 'tiny' has 16 entries; .* needs 20")])
def test_images_refuse_what_does_not_fit(layers, memory, message):
    small = replace(TINY, memories=replace(TINY.memories, **{memory: 16}))
    with pytest.raises(ProgramError, match=message):
        program(*layers, chip=small).images()


# Descriptors

def extreme_fields(opcode: Opcode, highest: bool) -> dict[str, int]:
    values = {}
    for name in decode(encode_zeros(opcode))[1]:
        field = FIELDS[name]
        low = -(1 << field.width - 1) if field.signed else 0
        values[name] = low + (1 << field.width) - 1 if highest else low
    return values


def encode_zeros(opcode: Opcode) -> tuple[int, ...]:
    return (int(opcode), *[0] * (DESCRIPTOR_WORDS - 1))


@pytest.mark.parametrize("opcode", Opcode)
@pytest.mark.parametrize("highest", [False, True])
def test_descriptor_round_trip_at_the_extremes(opcode, highest):
    values = extreme_fields(opcode, highest)
    assert decode(encode(opcode, **values)) == (opcode, values)


@pytest.mark.parametrize("opcode", Opcode)
def test_descriptor_fields_do_not_overlap(opcode):
    taken = [0] * DESCRIPTOR_WORDS
    for name in ("opcode", *extreme_fields(opcode, True)):
        field = FIELDS[name]
        mask = (1 << field.width) - 1 << field.low
        assert mask < 1 << 32 and not taken[field.word] & mask, name
        taken[field.word] |= mask


@pytest.mark.parametrize("opcode, name", [
    (opcode, name) for opcode in Opcode for name in decode(encode_zeros(opcode))[1]])
def test_every_field_refuses_one_beyond_its_range(opcode, name):
    for highest, step in ((False, -1), (True, 1)):
        values = extreme_fields(opcode, highest)
        values[name] += step
        with pytest.raises(ValueError, match=f"descriptor {opcode.name}: {name} must be .* "
                                             f"not {values[name]}"):
            encode(opcode, **values)


def test_encode_refuses_missing_and_unused_fields():
    with pytest.raises(ValueError, match=r"LOAD: fields missing or not used: \['count'\]"):
        encode(Opcode.LOAD, destination=0)
    with pytest.raises(ValueError, match=r"END: fields missing or not used: \['count'\]"):
        encode(Opcode.END, count=0)


def test_decode_refuses():
    with pytest.raises(ValueError, match="a descriptor has 16 words, not 15"):
        decode([0] * 15)
    with pytest.raises(ValueError, match="must be an unsigned 32-bit integer"):
        decode([0] * 15 + [1 << 32])
    with pytest.raises(ValueError, match="opcode must be one of .*, not 8"):
        decode((8, *[0] * 15))


# Memory images

def test_merge_entries_by_hand():
    """Coefficients of two kernels on three columns: 5, -3, 0 and none."""
    coefficients = np.array([[5, 0], [-3, 0], [0, 0]], np.int8)
    (kernel, negative, planes), = merge_entries(coefficients, polarity=True, planes=3)
    assert kernel == 0 and negative.tolist() == [False, True, False]
    assert [(p, mask.tolist()) for p, mask in planes] == [
        (0, [True, True, False]), (1, [False, True, False]), (2, [True, False, False])]
    (_, negative, planes), = merge_entries(coefficients, polarity=False, planes=4)
    assert not negative.any()
    # 5 is 0101, -3 is 1101.
    assert [(p, mask.tolist()) for p, mask in planes] == [
        (0, [True, True, False]), (2, [True, True, False]), (3, [False, True, False])]


def test_merge_image_by_hand():
    """Header: last, stop, planes 2 to 0, kernel; then the sign mask, then a mask per plane."""
    coefficients = np.zeros((1, 2, 8, 3), np.int8)
    coefficients[0, 0, 0, 0], coefficients[0, 0, 7, 0], coefficients[0, 0, 1, 2] = 5, -1, 2
    images = program(convolution(coefficients=coefficients)).images()
    assert images.coefficients[0].tolist() == [
        0b000_101_1_0, 0b1000_0000, 0b1000_0001, 0b0000_0001,
        0b010_010_1_1, 0b0000_0000, 0b0000_0010]
    # The other tile has one void entry, and is filled up to the same length.
    assert images.coefficients[1].tolist() == [1, 0, 0, 0, 0, 0, 0]


def test_stream_image_by_hand():
    """Two lanes of four bits: kernels 0 and 1, then kernel 2, for columns 0 and 1."""
    coefficients = np.zeros((1, 2, 8, 3), np.int8)
    coefficients[0, 0, 0], coefficients[0, 1, 1] = [1, -1, 7], [-7, 0, 2]
    images = program(convolution(coefficients=coefficients, stream=True)).images()
    assert images.coefficients[0].tolist() == [0xF1, 0x07, 0x00, 0x00]
    assert images.coefficients[1].tolist() == [0x00, 0x00, 0x09, 0x02]


def test_constants_by_hand():
    images = program().images()
    assert images.constants.tolist() == [
        1 << 32 | 0xFFFF_FFFB, 2 << 32 | 1 << 48, 3 << 32 | 31 << 48 | 5]


def test_layers_have_their_own_part_of_each_memory():
    """The second layer's descriptor points behind the first's constants and coefficients."""
    images = program(dense(3), dense(3)).images()
    first, second = (decode([int(w) for w in images.program[i:i + 16]])[1] for i in (0, 16))
    assert (first["constants"], first["coefficients"]) == (0, 0)
    assert (second["constants"], second["coefficients"]) == (3, 15)
    assert first["group_granules"] == TINY.array.granules
    assert decode([int(w) for w in images.program[32:]])[0] is Opcode.END


# The file

def equal(left: object, right: object) -> bool:
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    return type(left) is type(right) and left == right


@pytest.mark.parametrize("chip", chips(), ids=lambda chip: chip.name)
def test_save_and_load(chip, tmp_path):
    for seed in range(3):
        made = random_program(chip, seed)
        made.save(tmp_path / "program")
        found = Program.load(tmp_path / "program", chip)
        for field in fields(Program):
            if field.name != "layers":
                assert equal(getattr(made, field.name), getattr(found, field.name)), field.name
        assert len(made.layers) == len(found.layers)
        for expected, layer in zip(made.layers, found.layers, strict=True):
            assert type(expected) is type(layer)
            for field in fields(expected):
                assert equal(getattr(expected, field.name), getattr(layer, field.name))
    assert [path.name for path in tmp_path.iterdir()] == ["program"]


@pytest.fixture
def saved(tmp_path) -> Path:
    random_program(TINY, 1).save(tmp_path / "program")
    return tmp_path / "program"


def test_program_of_another_chip_is_refused(saved):
    other = replace(TINY, tiles=3, name="other")
    with pytest.raises(ProgramError, match=f"compiled for chip 'tiny' .{TINY.hash}., not for "
                                           f"'other' .{other.hash}."):
        Program.load(saved, other)
    assert Program.load(saved, replace(TINY, name="renamed")).chip.name == "renamed"


def test_every_flipped_byte_is_detected(saved):
    data = saved.read_bytes()
    rng = np.random.default_rng(0)
    for position in [0, 8, len(data) - 1, *rng.integers(0, len(data), 200)]:
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(rng.integers(8))
        saved.write_bytes(damaged)
        with pytest.raises(ProgramError):
            Program.load(saved, TINY)


@pytest.mark.parametrize("length", [0, 7, 100, -1])
def test_truncated_file_is_refused(saved, length):
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(ProgramError, match="is not a program file"):
        Program.load(saved, TINY)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ProgramError, match="no program file"):
        Program.load(tmp_path / "missing", TINY)
    (tmp_path / "tensors").write_bytes(serialise({"weights": np.zeros(3)}))
    with pytest.raises(ProgramError, match="is not a program file"):
        Program.load(tmp_path / "tensors", TINY)


def test_other_header_than_the_checksum_is_of_is_refused(saved):
    """A program file whose text was edited by hand."""
    data = saved.read_bytes()
    size = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8:8 + size])["__metadata__"]
    metadata["crossloom"] = metadata["crossloom"].replace('"format": 2', '"format": 3')
    saved.write_bytes(serialise(deserialise(data), metadata=metadata))
    with pytest.raises(ProgramError, match="is damaged: its checksum does not match"):
        Program.load(saved, TINY)


def test_failed_save_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(source: str, target: Path) -> None:
        raise OSError("disk full")

    (tmp_path / "program").write_text("old")
    monkeypatch.setattr("golden.program.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        random_program(TINY, 1).save(tmp_path / "program")
    assert [path.name for path in tmp_path.iterdir()] == ["program"]
    assert (tmp_path / "program").read_text() == "old"


def straight(chip) -> np.ndarray:
    """Reference tables in which every code stands for itself."""
    size = 1 << chip.converter.bits
    return np.tile(((np.arange(size) + size // 2) % size - size // 2) * 16, (chip.tiles, 1))


def test_levels_are_saved_and_loaded(tmp_path):
    made = program(convolution())
    assert made.levels is None and np.array_equal(made.level_table, straight(made.chip))
    levels = straight(made.chip) // 2
    replace(made, levels=levels).save(tmp_path / "p")
    assert np.array_equal(Program.load(tmp_path / "p", made.chip).levels, levels)


@pytest.mark.parametrize("code, level, message", [
    (31, 512, "levels must be -512 to 511, not 512"),
    (-32, -513, "levels must be -512 to 511, not -513"),
    (3, 31, "levels of tile 1 must not fall, as they do from code 2 to code 3"),
    (-1, 1, "levels of tile 1 must not fall, as they do from code -1 to code 0"),
])
def test_levels_refused(code, level, message):
    made = program(convolution())
    levels = straight(made.chip)
    levels[1, code] = level
    with pytest.raises(ProgramError, match=message):
        replace(made, levels=levels)


def test_levels_of_another_shape_are_refused():
    made = program(convolution())
    with pytest.raises(ProgramError, match=r"levels must have shape \(2, 64\), not \(2, 32\)"):
        replace(made, levels=straight(made.chip)[:, :32])
