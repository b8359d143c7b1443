"""Nested counters, and numbers that follow them by additions only."""

from collections.abc import Mapping
from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from .arithmetic import modulo

__all__ = ["Walker", "LoopNest"]


@dataclass(frozen=True)
class Walker:
    """A number ``origin + sum over its levels of index * step``, modulo ``2**width``.

    Parameters
    ----------
    width
        Bits of the number, its origin and its steps.
    levels
        Levels of the nest that move it.
    """

    width: int
    levels: tuple[str, ...]


class LoopNest(Component):
    """Nested loops that take one iteration per clock, without a bubble at any loop's end.

    Instead of multiplying indices, every level of a walker keeps the number at which its present
    run began; a step adds to that. Which level is the next to step is known a clock before, one
    bit per level, so that each clock holds a choice of operands and one addition.

    Parameters
    ----------
    levels
        Width of the iteration count of each loop, innermost first.
    walkers
        By name.

    Members
    -------
    load : in
        Take counts and origins: go to the first iteration. Not before the third clock after a
        reset, nor before a run has ended.
    advance : in
        Go to the next iteration; at the last one, end the run. Outputs mean something while one
        runs.
    `{level}_count` : in
        Iterations of a loop, at least one; stable while the nest runs, and two clocks before.
    `{level}_last` : out
        The loop is at its last iteration.
    `{walker}_origin`, `{walker}_{level}_step` : in
        Start and steps; stable while the nest runs.
    `{walker}` : out
        The number at the present iteration.

    Latency
    -------
    The outputs show the first iteration in the clock after `load`, the next one in the clock
    after `advance`; all of them are registers.
    """

    def __init__(self, levels: Mapping[str, int], walkers: Mapping[str, Walker]) -> None:
        self.levels, self.walkers = dict(levels), dict(walkers)
        if not levels:
            raise ValueError("levels must name at least one loop, not none")
        members = {"load": In(1), "advance": In(1)}
        for level, width in self.levels.items():
            members |= {f"{level}_count": In(width), f"{level}_last": Out(1)}
        for name, walker in self.walkers.items():
            unknown = [level for level in walker.levels if level not in self.levels]
            if unknown or not walker.levels:
                raise ValueError(f"walker {name!r} must move with levels out of "
                                 f"{', '.join(self.levels)}, not {walker.levels!r}")
            members |= {name: Out(walker.width), f"{name}_origin": In(walker.width)}
            members |= {f"{name}_{level}_step": In(walker.width) for level in walker.levels}
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        steps, moves = self._add_counters(m)
        for name, walker in self.walkers.items():
            self._add_walker(m, name, walker, steps, moves)
        return m

    def _add_counters(self, m: Module) -> tuple[list[Signal], list[Signal]]:
        """The loops' counters.

        Which level steps with the next `advance`, none after the last; which levels move then:
        that one, and those inside it.
        """
        order = list(self.levels)
        steps, moves, lasts, nears, inside_single = [], [], [], [], []
        for level in order:
            steps.append(Signal(name=f"{level}_step"))
            moves.append(Signal(name=f"{level}_moves"))
            lasts.append(getattr(self, f"{level}_last"))
            nears.append(Signal(name=f"{level}_near"))              # one more, then `last`
            inside_single.append(Signal(name=f"{level}_inside"))    # loops inside it: one iteration
        singles = []
        for place, (level, width) in enumerate(self.levels.items()):
            count, last, near = getattr(self, f"{level}_count"), lasts[place], nears[place]
            left = Signal(width, name=f"{level}_left")
            single, double = (Signal(name=f"{level}_{name}") for name in ("single", "double"))
            m.d.sync += [single.eq(count == 1), double.eq(count == 2),
                         inside_single[place].eq(Cat(Const(1, 1), *singles).all())]
            singles.append(single)
            with m.If(self.load | self.advance & moves[place]):
                m.d.sync += [left.eq(count), last.eq(single), near.eq(double)]
                with m.If(steps[place]):
                    m.d.sync += [left.eq(modulo(left - 1, width)), last.eq(near),
                                 near.eq(left == 3)]
        choices = []
        for place in range(len(steps)):
            # The innermost level that is not at its last iteration then: after a step of level
            # `moved` those inside it begin anew, and those outside stand where they are.
            first = inside_single[place] & ~singles[place]
            following = []
            for moved, moving in enumerate(steps):
                if place < moved:
                    following.append(moving & first)
                elif place == moved:
                    following.append(moving & inside_single[moved] & ~nears[moved])
                else:
                    following.append(moving & inside_single[moved] & nears[moved]
                                     & Cat(*lasts[moved + 1:place]).all() & ~lasts[place])
            choices.append((first, Cat(*following).any()))
        for place, (step, move) in enumerate(zip(steps, moves, strict=True)):
            with m.If(self.load):
                m.d.sync += [step.eq(choices[place][0]),
                             move.eq(Cat(*(first for first, _ in choices[place:])).any())]
            with m.Elif(self.advance):
                m.d.sync += [step.eq(choices[place][1]),
                             move.eq(Cat(*(later for _, later in choices[place:])).any())]
        return steps, moves

    def _add_walker(self, m: Module, name: str, walker: Walker, steps: list[Signal],
                    moves: list[Signal]) -> None:
        origin = getattr(self, f"{name}_origin")
        order = list(self.levels)
        # The walker at index zero of a level and of all inside it.
        starts = {level: Signal(walker.width, name=f"{name}_{level}_start")
                  for level in order if level in walker.levels}
        # Levels inside all of the walker's leave it where it is.
        innermost = min(order.index(level) for level in starts)
        bases, distances = [origin & self.load.replicate(walker.width)], []
        for place, level in list(enumerate(order))[innermost:]:
            chosen = steps[place].replicate(walker.width)
            outside = [starts[other] for other in order[place:] if other in starts]
            bases.append((outside[0] if outside else origin) & chosen)
            if level in starts:
                distances.append(getattr(self, f"{name}_{level}_step") & chosen)
        landing = modulo(_joined(bases) + _joined(distances), walker.width)
        for place, level in enumerate(order):
            if level in starts:
                with m.If(self.load | self.advance & moves[place]):
                    m.d.sync += starts[level].eq(landing)
        m.d.comb += getattr(self, name).eq(next(iter(starts.values())))


def _joined(choices: list[Value]) -> Value:
    """The one of ``choices`` that is not zero, if any."""
    result = choices[0]
    for choice in choices[1:]:
        result = result | choice
    return result
