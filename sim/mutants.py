"""Mutants of a chip: faults planted in its netlist, all in one simulation, one active at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
import re
import tempfile

import numpy as np
from numpy.typing import NDArray

from golden.execute import execute
from golden.macro import Macro
from golden.program import Program
from golden.timing import layer_clocks
from rtl.verilog import TOP_NAME, chip_verilog
from sim.compare import compare_image
from sim.equivalence import Prover
from sim.fast.bring_up import BringUpError
from sim.fast.exercise import try_chip
from sim.fast.headers import EXCITED
from sim.fast.library import Harness, HarnessError, MacroSettings, build_mutated_harness
from sim.fast.run import ImageError, image_result, load_program
from sim.host import input_words
from sim.record import RtlImage
from sim.registers import RegisterModel
from sim.toolchain import run_yosys

__all__ = ["SELECT", "SELECT_BITS", "Finding", "Mutation", "hunt", "mutate", "seen_while",
           "watched"]

#: Input of the mutated chip that selects a mutant; 0 selects none.
SELECT = "mutsel"
SELECT_BITS = 10
_OPTION = re.compile(r"-(\w+) (\S+)")
#: Of so many mutants of the whole, enough are in any submodule that is worth a look.
_SHARE = 60
#: A mutant may take this many times the clocks of the intact chip.
_PATIENCE = 3


@dataclass(frozen=True)
class Mutation:
    """One fault, ``number`` counted from 1: a bit of a cell's port inverted, stuck or mixed."""

    number: int
    mode: str
    module: str
    cell: str
    port: str
    bit: int
    command: str

    @classmethod
    def parse(cls, number: int, line: str) -> "Mutation":
        """From a line that Yosys's `mutate -list` wrote."""
        options = dict(_OPTION.findall(line))
        command = line.split(" -src ")[0]
        return cls(number, options["mode"], options["module"], options["cell"], options["port"],
                   int(options["portbit"]), command)

    def __str__(self) -> str:
        return f"{self.mode} at {self.module}/{self.cell}.{self.port}[{self.bit}]"


@dataclass(frozen=True)
class Finding:
    """What an image showed of a mutant: ``where`` it differed first, empty if nowhere.

    ``layer`` and ``word`` are those of the first mismatch; ``layer`` is "bring-up", a layer of an
    exercise or "load" before the image; ``word`` is "pins" where a rule of the macro's pins was
    broken, "program" where it did not come to its end. ``excited``: whether in any clock the
    mutant changed its bit; if not, the run was that of the intact netlist. ``equivalent``: whether
    one that was not found is proved to change nothing (sim.equivalence).
    """

    mutation: Mutation
    excited: bool
    equivalent: bool
    layer: str
    word: str
    where: str

    @property
    def found(self) -> bool:
        """Whether the image showed the mutant."""
        return bool(self.where)


#: Constants and what nobody reads go before mutants are drawn: most faults in them are none.
_PREPARE = f"""\
read_verilog chip.v
hierarchy -top {TOP_NAME}
proc
flatten
opt -full
wreduce
opt -full
memory_collect
opt_clean -purge
"""
#: Pins of a macro that matter only while another one is high, docs/integration.md.
_ENABLED = {pin: enable for enable, pins in {
    "write_enable": ("write_row", "write_group", "write_data"),
    "load_enable": ("load_bank", "load_clear", "load_row", "load_codes"),
    "convert": ("trial", "level")}.items() for pin in pins}
#: What Yosys writes for a mutant's number, and for the bit that it changes.
_NUMBER = re.compile(rf"^  assign (\S+) = {SELECT} == \d+'h[0-9a-f]+;$", re.MULTILINE)
_CHANGE = r"^  assign \S+ = {} \? (.+) : (.+);$"
#: Clocks of flip-flops and of memories' ports.
_CLOCK_PORT = re.compile(r" -port \\?(?:(?:RD|WR)_)?CLK ")
_CLOCK = re.compile(r"^  input (a?clk);$", re.MULTILINE)


