"""The fast path: the Verilated chip with C++ macros at its pins."""

from .library import HarnessError
from .run import RtlRun, Verification, run_on_rtl, verify_on_rtl

__all__ = ["HarnessError", "RtlRun", "Verification", "run_on_rtl", "verify_on_rtl"]
