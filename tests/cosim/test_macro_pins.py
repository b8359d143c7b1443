"""The macro's pins: both readings of the contract, Python's and C++'s, accept and refuse alike."""

from collections.abc import Callable
import random

import numpy as np
import pytest

from golden.chip import Phases, preset
from golden.draws import Kind, normal
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.program import Convolution
from sim.macro_model import MacroModel
from sim.pin_rules import PinViolation
from sim.products import product_ranges
from sim.random_programs import chips, random_program
from tests.cosim.compiled_macro import CompiledMacro

CHIP = preset("tiny")
PROGRAM = random_program(CHIP, 3)
MACRO = Macro(CHIP, MacroPhysics(), PROGRAM.weights, 3)
FIRST = next(layer for layer in PROGRAM.layers if isinstance(layer, Convolution))
LENGTHS = Phases(reset=2, drive=3, share=2, hold=2, clear=2, add=2, gap=2)
SEED, TILE = 5, 1
IDLE = dict.fromkeys((
    "write_enable", "write_row", "write_group", "write_data", "load_enable", "load_bank",
    "load_clear", "load_row", "load_codes", "bank", "row_enable", "reset", "drive", "share",
    "hold", "clear", "add", "side", "select", "negate", "convert", "convert_side", "trial", "level",
    "product", "conversion"), 0) | {"reference": FIRST.reference}

Sequence = list[dict[str, int]]


def models():
    return [MacroModel(MACRO, TILE, product_ranges(PROGRAM), SEED, LENGTHS, PROGRAM.levels),
            CompiledMacro(PROGRAM, MACRO, TILE, SEED, LENGTHS)]


def weight_writes() -> Sequence:
    weights = np.ascontiguousarray(PROGRAM.weights[TILE]).view("<u4")
    return [IDLE | {"write_enable": 1, "write_row": row, "write_group": group,
                    "write_data": int(weights[row, group])}
            for row in range(weights.shape[0]) for group in range(weights.shape[1])]


def product(number: int, rng: random.Random) -> Sequence:
    """Loads, phases, then conversions one after the other, on alternating sides."""
    bank = number % 2
    pins = IDLE | {"bank": bank, "product": number, "row_enable": rng.randint(1, 3)}
    clocks = [pins | {"load_enable": 1, "load_bank": bank, "load_clear": int(word == 0),
                      "load_row": word, "load_codes": rng.getrandbits(32)} for word in range(4)]
    for phase in ("reset", "drive", "share", "hold"):
        clocks += [pins | {phase: 1}] * getattr(LENGTHS, phase) + [pins] * LENGTHS.gap
    half = 1 << (FIRST.resolution - 1)
    for conversion in range(3):
        side = conversion % 2
        pins = pins | {"side": side, "conversion": conversion, "convert_side": side,
                       "select": rng.getrandbits(8), "negate": rng.getrandbits(8)}
        for phase in ("clear", "add"):
            clocks += [pins | {phase: 1}] * getattr(LENGTHS, phase) + [pins] * LENGTHS.gap
        trials = [0, *(rng.randint(1 - half, half - 1) for _ in range(4))]
        clocks += [pins | {"convert": 1, "trial": trial,
                           "level": int(PROGRAM.level_table[TILE, trial])} for trial in trials]
    return [dict(each) for each in clocks]


def run(model, clocks: Sequence) -> list[bool | None]:
    for time, pins in enumerate(weight_writes()):
        model.clock(time, pins)
    model.start_image(2)
    return [model.clock(1000 + i, pins) for i, pins in enumerate(clocks)]


def test_answers_are_equal():
    rng = random.Random(1)
    clocks = [pins for number in range(12) for pins in product(number, rng)]
    answers = [run(model, clocks) for model in models()]
    assert answers[0] == answers[1]
    asked = [answer for answer in answers[0] if answer is not None]
    assert len(asked) == 12 * 3 * 5
    assert set(asked) == {False, True}


def test_draws_are_golden():
    compiled = models()[1]
    rng = random.Random(2)
    for sigma in (0.75, 1e3, 3e6):
        for seed in (0, 1, (1 << 64) - 1, rng.getrandbits(64)):
            for kind in (Kind.HOLD, Kind.CONVERSION):
                address = rng.getrandbits(40), rng.randrange(64), rng.getrandbits(32), 7
                expected = np.rint(normal(seed, kind, *address) * sigma)
                assert compiled.noise(seed, sigma, kind, *address) == expected


def clocks_of(clocks: Sequence, pin: str) -> list[int]:
    return [i for i, pins in enumerate(clocks) if pins[pin]]


def put(pin: str, where: Callable[[Sequence], int], value: int | None = None):
    """Set a pin in one clock; without a value, change its lowest bit."""
    def change(clocks: Sequence) -> None:
        pins = clocks[where(clocks)]
        pins[pin] = pins[pin] ^ 1 if value is None else value
    return change


def at(pin: str, index: int = 0, offset: int = 0) -> Callable[[Sequence], int]:
    return lambda clocks: clocks_of(clocks, pin)[index] + offset


def cut(where: Callable[[Sequence], int]):
    def change(clocks: Sequence) -> None:
        del clocks[where(clocks)]
    return change


def stretch(where: Callable[[Sequence], int]):
    def change(clocks: Sequence) -> None:
        i = where(clocks)
        clocks.insert(i, dict(clocks[i]))
    return change


def exchange(first: str, second: str):
    def change(clocks: Sequence) -> None:
        for pins in clocks:
            pins[first], pins[second] = pins[second], pins[first]
    return change


def everywhere(pin: str, value: int):
    def change(clocks: Sequence) -> None:
        for pins in clocks:
            pins[pin] = value
    return change