def mutate(verilog: str, count: int, seed: int,
           inside: str = "", outside: str = "") -> tuple[str, tuple[Mutation, ...]]:
    """``verilog`` of a chip with ``count`` random mutants, and what they are.

    ``inside``, the hierarchical name of a submodule, limits them to its cells, ``outside`` to the
    cells beside it. A module of few cells has fewer mutants.
    Input `SELECT` of the result activates one of them. ToolError if Yosys is missing.
    """
    if not 1 <= count < 1 << SELECT_BITS:
        raise ValueError(f"count must be 1 to {(1 << SELECT_BITS) - 1}, not {count!r}")
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        (directory / "chip.v").write_text(verilog)
        enough = (_SHARE if inside or outside else 2) * count
        run_yosys(f"{_PREPARE}mutate -list {enough} -seed {seed} -o list.txt", directory)
        # A clock the wrong way round is nothing that a simulation of whole clocks can tell.
        lines = [line for line in (directory / "list.txt").read_text().splitlines()
                 if not _CLOCK_PORT.search(line) and (not inside or _is_in(inside, line))
                 and not (outside and _is_in(outside, line))]
        mutations = tuple(Mutation.parse(i, line) for i, line in enumerate(lines[:count], 1))
        plant = "\n".join(
            m.command.replace("mutate ", f"mutate -ctrl {SELECT} {SELECT_BITS} {m.number} ", 1)
            for m in mutations)
        run_yosys(f"{_PREPARE}{plant}\nwrite_verilog -noattr mutated.v", directory)
        return (directory / "mutated.v").read_text(), mutations


def _is_in(submodule: str, line: str) -> bool:
    """Whether a line of Yosys' list names a cell of ``submodule``."""
    # Amaranth adds a number to a submodule's name that is also that of a signal.
    return bool(re.search(rf"[ \\]{re.escape(submodule)}(?:\$\d+)?\.", line))


def seen_while(verilog: str) -> dict[str, str]:
    """Outputs of the chip that matter only while another one is high, and which that is.

    The words of a stream, of an answer on the bus and of a trace, with their valid; what a macro
    is to write, to load or to compare, with its enable.
    """
    outputs = re.findall(r"^  output (?:\[\d+:0\] )?(\w+);$",
                         verilog[verilog.index(f"module {TOP_NAME}("):].split("endmodule")[0],
                         re.MULTILINE)
    valid = {"m_axis_tdata": "m_axis_tvalid", "m_axis_tlast": "m_axis_tvalid",
             "s_axi_bresp": "s_axi_bvalid", "s_axi_rdata": "s_axi_rvalid",
             "s_axi_rresp": "s_axi_rvalid", "trace_layer__index": "trace_layer__done"}
    for output in outputs:
        trace, _, member = output.partition("__")
        if f"{trace}__valid" in outputs and member != "valid":
            valid[output] = f"{trace}__valid"
        if member in _ENABLED:
            valid[output] = f"{trace}__{_ENABLED[member]}"
    return valid


def watched(mutated: str) -> str:
    """What `mutate` wrote, and in it a call of `EXCITED` in each clock in which a mutant shows.

    That is, in which the bit that it changes would have another value without it. A run without
    a call is, bit for bit, that of the intact netlist. In SystemVerilog, by way of its DPI.
    """
    modules = []
    for text in re.split(r"(?<=^endmodule\n)", mutated, flags=re.MULTILINE):
        clock = _CLOCK.search(text)
        when = f"@(posedge {clock.group(1)})" if clock else "@*"
        calls = []
        for selected in _NUMBER.findall(text):
            change = re.search(_CHANGE.format(re.escape(selected)), text, re.MULTILINE)
            if change is None:
                raise RuntimeError(f"no bit that {selected} changes in the mutated netlist")
            new, old = change.groups()
            calls.append(f"  always {when} if ({selected} && ({new}) != ({old})) {EXCITED}();\n")
        if calls:
            body = f'  import "DPI-C" function void {EXCITED}();\n{"".join(calls)}endmodule\n'
            text = text.removesuffix("endmodule\n") + body
        modules.append(text)
    return "".join(modules)


def _named(layer: str, error: HarnessError) -> tuple[str, str, str]:
    return layer, "pins" if "pin " in str(error) else "program", str(error)


class _Deviation(Exception):
    """What a chip has done so far is not what the intact one does."""


class _Specimen:
    """The chip with mutant ``number``; ``excited`` says whether that has changed any bit yet."""

    def __init__(self, library: Path, tiles: int, number: int) -> None:
        self._library, self._tiles, self._number = library, tiles, number
        self.excited = False

    @contextmanager
    def open(self, settings: MacroSettings) -> Iterator[Harness]:
        """A simulation of it, from its reset on."""
        with Harness(self._library, settings, self._tiles, mutant=self._number) as harness:
            try:
                yield harness
            finally:
                self.excited |= harness.excited


