"""Benches: cocotb tests of the chip and of its blocks, run by `sim.runner.run_bench`."""
