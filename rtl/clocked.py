"""Verilog whose flip-flops have what decides on them where they are clocked."""

import re

__all__ = ["clocked"]

_MODULE_END = "endmodule\n"
#: A flip-flop that takes a variable.
_FLIP_FLOP = re.compile(
    r"^  always @\(posedge (?P<clock>\S+?) ?\)\n"
    r"    (?P<register>\S+ ?) <= (?P<next>\\\$\d+ );\n", re.MULTILINE)
#: A block that computes a variable; its first line makes simulators run it at the start.
_BLOCK = re.compile(r"^  always @\* begin\n(?P<body>(?:    .*\n)*)  end\n", re.MULTILINE)
_START = re.compile(r"^    if \((?P<never>\\\S+ )\) begin end\n")
_ASSIGNED = re.compile(r"^    (?P<name>\\\$\d+ ) ?(?:\[[^\]]*\] )?= ")


def clocked(text: str) -> str:
    """``text``, Verilog of Amaranth, its flip-flops with the logic in front of them.

    Amaranth has Yosys compute the next value of each register in a variable, ``always @*``, which
    one further block clocks. Both become one clocked block that assigns the register itself, and
    only where it changes: as short as one would write it, and a simulator need not touch a register
    that keeps its value.
    """
    modules = text.split(_MODULE_END)
    return _MODULE_END.join(_clocked_module(module) for module in modules)


def _clocked_module(module: str) -> str:
    flip_flops = {match["next"]: match for match in _FLIP_FLOP.finditer(module)}
    joined: list[str] = []

    def join(match: re.Match[str]) -> str:
        body = _START.sub("", match["body"], count=1)
        first = _ASSIGNED.match(body)
        if first is None or first["name"] not in flip_flops:
            return match[0]
        name = first["name"]
        joined.append(name)
        register = flip_flops[name]["register"]
        # What it holds anyway need not be said.
        body = body.removeprefix(f"    {name} = {register};\n")
        assignment = re.compile(rf"^( +){re.escape(name)} ?(\[[^\]]*\] )?= ", re.MULTILINE)
        body = assignment.sub(lambda each: f"{each[1]}{register} {each[2] or ''}<= ", body)
        assert name not in body, f"{name} is more than the next value of {register}"
        return f"  always @(posedge {flip_flops[name]['clock']}) begin\n{body}  end\n"

    module = _BLOCK.sub(join, module)
    for name in joined:
        module = module.replace(flip_flops[name][0], "", 1)
        module, count = re.subn(rf"^  reg (?:\[\d+:0\] )?{re.escape(name)};\n", "", module,
                                count=1, flags=re.MULTILINE)
        assert count == 1 and name not in module, f"{name} is used elsewhere"
    return _without_start(module)


def _without_start(module: str) -> str:
    """Without the variable that no block asks for any longer."""
    declared = re.search(r"^  reg (\\\$auto\S+ ) = 0;\n", module, re.MULTILINE)
    if declared is None or module.count(declared[1]) > 1:
        return module
    return module.replace(declared[0], "", 1)
