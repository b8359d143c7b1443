"""What belongs to a tenant: its windows of the memories, and its tiles."""

from amaranth.hdl import ShapeLike
from amaranth.lib import data

from golden.chip import Chip

__all__ = ["each_tenant", "tenant_windows"]


class _EachTenant(data.StructLayout):
    """A field per tenant, found by its number."""

    def __call__(self, target: object) -> data.View:
        return _EachTenantView(self, target)


class _EachTenantView(data.View):
    def __getitem__(self, tenant: int) -> object:
        return super().__getitem__(f"tenant{tenant}")


def each_tenant(chip: Chip, shape: ShapeLike) -> data.StructLayout:
    """``shape`` once for each tenant: fields ``tenant0``, ``tenant1``, ... or by number."""
    return _EachTenant({f"tenant{tenant}": shape for tenant in range(chip.tenants)})


def tenant_windows(chip: Chip) -> data.StructLayout:
    """Windows of a tenant as its registers hold them (golden.chip.registers).

    A base is the first entry, a length counts entries; descriptors address from the base.
    """
    return data.StructLayout({
        "program_base": 12, "program_length": 12,
        "activation_base": 16, "activation_words": 17,
        "constants_base": 16, "constant_entries": 17,
        "coefficients_base": 20, "coefficient_words": 21,
        "tiles": chip.tiles,
    })
