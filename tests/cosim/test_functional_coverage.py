"""Every mode with every resolution, stall, saturation and shape, in cocotb, equal to golden."""

from collections import Counter
import json

from golden.chip import preset
from golden.macro import Macro
from golden.physics import MacroPhysics
from rtl.verilog import TOP_NAME, chip_verilog
from sim.cross_programs import CrossParameters, cross_image, cross_programs
from sim.functional import Bin, all_bins
from sim.runner import run_bench

CHIP = preset("tiny")


def test_every_bin_is_reached(tmp_path):
    programs = tuple(cross_programs(CHIP, seed=1))
    macro = Macro(CHIP, MacroPhysics(), programs[0].weights, 1)
    report = tmp_path / "bins.json"
    given = CrossParameters(programs, macro, cross_image(1), 1, report)
    log = run_bench("cross", chip_verilog(CHIP), TOP_NAME, given, "verilator", seed=1)
    assert "FAIL=0" in log
    reached = Counter(Bin(**json.loads(line)) for line in report.read_text().splitlines())
    assert len(all_bins(CHIP)) == 3 * 3 * 3 * 4 * 4
    assert set(reached) == all_bins(CHIP)
