"""Lint waivers of the generated Verilog: what Verilator's -Wall need not report, and why."""

__all__ = ["WAIVERS", "as_verilator"]

#: (rule, what the message must match, why the rule does not apply), at most six.
WAIVERS: tuple[tuple[str, str, str], ...] = (
    ("DECLFILENAME", "*", "One file holds the whole chip, so that it is one text to compare."),
    ("PROCASSINIT", "*",
     "Registers have initial values, which FPGAs load; on silicon `aresetn` sets the same."),
    ("UNUSEDSIGNAL", "*",
     "The generator names every slice and every field of a record, read or not."),
    ("CASEINCOMPLETE", "*",
     "Every signal that a case assigns has its default before the case: nothing is latched."),
    ("WIDTHEXPAND", "*",
     "Operands differ in width on purpose: Verilog extends the narrower one by its sign, as the "
     "generator's arithmetic does."),
    ("WIDTHTRUNC", "* expects 1 bit*",
     "`!x` compares x with zero, and `x >> i` into one bit picks bit i. Any other truncation is "
     "reported."),
)


def as_verilator() -> str:
    """Text of a Verilator configuration file that applies `WAIVERS` to chip.v."""
    lines = ["`verilator_config"]
    for rule, match, reason in WAIVERS:
        lines += ["", f"// {reason}",
                  f'lint_off -rule {rule} -file "*chip.v" -match "{match}"']
    return "\n".join(lines) + "\n"
