"""Fast addressed normal deviates for whole networks.

A deviate is a pure function of a key and its number, so neither batch size nor the order of work
changes what an image draws. One 64-bit word of splitmix64 gives four deviates: each 16 bits of it
pick a quantile of the normal distribution. Compared with `torch.randn` on a processor this is
several times faster, and it runs unchanged on a GPU.

The quantiles are those at (i + 1/2) / 2**16, divided by their standard deviation: the variance is
exactly 1, the largest deviate 4.2. Against the exact normal that cuts off tails of 3e-5, far
below what a converter of 8 bits resolves in a sum.
"""

from functools import cache
from hashlib import blake2b

import torch
from torch import Tensor

__all__ = ["key_of", "normal", "quantiles"]

# Increment and multipliers of splitmix64 (Steele, Lea, Flood, OOPSLA 2014), as signed integers.
_INCREMENT = 0x9E3779B97F4A7C15 - (1 << 64)
_STEPS = ((30, 0xBF58476D1CE4E5B9 - (1 << 64)), (27, 0x94D049BB133111EB - (1 << 64)))
_LAST_SHIFT = 31
# Words. Few enough for the caches, enough for PyTorch to divide each step among threads.
_CHUNK = 1 << 17


def key_of(*address: int | str) -> int:
    """A key for `normal`: a 63-bit hash of the address's parts, in order."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in address)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


@cache
def quantiles(device: torch.device) -> Tensor:
    """The table of 2**16 normal quantiles of unit variance; float32."""
    entries = 1 << 16
    ordinate = (torch.arange(entries, dtype=torch.float64) + 0.5) / entries
    table = torch.special.ndtri(ordinate)
    return (table / table.square().mean().sqrt()).float().to(device)


def normal(key: int, first: int, images: int, each: int, device: torch.device) -> Tensor:
    """Deviates of ``images`` images from number ``first`` on; float32 [images, each]."""
    words = -(-each // 4)
    total, start = images * words, first * words
    chunk = total if device.type == "cuda" else min(_CHUNK, total)
    table = quantiles(device)
    counter = torch.arange(chunk, device=device).mul_(_INCREMENT)
    state, shifted = torch.empty_like(counter), torch.empty_like(counter)
    index = torch.empty(4 * chunk, dtype=torch.int32, device=device)
    result = torch.empty(4 * total, device=device)
    for done in range(0, total, chunk):
        size = 4 * min(chunk, total - done)
        torch.add(counter, _signed(key + (start + done) * _INCREMENT), out=state)
        _mix(state, shifted)
        index.copy_(state.view(torch.uint16))
        torch.index_select(table, 0, index[:size], out=result[4 * done:4 * done + size])
    return result.view(images, 4 * words)[:, :each]


def _signed(word: int) -> int:
    """``word`` modulo 2**64, as a signed integer."""
    return ((word + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63)


def _mix(state: Tensor, shifted: Tensor) -> None:
    """Splitmix64's output function on int64 ``state``, in place; ``shifted`` is scratch."""
    for shift, multiplier in (*_STEPS, (_LAST_SHIFT, 1)):
        torch.bitwise_right_shift(state, shift, out=shifted)
        # The shift copies the sign bit; the mask makes it a logical one.
        state.bitwise_xor_(shifted.bitwise_and_((1 << (64 - shift)) - 1))
        if multiplier != 1:
            state.mul_(multiplier)
