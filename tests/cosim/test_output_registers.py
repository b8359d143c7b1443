"""Registers behind an ECP5's block memories: which are moved into them, in a netlist of yosys."""

import copy
import json

import pytest

from sim.synthesis.output_registers import use_output_registers
from sim.toolchain import run_yosys

#: A memory whose word goes to one register after another.
SOURCE = """
module top(input clk, input rst, input enable, input write, input [9:0] address, input [9:0] from,
           input [17:0] data, output reg [17:0] word, output [17:0] early);
  (* ram_style = "block", no_rw_check *) reg [17:0] memory [1023:0];
  reg [17:0] read, arrived;
  always @(posedge clk) begin
    if (write) memory[address] <= data;
    read <= memory[from];
    ARRIVED
    word <= arrived;
  end
  assign early = EARLY;
endmodule
"""


def netlist(directory, arrived="arrived <= read;", early="18'd0"):
    source = SOURCE.replace("ARRIVED", arrived).replace("EARLY", early)
    (directory / "top.v").write_text(source)
    run_yosys("read_verilog top.v\nsynth_ecp5 -top top\nflatten\nwrite_json top.json\n", directory)
    return json.loads((directory / "top.json").read_text())


def of_type(found, kind):
    return {name: cell for name, cell in found["modules"]["top"]["cells"].items()
            if cell["type"] == kind}


def test_registers_are_moved(tmp_path):
    before = netlist(tmp_path)
    after = copy.deepcopy(before)
    assert use_output_registers(after, "top") == 18
    flip_flops = of_type(before, "TRELLIS_FF")
    left = of_type(after, "TRELLIS_FF")
    gone = {name: cell for name, cell in flip_flops.items() if name not in left}
    assert len(gone) == 18 and {name: flip_flops[name] for name in left} == left
    (memory,), (changed,) = (of_type(found, "DP16KD").values() for found in (before, after))
    ports = [port for port in "AB" if changed["parameters"][f"REGMODE_{port}"] == "OUTREG"]
    assert len(ports) == 1
    # What the memory gives now is what the register gave that had been at the same bit.
    behind = {cell["connections"]["DI"][0]: cell["connections"]["Q"] for cell in gone.values()}
    for bit in range(18):
        name = f"DO{ports[0]}{bit}"
        assert changed["connections"][name] == behind[memory["connections"][name][0]]
    assert changed["connections"][f"OCE{ports[0]}"] == ["1"]
    assert changed["connections"][f"RST{ports[0]}"] == ["0"]


@pytest.mark.parametrize("arrived, early", [
    ("if (enable) arrived <= read;", "18'd0"),                  # an enable
    ("arrived <= rst ? 18'd0 : read;", "18'd0"),                # a reset
    ("arrived <= read ^ data;", "18'd0"),                       # logic before the register
    ("arrived <= read;", "read"),                               # a port of the module
    ("arrived <= read; if (read[3]) arrived[0] <= 1'b0;", "18'd0"),  # a bit used twice
])
def test_others_stay(arrived, early, tmp_path):
    before = netlist(tmp_path, arrived, early)
    after = copy.deepcopy(before)
    assert use_output_registers(after, "top") == 0
    assert after == before