class _Examiner:
    """Runs ``image`` on the intact netlist first, then on mutants, each as far as it is right."""

    def __init__(self, program: Program, macro: Macro, image: NDArray[np.int8], seed: int) -> None:
        golden = execute(program, macro, image[None], seed, trace=True)
        assert golden.layers is not None
        self._program, self._traces = program, golden.layers
        self._settings = MacroSettings(program, macro, seed, program.chip.phases)
        self._cycles = layer_clocks(program, traces=golden.layers)
        self._words = input_words(program, image[None])[0]
        self._intact: RtlImage | None = None

    def examine(self, specimen: "_Specimen") -> tuple[str, str, str]:
        """(layer, word, where) of the first mismatch with golden; empty if there is none."""
        try:
            try_chip(specimen.open, self._program.chip)
        except BringUpError as error:
            return error.layer, error.word, str(error)
        except HarnessError as error:
            return _named("bring-up", error)
        with specimen.open(self._settings) as harness:
            return self._examine_image(harness)

    def _examine_image(self, harness: Harness) -> tuple[str, str, str]:
        program = self._program
        model = RegisterModel(program.chip)
        try:
            load_program(harness, program, None, model)
            image = image_result(harness, program, self._words, 0, _PATIENCE * sum(self._cycles),
                                 lambda: self._follow(harness))
        except _Deviation:
            return self._first_mismatch(self._so_far(harness), None)
        except ImageError as error:
            # The words before the one that broke a rule, or never came, tell more.
            found = self._first_mismatch(self._so_far(harness), None)
            return found if found[0] else _named(error.layer, error)
        except HarnessError as error:
            return _named("load", error)
        if self._intact is None:
            self._intact = image
        return self._first_mismatch(image, model)

    def _first_mismatch(self, image: RtlImage, model: RegisterModel | None
                        ) -> tuple[str, str, str]:
        found = compare_image(self._program, self._traces, 0, image, self._cycles,
                              model).mismatches
        return (found[0].layer, found[0].word, str(found[0])) if found else ("", "", "")

    def _so_far(self, harness: Harness) -> RtlImage:
        """The intact chip's image, its first words replaced by those that have come."""
        intact = self._intact
        if intact is None:
            raise RuntimeError("the netlist without a fault breaks a rule or does not end")

        def begun(got: NDArray, whole: NDArray) -> NDArray:
            return np.concatenate([got, whole[len(got):]])

        return replace(
            intact, stored=begun(harness.outputs(), intact.stored),
            codes=tuple(begun(harness.codes(tile), codes)
                        for tile, codes in enumerate(intact.codes)),
            sums=begun(harness.sums(), intact.sums), words=begun(harness.words(), intact.words),
            rows=tuple(begun(harness.rows(tile, self._program.chip.array.granules), rows)
                       for tile, rows in enumerate(intact.rows)),
            masks=tuple(begun(harness.masks(tile, self._program.chip.array.columns), masks)
                        for tile, masks in enumerate(intact.masks)),
            layers=begun(harness.layers(), intact.layers))

    def _follow(self, harness: Harness) -> None:
        """Raises _Deviation if the words that have come are not the intact chip's."""
        if self._intact is None:
            return
        image = self._so_far(harness)
        pairs = [(getattr(image, name), getattr(self._intact, name))
                 for name in ("stored", "sums", "words", "layers")]
        pairs += [*zip(image.codes, self._intact.codes, strict=True),
                  *zip(image.rows, self._intact.rows, strict=True),
                  *zip(image.masks, self._intact.masks, strict=True)]
        for got, intact in pairs:
            if not np.array_equal(got, intact):
                raise _Deviation


def hunt(program: Program, macro: Macro, image: NDArray[np.int8], seed: int, count: int,
         mutant_seed: int) -> Iterator[Finding]:
    """Run ``image``, int8 [height, width, channels], on each of ``count`` mutants of the chip.

    Raises RuntimeError if the intact netlist, which runs first, differs from golden.
    """
    chip = program.chip
    intact = chip_verilog(chip)
    text, mutations = mutate(intact, count, mutant_seed)
    library = build_mutated_harness(chip, watched(text), SELECT)
    examiner = _Examiner(program, macro, image, seed)
    prover = Prover(intact, _PREPARE, TOP_NAME, seen_while(intact))
    for number in range(count + 1):
        specimen = _Specimen(library, chip.tiles, number)
        layer, word, where = examiner.examine(specimen)
        if number:
            mutation = mutations[number - 1]
            equivalent = not where and prover.is_equivalent(mutation.command)
            yield Finding(mutation, specimen.excited, equivalent, layer, word, where)
        elif where:
            raise RuntimeError(f"the netlist without a fault differs from golden: {where}")
