"""Faults: what the chip makes of illegal programs, broken macros and hosts that misbehave."""

from .campaign import KINDS, Outcome, run_campaign
from .library import FaultChip, FaultError
from .tenants import MISDEEDS, run_tenant_campaign

__all__ = ["FaultChip", "FaultError", "KINDS", "MISDEEDS", "Outcome", "run_campaign",
           "run_tenant_campaign"]
