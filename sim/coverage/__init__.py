"""What of a chip's Verilog simulations reach: lines, branches and bits that toggle."""
