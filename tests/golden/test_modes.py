"""The mode chosen for each layer: never slower than either, by the clocks of the program itself."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from golden.chip import preset
from golden.compile import Options, compile_network
from golden.finetune import Training
from golden.program import Convolution
from golden.timing import layer_clocks

OPTIONS = Options(training=Training(epochs=0), rounds=1, images=8)


class Mixed(nn.Module):
    """Few kernels over a large image, many over a small one, and a linear layer."""

    def __init__(self, few, many):
        super().__init__()
        self.few = nn.Conv2d(3, few, 3, padding=1)
        self.many = nn.Conv2d(few, many, 3, stride=2, padding=1)
        self.linear = nn.Linear(many * 9, 5)

    def forward(self, images):
        result = functional.relu(self.many(functional.relu(self.few(images))))
        return self.linear(result.flatten(1))


def _clocks(program):
    """Clocks by layer, with all passes of a layer together, as if no conversion stopped early."""
    never = replace(program, layers=tuple(
        replace(la, stop=np.zeros_like(la.stop)) if isinstance(la, Convolution) else la
        for la in program.layers))
    total = {}
    for layer, clocks in zip(never.layers, layer_clocks(never), strict=True):
        name = layer.name.split("[")[0]
        total[name] = total.get(name, 0) + clocks
    return total


@pytest.mark.parametrize("few, many, vectors", [(16, 64, 20), (3, 24, 4), (20, 80, 12)])
def test_chosen_mode_is_never_slower_than_either(few, many, vectors):
    torch.manual_seed(few)
    model, images = Mixed(few, many).eval(), torch.randn(8, 3, 6, 6)
    options = replace(OPTIONS, vectors_per_tile=vectors)
    chosen, merge, stream = (
        compile_network(model, preset("default"), images, seed=0,
                        options=replace(options, mode=mode))
        for mode in ("auto", "merge", "stream"))
    fixed = [_clocks(merge), _clocks(stream)]
    for name, clocks in _clocks(chosen).items():
        assert clocks == min(each[name] for each in fixed), name
    weighted = [la for la in chosen.layers if isinstance(la, Convolution)]
    if vectors == 20:
        assert {la.stream for la in weighted} == {False, True}
