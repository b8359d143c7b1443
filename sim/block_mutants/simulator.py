"""Runs a test bench written for Amaranth's simulator on the Verilated netlist of a block."""

from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from ctypes import CDLL
from operator import and_, invert, or_, xor
from typing import Any

from amaranth.hdl import Const, Elaboratable, Shape, ShapeCastable, Signal, Value, ValueCastable
from amaranth.hdl._ast import Concat, Operator, Slice
from amaranth.lib.wiring import Component

from .library import BlockModel, Port, Recording, block_ports

__all__ = ["NetlistSimulator", "Run", "same_block"]

_PERIOD = 1e-6
_BITWISE = {"&": and_, "|": or_, "^": xor, "~": invert}


def same_block(first: Component, second: Component) -> bool:
    """Whether the two are one component in one configuration."""
    return type(first) is type(second) and first.signature == second.signature \
        and getattr(first, "chip", None) == getattr(second, "chip", None)


class Run:
    """What happens when benches run: which mutant they meet, and what is recorded.

    ``limit`` is the number of clocks after which a simulation that has not ended is given up, of
    each simulation in turn; None leaves that to the bench.
    """

    def __init__(self, block: Component, library: CDLL, mutant: int, record: bool = False,
                 limits: list[int] | None = None) -> None:
        self.block, self.library, self.mutant, self.record = block, library, mutant, record
        self.limits = limits
        self.recordings: list[Recording] = []
        self.clocks: list[int] = []

    def simulator(self, component: Elaboratable, reset: Signal | None) -> "NetlistSimulator":
        """In place of an Amaranth simulator of ``component`` that ``reset`` resets."""
        if not isinstance(component, Component) or not same_block(component, self.block):
            raise OtherBlockError
        index = len(self.clocks)
        self.clocks.append(0)
        return NetlistSimulator(self, component, reset, index)


class OtherBlockError(Exception):
    """A bench is for another component, or for another configuration."""


class _Wake:
    """What a bench waits for: a clock edge, or a time."""

    def __init__(self, simulator: "NetlistSimulator", sampled: tuple = (),
                 clocks: int | None = None) -> None:
        self.simulator, self.sampled, self.clocks = simulator, sampled, clocks

    def sample(self, *values: Any) -> "_Wake":
        """The same, and ``values`` as they are at the edge."""
        return _Wake(self.simulator, (*self.sampled, *values), self.clocks)

    def repeat(self, count: int) -> "_Wake":
        """The edge ``count`` clocks on."""
        return _Wake(self.simulator, self.sampled, count)

    def __await__(self) -> Generator["_Wake", tuple, tuple]:
        return (yield self)

    async def __aiter__(self) -> AsyncIterator[tuple]:
        while True:
            yield await self


class _Process:
    """A running bench: what it waits for, and what it gets."""

    def __init__(self, coroutine: Coroutine, background: bool) -> None:
        self.coroutine, self.background = coroutine, background
        self.waits: _Wake | None = None
        self.answer: tuple | None = None
        self.left = 0
        self.ended = False

    def resume(self) -> None:
        try:
            self.waits = self.coroutine.send(self.answer)
        except StopIteration:
            self.ended = True
            return
        if self.waits.clocks is not None:
            self.left = self.waits.clocks


