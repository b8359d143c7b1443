"""What the host writes into the chip: register addresses, memory images as bus writes."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from golden.chip import ACTIVATIONS_PER_WORD, Chip, Phases
from golden.chip.descriptor import DESCRIPTOR_WORDS
from golden.chip.registers import Bits, Register, Window, registers, tenant_prefix, windows
from golden.placement import Placement
from golden.program import Calibration, Program, Transfer

__all__ = ["RegisterMap", "image_writes", "input_words", "load_writes", "output_packets",
           "placement_writes"]


@dataclass(frozen=True)
class RegisterMap:
    """Addresses and field positions of a chip's registers, by name.

    Names of a tenant's registers are those of the first: ``tenant`` says whose they are.
    """

    chip: Chip
    tenant: int = 0

    def _register(self, name: str) -> Register:
        found = {register.name: register for register in registers(self.chip)}
        own = tenant_prefix(self.tenant) + name
        return found[own if own in found else name]

    def address(self, name: str) -> int:
        """Byte address of register ``name``."""
        return self._register(name).offset

    def field(self, register: str, name: str) -> Bits:
        """Field ``name`` of ``register``."""
        return next(bits for bits in self._register(register).bits if bits.name == name)

    def mask(self, register: str, name: str) -> int:
        """Field ``name`` of ``register``, all bits set, in place."""
        bits = self.field(register, name)
        return ((1 << bits.width) - 1) << bits.low

    def window(self, name: str) -> Window:
        """Memory window ``name``."""
        return next(w for w in windows(self.chip) if w.name == name)


def _window_writes(window: Window, index: NDArray, values: NDArray) -> NDArray[np.uint32]:
    """Writes [n * entry_words, (address, data)] of uint64 ``values`` at entries ``index``."""
    pitch = 1 << (window.entry_words - 1).bit_length()
    word = np.arange(window.entry_words, dtype=np.uint64)
    address = window.offset + 4 * (np.asarray(index, np.uint64)[:, None] * np.uint64(pitch) + word)
    data = values.astype(np.uint64)[:, None] >> (np.uint64(32) * word) & np.uint64(0xFFFFFFFF)
    return np.stack([address.reshape(-1), data.reshape(-1)], axis=1).astype(np.uint32)


def load_writes(program: Program, phases: Phases | None = None,
                placement: Placement | None = None) -> NDArray[np.uint32]:
    """Bus writes that load a program: uint32 [writes, (byte address, data)].

    ``phases`` other than the chip's reset values are written to their registers. ``placement``
    says whose program it is and where it lies, and is written to that tenant's registers; without
    one the first tenant has all of the chip, as after a reset.
    """
    return np.concatenate(list(_load_writes(program, phases, placement)))


def placement_writes(chip: Chip, placement: Placement) -> NDArray[np.uint32]:
    """Bus writes that give a tenant its windows and tiles."""
    map_ = RegisterMap(chip, placement.tenant)
    length = map_.field("program_window", "length").low
    values = {
        "program_window": placement.program_base | placement.program_length << length,
        **{name: getattr(placement, name) for name in (
            "activation_base", "activation_words", "constants_base", "constant_entries",
            "coefficients_base", "coefficient_words")},
        "tiles": sum(1 << tile for tile in placement.tiles),
    }
    return np.array([[map_.address(name), value] for name, value in values.items()], np.uint32)


def image_writes(program: Program) -> NDArray[np.uint32]:
    """Bus writes, as `load_writes`, before each start of a loaded program.

    A calibration leaves its results in the tiles' settings, where the next run would begin with
    them: the program's own settings are written again, so that no image depends on those before.
    """
    if any(isinstance(layer, Calibration) for layer in program.layers):
        return _setting_writes(program)
    return np.zeros((0, 2), np.uint32)


def _setting_writes(program: Program) -> NDArray[np.uint32]:
    """Offset, gain and reference of the gain of each tile in use."""
    settings, map_ = program.settings(), RegisterMap(program.chip)
    values = {}
    for tile in program.used_tiles:
        offset = map_.field(f"converter{tile}", "offset")
        value = (int(settings.offsets[tile]) & ((1 << offset.width) - 1)) << offset.low
        values |= {f"converter{tile}": value | (program.levels is not None),
                   f"gain{tile}": int(settings.gains[tile]),
                   f"gain_reference{tile}": int(settings.gain_references[tile])}
    return np.array([[map_.address(name), value] for name, value in values.items()], np.uint32)


def _load_writes(program: Program, phases: Phases | None, placement: Placement | None
                 ) -> Iterator[NDArray[np.uint32]]:
    chip, images = program.chip, program.images()
    registers_ = RegisterMap(chip)
    first = dict.fromkeys(("program", "constants", "coefficients"), 0)
    if placement is not None:
        first = {"program": placement.program_base * DESCRIPTOR_WORDS,
                 "constants": placement.constants_base,
                 "coefficients": placement.coefficients_base}
        yield placement_writes(chip, placement)
    for name, values in (("program", images.program), ("constants", images.constants)):
        yield _window_writes(registers_.window(name), first[name] + np.arange(len(values)), values)
    groups = chip.array.columns // ACTIVATIONS_PER_WORD
    pitch = 1 << (groups - 1).bit_length()
    rows, group = np.divmod(np.arange(chip.array.rows * groups), groups)
    for tile in program.used_tiles:
        coefficients = images.coefficients[tile]
        yield _window_writes(registers_.window(f"coefficients{tile}"),
                             first["coefficients"] + np.arange(len(coefficients)), coefficients)
        weights = np.ascontiguousarray(images.weights[tile]).reshape(-1).view("<u4")
        yield _window_writes(registers_.window(f"weights{tile}"), rows * pitch + group, weights)
        corrections = images.corrections[tile].astype(np.int32).view(np.uint32)
        yield _window_writes(registers_.window(f"corrections{tile}"),
                             np.arange(len(corrections)), corrections)
        if images.levels is not None:
            levels = images.levels[tile].astype(np.int32).view(np.uint32)
            yield _window_writes(registers_.window(f"levels{tile}"), np.arange(len(levels)), levels)
    yield _setting_writes(program)
    if phases is not None:
        yield np.array([[registers_.address(f"phase_{name}"), clocks]
                        for name, clocks in asdict(phases).items()], np.uint32)


def input_words(program: Program, images: NDArray[np.int8]) -> NDArray[np.uint32]:
    """Activation stream of each image: uint32 [images, words], four channels per word.

    ``images`` is int8 [images, height, width, channels]; channels are padded with zero.
    """
    height, width, channels = program.input_shape
    if images.dtype != np.int8 or images.ndim != 4 or images.shape[1:] != program.input_shape:
        raise ValueError(f"images must be int8 [images, {height}, {width}, {channels}], "
                         f"not {images.dtype} {list(images.shape)}")
    padded = np.zeros((len(images), height, width, -(-channels // ACTIVATIONS_PER_WORD)
                       * ACTIVATIONS_PER_WORD), np.int8)
    padded[..., :channels] = images
    return padded.reshape(len(images), -1).view("<u4")


def output_packets(program: Program) -> list[int]:
    """Words of each store of one image in the stream out, the last with ``tlast``."""
    return [layer.count for layer in program.layers
            if isinstance(layer, Transfer) and not layer.load]
