"""A network that Crossloom was not developed with, on the RTL of the default chip."""

import numpy as np
import torch

from golden.chip import preset
from golden.compile import Options, compile_stages
from golden.finetune import Training
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.timing import layer_clocks
from golden.execute import execute
from sim.fast import verify_on_rtl
from tests.networks.bottleneck import bottleneck

SEED = 6


def test_every_word_and_clock_is_golden_s():
    images = torch.rand(10, 3, 32, 32, generator=torch.Generator().manual_seed(SEED))
    options = Options(rounds=1, images=8, training=Training(epochs=0))
    stages = compile_stages(bottleneck(), preset("default"), images, seed=SEED, options=options)
    program, codes = stages.program, stages.images(images[:2])
    macro = Macro(program.chip, MacroPhysics(), program.weights, SEED)
    golden = execute(program, macro, codes, SEED, trace=True)
    cycles = [layer_clocks(program, traces=golden.layers, image=i) for i in range(2)]
    found = verify_on_rtl(program, macro, codes, SEED, cycles=cycles)
    assert not found.comparison.mismatches
    assert sum(found.comparison.compared.values()) > 500_000
    np.testing.assert_array_equal(found.outputs, golden.outputs)
