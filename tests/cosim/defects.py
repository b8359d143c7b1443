"""Chips with one deliberate defect, for the tests that must find it."""

from dataclasses import dataclass
from pathlib import Path
import importlib
import sys
import types

import pytest

__all__ = ["DEFECTS", "Defect", "plant"]


@dataclass(frozen=True)
class Defect:
    """One line of a block changed.

    ``found_in`` is the kind of word that differs first, or the rule of the macro's pins that is
    broken.
    """

    module: str
    component: str
    user: str
    before: str
    after: str
    found_in: str


#: One defect per block: its arithmetic off by one step, or its phases out of order.
DEFECTS = {
    "converter": Defect(
        "rtl.converter", "Converter", "rtl.tile",
        "emit(Mux(stopped, -1, base), stopped)", "emit(Mux(stopped, -1, base ^ 1), stopped)",
        "code"),
    "compensation": Defect(
        "rtl.accumulator", "BasisAccumulator", "rtl.tile",
        "held.code + Mux(held.stopped, 0, correction.data)",
        "held.code + Mux(held.stopped, 0, correction.data) + 1", "compensated code"),
    "accumulator": Defect(
        "rtl.accumulator", "BasisAccumulator", "rtl.tile",
        "products.append(multiplier.product)", "products.append(multiplier.product + 1)", "sum"),
    "requantizer": Defect(
        "rtl.rescaler", "Rescaler", "rtl.requantizer",
        "Mux(high, _HIGHEST, kept)", "Mux(high, _HIGHEST, kept ^ 1)", "output"),
    "row loader": Defect(
        "rtl.loader", "RowLoader", "rtl.chip",
        "Mux(pad, 0, self.read_data)", "Mux(pad, 0, self.read_data ^ 1)", "code"),
    "phases": Defect(
        "rtl.charge_controller", "ChargeController", "rtl.tile",
        '("drive", 1), ("share", 1)', '("share", 1), ("drive", 1)', "share"),
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
