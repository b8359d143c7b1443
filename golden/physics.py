"""Physics of the charge-domain macro and its converter, in physical units."""

from dataclasses import dataclass, fields
from math import isfinite, sqrt

from .chip import ACTIVATION_BITS, Array

__all__ = ["BOLTZMANN", "MacroPhysics"]

#: Boltzmann's constant in J/K (exact by the definition of the kelvin).
BOLTZMANN = 1.380649e-23
_FEMTO = 1e-15


@dataclass(frozen=True)
class MacroPhysics:
    """Deviations of one charge-domain macro from exact arithmetic.

    The macro modelled on (65 nm, arXiv 2212.04320) publishes none of these values: the defaults
    are a reconstruction of what its kind of circuit has in 65 nm, and every one is a parameter.

    Parameters
    ----------
    unit_capacitor
        Capacitor of one weight bit of one row, fF. Reconstruction: 2, a small metal fringe
        capacitor above the cell.
    supply
        Voltage that an activation at full scale puts on a unit capacitor, V. Reconstruction: 1.2,
        core supply in 65 nm.
    temperature
        K; sets the thermal (kT/C) noise. 300, room temperature.
    mismatch_sigma
        Standard deviation of a unit capacitor relative to its value. Reconstruction: 0.003.
    gain_loss, gain_loss_spread
        Mean and standard deviation, from column to column, of the share of the charge that the
        column's parasitic capacitance takes. Reconstruction: 0.005 and 0.001.
    comparator_offset
        Standard deviation from tile to tile of the comparator's offset, V: what is left after its
        auto-zero. Reconstruction: 2e-4.
    comparator_noise
        Standard deviation of the comparator's noise, V. Reconstruction: 5e-5.
    sampling_capacitor
        Capacitor that the adder network fills and the converter reads, fF. Reconstruction: 1000.
    second_order, third_order
        Integral non-linearity of the converter: at trial level x, in fractions of its full scale,
        the reference stands at ``x + second_order * x**2 + third_order * x**3``. Reconstruction:
        0.004 and -0.006, together about one step of eight bits.
    """

    unit_capacitor: float = 2.0
    supply: float = 1.2
    temperature: float = 300.0
    mismatch_sigma: float = 0.003
    gain_loss: float = 0.005
    gain_loss_spread: float = 0.001
    comparator_offset: float = 2e-4
    comparator_noise: float = 5e-5
    sampling_capacitor: float = 1000.0
    second_order: float = 0.004
    third_order: float = -0.006

    def __post_init__(self) -> None:
        positive = ("unit_capacitor", "supply", "sampling_capacitor")
        signed = ("second_order", "third_order")
        for field in fields(self):
            value = getattr(self, field.name)
            allowed = "finite"
            if field.name in positive:
                allowed = "finite and positive"
            elif field.name not in signed:
                allowed = "finite and not negative"
            if (isinstance(value, bool) or not isinstance(value, int | float)
                    or not isfinite(value) or (field.name in positive and value <= 0)
                    or (field.name not in signed and value < 0)):
                raise ValueError(f"MacroPhysics.{field.name} must be {allowed}, not {value!r}")

    @classmethod
    def ideal(cls) -> "MacroPhysics":
        """Physics that computes exactly: no deviation and, at 0 K, no noise."""
        return cls(temperature=0, mismatch_sigma=0, gain_loss=0, gain_loss_spread=0,
                   comparator_offset=0, comparator_noise=0, second_order=0, third_order=0)

    def product_unit(self, array: Array) -> float:
        """Voltage of one product unit, V.

        A column whose every row has both activation and weight at full scale, 2**7 each, stands
        at the supply.
        """
        return self.supply / (array.rows << (ACTIVATION_BITS - 1 + array.weight_bits - 1))

    def hold_noise(self, array: Array) -> float:
        """Standard deviation of a held column, V: sqrt(kT/C) of its rows x bits capacitors.

        That all unit capacitors of a column share one sampled noise is one reading of the
        circuit (reconstruction).
        """
        capacitance = array.rows * array.weight_bits * self.unit_capacitor * _FEMTO
        return sqrt(BOLTZMANN * self.temperature / capacitance)

    def conversion_noise(self) -> float:
        """Standard deviation per conversion, V: kT/C of the sampling capacitor and comparator."""
        thermal = BOLTZMANN * self.temperature / (self.sampling_capacitor * _FEMTO)
        return sqrt(thermal + self.comparator_noise ** 2)
