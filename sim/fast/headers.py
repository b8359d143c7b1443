"""C++ headers that a chip's configuration implies: constants, and access to the macros' pins."""

from amaranth.hdl import Shape, ShapeCastable, ShapeLike
from amaranth.lib.wiring import Flow

from golden.chip import PRODUCT_COUNT_BITS, TENANT_BITS, Chip
from golden.draws import Kind
from rtl.messages import macro_signature, trace_signature

__all__ = ["EXCITED", "WIDE_PINS", "constants_header", "ports_header", "words"]

#: What the Verilog of a mutated chip calls where its mutant changes a bit (`sim.mutants.watched`).
EXCITED = "mutant_excited"
#: Pins with a bit per column or row granule, which may be wider than 64 bits.
WIDE_PINS = ("row_enable", "select", "negate")


def words(bits: int) -> int:
    """64-bit words that hold ``bits`` bits."""
    return -(-bits // 64)


def _width(shape: ShapeLike) -> Shape:
    assert not isinstance(shape, ShapeCastable)
    return Shape.cast(shape)


def constants_header(chip: Chip, twin: bool, both_edges: bool) -> str:
    """Sizes of ``chip``, the kinds of draws, and what kind of build it is.

    ``twin``: the chip has twins for macros. ``both_edges``: it is clocked by both edges.
    """
    array = chip.array
    values = {
        "TILES": chip.tiles, "ROWS": array.rows, "COLUMNS": array.columns,
        "ROW_GRANULE": array.row_granule, "CODE_BITS": chip.converter.bits,
        "TENANTS": chip.tenants, "TENANT_LIMIT": 1 << TENANT_BITS,
        "TAG_COUNT_BITS": PRODUCT_COUNT_BITS, "PRODUCTS": chip.accumulator.products,
        "GRANULE_WORDS": words(array.granules), "COLUMN_WORDS": words(array.columns),
    }
    lines = [f"constexpr int {name} = {value};" for name, value in values.items()]
    lines += [f"constexpr bool POLARITY = {str(array.polarity).lower()};",
              f"constexpr bool TWIN = {str(twin).lower()};",
              f"constexpr bool BOTH_EDGES = {str(both_edges).lower()};"]
    lines += [f"constexpr unsigned long long {kind.name}_KIND = {int(kind)};"
              for kind in (Kind.HOLD, Kind.CONVERSION)]
    return "\n".join(["#pragma once", "namespace crossloom {", *lines, "}", ""])


def _member(port: str) -> str:
    # Verilator writes a double underscore in a port's name as "___05F" (its escape for "_").
    return f"top.{port.replace('__', '___05F')}"


def ports_header(chip: Chip, twin: bool = False, select: str | None = None) -> str:
    """Functions that copy a tile's pins and trace port out of the Verilated model.

    ``twin``: the chip has twins for macros, whose comparators always decide. ``select`` is the
    input of a mutated chip that selects the mutant.
    """
    lines = ["#pragma once", '#include "Vchip.h"', '#include "macro.h"', '#include "trace.h"',
             "namespace crossloom {"]
    pins = macro_signature(chip).members
    lines.append("template <int TILE> void read_pins(const Vchip& top, Pins& pins);")
    lines.append("template <int TILE> bool answered(const Vchip& top);")
    lines.append("template <int TILE> void set_decided(Vchip& top, bool decided);")
    lines.append("template <int TILE> bool read_trace(const Vchip& top, Code& code);")
    for tile in range(chip.tiles):
        lines.append(f"template <> inline void read_pins<{tile}>(const Vchip& top, Pins& pins) {{")
        for name, member in pins.items():
            if member.flow is Flow.In:
                continue
            source, shape = _member(f"macro{tile}__{name}"), _width(member.shape)
            if name in WIDE_PINS:
                lines.append(f"    copy_bits(pins.{name}, {source});")
            else:
                lines.append(f"    pins.{name} = {_value(source, shape)};")
        lines += [
            "}",
            f"template <> inline bool answered<{tile}>(const Vchip& top) {{",
            f"    return {_member(f'macro{tile}__comparator')};", "}",
            f"template <> inline void set_decided<{tile}>(Vchip& top, bool decided) {{",
            *([] if twin else [f"    {_member(f'macro{tile}__decided')} = decided;"]), "}",
            f"template <> inline bool read_trace<{tile}>(const Vchip& top, Code& code) {{",
            f"    if (!{_member(f'trace{tile}__valid')}) return false;"]
        for name, member in trace_signature(chip).members.items():
            if name != "valid":
                source = _member(f"trace{tile}__{name}")
                name = {"void": "is_void"}.get(name, name)
                lines.append(f"    code.{name} = {_value(source, _width(member.shape))};")
        lines += ["    return true;", "}"]
    if select:
        selection = f"{_member(select)} = number; excited = false;"
        lines += ["inline bool excited = false;", "}",
                  f'extern "C" void {EXCITED}() {{ crossloom::excited = true; }}',
                  "namespace crossloom {"]
    else:
        selection = 'if (number) throw std::runtime_error("built without mutants");'
        lines.append("constexpr bool excited = false;")
    lines += [
        f"inline void select_mutant(Vchip& top, uint64_t number) {{ {selection} }}",
        "inline void read_sum(const Vchip& top, Sum& sum) {",
        f"    sum.position = {_member('trace_sum__position')};",
        f"    sum.kernel = {_member('trace_sum__kernel')};",
        f"    sum.value = sign_extend({_member('trace_sum__value')}, {chip.sum_bits});",
        f"    sum.output = sign_extend({_member('trace_sum__output')}, 8);", "}",
        f"inline bool sum_valid(const Vchip& top) {{ return {_member('trace_sum__valid')}; }}",
        "template <int TENANT> bool read_word(const Vchip& top, Word& word);",
        "template <int TENANT> bool begins_layer(const Vchip& top);",
        "template <int TENANT> bool ends_layer(const Vchip& top, uint32_t& index);",
        "template <int TENANT> void set_input(Vchip& top, bool valid, uint32_t word, bool last);",
        "template <int TENANT> bool offers_input(const Vchip& top);",
        "template <int TENANT> bool takes_input(const Vchip& top);",
        "template <int TENANT> void set_ready(Vchip& top, bool ready);",
        "template <int TENANT> bool is_ready(const Vchip& top);",
        "template <int TENANT> bool gives_output(const Vchip& top, uint32_t& word, bool& last);",
        "inline int present_tenant(const Vchip& top) { return top.trace_tenant; }"]
    for tenant in range(chip.tenants):
        word, layer = (f"trace_{name}{tenant or ''}" for name in ("word", "layer"))
        lines += [
            f"template <> inline bool read_word<{tenant}>(const Vchip& top, Word& word) {{",
            f"    if (!{_member(f'{word}__valid')}) return false;",
            f"    word = {{{_member(f'{word}__address')}, {_member(f'{word}__data')}}};",
            "    return true;", "}",
            f"template <> inline bool begins_layer<{tenant}>(const Vchip& top) "
            f"{{ return {_member(f'{layer}__begin')}; }}",
            f"template <> inline bool ends_layer<{tenant}>(const Vchip& top, uint32_t& index) {{",
            f"    index = {_member(f'{layer}__index')};",
            f"    return {_member(f'{layer}__done')};", "}"]
        # A stream's names have single underscores, which Verilator leaves as they are.
        into, out = (f"top.{name}{tenant or ''}_" for name in ("s_axis", "m_axis"))
        lines += [
            f"template <> inline void set_input<{tenant}>(Vchip& top, bool valid, uint32_t word, "
            "bool last) {",
            f"    {into}tvalid = valid; {into}tdata = word; {into}tlast = last;", "}",
            f"template <> inline bool offers_input<{tenant}>(const Vchip& top) "
            f"{{ return {into}tvalid; }}",
            f"template <> inline bool takes_input<{tenant}>(const Vchip& top) "
            f"{{ return {into}tready; }}",
            f"template <> inline void set_ready<{tenant}>(Vchip& top, bool ready) "
            f"{{ {out}tready = ready; }}",
            f"template <> inline bool is_ready<{tenant}>(const Vchip& top) "
            f"{{ return {out}tready; }}",
            f"template <> inline bool gives_output<{tenant}>(const Vchip& top, uint32_t& word, "
            "bool& last) {",
            f"    word = {out}tdata; last = {out}tlast; return {out}tvalid;", "}"]
    lines += ["}", ""]
    return "\n".join(lines)


def _value(source: str, shape: Shape) -> str:
    return f"sign_extend({source}, {shape.width})" if shape.signed else source
