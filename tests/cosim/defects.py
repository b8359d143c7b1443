"""Chips with one deliberate defect, for the tests that must find it."""

from dataclasses import dataclass
from pathlib import Path
import importlib
import sys
import types

import pytest

__all__ = ["DEFECTS", "HOST_DEFECTS", "Defect", "plant"]


@dataclass(frozen=True)
class Defect:
    """One line of a block changed.

    ``found_in`` is the kind of word that differs first, or the rule of the macro's pins that is
    broken; ``bring_up`` what the bring-up before it says, if not the same of an exercise.
    """

    module: str
    component: str
    user: str
    before: str
    after: str
    found_in: str
    bring_up: str = ""


#: One defect per block: its arithmetic off by one step, or its phases out of order.
DEFECTS = {
    "converter": Defect(
        "rtl.converter", "Converter", "rtl.tile",
        "base.eq(modulo(self.trial - ~self.comparator, bits).as_signed())",
        "base.eq((modulo(self.trial - ~self.comparator, bits) ^ 1).as_signed())", "code"),
    "compensation": Defect(
        "rtl.accumulator", "BasisAccumulator", "rtl.tile",
        "held.code + Mux(held.stopped, 0, correction.data)",
        "held.code + Mux(held.stopped, 0, correction.data) + 1", "compensated code"),
    "accumulator": Defect(
        "rtl.accumulator", "BasisAccumulator", "rtl.tile",
        "products.append(multiplier.product)", "products.append(multiplier.product + 1)", "sum"),
    "requantizer": Defect(
        "rtl.rescaler", "Rescaler", "rtl.requantizer",
        "Mux(high, _HIGHEST, kept)", "Mux(high, _HIGHEST, kept ^ 1)", "output",
        r"^bring-up, words of tenant 0: expected \[\(2, \d+\)\], got \[\(2, \d+\)\]"),
    "row loader": Defect(
        "rtl.loader", "RowLoader", "rtl.chip",
        "Mux(pad, 0, self.read_data)", "Mux(pad, 0, self.read_data ^ 1)", "code"),
    "product feed": Defect(
        "rtl.feed", "ProductFeed", "rtl.tile",
        "first_rows.eq((1 << shift) - 1)", "first_rows.eq((1 << shift) - 2)", "row granules"),
    "phases": Defect(
        "rtl.charge_controller", "ChargeController", "rtl.tile",
        '("drive", 1), ("share", 1)', '("share", 1), ("drive", 1)', "share",
        r"^bring-up, pins: tile \d, clock \d+, pin share"),
}

#: What no word of an image shows, but registers, refusals and counters do.
HOST_DEFECTS = {
    "register's address": Defect(
        "rtl.register_file", "RegisterFile", "rtl.chip",
        "self.write_valid & (self.write_address == register.offset)",
        "self.write_valid & (self.write_address[:16] == register.offset)", r"write of 0x\w+"),
    "register's value": Defect(
        "rtl.register_file", "RegisterFile", "rtl.chip",
        "m.d.sync += held.eq(value)",
        'm.d.sync += held.eq(value | (register.name == "host_timeout"))', "host_timeout"),
    "register in a program": Defect(
        "rtl.register_file", "RegisterFile", "rtl.chip", "m.d.sync += done.eq(1)",
        'm.d.sync += [done.eq(1), '
        'storage["comparator_timeout", "clocks"].eq('
        'storage["comparator_timeout", "clocks"] ^ field("conversions"))]',
        "register comparator_timeout at layer 'END'"),
    "legality": Defect(
        "rtl.legality", "DescriptorCheck", "rtl.scheduler",
        'load = [field("count") != 0,', "load = [", "irq: not raised by a program of tenant 0"),
    "activity": Defect(
        "rtl.activity", "TileActivity", "rtl.chip", "m.d.comb += self.array.eq(1)",
        "m.d.comb += self.drain.eq(1)", "counter array at layer 'END'"),
    "contests": Defect(
        "rtl.register_file", "RegisterFile", "rtl.chip", "active & self.contest",
        "active & self.converting", "counter contests at layer 'END'"),
    "counter's carry": Defect(
        "rtl.register_file", "RegisterFile", "rtl.chip",
        "counter.eq(modulo(counter + (written | counted), 32))",
        "counter.eq(Mux(adding, written, Cat(modulo(counter[:24] + counted, 24), counter[24:])))",
        r"exercise of tenant 0, counter \w+ at layer 'END'"),
}


def plant(monkeypatch: pytest.MonkeyPatch, defect: Defect) -> None:
    """Put the defect in place of the block, for every chip elaborated until the test ends."""
    original = importlib.import_module(defect.module)
    source = Path(original.__file__).read_text()
    assert source.count(defect.before) == 1, f"{defect.before!r} must stand once"
    module = types.ModuleType(f"{defect.module}_with_defect")
    module.__package__ = original.__package__
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source.replace(defect.before, defect.after), module.__name__, "exec"),
         module.__dict__)
    user = importlib.import_module(defect.user)
    monkeypatch.setattr(user, defect.component, getattr(module, defect.component))
