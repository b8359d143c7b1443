"""AXI4-Lite manager, AXI4-Stream source and sink for cocotb, with pauses where wanted.

Everything happens right after rising clock edges, where a value read is the one that the
flip-flops see.
"""

from collections.abc import Sequence
from typing import Any
import random

import cocotb
from cocotb.triggers import RisingEdge

from .values import unsigned

__all__ = ["AxiLiteManager", "StreamSink", "StreamSource", "WatchdogError"]

#: Clocks without an answer that count as a hang.
ANSWER_LIMIT = 1000


class WatchdogError(AssertionError):
    """Nothing happened for too long."""


async def _pause(clock: Any, source: random.Random, probability: float) -> None:
    while source.random() < probability:
        await RisingEdge(clock)


class AxiLiteManager:
    """One write or read at a time, address and data of a write in random order.

    Parameters
    ----------
    dut, prefix, clock
        Handles of the ports, such as "s_axi_", and of the clock.
    source
        Generator of the pauses.
    pause
        Probability of a pause, clock by clock, before each valid and each ready.
    """

    def __init__(self, dut: Any, prefix: str, clock: Any, source: random.Random,
                 pause: float = 0.0) -> None:
        self._ports = {name: getattr(dut, prefix + name) for name in (
            "awaddr", "awprot", "awvalid", "awready", "wdata", "wstrb", "wvalid", "wready",
            "bresp", "bvalid", "bready", "araddr", "arprot", "arvalid", "arready", "rdata",
            "rresp", "rvalid", "rready")}
        self._clock, self._source, self.pause = clock, source, pause
        for name in ("awvalid", "wvalid", "bready", "arvalid", "rready", "awprot", "arprot",
                     "awaddr", "wdata", "wstrb", "araddr"):
            self._ports[name].value = 0

    async def _handshake(self, valid: str, ready: str, driven: str) -> None:
        """Raise the port ``driven`` until both ports are high at an edge."""
        await _pause(self._clock, self._source, self.pause)
        self._ports[driven].value = 1
        for _ in range(ANSWER_LIMIT):
            await RisingEdge(self._clock)
            if self._ports[valid].value == 1 and self._ports[ready].value == 1:
                self._ports[driven].value = 0
                return
        raise WatchdogError(f"{valid} and {ready} were not both high for {ANSWER_LIMIT} clocks")

    async def write(self, address: int, data: int, strobe: int = 0b1111) -> int:
        """Write a word; the response code."""
        self._ports["awaddr"].value = address
        self._ports["wdata"].value = data
        self._ports["wstrb"].value = strobe
        handshakes = [cocotb.start_soon(self._handshake("awvalid", "awready", "awvalid")),
                      cocotb.start_soon(self._handshake("wvalid", "wready", "wvalid"))]
        for handshake in handshakes:
            await handshake
        await self._handshake("bvalid", "bready", "bready")
        return unsigned(self._ports["bresp"])

    async def read(self, address: int) -> tuple[int, int]:
        """Read a word; the word and the response code."""
        self._ports["araddr"].value = address
        await self._handshake("arvalid", "arready", "arvalid")
        await self._handshake("rvalid", "rready", "rready")
        return unsigned(self._ports["rdata"]), unsigned(self._ports["rresp"])


class StreamSource:
    """Sends words on an AXI4-Stream, `tlast` on the last of each packet."""

    def __init__(self, dut: Any, prefix: str, clock: Any, source: random.Random,
                 pause: float = 0.0) -> None:
        self._valid, self._ready, self._data, self._last = (
            getattr(dut, prefix + name) for name in ("tvalid", "tready", "tdata", "tlast"))
        self._clock, self._source, self.pause = clock, source, pause
        self._valid.value = self._data.value = self._last.value = 0

    async def send(self, words: Sequence[int]) -> None:
        """Send one packet; returns when its last word was taken."""
        for i, word in enumerate(words):
            await _pause(self._clock, self._source, self.pause)
            self._valid.value, self._data.value = 1, int(word)
            self._last.value = int(i == len(words) - 1)
            while True:
                await RisingEdge(self._clock)
                if self._ready.value == 1:
                    break
            self._valid.value = 0


class StreamSink:
    """Takes words from an AXI4-Stream; checks that an offered word stays until it is taken."""

    def __init__(self, dut: Any, prefix: str, clock: Any, source: random.Random,
                 pause: float = 0.0) -> None:
        self._valid, self._ready, self._data, self._last = (
            getattr(dut, prefix + name) for name in ("tvalid", "tready", "tdata", "tlast"))
        self._clock, self._source, self.pause = clock, source, pause
        self.words: list[int] = []
        self.lasts: list[bool] = []
        self._ready.value = 0

    async def run(self) -> None:
        """Take words for ever."""
        waiting: tuple[int, int] | None = None
        while True:
            self._ready.value = ready = int(self._source.random() >= self.pause)
            await RisingEdge(self._clock)
            if self._valid.value != 1:
                if waiting is not None:
                    raise AssertionError("tvalid fell before the word was taken")
                continue
            word = unsigned(self._data), unsigned(self._last)
            if waiting is not None and waiting != word:
                raise AssertionError(f"the waiting word changed from {waiting} to {word}")
            if ready:
                self.words.append(word[0])
                self.lasts.append(bool(word[1]))
            waiting = None if ready else word
