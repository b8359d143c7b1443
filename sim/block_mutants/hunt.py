"""Mutants of one block: which are found by its benches, and which are none."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

from rtl.verilog import TOP_NAME, component_verilog
from sim.mutants import Mutation, mutate

from .benches import Bench, collect
from .blocks import Block
from .equivalence import differences
from .library import BlockModel, block_ports, build_block
from .simulator import Run

__all__ = ["Finding", "State", "hunt"]


class State(Enum):
    """What became of a mutant."""

    FOUND = "found"             #: a bench fails
    EQUIVALENT = "equivalent"   #: proved: no input ever makes an output that matters differ
    SURVIVED = "survived"       #: an input makes an output differ, and no bench fails
    UNDECIDED = "undecided"     #: no bench fails, and no proof was found


@dataclass(frozen=True)
class Finding:
    """One mutant.

    ``bench`` fails as ``where`` tells. Of a survivor, ``where`` tells whether an output differs in
    any bench, and, in clocks from the reset, how soon one can.
    """

    mutation: Mutation
    state: State
    bench: str = ""
    where: str = ""


def hunt(name: str, block: Block, count: int, seed: int, *,
         progress: Callable[[float], None] = lambda share: None,
         proofs: bool = True) -> Iterator[Finding]:
    """``count`` mutants of ``block``, drawn by ``seed``, in their order.

    A bench is run on a mutant only if the block's outputs, given the inputs that the bench gave
    the intact block, differ: if they do not, nor does anything that the bench sees. With
    ``proofs``, survivors are decided upon where they can be.

    Raises RuntimeError if a bench fails without a mutant.
    """
    component = block.make()
    text, mutations = mutate(component_verilog(component, TOP_NAME), count, seed,
                             inside=block.inside, outside=block.outside)
    library = BlockModel.load(build_block(name, component, text))
    ports = block_ports(component)
    benches = [bench for bench in collect(block.benches)
               if bench.prepare(Run(component, library, 0, record=True))]
    if not benches:
        raise RuntimeError(f"no bench of {', '.join(block.benches)} is for this block")
    benches.sort(key=lambda bench: sum(bench.clocks))

    def examine(mutation: Mutation) -> Finding:
        shows = False
        for bench in benches:
            if _differs(bench, mutation.number):
                shows = True
                where = bench.fails(Run(component, library, mutation.number,
                                        limits=bench.limits()))
                if where:
                    return Finding(mutation, State.FOUND, bench.name, where)
        return Finding(mutation, State.UNDECIDED, "",
                       "outputs differ" if shows else "no output differs")

    def _differs(bench: Bench, number: int) -> bool:
        for recording in bench.recordings:
            model = BlockModel(library, ports, number)
            try:
                if model.differs(recording):
                    return True
            finally:
                model.close()
        return False

    findings = []
    for mutation in mutations:
        findings.append(examine(mutation))
        progress(len(findings) / (len(mutations) + 1))
    left = [finding.mutation.number for finding in findings if finding.state is not State.FOUND]
    answers = differences(block, component, text, left) if proofs and left else {}
    for finding in findings:
        if finding.mutation.number in answers:
            clock = answers[finding.mutation.number]
            finding = replace(finding, state=State.EQUIVALENT) if clock is None else replace(
                finding, state=State.SURVIVED,
                where=f"{finding.where}, one can in clock {clock}")
        yield finding
    progress(1.0)
