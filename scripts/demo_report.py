"""Sections of the demonstration's report."""

from . import plots
from .demonstration import Demonstration
from .report import Section, render

__all__ = ["demo_html", "demo_sections"]

_STAGES = {"float": "float, as trained", "int8": "8-bit weights and activations",
           "basis_ideal": "basis, ideal macros", "basis_nonideal": "basis, non-ideal macros"}
_COLOURS = {**dict.fromkeys(("reset", "drive", "share", "hold"), plots.BLUE),
            **dict.fromkeys(("clear", "add", "side"), plots.ORANGE),
            **dict.fromkeys(("convert", "trial", "comparator"), plots.GREEN),
            **dict.fromkeys(("product", "conversion"), plots.GREY)}


#: Clocks of the phase diagram: about two products, each edge still to be seen.
_SHOWN_CLOCKS = 130


def demo_sections(demonstration: Demonstration) -> list[Section]:
    """The figures, each with its words."""
    result = demonstration.result
    layers, tested = result["layers"], result["test_images"]
    stops = sum(layer["early_stops"] for layer in layers)
    converting = [layer for layer in layers if layer["converting"]]
    return [
        Section(
            "accuracy", "Accuracy, stage by stage",
            "The network is trained in floating point, quantised to eight bits, rewritten over "
            "one global basis that all its layers share, and run on macros with noise, mismatch, "
            "offset and non-linearity.",
            f"{tested} held-out digits. The deviations are those of one specimen (seed "
            f"{result['seed']}) and a reconstruction: the macro modelled on publishes none.",
            plots.accuracy_by_stage([(label, result["accuracy"][stage], tested)
                                     for stage, label in _STAGES.items()])),
        Section(
            "clocks", "Where the clocks go",
            "Clocks of each descriptor of the program, read from the RTL. Golden's clock model "
            "gives the same numbers.",
            "First image." + (" Conversions that stop after the sign make the clocks depend on "
                              "the image." if stops else ""),
            plots.clocks_by_layer([(layer["name"], layer["cycles_rtl"]) for layer in layers])),
        Section(
            "converters", "How busy the converters are",
            "Each tile has one converter behind its columns; nothing should hold it up. What is "
            "missing to 100 % are waits for the array, for row latches, and between layers.",
            "First image, from golden's clock model.",
            plots.converter_occupancy(
                [layer["name"] for layer in converting],
                [[clocks / layer["cycles_golden"] for clocks in layer["converting"]]
                 for layer in converting])),
        Section(
            "pins", "The macro's pins",
            "Tile 0 while the RTL computes one output position. Blue: the array makes a product. "
            "Orange: the adder network fills one of two sampling capacitors. Green: the converter "
            "searches the code of the other. The next product is under way before the last "
            "conversion ends.",
            f"Layer {demonstration.pins_layer}, first image; recorded from the Verilated RTL.",
            plots.phase_diagram({name: row[:_SHOWN_CLOCKS]
                                 for name, row in demonstration.pins.items()},
                                demonstration.first_clock, _COLOURS))]


def demo_html(demonstration: Demonstration, sections: list[Section]) -> str:
    """The whole report."""
    result = demonstration.result
    accuracy, rtl = result["accuracy"], result["rtl"]
    headline = [(f"{100 * accuracy['float']:.1f} %", "correct in float"),
                (f"{100 * accuracy['basis_nonideal']:.1f} %", "correct on non-ideal macros"),
                (f"{rtl['words_compared']:,}", "values compared"),
                (f"{rtl['mismatches']:,}", "values that differ"),
                (f"{rtl['cycles'] / rtl['images']:,.0f}", "clocks per image")]
    return render(result, headline, sections)
