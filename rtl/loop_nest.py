"""Nested counters, and numbers that follow them by additions only."""

from collections.abc import Mapping
from dataclasses import dataclass

from amaranth.hdl import Const, Module, Mux, Signal, Value
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
    run began; a step adds to that. So each clock holds one addition behind registers.

    Parameters
    ----------
    levels
        Width of the iteration count of each loop, innermost first.
    walkers
        By name.

    Members
    -------
    load : in
        Take counts and origins: go to the first iteration. Has priority over `advance`.
    advance : in
        Go to the next iteration. Meaningless after the last one.
    `{level}_count` : in
        Iterations of a loop, at least one; stable while the nest runs.
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
        carry: Value = self.advance
        for level, width in self.levels.items():
            count, last = getattr(self, f"{level}_count"), getattr(self, f"{level}_last")
            left = Signal(width, name=f"{level}_left")
            # `last` is a register of its own, so that no comparison precedes the carry.
            with m.If(self.load):
                m.d.sync += [left.eq(count), last.eq(count == 1)]
            with m.Elif(carry):
                m.d.sync += [left.eq(Mux(last, count, modulo(left - 1, width))),
                             last.eq(Mux(last, count == 1, left == 2))]
            carry = carry & last
        for name, walker in self.walkers.items():
            self._add_walker(m, name, walker)
        return m

    def _add_walker(self, m: Module, name: str, walker: Walker) -> None:
        origin = getattr(self, f"{name}_origin")
        order = list(self.levels)
        # The walker at index zero of a level and of all inside it.
        starts = {level: Signal(walker.width, name=f"{name}_{level}_start")
                  for level in order if level in walker.levels}
        with m.If(self.load):
            m.d.sync += [start.eq(origin) for start in starts.values()]
        with m.Elif(self.advance):
            inner = Const(1, 1)  # every loop inside the present level is at its last iteration
            for position, level in enumerate(order):
                last = getattr(self, f"{level}_last")
                if level in starts:
                    step = getattr(self, f"{name}_{level}_step")
                    landing = modulo(starts[level] + step, walker.width)
                else:
                    outside = [starts[other] for other in order[position:] if other in starts]
                    landing = outside[0] if outside else origin
                with m.If(inner & ~last):
                    m.d.sync += [starts[other].eq(landing) for other in order[:position + 1]
                                 if other in starts]
                inner = inner & last
        m.d.comb += getattr(self, name).eq(next(iter(starts.values())))
