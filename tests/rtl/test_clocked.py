"""Clocked: the blocks that it joins, and that what it writes means the same."""

from amaranth.back import verilog
import pytest

from golden.chip import PRESETS
from rtl.clocked import clocked
from rtl.feed import ProductFeed
from rtl.jobs import JobSource
from rtl.loop_nest import LoopNest, Walker
from rtl.transfer import TransferUnit
from sim.toolchain import run_yosys

BEFORE = r"""module a(clk, en, low, q, r);
  reg \$auto$1  = 0;
  reg [3:0] \$2 ;
  reg \$3 ;
  always @(posedge clk)
    q <= \$2 ;
  always @(posedge clk)
    r <= low;
  always @* begin
    if (\$auto$1 ) begin end
    \$2  = q;
    if (en) begin
      \$2 [1:0] = low;
    end
  end
endmodule
"""
AFTER = r"""module a(clk, en, low, q, r);
  reg \$3 ;
  always @(posedge clk)
    r <= low;
  always @(posedge clk) begin
    if (en) begin
      q [1:0] <= low;
    end
  end
endmodule
"""


def test_blocks():
    assert clocked(BEFORE) == AFTER
    assert clocked(AFTER) == AFTER


def test_variable_of_others_too():
    with pytest.raises(AssertionError, match="used elsewhere"):
        clocked(BEFORE.replace("endmodule", "  assign other = \\$2 ;\nendmodule"))


CHIP = PRESETS["tiny"]
COMPONENTS = {
    "feed": lambda: ProductFeed(CHIP), "jobs": lambda: JobSource(CHIP),
    "transfer": lambda: TransferUnit(CHIP),
    "nest": lambda: LoopNest({"x": 3, "y": 4}, {"address": Walker(8, ("x", "y"))})}


@pytest.mark.parametrize("name", COMPONENTS)
def test_same_meaning(name, tmp_path):
    text = verilog.convert(COMPONENTS[name](), name="top", emit_src=False)
    joined = clocked(text)
    assert joined.count("always") < text.count("always")
    (tmp_path / "before.v").write_text(text)
    (tmp_path / "after.v").write_text(joined)
    run_yosys("".join(f"""\
read_verilog {part}.v
hierarchy -top top
proc
flatten
memory
opt_clean
rename top {part}
design -stash {part}
""" for part in ("before", "after")) + """\
design -copy-from before -as before before
design -copy-from after -as after after
equiv_make before after both
hierarchy -top both
equiv_simple
equiv_induct
equiv_status -assert
""", tmp_path)
