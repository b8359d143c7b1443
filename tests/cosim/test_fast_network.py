"""Whole residual networks on the RTL: every word equal, every layer's clocks as predicted."""

from multiprocessing import active_children
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from golden.chip import preset
from golden.chip.descriptor import Opcode
from golden.compile import Options, compile_stages
from golden.execute import execute
from golden.finetune import Training
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.profile import profile
from golden.program import Convolution, Elementwise, Program, ProgramError
from golden.timing import FETCH_CLOCKS, convolution_timings, layer_clocks, program_clocks
from sim.fast import run_on_rtl, verify_on_rtl

CHIP = preset("tiny")
SEED = 5


class Residual(nn.Module):
    """A network that nothing was developed on: strides, both kinds of shortcut, three pools."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4),
                                  nn.ReLU())
        self.same = nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4))
        self.wider = nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8))
        self.largest = nn.MaxPool2d(2)
        self.linear = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        x = functional.relu(self.same(x) + x)
        shortcut = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 4))
        x = functional.relu(self.wider(x) + shortcut)
        return self.linear(self.largest(x).mean((2, 3)))


@pytest.fixture(scope="module")
def compiled():
    torch.manual_seed(SEED)
    network = Residual()
    images = torch.rand(16, 3, 8, 8)
    network.train()(images)      # batch statistics other than zero and one
    options = Options(rounds=1, images=8, training=Training(epochs=0))
    stages = compile_stages(network.eval(), CHIP, images, seed=SEED, options=options)
    return stages.program, stages.images(images)


def clocks(program, macro, images, seed):
    traces = execute(program, macro, images, seed, trace=True).layers
    return [layer_clocks(program, traces=traces, image=i) + [FETCH_CLOCKS]
            for i in range(len(images))], traces


def test_network_has_every_kind_of_layer(compiled):
    program, _ = compiled
    kinds = {layer.opcode for layer in program.layers if isinstance(layer, Elementwise)}
    assert kinds == {Opcode.ADD, Opcode.MAX_POOL, Opcode.AVERAGE_POOL}
    adds = [layer for layer in program.layers if isinstance(layer, Elementwise)
            and layer.opcode is Opcode.ADD]
    assert [layer.second_stride for layer in adds] == [1, 2]
    assert adds[1].second_words < adds[1].channel_words
    assert sum(isinstance(layer, Convolution) for layer in program.layers) == 4


@pytest.mark.parametrize("physics", [MacroPhysics(), MacroPhysics.ideal()], ids=["noise", "ideal"])
def test_network_is_equal_word_for_word(compiled, physics):
    program, images = compiled
    macro = Macro(CHIP, physics, program.weights, SEED)
    expected, traces = clocks(program, macro, images[:6], SEED)
    found = verify_on_rtl(program, macro, images[:6], SEED, cycles=expected)
    found.comparison.check()
    assert {"code", "sum", "output", "buffer word", "stored word", "layer cycles"} <= set(
        found.comparison.compared)
    assert found.layer_cycles.tolist() == expected
    assert found.cycles.tolist() == [program_clocks(row[:-1]) for row in expected]
    golden = execute(program, macro, images[:6], SEED)
    assert (found.outputs == golden.outputs).all()
    assert (found.outputs[1:] != found.outputs[0]).any()
    rtl = run_on_rtl(program, macro, images[:6], SEED).images
    for index, image in enumerate(rtl):
        timings = convolution_timings(program, traces=traces, image=index).values()
        assert image.counters["converting"] == sum(t.converting[0] for t in timings)
        assert profile(program, traces=traces, image=index).clocks == image.counters["cycles"]


def test_processes_give_what_one_gives(compiled):
    program, images = compiled
    macro = Macro(CHIP, MacroPhysics(), program.weights, SEED)
    done = []
    together = run_on_rtl(program, macro, images[:3], SEED, processes=2,
                          progress=lambda *now: done.append(now))
    alone = [run_on_rtl(program, macro, images[i:i + 1], SEED, i).images[0] for i in range(3)]
    assert done == [(1, 3), (2, 3), (3, 3)]
    for one, other in zip(alone, together.images, strict=True):
        assert (one.stored == other.stored).all() and one.counters == other.counters
        assert all((a == b).all() for a, b in zip(one.codes, other.codes, strict=True))


def test_program_of_another_configuration_is_refused(compiled, tmp_path):
    program, images = compiled
    file = tmp_path / "tiny.program"
    program.save(file)
    with pytest.raises(ProgramError, match=CHIP.hash):
        Program.load(file, preset("default"))
    other = Macro(preset("default"), MacroPhysics(),
                  np.zeros((4, 144, 64), np.int8), SEED)
    with pytest.raises(ValueError, match="macro is of chip 'default'.*'tiny'"):
        run_on_rtl(program, other, images[:1], SEED)


#: Runs a program until it is interrupted; says when the first image is done.
_FOREVER = """
import signal
import sys
import numpy as np
from golden.chip import preset
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.program import Program
from sim.fast import run_on_rtl
if __name__ == "__main__":
    # Ignored where whatever runs the tests was started in the background of a shell.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    program = Program.load(sys.argv[1], preset("tiny"))
    macro = Macro(program.chip, MacroPhysics(), program.weights, 5)
    images = np.zeros((100_000, *program.input_shape), np.int8)
    run_on_rtl(program, macro, images, 5, processes=2,
               progress=lambda done, count: print(done, flush=True))
"""


def test_interrupt_ends_every_process(compiled, tmp_path):
    program, images = compiled
    run_on_rtl(program, Macro(CHIP, MacroPhysics(), program.weights, SEED), images[:1], SEED)
    file, script = tmp_path / "program", tmp_path / "forever.py"
    program.save(file)
    script.write_text(_FOREVER)
    environment = dict(os.environ, PYTHONPATH=os.getcwd())
    running = subprocess.Popen([sys.executable, script, file], stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.PIPE, env=environment, start_new_session=True)
    try:
        assert running.stdout.readline() == "1\n"
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(20) != 0
        assert "KeyboardInterrupt" in running.stderr.read()
        for _ in range(100):
            try:
                os.killpg(running.pid, 0)
            except ProcessLookupError:
                break
            time.sleep(0.1)
        else:
            pytest.fail("a simulation process outlived the interrupt")
    finally:
        running.stdout.close()
        running.stderr.close()
        try:
            os.killpg(running.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["forever.py", "program"]
    assert not active_children()
