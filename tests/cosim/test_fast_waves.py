"""Waves of the fast path: of everything, a layer or a position; whole or not at all."""

import pytest

from golden.chip import Phases, preset
from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.program import Convolution, Elementwise
from scripts.vcd import signals_by_clock
from sim.fast import HarnessError, Waves, run_on_rtl
from sim.products import product_ranges
from sim.random_programs import random_images, random_program

CHIP = preset("tiny")
SEED = 9
SIGNALS = {"macro0__product": False, "trace_layer__index": False, "trace_sum__valid": False,
           "trace_sum__position": False, "trace_sum__kernel": False}
PROGRAM = random_program(CHIP, SEED)
LAYER = max((layer for layer in PROGRAM.layers if isinstance(layer, Convolution)),
            key=lambda layer: layer.window.positions)


def run(path, layer=None, position=None, **options):
    macro = Macro(CHIP, MacroPhysics(), PROGRAM.weights, SEED)
    images = random_images(PROGRAM, 2, SEED)
    return run_on_rtl(PROGRAM, macro, images, SEED, waves=Waves(path, layer, position),
                      **options)


def test_waves_of_a_position(tmp_path):
    """The dump's first stretch, image 0: from the product before it to its last output."""
    path, position = tmp_path / "waves.vcd", LAYER.window.positions // 2
    run(path, LAYER.name, position)
    _, found = signals_by_clock(path, SIGNALS, "aclk")
    index = PROGRAM.layers.index(LAYER)
    start = {each.layer: each.first for each in product_ranges(PROGRAM)}[LAYER.name]
    products = LAYER.chunks * LAYER.row_groups
    assert set(found["trace_layer__index"]) == {index}
    assert found["macro0__product"][0] == start + position * products - 1
    assert set(found["macro0__product"]) >= set(
        range(start + position * products, start + (position + 1) * products))
    sums = [(p, k) for valid, p, k in zip(
        found["trace_sum__valid"], found["trace_sum__position"], found["trace_sum__kernel"],
        strict=True) if valid]
    assert sums[-1] == (position, LAYER.kernels - 1)
    assert {p for p, _ in sums} <= {position - 2, position - 1, position}


def test_waves_of_a_layer(tmp_path):
    path = tmp_path / "waves.vcd"
    run(path, LAYER.name)
    _, found = signals_by_clock(path, SIGNALS, "aclk")
    sums = [p for valid, p in zip(found["trace_sum__valid"], found["trace_sum__position"],
                                  strict=True) if valid]
    assert set(found["trace_layer__index"]) == {PROGRAM.layers.index(LAYER)}
    assert sorted(set(sums)) == list(range(LAYER.window.positions))


def test_waves_up_to_a_failure_are_kept(tmp_path):
    """Phases that the macro is told of, and the chip is not: the first product breaks a rule."""
    path = tmp_path / "waves.vcd"

    def refuse(*_):
        raise KeyboardInterrupt

    macro = Macro(CHIP, MacroPhysics(), PROGRAM.weights, SEED)
    images = random_images(PROGRAM, 1, SEED)
    with pytest.raises(HarnessError, match="closed for"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("sim.fast.run.load_writes", without_phases())
        run_on_rtl(PROGRAM, macro, images, SEED, waves=Waves(path),
                   phases=Phases(3, 3, 3, 3, 3, 3, 3))
    _, found = signals_by_clock(path, SIGNALS, "aclk")
    assert len(found["macro0__product"]) > 100
    path.unlink()
    with pytest.raises(KeyboardInterrupt):
        run(path, LAYER.name, progress=refuse)
    assert list(tmp_path.iterdir()) == []


def without_phases():
    from sim.host import load_writes
    return lambda program, phases: load_writes(program, None)


@pytest.mark.parametrize("arguments, message", [
    (("waves.txt",), "Waves.path must end in .fst or .vcd, not 'waves.txt'"),
    (("w.vcd", None, 3), "Waves.layer must be given with a position"),
    (("w.vcd", "nowhere"), "Waves.layer must be one of load, .*not 'nowhere'"),
    (("w.vcd", LAYER.name, LAYER.window.positions), "Waves.position must be 0 to .* not"),
    (("w.vcd", LAYER.name, -1), "Waves.position must be 0 to .*, not -1"),
    (("w.vcd", next(layer.name for layer in PROGRAM.layers if isinstance(layer, Elementwise)), 0),
     "is no convolution"),
])
def test_what_is_not_there_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Waves(*arguments).window(PROGRAM)
