"""Reading waves: a dump written by hand."""

import pytest

from scripts.vcd import signals_by_clock

DUMP = """$timescale 1ns $end
$scope module top $end
$var wire 1 ! aclk $end
$var wire 1 " drive $end
$var wire 4 # trial [3:0] $end
$scope module inner $end
$var wire 1 " drive $end
$upscope $end
$upscope $end
$enddefinitions $end
#20
1!
0"
b0000 #
#21
0!
#22
1!
1"
b1111 #
#23
0!
#24
1!
b0111 #
0"
#25
0!
#40
1!
1"
#41
0!
"""


def test_values_in_each_clock(tmp_path):
    path = tmp_path / "waves.vcd"
    path.write_text(DUMP)
    first, values = signals_by_clock(path, {"drive": False, "trial": True}, "aclk")
    assert first == 10
    assert values == {"drive": [0, 1, 0], "trial": [0, -1, 7]}
    assert signals_by_clock(path, {"trial": False}, "aclk")[1] == {"trial": [0, 15, 7]}


@pytest.mark.parametrize("text, message", [
    (DUMP.replace("trial", "other"), "has no signal trial"),
    (DUMP[:DUMP.index("#20")], "has no clock in which 'aclk' is low"),
])
def test_refused(tmp_path, text, message):
    path = tmp_path / "waves.vcd"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        signals_by_clock(path, {"trial": True}, "aclk")
