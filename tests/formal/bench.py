"""Properties around a component, and their proof for every input in every clock."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import and_
import re

from amaranth.back import rtlil
from amaranth.hdl import Const, Module, Mux, Signal, Value, ValueLike
from amaranth.lib.wiring import Component, In

from sim.reach import INDUCTION, earliest

__all__ = ["Bench", "Verdict", "implies"]


def implies(condition: Value, consequence: ValueLike) -> Value:
    """High unless ``condition`` is and ``consequence`` is not; both one bit."""
    return ~condition | consequence


@dataclass(frozen=True)
class Verdict:
    """Outcome of a proof.

    ``violated`` is the first clock in which each violated property can fail, by name;
    ``unreached`` are the covers that cannot be reached, so that what they stand for is vacuous.
    """

    violated: dict[str, int]
    unreached: frozenset[str]

    @property
    def proved(self) -> bool:
        """Every property holds for ever and every cover can be reached."""
        return not self.violated and not self.unreached


class Bench:
    """A module `module` with components whose inputs are free, and properties of them.

    The reset is an input like any other: properties hold with a reset in any clock. Registers
    that `past` and the caller make in the sync domain are reset with the design; `started` tells
    whether the clock before belongs to the same run.
    """

    def __init__(self) -> None:
        self.module = Module()
        self._ports: list[Value] = []
        self._probes: dict[str, tuple[str, int]] = {}
        self._assumptions: list[Value] = []
        self._lemmas: list[Value] = []
        self._properties: dict[str, Value] = {}
        self._covers: dict[str, Value] = {}
        self.started = self.past(1)

    def add(self, name: str, component: Component, driven: Iterable[str] = ()) -> Component:
        """``component`` as a submodule; its inputs are free but for those ``driven`` by others."""
        setattr(self.module.submodules, name, component)
        driven = set(driven)
        for path, member, value in component.signature.flatten(component):
            if member.flow is In and path[0] not in driven:
                self._ports.append(Value.cast(value))
        return component

    def free(self, name: str, shape: object = 1) -> Signal:
        """A signal that takes any value in any clock."""
        signal = Signal(shape, name=name)
        self._ports.append(Value.cast(signal))
        return signal

    def constant(self, name: str, shape: object = 1) -> Value:
        """Any value, the same in every clock and across resets."""
        choice = self.free(name, shape)
        chosen = Signal.like(choice, name=f"{name}_chosen", reset_less=True)
        first = Signal(name=f"{name}_first", init=1, reset_less=True)
        self.module.d.sync += first.eq(0)
        value = Mux(first, choice, chosen)
        self.module.d.sync += chosen.eq(value)
        return value

    def probe(self, path: str, shape: object, occurrence: int = 0) -> Signal:
        """The signal of ``shape`` at hierarchical name ``path``, such as ``dut.count``.

        Where a module has several signals of that name, ``occurrence`` counts them.
        """
        name = f"probe_{path.replace('.', '_')}_{occurrence}"
        if name in self._probes:
            raise ValueError(f"path must not be probed twice, as {path!r} is")
        self._probes[name] = (path, occurrence)
        return self.free(name, shape)

    def past(self, value: ValueLike, init: int = 0) -> Signal:
        """``value`` in the clock before; ``init`` in the clock after a reset."""
        value = Value.cast(value)
        register = Signal(value.shape(), init=init, name=f"past{len(self._ports)}", src_loc_at=1)
        self.module.d.sync += register.eq(value)
        return register

    def assume(self, value: Value) -> None:
        """Only look at runs in which ``value`` is high from the first clock to the present."""
        self._assumptions.append(value)

    def always(self, name: str, value: Value) -> None:
        """Claim that ``value`` is high in every clock."""
        self._properties[name] = value

    def lemma(self, value: Value) -> None:
        """Claim that ``value`` is high in every clock; all other proofs may rest on it."""
        self._lemmas.append(value)

    def cover(self, name: str, value: Value) -> None:
        """Claim that ``value`` can be high in some clock."""
        self._covers[name] = value

    def stable_stream(self, name: str, valid: Value, ready: Value, payload: ValueLike,
                      withdraw: ValueLike = 0) -> None:
        """The rule of every producer: what is valid stays, unchanged, until it is taken.

        ``withdraw`` excuses the clock after it, as an abort does. Also covers that the consumer
        keeps the producer waiting, and that two transfers follow each other.
        """
        payload = Value.cast(payload)
        waiting = self.past(valid & ~ready & ~Value.cast(withdraw))
        before = self.past(payload)
        self.always(f"{name} holds until taken",
                    implies(waiting, valid & (payload == before)))
        self.cover(f"{name} waits", waiting)
        again = Signal(name=f"again{len(self._covers)}")
        with self.module.If(valid & ready):
            self.module.d.sync += again.eq(1)
        self.cover(f"{name} transfers again", again & valid & ready)

    def check(self, only: Iterable[str] | None = None, *, induction: int = INDUCTION) -> Verdict:
        """Decide every property and cover, or the properties named in ``only`` without lemmas.

        ``induction``: see `sim.reach.earliest`.

        Raises ValueError for a name in ``only`` that is no property, ToolError where no decision
        is found.
        """
        if unknown := set(only or ()) - set(self._properties):
            raise ValueError(f"only must name properties, not {sorted(unknown)}")
        assumed, _ = self._until_now("assumed", self._assumptions)
        questions: dict[str, Value] = {}
        if only is not None:
            questions |= {name: assumed & ~self._properties[name].bool() for name in only}
        else:
            covers = {name: assumed & value.bool() for name, value in self._covers.items()}
            lemmas, rested = self._until_now("rested", self._lemmas)
            # Each lemma where none has failed before, so that none can be the first to fail.
            questions |= {f"lemma {i}": assumed & rested & ~value.bool()
                          for i, value in enumerate(self._lemmas)}
            questions |= {name: assumed & lemmas & ~value.bool()
                          for name, value in self._properties.items()}
            questions |= covers
        # A register each, that a reset does not touch: the answer shows a clock later.
        outputs = {name: Signal(name=f"question_{i}", reset_less=True)
                   for i, name in enumerate(questions)}
        self.module.d.sync += [outputs[name].eq(value) for name, value in questions.items()]
        source = rtlil.convert(self.module, name="top", emit_src=False,
                               ports=[*self._ports, *outputs.values()])
        first = earliest(source, [output.name for output in outputs.values()],
                         probes={port: _inner_name(source, *place)
                                 for port, place in self._probes.items()},
                         induction=induction)
        clocks = {name: None if clock is None else clock - 1
                  for name, output in outputs.items() for clock in [first[output.name]]}
        covered = set() if only is not None else set(self._covers)
        return Verdict({name: clock for name, clock in clocks.items()
                        if clock is not None and name not in covered},
                       frozenset(name for name in covered if clocks[name] is None))

    def _until_now(self, name: str, values: list[Value]) -> tuple[Value, Value]:
        """Whether all ``values`` are high from the first clock to the present; to the last one."""
        if not values:
            return Const(1), Const(1)
        now, kept = Signal(name=name), Signal(name=f"{name}_kept", init=1, reset_less=True)
        self.module.d.comb += now.eq(kept & reduce(and_, (value.bool() for value in values)))
        self.module.d.sync += kept.eq(now)
        return now, kept


def _inner_name(source: str, path: str, occurrence: int) -> str:
    """Name, after flattening, of the signal at ``path`` (Bench.probe)."""
    *modules, signal = path.split(".")
    module = ".".join(("top", *modules))
    text = re.search(rf"^module \\{re.escape(module)}$.*?^end$", source, re.M | re.S)
    if text is None:
        raise ValueError(f"path must begin with a submodule, not {path!r}")
    names = re.findall(rf"^  wire .*\\({re.escape(signal)}(?:\$\d+)?)$", text[0], re.M)
    if len(names) <= occurrence:
        raise ValueError(f"path must name a signal, of which there are more than {occurrence}, "
                         f"not {path!r}")
    return "\\" + ".".join((*modules, names[occurrence]))