def drop_conversion(clocks: Sequence) -> None:
    """The first conversion's strobes left out, and its side filled again."""
    for i in clocks_of(clocks, "convert")[:5]:
        clocks[i]["convert"] = 0
    for pins in clocks:
        pins["side"] = pins["convert_side"] = 0


def add_first(clocks: Sequence) -> None:
    """A conversion before the product's hold."""
    begin, end = clocks_of(clocks, "clear")[0], clocks_of(clocks, "convert")[0]
    early = clocks[begin:end]
    del clocks[begin:end]
    hold = clocks_of(clocks, "hold")[0]
    for pins in early:
        pins.update(reset=0, drive=0, share=0, hold=0)
    clocks[hold:hold] = early


def add_at_once(clocks: Sequence) -> None:
    """The capacitor is cleared before `hold`, and filled in the first clock after it."""
    hold = clocks_of(clocks, "hold")
    for i in range(LENGTHS.clear):
        clocks[hold[0] - LENGTHS.gap + i]["clear"] = 1
    clocks[hold[LENGTHS.hold - 1] + 1]["add"] = 1


VIOLATIONS = {
    "two array switches": (put("drive", at("reset", 1), 1), "reset/drive/share/hold"),
    "two adder switches": (put("add", at("clear", 1), 1), "clear/add"),
    "add while hold": (put("add", at("hold"), 1), "add"),
    "reset too short": (cut(at("reset")), "reset"),
    "drive too long": (stretch(at("drive")), "drive"),
    "hold too short": (cut(at("hold")), "hold"),
    "clear too short": (cut(at("clear")), "clear"),
    "add too long": (stretch(at("add")), "add"),
    "gap before drive": (cut(at("drive", 0, -1)), "drive"),
    "gap before hold": (cut(at("hold", 0, -1)), "hold"),
    "gap before add": (cut(at("add", 0, -1)), "add"),
    "share before drive": (exchange("drive", "share"), "share"),
    "add before clear": (exchange("clear", "add"), "add"),
    "add before hold": (add_first, "add"),
    "gap after hold": (add_at_once, "add"),
    "load of a driven bank": (put("load_enable", at("drive", 1), 1), "load_enable"),
    "load before share": (put("load_enable", at("share", 0, -1), 1), "load_enable"),
    "bank changes": (put("bank", at("share", 0)), "bank"),
    "rows change": (put("row_enable", at("hold", 0), 0), "row_enable"),
    "product tag": (put("product", at("reset")), "product"),
    "product tag changes": (put("product", at("hold", 1)), "product"),
    "conversion tag": (everywhere("conversion", 1), "conversion"),
    "conversion tag changes": (put("conversion", at("add", 1)), "conversion"),
    "side changes": (put("side", at("add", 0)), "side"),
    "select changes": (put("select", at("add", 1)), "select"),
    "negate changes": (put("negate", at("clear", 1)), "negate"),
    "side being filled": (put("convert", at("add", 1), 1), "convert_side"),
    "nothing sampled": (put("convert", at("reset", 0), 1), "convert"),
    "gap before convert": (put("convert", at("convert", 0, -2), 1), "convert"),
    "sample lost": (drop_conversion, "clear"),
    "reference": (put("reference", at("convert", 2)), "reference"),
    "trial too high": (put("trial", at("convert", 1), 1 << (FIRST.resolution - 1)), "trial"),
    "level of another trial": (put("level", at("convert", 1)), "level"),
    "trial too low": (put("trial", at("convert", 1), -(1 << (FIRST.resolution - 1))), "trial"),
    "row outside": (put("load_row", at("load_enable", 1), 4), "load_row"),
    "weights while driven": (put("write_enable", at("drive", 1), 1), "write_enable"),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_violations_are_caught_by_both(name):
    change, pin = VIOLATIONS[name]
    rng = random.Random(3)
    clocks = [pins for number in range(2) for pins in product(number, rng)]
    for model in models():
        run(model, clocks)
    change(clocks)
    messages = []
    for model in models():
        with pytest.raises(PinViolation) as caught:
            run(model, clocks)
        messages.append(str(caught.value))
        assert f"tile {TILE}, clock 1" in messages[-1]
        assert f"pin {pin}:" in messages[-1]
    where = [message.split(",")[1] for message in messages]
    assert where[0] == where[1], messages


def test_product_beyond_the_program_is_caught():
    last = product_ranges(PROGRAM)[-1]
    rng = random.Random(4)
    for model in models():
        for time, pins in enumerate(weight_writes()):
            model.clock(time, pins)
        model.start_image(0)
        with pytest.raises(PinViolation, match="beyond the program's last product"):
            for number in range(last.first + last.count + 1):
                for pins in product(number, rng):
                    if not any(pins[name] for name in ("clear", "add", "convert")):
                        model.clock(number, pins)


@pytest.mark.parametrize("fault", ["wrong", "missing"])
def test_weights_must_be_the_programs(fault):
    for model in models():
        writes = weight_writes()
        if fault == "wrong":
            writes[5]["write_data"] ^= 1 << 16
        else:
            del writes[5]
        for time, pins in enumerate(writes):
            model.clock(time, pins)
        with pytest.raises(PinViolation, match="row 2, column [46]"):
            model.start_image(0)


def test_negate_needs_polarity():
    chip = next(chip for chip in chips() if not chip.array.polarity)
    program = random_program(chip, 3)
    macro = Macro(chip, MacroPhysics(), program.weights, 3)
    for model in (MacroModel(macro, 0, product_ranges(program), 0, LENGTHS),
                  CompiledMacro(program, macro, 0, 0, LENGTHS)):
        with pytest.raises(PinViolation, match="pin negate"):
            model.clock(0, IDLE | {"clear": 1, "negate": 1})
