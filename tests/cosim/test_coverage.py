"""What simulations reach of a chip's Verilog, and that what they do not reach is counted."""

import json

import pytest

from scripts.__main__ import main
from sim.coverage.counts import BRANCH, LINE, TOGGLE, Point, counted_verilog, read_counts
from sim.coverage.measure import Waiver, measure

#: As Yosys and Amaranth write them: a branch for other simulators, a wire without a name.
VERILOG = """\
module m(a, b);
  reg \\$auto$verilog_backend.cc:2355:dump_module$3  = 0;
  wire [3:0] \\$12 ;
  wire [3:0] \\sum$2 ;
  always @* begin
    if (\\$auto$verilog_backend.cc:2355:dump_module$3 ) begin end
    b = a;
  end
endmodule
"""


@pytest.mark.slow
def test_coverage(monkeypatch, tmp_path):
    path = tmp_path / "coverage.json"
    monkeypatch.setattr("sys.argv", ["crossloom", "coverage", "--json", str(path)])
    with pytest.raises(SystemExit) as ending:
        main()
    assert not ending.value.code
    found = json.loads(path.read_text())
    everything = next(row for row in found["modules"] if row["module"] == "all")
    assert everything["line"]["share"] == 1
    assert everything["branch"]["share"] >= 0.99
    assert everything["toggle"]["share"] >= 0.95
    assert all(waiver["reason"] and waiver["points"] for waiver in found["waivers"])
    assert len(found["missing"]) == sum(everything[kind]["missed"] for kind in (
        "line", "branch", "toggle"))


def test_verilog_that_is_counted():
    text = counted_verilog(VERILOG)
    assert "begin end" not in text
    assert "  /*verilator coverage_off*/ wire [3:0] \\$12 ; /*verilator coverage_on*/\n" in text
    assert "\n  wire [3:0] \\sum$2 ;\n" in text


def test_counts_of_instances_are_added(tmp_path):
    def line(kind, module, number, name, instance, count):
        keys = {"f": "chip.v", "l": number, "page": f"v_{kind}/{module}", "o": name, "h": instance}
        return "C '" + "".join(f"\x01{k}\x02{v}" for k, v in keys.items()) + f"' {count}\n"

    path = tmp_path / "counts.dat"
    path.write_text("# SystemC::Coverage-3\n"
                    + line("toggle", "m", 4, "tag__02ecount[11]:0->1", "t.a", 2)
                    + line("toggle", "m", 4, "tag__02ecount[11]:0->1", "t.b", 3)
                    + line("branch", "m", 7, "if", "t.a", 0))
    assert read_counts(path) == {Point(TOGGLE, "m", 0, "tag.count", 11, 0): 5,
                                 Point(BRANCH, "m", 7, "if"): 0}


def test_shares_and_waivers():
    counts = {Point(LINE, "m", 7, "block"): 1, Point(TOGGLE, "m", 0, "count", 0, 0): 4,
              Point(TOGGLE, "m", 0, "count", 1, 0): 0, Point(TOGGLE, "m", 0, "count", 2, 0): 0}
    waiver = Waiver(TOGGLE, "takes too long", name="count", bits=range(2, 8))
    found = measure(counts, VERILOG, [waiver])
    assert found.points(TOGGLE) == (1, 1, 1) and found.share(TOGGLE) == 0.5
    assert found.share(LINE, "m") == 1 and found.share(BRANCH) == 1
    assert dict(found.waived) == {waiver: 1}
    assert [part.missing for part in found.modules if part.kind == TOGGLE] == [
        (Point(TOGGLE, "m", 0, "count", 1, 0),)]


def test_a_waiver_of_what_is_reached_is_refused():
    counts = {Point(LINE, "m", 7, "block"): 1}
    with pytest.raises(ValueError, match="waivers must each cover a point that was missed"):
        measure(counts, VERILOG, [Waiver(LINE, "nobody gets there")])
