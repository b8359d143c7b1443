"""Binary cells of the memory-technology comparison: 8T SRAM, FeFET, 1T1R ReRAM, SOT-MRAM.

Wang, Victor, Gupta: arXiv 2307.04261 (Table VI) and 2408.05857 (Table I), 7 nm. The input drives
the gate (word line), so a cell has four resistances, by input and stored weight.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .checks import check_number

__all__ = ["GATE_PITCH", "TECHNOLOGIES", "MemoryTechnology"]

#: Gate pitch of the 7 nm process, um (ASAP7; a reconstruction, the papers do not print it).
GATE_PITCH = 0.054

_KILO = 1e3


@dataclass(frozen=True)
class MemoryTechnology:
    """One bit per cell, or a few levels of it; resistances in kiloohm.

    Parameters
    ----------
    name
        As the tables call it.
    on, high, off, off_high
        Resistance for (input, weight) = (1, 1), (1, 0), (0, 1), (0, 0).
    height
        Of a cell along the bit line, in gate pitches.
    degeneration
        Relative loss of a driven cell's conductance per volt on its source line. A transistor in
        its linear region conducts in proportion to its overdrive, which the source voltage
        lowers; the papers call this strong for SRAM and FeFET, where the transistor is the cell,
        and weak where it only selects, and give no number. Reconstruction: 1 / (0.7 V gate -
        0.25 V threshold) = 2.2 where the transistor is the cell; a tenth of it otherwise, the
        selector's share of the resistance.
    """

    name: str
    on: float
    high: float
    off: float
    off_high: float
    height: float
    degeneration: float

    def __post_init__(self) -> None:
        for field in ("on", "high", "off", "off_high", "height"):
            check_number(self, field, 0, above=True)
        check_number(self, "degeneration", 0)

    def conductances(self, inputs: Tensor, levels: Tensor) -> Tensor:
        """Siemens of cells with ``inputs`` (0 or 1) and ``levels`` (0, 1, ...), broadcast.

        A level above 1 conducts that many times as much as level 1 (2408.05857, bit-slice 2).
        """
        table = torch.tensor([[1 / self.off_high, 1 / self.off], [1 / self.high, 1 / self.on]],
                             dtype=torch.float64) / _KILO
        inputs, levels = torch.broadcast_tensors(inputs.to(torch.int64), levels.to(torch.int64))
        one = table[inputs, levels.clamp(max=1)]
        return one * levels.clamp(min=1)

    @property
    def wire_length(self) -> float:
        """Length of bit and source line per cell, um."""
        return self.height * GATE_PITCH


#: By name; the resistances that the papers chose.
TECHNOLOGIES = {technology.name: technology for technology in (
    MemoryTechnology("SRAM", 60, 2.1e8, 1.5e8, 4.5e8, 2, 1 / 0.45),
    MemoryTechnology("FeFET", 60, 4e3, 2.3e4, 4.6e6, 1, 1 / 0.45),
    MemoryTechnology("ReRAM", 60, 2.3e3, 2.1e5, 2.1e5, 1.5, 0.1 / 0.45),
    MemoryTechnology("SOT-MRAM", 20, 100, 2.1e5, 2.1e5, 2, 0.1 / 0.45),
)}
