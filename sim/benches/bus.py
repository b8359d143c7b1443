"""The chip's buses driven by cocotbext-axi, an independent reading of the AXI specifications.

Needs the package cocotbext-axi (extra ``test``).
"""

from collections.abc import Sequence
from itertools import repeat
from typing import Any
import random

import cocotb
from cocotbext.axi import (
    AxiLiteBus, AxiLiteMaster, AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource,
)
import numpy as np

from golden.chip.registers import IDENTIFIER, VERSION, registers
from golden.execute import execute
from sim.benches.chip import ChipBench, ChipParameters
from sim.compare import compare_image
from sim.host import input_words
from sim.runner import bench_parameters

__all__ = ["RefereeBench"]


def _pauses(source: random.Random, probability: float) -> Any:
    """Endless random pauses, as cocotbext-axi takes them."""
    return (source.random() < probability for _ in repeat(None))


class _Manager:
    """cocotbext-axi's AXI4-Lite manager, with the methods of `sim.axi.AxiLiteManager`."""

    def __init__(self, dut: Any, source: random.Random, pause: float) -> None:
        self.agent = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.aclk, dut.aresetn,
                                   reset_active_level=False)
        for channel in (self.agent.write_if.aw_channel, self.agent.write_if.w_channel,
                        self.agent.write_if.b_channel, self.agent.read_if.ar_channel,
                        self.agent.read_if.r_channel):
            channel.set_pause_generator(_pauses(source, pause))

    async def write(self, address: int, data: int) -> int:
        response = await self.agent.write(address, data.to_bytes(4, "little"))
        return int(response.resp)

    async def read(self, address: int) -> tuple[int, int]:
        response = await self.agent.read(address, 4)
        return int.from_bytes(response.data, "little"), int(response.resp)


class _Source:
    """cocotbext-axi's stream source, with the methods of `sim.axi.StreamSource`."""

    def __init__(self, dut: Any, source: random.Random, pause: float) -> None:
        self.agent = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk,
                                     dut.aresetn, reset_active_level=False, byte_lanes=4)
        self.agent.set_pause_generator(_pauses(source, pause))

    async def send(self, words: Sequence[int]) -> None:
        frame = AxiStreamFrame(np.array(words, "<u4").tobytes())
        await self.agent.send(frame)
        await self.agent.wait()


class _Sink:
    """cocotbext-axi's stream sink, with the members of `sim.axi.StreamSink`."""

    def __init__(self, dut: Any, source: random.Random, pause: float) -> None:
        self.agent = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, dut.aresetn,
                                   reset_active_level=False, byte_lanes=4)
        self.agent.set_pause_generator(_pauses(source, pause))
        self.words: list[int] = []
        self.lasts: list[bool] = []

    async def run(self) -> None:
        while True:
            frame = await self.agent.recv()
            words = np.frombuffer(bytes(frame.tdata), "<u4").tolist()
            self.words += words
            self.lasts += [False] * (len(words) - 1) + [True]


class RefereeBench(ChipBench):
    """The chip bench with the referee's agents on its buses."""

    def __init__(self, dut: Any, parameters: ChipParameters, source: random.Random) -> None:
        super().__init__(dut, parameters, source)
        self.host = _Manager(dut, source, parameters.pause)
        self.source = _Source(dut, source, parameters.pause)
        self.sink = _Sink(dut, source, parameters.pause)


@cocotb.test()
async def registers_answer(dut: Any) -> None:
    """Reset values, writes that stay, and an error for what is not there."""
    parameters = bench_parameters()
    bench = RefereeBench(dut, parameters, random.Random(cocotb.RANDOM_SEED))
    await bench.start()
    assert await bench.read("id") == IDENTIFIER
    assert await bench.read("version") == VERSION
    for register in registers(parameters.program.chip):
        reset = sum(bits.reset << bits.low for bits in register.bits)
        assert await bench.read(register.name) == reset, register.name
        writable = sum(((1 << bits.width) - 1) << bits.low for bits in register.bits
                       if bits.holds)
        if writable:
            await bench.write(register.name, 0xFFFF_FFFF)
            assert await bench.read(register.name) == writable, register.name
            await bench.write(register.name, reset)
    for address in (0x1C, 0x200, 0xFF_FFFC):
        assert (await bench.host.read(address))[1] != 0, f"a read of {address:#x} was answered"
        assert await bench.host.write(address, 0) != 0, f"a write to {address:#x} was taken"


@cocotb.test()
async def images_equal_golden(dut: Any) -> None:
    """A program loaded and run through the referee's agents."""
    parameters = bench_parameters()
    bench = RefereeBench(dut, parameters, random.Random(cocotb.RANDOM_SEED))
    await bench.start()
    await bench.load()
    golden = execute(parameters.program, parameters.macro, parameters.images, parameters.seed,
                     parameters.first_image, trace=True)
    for index, words in enumerate(input_words(parameters.program, parameters.images)):
        image = await bench.run_image(index, words)
        compare_image(parameters.program, golden.layers, index, image).check()
