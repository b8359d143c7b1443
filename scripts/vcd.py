"""Reads chosen signals of a value change dump (IEEE 1364-2005, clause 18)."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path

__all__ = ["signals_by_clock"]


def signals_by_clock(path: Path, names: Mapping[str, bool], clock: str
                     ) -> tuple[int, dict[str, list[int]]]:
    """Values of signals in each clock of a dump that has two times to a clock.

    Parameters
    ----------
    path
        The dump. Of several stretches with time skipped between them, the first is read.
    names
        Signals, of any scope, and whether each is signed.
    clock
        Name of the clock. Values are taken while it is low: all that its last rising edge
        caused has settled.

    Returns the number of the first clock, and the values by name. ValueError for a signal that
    the dump lacks, or a dump without a clock.
    """
    with open(path, encoding="ascii") as stream:
        symbols: dict[str, tuple[str, int]] = {}
        found: set[str] = set()
        for line in stream:
            words = line.split()
            if words[:1] == ["$enddefinitions"]:
                break
            # $var wire 8 # name [7:0] $end; the same signal may stand in several scopes.
            if words[:1] == ["$var"] and words[4] in {*names, clock} - found:
                symbols[words[3]] = words[4], int(words[2])
                found.add(words[4])
        missing = {*names, clock} - found
        if missing:
            raise ValueError(f"{str(path)!r} has no signal {', '.join(sorted(missing))}")
        values = dict.fromkeys(found, 0)
        samples: dict[str, list[int]] = {name: [] for name in names}
        times: list[int] = []
        time = None
        # The end of the file ends the last time as another time would.
        for line in chain(stream, ["#0"]):
            if line[0] == "#":
                following = int(line[1:])
                if time is not None and values[clock] == 0:
                    times.append(time)
                    for name, row in samples.items():
                        row.append(values[name])
                if times and following > times[-1] + 2:
                    break
                time = following
            elif line[0] in "01" and line[1:].strip() in symbols:
                values[symbols[line[1:].strip()][0]] = int(line[0])
            elif line[0] == "b" and line.split()[1] in symbols:
                bits, symbol = line[1:].split()
                name, width = symbols[symbol]
                value = int(bits, 2)
                if names.get(name) and value >> (width - 1):
                    value -= 1 << width
                values[name] = value
    if not times:
        raise ValueError(f"{str(path)!r} has no clock in which {clock!r} is low")
    return times[0] // 2, samples
