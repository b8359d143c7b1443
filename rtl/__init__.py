"""The implementation: Amaranth components, parameterised by golden.chip and nothing else."""
