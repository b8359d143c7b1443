"""Clocks of a convolution, exactly as the tile scheduler spends them.

The blocks of a chip are coupled by waiting alone, so the time of every event is the largest of
the times that it waits for, plus a fixed latency. `convolution_timing` evaluates those recurrences
product by product and stops as soon as they repeat from position to position. Latencies are those
under *Latency* in the components of rtl/; clocks count from the start of the unit, clock 0.

Where a converter waits, the chain of events that it waited for says why (golden.causes).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from .causes import Cause, split_wait
from .chip import GAIN_FRACTION_BITS, Chip, Phases, multiplier_clocks
from .chip.descriptor import Measure
from .jobs import product_jobs
from .program import Calibration, Convolution

__all__ = ["COLLECT_CLOCKS", "Timing", "calibration_timing", "convolution_timing"]

#: Clocks from the start of a convolution to the first word of its window.
WINDOW_CLOCKS = 20
#: Clocks from a word of the window to its chunk being offered as a product: three in the buffer,
#: one to the row latches, one in the feed.
LOAD_CLOCKS = 5
#: Clocks from reading an accumulator to the write of its output beside the multiplication: lane,
#: drift gain (4), sum over tiles, constants and tag (3), operands and addition (2), rescaler (4),
#: word (1).
COLLECT_CLOCKS = 14
#: Clocks from a list's last job to its first word, where that does not follow in memory.
RETURN_CLOCKS = 2
#: Clocks from the acceptance of a calibration's last code to the end of the unit.
CALIBRATE_CLOCKS = 5


@dataclass(frozen=True)
class Timing:
    """Clocks of one convolution, and the work done in them.

    ``clocks`` counts from the start of the unit to its end. ``spent`` says for each tile in
    use what its converter did in them: clocks by cause, ``clocks`` in all.
    """

    clocks: int
    conversions: int
    early_stops: int
    spent: tuple[Mapping[Cause, int], ...]
    products: int
    last_code: int      #: clock in which the last code was accepted in every tile

    @property
    def converting(self) -> tuple[int, ...]:
        """Clocks in which each tile's converter worked."""
        return tuple(tile.get(Cause.CONVERTING, 0) for tile in self.spent)

    @property
    def occupancy(self) -> float:
        """Share of the clocks in which the tiles' converters worked, their mean."""
        return sum(self.converting) / (len(self.converting) * self.clocks)


@dataclass(frozen=True)
class _Job:
    """What the recurrences need to know of a job."""

    fetch: int          # clocks from taking the job before to having this one (0: always there)
    void: bool


@dataclass
class _Tile:
    """Event times of a tile: the last that has happened of each kind."""

    job_ready: int              # the next job is valid
    held: int = 0               # a held product can be replaced
    idle: int = 0               # the array sequencer is idle
    taken: int = -1             # the converter took a sample
    emitted: int = 0            # a code left the converter
    added: int = -(1 << 30)     # the averager took a code
    moved: int = -(1 << 30)     # a mean went to the averager's output
    accepted: int = -(1 << 30)  # the accumulator took a mean
    done: int = 0               # position_done
    # Why `added`, `moved` and `accepted` were not earlier.
    held_up: list[Cause] = field(default_factory=lambda: [Cause.MULTIPLIERS] * 3)
    spent: Counter[Cause] = field(default_factory=Counter)

    def wait(self, since: int, until: int, steps: Sequence[tuple[Cause, float]]) -> None:
        """Note what the converter waited for, if it did."""
        if until > since:
            for cause, clocks in split_wait(since, until, steps):
                self.spent[cause] += clocks

    def convert(self, taken: int, length: int) -> None:
        """A sample is taken, converted in ``length`` clocks, and its code added by the averager."""
        self.taken = taken
        self.wait(taken + length, self.added, ((self.held_up[0], -inf),))
        self.emitted = max(taken + length, self.added)
        self.added = max(self.emitted, self.moved) + 1
        self.held_up[0] = self.held_up[1]

    def accept(self, interval: int, bank: int, freeing: Cause) -> None:
        """The accumulator takes the mean of what `convert` has added, once there is a bank."""
        self.moved = max(self.added + 1, self.accepted)
        self.held_up[1] = self.held_up[2]
        earliest = max(self.moved + 1, self.accepted + interval)
        self.accepted = max(earliest, bank)
        self.held_up[2] = freeing if bank > earliest else Cause.MULTIPLIERS

    def relative(self, base: int) -> tuple[int, ...]:
        return (self.job_ready - base, self.held - base, self.idle - base, self.taken - base,
                self.emitted - base, self.added - base, self.moved - base,
                self.accepted - base)

    def shift(self, clocks: int) -> None:
        self.job_ready += clocks
        self.held += clocks
        self.idle += clocks
        self.taken += clocks
        self.emitted += clocks
        self.added += clocks
        self.moved += clocks
        self.accepted += clocks


