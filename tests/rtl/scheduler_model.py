"""The tile scheduler, clock by clock: what it shows, and what it holds after."""

from dataclasses import dataclass, field, replace

from golden.chip.descriptor import DESCRIPTOR_WORDS, USED_WORDS, Opcode
from rtl.scheduler import Cause
from tests.rtl.descriptors import fields_of, lawful

__all__ = ["Inputs", "SchedulerModel"]

_UNITS = {Opcode.CONVOLVE: "convolve", Opcode.CALIBRATE: "convolve", Opcode.ADD: "combine",
          Opcode.AVERAGE_POOL: "combine", Opcode.MAX_POOL: "combine", Opcode.LOAD: "transfer",
          Opcode.STORE: "transfer"}


@dataclass
class Inputs:
    """Of a clock; sets are of tenants."""

    start: set[int] = field(default_factory=set)
    abort: set[int] = field(default_factory=set)
    illegal: set[int] = field(default_factory=set)
    host_late: set[int] = field(default_factory=set)
    transfer_done: set[int] = field(default_factory=set)
    unit_done: bool = False
    timed_out: bool = False


@dataclass
class _Tenant:
    busy: bool = False
    transferring: bool = False
    index: int = 0          # of its descriptor in the memory
    layer: int = 0          # of its descriptor in its program
    left: int = 0           # descriptors up to the end of its window, this one among them


