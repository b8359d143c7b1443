"""The fast path: the Verilated chip with C++ macros at its pins."""

from .library import HarnessError
from .run import RtlRun, Verification, run_on_rtl, verify_on_rtl
from .waves import Waves

__all__ = ["HarnessError", "RtlRun", "Verification", "Waves", "run_on_rtl", "verify_on_rtl"]
