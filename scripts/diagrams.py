"""Timing diagrams of docs/integration.md: ``python -m scripts.diagrams`` writes them again."""

from pathlib import Path
import json

from sim.pin_recording import SCENES, Scene, record

from . import output, plots

__all__ = ["RECORDING", "diagram", "diagram_name", "recordings", "write"]

#: File of the recorded pins, beside the diagrams.
RECORDING = "timing.json"

_COLOURS = {
    **dict.fromkeys(("load_enable", "load_bank", "load_clear", "load_row"), plots.GREY),
    **dict.fromkeys(("bank", "row_enable", "product", "reset", "drive", "share", "hold"),
                    plots.BLUE),
    **dict.fromkeys(("select", "conversion", "side", "clear", "add"), plots.GREEN),
    **dict.fromkeys(("convert", "convert_side", "trial"), plots.VERMILLION),
    **dict.fromkeys(("comparator", "decided"), plots.ORANGE),
}


def diagram_name(scene: Scene) -> str:
    """File name of a scene's diagram."""
    return f"timing_{scene.name}.svg"


def recordings() -> dict[str, dict[str, list[int]]]:
    """Pins of each scene, as simulated now, cut to what is drawn."""
    result = {}
    for scene in SCENES:
        pins = record(scene.undecided, scene.first + scene.clocks)
        result[scene.name] = {name: pins[name][scene.first:] for name in scene.pins}
    return result


def diagram(scene: Scene, pins: dict[str, list[int]]) -> str:
    """SVG text of a scene."""
    return plots.svg(plots.phase_diagram(pins, scene.first, _COLOURS))


def write(place: Path) -> None:
    """Write the diagrams and the recording into the directory ``place``."""
    recorded = recordings()
    for scene in SCENES:
        output.write_text(place / diagram_name(scene), diagram(scene, recorded[scene.name]))
    lines = [f'  "{name}": {{\n' + ",\n".join(
        f'    "{pin}": {json.dumps(values)}' for pin, values in pins.items()) + "\n  }"
        for name, pins in recorded.items()]
    output.write_text(place / RECORDING, "{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    write(Path(__file__).parents[1] / "docs")