class SchedulerModel:
    """A program memory of ``programs`` (descriptors, by index), and the scheduler before it.

    ``windows``: of each tenant, by name, changed by whoever runs the model.
    """

    def __init__(self, programs: list[list[int]], windows: list[dict[str, int]]) -> None:
        self.programs, self.windows = programs, windows
        self.tenants = [_Tenant() for _ in windows]
        self.state, self.clock, self.tenant = "choose", 0, 0
        self.window = dict.fromkeys(windows[0], 0)
        self.unit = ""              # what starts in this clock
        self.clear = False
        self.begun = None           # whose windows are looked at in this clock
        self.words = [0] * DESCRIPTOR_WORDS
        # A word of the descriptor from the memory, and one from the register behind it, if any.
        self.arriving: list[tuple[int, int] | None] = [None, None]
        self.sums = 0, 0            # of the bases and the descriptor as they were a clock before

    def _halted(self, inputs: Inputs) -> set[int]:
        return {t for t, each in enumerate(self.tenants) if each.busy
                and t in inputs.abort | inputs.illegal | inputs.host_late}

    def _failures(self, inputs: Inputs) -> dict[int, Cause]:
        """By tenant; where there are several, what is found latest in a descriptor's life."""
        failures = {}
        for t, each in enumerate(self.tenants):
            if not each.busy or t in inputs.abort:
                continue
            present = self.state != "choose" and t == self.tenant
            causes = []
            if self._advances(t, inputs) and each.left < 2:
                causes.append(Cause.OPCODE)
            if present and self.state == "start":
                opcode = self.words[0] & 0xF
                if opcode > max(Opcode):
                    causes.append(Cause.OPCODE)
                elif not self._lawful:
                    causes.append(Cause.FIELD)
            if present and self.state == "run" and inputs.timed_out:
                causes.append(Cause.TIMEOUT)
            causes += [cause for cause, met in ((Cause.HOST, inputs.host_late),
                                                (Cause.FIELD, inputs.illegal)) if t in met]
            if causes:
                failures[t] = causes[-1]
        return failures

    def _advances(self, t: int, inputs: Inputs) -> bool:
        each = self.tenants[t]
        return (self.state == "run" and inputs.unit_done and t == self.tenant
                or t in inputs.transfer_done and each.transferring)

    def outputs(self, inputs: Inputs) -> dict[str, object]:
        """By name, each tenant's in a list; None where it does not matter."""
        tenants, failures = self.tenants, self._failures(inputs)
        present = None if self.state == "choose" else self.tenant
        ending = self.state == "start" and self.words[0] & 0xF == Opcode.END
        aborted = {t for t in inputs.abort if tenants[t].busy}
        fetching = self.state == "fetch" and tenants[self.tenant].busy
        reading = fetching and self.clock < USED_WORDS
        over = {t for t in range(len(tenants))
                if self._advances(t, inputs) or ending and t == self.tenant}
        return {
            "tenant": self.tenant, "window": self.window, "words": self.words,
            "constants": self.sums[0], "coefficients": self.sums[1],
            "read_enable": reading,
            "read_address": tenants[self.tenant].index * DESCRIPTOR_WORDS + self.clock
            if reading else None,
            "convolve": self.unit in ("convolve", "calibrate"),
            "calibrate": self.unit == "calibrate", "combine": self.unit == "combine",
            "transfer": [self.unit == "transfer" and t == self.tenant
                         for t in range(len(tenants))],
            "clear": self.clear,
            "transfer_clear": [t in self._halted(inputs) for t in range(len(tenants))],
            "busy": [each.busy for each in tenants], "layer": [each.layer for each in tenants],
            "failed": [t in failures for t in range(len(tenants))],
            "failed_cause": [failures[t].value if t in failures else None
                             for t in range(len(tenants))],
            "ended": [t in aborted or ending and t == present and t not in failures
                      for t in range(len(tenants))],
            "layer_done": [t in over and t not in aborted and t not in failures
                           for t in range(len(tenants))],
            "layer_begin": [t == self.tenant and reading and self.clock == 0
                            for t in range(len(tenants))],
            "fetching": [t == present and (fetching or self.state == "start")
                         for t in range(len(tenants))],
            "transferring": [each.transferring for each in tenants],
            "turn": [each.busy and t != present and not each.transferring
                     for t, each in enumerate(tenants)],
            "working": self.state == "run",
        }

    def step(self, inputs: Inputs) -> None:
        """To the next clock."""
        tenants, present, halted = self.tenants, self.tenant, self._halted(inputs)
        shown = self.outputs(inputs)
        advancing = [self._advances(t, inputs) for t in range(len(tenants))]
        waiting = [t for t, each in enumerate(tenants)
                   if (each.busy or t in inputs.start)
                   and (not each.transferring or t in inputs.transfer_done)]
        stopped = self.state != "choose" and (
            present in inputs.abort and tenants[present].busy or shown["failed"][present])
        was = replace(tenants[present])
        self._read(shown)
        for t, each in enumerate(tenants):
            if advancing[t]:
                each.layer, each.left = each.layer + 1, each.left - 1
                each.index = (each.index + 1) % len(self.programs)
                each.transferring = False
            if shown["transfer"][t]:
                each.transferring = True
            if t in inputs.start and not each.busy:
                window = self.windows[t]
                tenants[t] = _Tenant(True, False, window["program_base"] % len(self.programs), 0,
                                     window["program_length"])
            elif shown["ended"][t] or shown["failed"][t]:
                each.busy = each.transferring = False
        self._move(inputs, was, present in halted, waiting)
        self.clear = stopped

    def _read(self, shown: dict[str, object]) -> None:
        fields = fields_of(self.words)
        looked_at = self.window if self.begun is None else dict(self.windows[self.begun])
        self.sums = ((self.window["constants_base"] + fields["constants"]) % (1 << 16),
                     (self.window["coefficients_base"] + fields["coefficients"]) % (1 << 20))
        self.window, self.begun = looked_at, None
        fresh, last = self.arriving
        if last:
            place, word = last
            self.words = [*self.words[:place], word, *self.words[place + 1:]]
        index = self.tenants[self.tenant].index
        self.arriving = [(self.clock, self.programs[index][self.clock])
                         if shown["read_enable"] else None, fresh]

    def _move(self, inputs: Inputs, was: _Tenant, halted: bool, waiting: list[int]) -> None:
        """The state after this clock; ``was``: the present tenant as it was in it."""
        unit, self.unit = self.unit, ""
        count = len(self.tenants)

        def choose() -> None:
            self.clock, self.state = 0, "choose"
            order = [(self.tenant + distance) % count for distance in range(1, count + 1)]
            first = next((t for t in order if t in waiting), None)
            if first is not None:
                self.state, self.tenant = "fetch", first

        if self.state == "choose":
            choose()
        elif self.state == "fetch":
            if self.clock == 0 and was.busy:
                self.begun = self.tenant
            self.clock += 1
            if halted or not was.busy:
                self.state = "choose"
            elif self.clock > DESCRIPTOR_WORDS:
                self.state = "start"
                opcode = self.words[0] & 0xF
                self._lawful = lawful(opcode, fields_of(self.words), self.window)
                if self._lawful:
                    self.unit = ("calibrate" if opcode == Opcode.CALIBRATE
                                 else _UNITS.get(opcode, ""))
        elif self.state == "start":
            self.state = ("run" if unit in ("convolve", "calibrate", "combine") and not halted
                          else "choose")
        elif inputs.unit_done:
            choose()
        elif halted or inputs.timed_out:
            self.state = "choose"