def _jobs(chip: Chip, layer: Convolution, tile: int) -> list[list[_Job]]:
    """Jobs of each chunk on ``tile``, a void one where there is none."""
    result = []
    mask = chip.mask_words
    entry = 1 + mask + (mask if chip.array.polarity else 0)
    for chunk in range(layer.chunks):
        jobs = product_jobs(chip, layer, chunk, tile)
        if layer.stream:
            result.append([_Job(0, False)] * jobs.conversions)
        elif not jobs.conversions:
            result.append([_Job(1, True)])
        else:
            fresh = np.diff(jobs.index, prepend=-1) != 0
            result.append([_Job(entry if new else mask, False) for new in fresh])
    return result


def convolution_timing(chip: Chip, layer: Convolution, phases: Phases | None = None,
                       stopped: Sequence[NDArray[np.bool_]] | None = None,
                       used: Sequence[int] | None = None) -> Timing:
    """Clocks of ``layer`` on ``chip``.

    Parameters
    ----------
    phases
        Phase lengths; the chip's reset values if None.
    stopped
        For each tile in ``used``, bool [conversions of the layer], in order: which ended after
        the sign. None if no kernel may stop early.
    used
        Tiles that work for the layer; None stands for all.
    """
    phases = phases or chip.phases
    if stopped is None and layer.stop.any() and not layer.stream:
        raise ValueError(f"layer {layer.name!r} has early stops: their conversions are needed")
    gap, resolution, kernels = phases.gap, layer.resolution, layer.kernels
    before_hold = phases.reset + phases.drive + phases.share + 3 * gap
    before_release = phases.reset + phases.drive + 2 * gap
    sampling = phases.clear + phases.add + 2 * gap + 1
    hold = phases.hold + gap + 1
    groups = -(-kernels // chip.accumulator.lanes) if layer.stream else 1
    interval = max(groups, 2)
    store = 3 + multiplier_clocks(chip.accumulator.coefficient_bits)
    zeroed = chip.accumulator.kernels // chip.accumulator.lanes + 1
    words = [min(layer.chunk_words, layer.window_words - chunk * layer.chunk_words)
             for chunk in range(layer.chunks)]
    # In stream mode all tiles do the same: one stands for all.
    used = range(chip.tiles) if used is None else used
    distinct = 1 if layer.stream and stopped is None else len(used)
    lists = [_jobs(chip, layer, tile) for tile in used[:distinct]]
    flags = [iter(stopped[tile].tolist()) for tile in range(distinct)] if stopped else None
    sign_mask = chip.mask_words if chip.array.polarity else 0
    tiles = [_Tile(1 if layer.stream else
                   4 + (0 if lists[tile][0][0].void else sign_mask + chip.mask_words))
             for tile in range(distinct)]
    for tile in tiles:
        tile.accepted = zeroed - interval

    last_word = WINDOW_CLOCKS - 1                   # the last accepted word of the window
    loading = -inf                                  # a latch bank became free for the chunk
    releases = [[-1, -1] for _ in tiles]            # bank release times, by chunk parity
    begin = -(1 << 30)                              # the collector began a position
    freed = [-(1 << 30)] * 2                        # position_freed, by position parity
    # By position parity and tile: what held up `position_freed`.
    freeing = [[Cause.DRAIN] * distinct] * 2
    stops = 0
    seen: dict[tuple[int, ...], tuple[int, int, list[Counter[Cause]]]] | None = (
        {} if not stopped else None)

    def run_chunk(t: int, chunk: int, final: bool, position: int, loaded: int) -> None:
        nonlocal stops
        tile, jobs = tiles[t], lists[t][chunk]
        count = len(jobs)
        for group in range(layer.row_groups):
            accept = max(tile.idle, loaded) if group == 0 else tile.idle
            releases[t][(position * layer.chunks + chunk) & 1] = accept + before_release
            tile.idle = held = max(accept + before_hold, tile.held) + hold
            for number, job in enumerate(jobs):
                ready, returning = tile.job_ready, False
                if number + 1 < count:
                    following = jobs[number + 1]
                elif group + 1 < layer.row_groups:
                    following, returning = jobs[0], True
                else:
                    following = lists[t][(chunk + 1) % layer.chunks][0]
                    returning = chunk + 1 == layer.chunks
                present = ready + (RETURN_CLOCKS if returning else 0)
                for repeat in range(1 if job.void else 1 << layer.averaging):
                    start = max(ready, held, tile.taken + 1)
                    if repeat == 0:
                        tile.job_ready = (max(start, present) + following.fetch
                                          if following.fetch else start + 1)
                    if job.void:
                        sampled = start + 1
                        length = 1
                    else:
                        sampled = start + sampling
                        stop = flags is not None and next(flags[t])
                        length = 1 if stop else resolution
                        stops += stop
                    tile.wait(tile.emitted, sampled, (
                        (Cause.VOID if job.void else Cause.SAMPLING, start), (Cause.JOBS, held),
                        (Cause.HOLD, held - hold), (Cause.ARRAY, accept), (Cause.ROWS, loading),
                        (Cause.SLOWER_TILE, -inf)))
                    tile.spent[Cause.VOID if job.void else Cause.CONVERTING] += length
                    tile.convert(max(sampled, tile.emitted), length)
                    tile.held = sampled - 1
                bank = freed[position & 1] + 1 if chunk == 0 and group == 0 else 0
                tile.accept(interval, bank, freeing[position & 1][t])
        if final:
            tile.done = tile.accepted + groups + store

    position, positions = 0, layer.window.positions
    while position < positions:
        for chunk in range(layer.chunks):
            parity = (position * layer.chunks + chunk) & 1
            free = max(release[parity] for release in releases) + 1
            loading = free if free > last_word + 1 else -inf
            last_word = max(last_word + 1, free) + words[chunk] - 1
            for t in range(distinct):
                run_chunk(t, chunk, chunk == layer.chunks - 1, position, last_word + LOAD_CLOCKS)
        slowest = max(tile.done for tile in tiles)
        begin = max(slowest + 1, begin + kernels + 1)
        freed[position & 1] = begin + kernels + 1
        # The drain hides behind the next position, unless another tile made it begin late.
        freeing[position & 1] = [
            Cause.SLOWER_TILE if tile.done < slowest == begin - 1 else Cause.DRAIN
            for tile in tiles]
        position += 1
        if seen is None or position == positions:
            continue
        # Everything that later events wait for, relative to this position's drain.
        # With the position's parity in it, a repetition leaves the banks' roles as they are.
        state = (position & 1, last_word - begin, freed[0] - begin, freed[1] - begin,
                 *(v for tile in tiles for v in tile.relative(begin)),
                 *(v - begin for release in releases for v in release))
        if state in seen:
            before, then, work = seen[state]
            repeats = (positions - position) // (position - before)
            clocks = repeats * (begin - then)
            for tile in tiles:
                tile.shift(clocks)
            releases = [[v + clocks for v in release] for release in releases]
            freed = [v + clocks for v in freed]
            last_word += clocks
            begin += clocks
            for tile, past in zip(tiles, work, strict=True):
                tile.spent = Counter({cause: now + repeats * (now - past[cause])
                                      for cause, now in tile.spent.items()})
            position += repeats * (position - before)
            seen = None
        else:
            seen[state] = (position, begin, [tile.spent.copy() for tile in tiles])

    per_product = [[sum(not job.void for job in jobs) for jobs in tile] for tile in lists]
    conversions = sum(sum(tile) for tile in per_product) * layer.row_groups * positions
    conversions <<= layer.averaging
    clocks = (begin + kernels + COLLECT_CLOCKS
              + multiplier_clocks(chip.requantizer.multiplier_bits))
    last = max(tile.emitted for tile in tiles)
    for tile in tiles:
        tile.wait(tile.emitted, clocks, ((Cause.DRAIN, last), (Cause.SLOWER_TILE, -inf)))
    return Timing(
        clocks=clocks,
        conversions=conversions * (len(used) // distinct), early_stops=stops,
        spent=tuple(tile.spent for tile in tiles) * (len(used) // distinct),
        products=positions * layer.chunks * layer.row_groups,
        last_code=max(tile.accepted for tile in tiles))


def calibration_timing(chip: Chip, layer: Calibration, phases: Phases | None = None,
                       used: Sequence[int] | None = None) -> Timing:
    """Clocks of a calibration: of the same conversions in a convolution, and of the division.

    Arguments as `convolution_timing`.
    """
    timing = convolution_timing(chip, layer.convolution(chip), phases, used=used)
    clocks = timing.last_code + CALIBRATE_CLOCKS
    if layer.measure is Measure.GAIN:
        clocks += chip.calibration_bits + GAIN_FRACTION_BITS + 2
    spent = {Cause.CONVERTING: timing.converting[0],
             Cause.CALIBRATION: clocks - timing.converting[0]}
    return replace(timing, clocks=clocks, spent=(spent,) * len(timing.spent))
