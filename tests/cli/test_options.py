"""The chip that --preset and --set name."""

import pytest

from golden.chip import PRESETS
from scripts.options import configured_chip


@pytest.mark.parametrize("name", PRESETS)
def test_preset_as_it_is(name):
    assert configured_chip(name) is PRESETS[name]


def test_settings_change_only_what_they_name():
    chip = configured_chip("default", ["array.rows=64", "tiles=2", "array.polarity=false"])
    assert (chip.name, chip.tiles, chip.array.rows, chip.array.polarity) == ("custom", 2, 64, False)
    assert chip.array.columns == PRESETS["default"].array.columns
    assert chip.converter == PRESETS["default"].converter


def test_name_can_be_set():
    assert configured_chip("tiny", ["name=mine"]).name == "mine"


def test_settings_that_fit_only_together():
    chip = configured_chip("default", ["array.row_granule=32", "array.rows=96"])
    assert chip.array.granules == 3


@pytest.mark.parametrize("settings, message", [
    (["accumulator.coefficient_bits=0"],
     "Accumulator.coefficient_bits must be an integer from 2 to 8, not 0"),
    (["tiles=many"], "--set tiles must be an integer, not 'many'"),
    (["array.polarity=1"], "--set array.polarity must be true or false, not '1'"),
    (["tiles"], "--set must be FIELD=VALUE, not 'tiles'"),
    (["array=1"], "--set 'array': no such field"),
    (["array.nothing=1"], "--set 'array.nothing': no such field"),
    (["nothing.rows=1"], "--set 'nothing.rows': no such field"),
    (["tiles.rows=1"], "--set 'tiles.rows': no such field"),
])
def test_refused_settings(settings, message):
    with pytest.raises(ValueError) as caught:
        configured_chip("default", settings)
    assert message in str(caught.value)


def test_refused_preset():
    with pytest.raises(ValueError, match="preset must be one of .*, not 'huge'"):
        configured_chip("huge")
