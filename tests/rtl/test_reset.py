"""A reset in any clock of any run leaves a block as it was at the beginning."""

import random

from amaranth.hdl import Signal, Value
from amaranth.lib.wiring import In
import pytest

from sim.block_mutants import BLOCKS
from tests.rtl.simulation import simulate

#: Write ports of memories, which a reset does not touch.
MEMORIES = ("correction_write", "level_write")
#: Outputs that show words of memories.
SHOWN = {"accumulator": ("drain_sum",)}
#: Inputs that begin or end something, so that more happens if they are rarely high.
RARE = ("start", "abort", "calibrate", "timed_out", "illegal", "host_late")


def random_inputs(inputs, generator):
    """A value for each input, mostly small so that counts come to an end."""
    values = []
    for name, width in inputs:
        if name in MEMORIES or name in RARE and generator.random() < 0.9:
            values.append(0)
        else:
            values.append(generator.getrandbits(generator.choice((width, width, min(width, 2)))))
    return values


@pytest.mark.parametrize("name", sorted(
    name for name, block in BLOCKS.items() if "test_reset" in block.benches and not block.inside))
def test_reset(name):
    block = BLOCKS[name]
    dut = block.make()
    generator = random.Random(name)
    inputs, outputs = [], []
    for path, member, value in dut.signature.flatten(dut):
        signal = Value.cast(value)
        if len(signal) and path[0] not in SHOWN.get(name, ()):
            (inputs if member.flow is In else outputs).append(
                ("__".join(map(str, path)), signal))
    contract = block.contract(dut)
    masks = {path: contract.mask(path, len(signal)) for path, signal in outputs}
    widths = [(path, len(signal)) for path, signal in inputs]
    after = [random_inputs(widths, generator) for _ in range(60)]
    reset = Signal()

    async def testbench(context):
        async def clock(values):
            for (_, signal), value in zip(inputs, values, strict=True):
                context.set(signal, value - (1 << len(signal)) if signal.shape().signed
                            and value >> (len(signal) - 1) else value)
            matters = {path: context.get(mask) for path, mask in masks.items()}
            seen = [(matters[path], context.get(signal) & matters[path])
                    for path, signal in outputs]
            await context.tick()
            return seen

        first = [await clock(values) for values in after]
        for _ in range(12):
            constant = random_inputs(widths, generator)
            for _ in range(generator.randrange(2, 50)):
                values = random_inputs(widths, generator)
                # Operands stand still for a while, handshakes do not.
                await clock([value if width == 1 or generator.random() < 0.05 else kept
                             for value, kept, (_, width)
                             in zip(values, constant, widths, strict=True)])
            context.set(reset, 1)
            await context.tick()
            context.set(reset, 0)
            assert [await clock(values) for values in after] == first

    simulate(dut, testbench, reset=reset)
