"""Area and clock frequency of every block: ``python -m scripts.synthesis`` measures them again.

Writes verilog/synthesis.json, the baseline that tests compare with, and docs/synthesis.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
import argparse
import json

from sim.synthesis import BLOCKS, Measurement, measure
from sim.synthesis.flow import SEEDS, tool_versions

from . import output

__all__ = ["BASELINE", "PAGE", "compare", "load", "markdown"]

_ROOT = Path(__file__).parents[1]
#: The committed measurements, and the table made of them.
BASELINE, PAGE = _ROOT / "verilog" / "synthesis.json", _ROOT / "docs" / "synthesis.md"


def load(path: Path = BASELINE) -> tuple[dict[str, str], dict[str, Measurement]]:
    """Tool versions and measurements by block, from a baseline file."""
    content = json.loads(path.read_text())
    blocks = {name: Measurement(**{**values, "fmax_by_seed": tuple(values["fmax_by_seed"])})
              for name, values in content["blocks"].items()}
    return content["tools"], blocks


def compare(expected: Measurement, found: Mapping[str, float], tolerance: float) -> list[str]:
    """What of ``found`` (fields of a `Measurement`) is worse than ``expected`` by more.

    ``tolerance`` is a fraction; small counts may differ by four.
    """
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance must be 0 to below 1, not {tolerance!r}")
    worse = []
    for name, value in found.items():
        before = getattr(expected, name)
        if name == "fmax":
            if value < before * (1 - tolerance):
                worse.append(f"fmax {value:.1f} MHz, was {before:.1f}")
        elif value > before + max(4, before * tolerance):
            worse.append(f"{name} {value}, was {before}")
    return worse


def markdown(tools: Mapping[str, str], blocks: Mapping[str, Measurement]) -> str:
    """The measurements as a page of Markdown."""
    lines = [
        "# Area and clock frequency", "",
        "Each block alone between shift registers; clock frequency: the median over placement "
        "seeds, their range beside it. `python -m scripts.synthesis` measures it again, "
        "`python -m pytest --slow tests/cli/test_synthesis.py` compares. "
        + ", ".join(f"{name} {version}" for name, version in tools.items()) + ".", "",
        "Gates are two-input gates and multiplexers of yosys' technology-free netlist; memory "
        "bits are those of memories, which are not among its flip-flops.", "",
        "| block | preset | part | LUT4 | flip-flops | 18x18 | 18 kbit | MHz | seeds | target "
        "| gates | gate flip-flops | memory bits |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|"]
    for name, block in blocks.items():
        low, high = min(block.fmax_by_seed), max(block.fmax_by_seed)
        target = f"{block.target:.0f}" + ("" if block.fmax >= block.target else " (missed)")
        lines.append(
            f"| {name} | {block.preset} | {block.part} | {block.lut} | {block.flip_flops} "
            f"| {block.multipliers} | {block.memories} | {block.fmax:.1f} "
            f"| {len(block.fmax_by_seed)}: {low:.1f} to {high:.1f} | {target} "
            f"| {block.gates} | {block.gate_flip_flops} | {block.memory_bits} |")
    return "\n".join(lines) + "\n"


def _write(blocks: Mapping[str, Measurement]) -> None:
    tools = tool_versions()
    ordered = {name: blocks[name] for name in BLOCKS if name in blocks}
    output.write_json(BASELINE, {"tools": tools, "blocks": {
        name: asdict(block) for name, block in ordered.items()}})
    output.write_text(PAGE, markdown(tools, ordered))


def _main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("blocks", nargs="*", metavar="BLOCK", help="blocks to measure (all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.blocks) - set(BLOCKS)
    if unknown:
        parser.error(f"BLOCK must be one of {', '.join(BLOCKS)}, not {', '.join(unknown)}")
    done = load()[1] if BASELINE.exists() else {}
    for name in chosen.blocks or BLOCKS:
        with TemporaryDirectory() as directory:
            done[name] = measure(BLOCKS[name], Path(directory), chosen.seeds)
        print(f"{name}: {done[name].fmax:.1f} MHz, {done[name].lut} LUT", flush=True)
        _write(done)


if __name__ == "__main__":
    _main()
