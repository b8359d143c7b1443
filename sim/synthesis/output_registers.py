"""Registers right behind block memories, moved into the memories.

A DP16KD of an ECP5 gives its word 5.8 ns after the clock, or much sooner from a register of its own
(Lattice FPGA-TN-02204, "output registers"). Vendors' tools use it where flip-flops follow the
memory; yosys does not, so this does it on the netlist.
"""

from collections import defaultdict
from typing import Any

__all__ = ["use_output_registers"]

_MEMORY, _FLIP_FLOP = "DP16KD", "TRELLIS_FF"
#: Bits of a port, of which narrow memories use some.
_PORT_BITS = 18


def use_output_registers(netlist: dict[str, Any], top: str) -> int:
    """Move flip-flops of module ``top`` into the memories before them; how many were moved.

    ``netlist`` is what yosys' ``write_json`` makes of a flat ECP5 design, changed in place. The
    flip-flops of a port are moved where every bit in use goes to one of them and nowhere else, and
    they have the port's clock, no enable and no reset.
    """
    module = netlist["modules"][top]
    cells, readers = module["cells"], _readers(module)
    moved = 0
    for memory in [cell for cell in cells.values() if cell["type"] == _MEMORY]:
        wires, settings = memory["connections"], memory["parameters"]
        for port in "AB":
            names = [f"DO{port}{bit}" for bit in range(_PORT_BITS)]
            used = [name for name in names if readers[wires[name][0]]]
            behind = [readers[wires[name][0]] for name in used]
            if not used or not all(len(found) == 1 and _plain(cells, found[0], wires[f"CLK{port}"])
                                   for found in behind):
                continue
            for name, ((flip_flop, _),) in zip(used, behind, strict=True):
                wires[name] = cells.pop(flip_flop)["connections"]["Q"]
            settings[f"REGMODE_{port}"] = "OUTREG"
            wires[f"OCE{port}"], wires[f"RST{port}"] = ["1"], ["0"]
            moved += len(used)
    return moved


def _readers(module: dict[str, Any]) -> defaultdict[int | str, list[tuple[str, str]]]:
    """Cells and their ports that read each wire; ("", name) for a port of the module."""
    found: defaultdict[int | str, list[tuple[str, str]]] = defaultdict(list)
    for name, cell in module["cells"].items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                for bit in bits:
                    found[bit].append((name, port))
    for name, port in module["ports"].items():
        if port["direction"] != "input":
            for bit in port["bits"]:
                found[bit].append(("", name))
    return found


def _plain(cells: dict[str, Any], reader: tuple[str, str], clock: list[int | str]) -> bool:
    """Whether ``reader`` is the data of a flip-flop of that clock without enable and reset."""
    name, port = reader
    if port != "DI" or cells[name]["type"] != _FLIP_FLOP:
        return False
    wires, settings = cells[name]["connections"], cells[name]["parameters"]
    return (wires["CLK"] == clock and settings["CLKMUX"] == "CLK"
            and settings.get("CEMUX", "1").strip() == "1"
            and wires.get("LSR", ["0"]) == ["0"])
