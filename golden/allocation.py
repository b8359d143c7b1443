"""Places for tensors in the activation buffer."""

from collections.abc import Mapping

from .chip import ACTIVATIONS_PER_WORD, Chip
from .graph import Graph, Node
from .program import ProgramError

__all__ = ["pixel_words", "tensor_words", "allocate"]


def pixel_words(node: Node) -> int:
    """Words of one pixel of a tensor: its channels in groups of four."""
    return -(-node.shape[0] // ACTIVATIONS_PER_WORD)


def tensor_words(node: Node) -> int:
    """Words of a whole tensor."""
    return node.shape[1] * node.shape[2] * pixel_words(node)


def allocate(graph: Graph, chip: Chip) -> Mapping[str, int]:
    """Address of every tensor, first fit in order of execution.

    A tensor keeps its words from the layer that writes it to the last one that reads it; the
    output until the end. Raises ProgramError, naming the layer, where the buffer is too small.
    """
    last = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    last[graph.output.name] = len(graph.nodes)
    addresses: dict[str, int] = {}
    taken: list[tuple[int, int, int]] = []  # start, end, last use
    for i, node in enumerate(graph.nodes):
        taken = sorted(entry for entry in taken if entry[2] >= i)
        size, start = tensor_words(node), 0
        for begin, end, _ in taken:
            if begin - start >= size:
                break
            start = max(start, end)
        if start + size > chip.memories.activation_words:
            held = sum(end - begin for begin, end, _ in taken)
            raise ProgramError(
                f"layer {node.name!r}: its output of {size} words does not fit the activation "
                f"buffer of chip {chip.name!r} ({chip.memories.activation_words} words), where "
                f"{held} words are still in use")
        addresses[node.name] = start
        taken.append((start, start + size, last[node.name]))
    return addresses
