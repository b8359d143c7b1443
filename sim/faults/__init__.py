"""Faults: what the chip makes of illegal programs, broken macros and hosts that misbehave."""

from .campaign import KINDS, Outcome, run_campaign
from .library import FaultError

__all__ = ["FaultError", "KINDS", "Outcome", "run_campaign"]
