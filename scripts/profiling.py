"""A profile of a program's clocks as text and as content of a JSON file."""

from collections.abc import Mapping
from typing import Any

from golden.causes import Cause
from golden.chip.registers import WAITS
from golden.profile import LayerProfile, Profile

__all__ = ["counters_text", "profile_content", "profile_text"]


def _rest(layer: LayerProfile) -> dict[str, int]:
    return {cause.value: clocks for cause, clocks in sorted(
        layer.spent.items(), key=lambda item: -item[1]) if cause is not Cause.CONVERTING}


def profile_content(profile: Profile) -> dict[str, Any]:
    """Clocks and occupancy of each layer, converter clocks by cause, the ten largest waits."""
    total = profile.clocks * profile.tiles
    return {
        "clocks": profile.clocks, "occupancy": profile.occupancy,
        "layers": [{"name": layer.name, "clocks": layer.clocks, "occupancy": layer.occupancy,
                    "converter_clocks": {cause.value: clocks for cause, clocks
                                         in layer.spent.items()}} for layer in profile.layers],
        "shares": {cause.value: clocks / total for cause, clocks in profile.spent.items()},
        "largest_waits": [{"layer": layer, "cause": cause.value, "share": share}
                          for layer, cause, share in profile.largest_waits()]}


def profile_text(profile: Profile) -> str:
    """A line per layer, then what the converters wait for, the largest first."""
    width = max(len(layer.name) for layer in profile.layers)
    lines = [f"{'layer':{width}}  {'clocks':>10}  converting  waiting most for"]
    for layer in profile.layers:
        cause = next(iter(_rest(layer)), "")
        lines.append(f"{layer.name:{width}}  {layer.clocks:10,}  {layer.occupancy:10.2%}  {cause}")
    lines += [f"{'all':{width}}  {profile.clocks:10,}  {profile.occupancy:10.2%}", "",
              "largest waits, of all converter clocks:"]
    lines += [f"  {share:7.3%}  {layer}: {cause.value}"
              for layer, cause, share in profile.largest_waits()]
    return "\n".join(lines)


def counters_text(counters: Mapping[str, int]) -> str:
    """The chip's counters after an image: where the clocks of its first tile went, and events."""
    cycles = counters["cycles"]
    lines = ["", "counters of the chip, first image (waits are those of its first tile):"]
    lines += [f"  {counters[name] / cycles:7.3%}  {name} {counters[name]:,}"
              for name in ("converting", *WAITS) if counters[name]]
    lines += [f"  {name} {counters[name]:,}"
              for name in ("cycles", "conversions", "early_stops", "products", "contests")]
    return "\n".join(lines)