class NetlistSimulator:
    """Stands for `amaranth.sim.Simulator`, as far as the benches of blocks use it.

    Benches are coroutines of one context, which may `set` inputs, `get` ports and their parts, and
    wait for `tick`, its samples, and `delay`. They wake in the order in which they were added.
    """

    def __init__(self, run: Run, component: Component, reset: Signal | None, index: int) -> None:
        self._run, self._index = run, index
        self._model: BlockModel | None = None
        ports = block_ports(component)
        self._ports_of = ports
        self._ports: dict[int, Port] = {
            id(port.signal if port.signal is not None else reset): port for port in ports}
        self._component, self._reset = component, reset
        self._benches: list[tuple[Callable, bool]] = []
        self._stale = True

    def add_clock(self, period: float) -> None:
        """The clock; all benches of blocks use the same period."""
        if period != _PERIOD:
            raise ValueError(f"period must be {_PERIOD}, not {period!r}")

    def add_testbench(self, bench: Callable, *, background: bool = False) -> None:
        """A bench; the simulation ends with the last that is not in the ``background``."""
        self._benches.append((bench, background))

    # The context of the benches.

    def set(self, target: Any, value: Any) -> None:
        """Drive an input, or a part of it."""
        if isinstance(target, ValueCastable):
            shape = target.shape()
            if isinstance(shape, ShapeCastable):
                value = Const.cast(shape.const(value)).value
        port, low, width, _ = self._place(Value.cast(target))
        if not port.is_input:
            raise ValueError(f"target must be an input, not {port.name}")
        _replace(self._model.inputs, 64 * port.word + low, width, int(value))
        self._stale = True

    def get(self, value: Any) -> Any:
        """A port, a part of it, or bits of several, as they are in this clock."""
        cast = Value.cast(value)
        if isinstance(cast, Operator) and cast.operator in _BITWISE:
            return _BITWISE[cast.operator](*map(self.get, cast.operands)) & (1 << len(cast)) - 1
        if isinstance(cast, Const):
            return cast.value
        if isinstance(cast, Concat):
            bits = low = 0
            for part in cast.parts:
                bits |= (self.get(part) & (1 << len(part)) - 1) << low
                low += len(part)
            return bits
        port, low, width, signed = self._place(cast)
        if port.is_input:
            words = self._model.inputs
        else:
            if self._stale:
                self._model.evaluate()
                self._stale = False
            words = self._model.outputs
        bits = _extract(words, 64 * port.word + low, width)
        if signed and bits >> (width - 1):
            bits -= 1 << width
        if isinstance(value, ValueCastable):
            shape = value.shape()
            if isinstance(shape, ShapeCastable):
                return shape.from_bits(bits)
        return bits

    def tick(self) -> _Wake:
        """The next clock edge."""
        return _Wake(self)

    def delay(self, seconds: float) -> _Wake:
        """Clock edges that take so long."""
        return _Wake(self, clocks=max(1, round(seconds / _PERIOD)))

    def _place(self, value: Value) -> tuple[Port, int, int, bool]:
        """Port, lowest bit and width of ``value`` there, and whether it is signed."""
        shape = Shape.cast(value.shape())
        low, width = 0, len(value)
        while not isinstance(value, Signal):
            if isinstance(value, Slice):
                low, value = low + value.start, value.value
            elif isinstance(value, Operator) and value.operator in ("s", "u"):
                value = value.operands[0]
            else:
                raise TypeError(f"value must be a port or bits of one, not {value!r}")
        try:
            return self._ports[id(value)], low, width, shape.signed
        except KeyError:
            raise TypeError(f"value must be of a port, not {value!r}") from None

    def run(self) -> None:
        """Until the last bench has ended that is not in the background."""
        run = self._run
        limit = None if run.limits is None else run.limits[self._index]
        model = self._model = BlockModel(run.library, self._ports_of, run.mutant)
        processes = []
        try:
            for port in self._ports_of:
                if port.is_input and port.signal is not None:
                    _replace(model.inputs, 64 * port.word, port.width, port.signal.init)
            if run.record:
                model.keep_record()
            for bench, background in self._benches:
                processes.append(_Process(bench(self), background))
                processes[-1].resume()
            clocks = 0
            while any(not (process.background or process.ended) for process in processes):
                if limit is not None and clocks >= limit:
                    raise AssertionError(f"the bench has not ended after {clocks} clocks")
                self._advance(model, processes)
                clocks += 1
            run.clocks[self._index] = clocks
            if run.record:
                # What the last clock has left, at which a bench may have looked, is recorded with
                # the next one.
                model.clock()
                run.recordings.append(model.recording())
        finally:
            for process in processes:
                process.coroutine.close()
            model.close()

    def _advance(self, model: BlockModel, processes: list[_Process]) -> None:
        woken = []
        for process in processes:
            if process.ended:
                continue
            if process.waits.clocks is not None:
                process.left -= 1
                if process.left:
                    continue
            process.answer = (True, False, *(self.get(value) for value in process.waits.sampled))
            woken.append(process)
        model.clock()
        self._stale = False
        for process in woken:
            process.resume()


def _replace(words: memoryview, low: int, width: int, value: int) -> None:
    """Bits ``low`` to ``low + width - 1`` of the words."""
    while width > 0:
        word, shift = divmod(low, 64)
        part = min(width, 64 - shift)
        mask = ((1 << part) - 1) << shift
        words[word] = words[word] & ~mask | value << shift & mask
        value >>= part
        low, width = low + part, width - part


def _extract(words: memoryview, low: int, width: int) -> int:
    word, shift = divmod(low, 64)
    value = words[word] >> shift
    taken = 64 - shift
    while taken < width:
        word += 1
        value |= words[word] << taken
        taken += 64
    return value & (1 << width) - 1
