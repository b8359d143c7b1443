"""Simulation: the RTL around golden's analog macro, on cocotb and on Verilated C++."""
