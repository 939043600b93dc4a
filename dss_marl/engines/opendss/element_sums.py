"""Powers added up element by element, where the power of the source cannot be trusted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dss_marl.engines.opendss.terminals import activate
from dss_marl.grid.feeder import Feeder

_SINGULAR = 2  # of the codes of OpenDSS's solver
WHY_SINGULAR = (
    "its matrix is singular; look for a part that nothing earths, such as one-phase transformers behind a delta winding"
)
_ROUNDING = 2.2e-16  # of a double
_WORST_KW = 1e-4  # that rounding may take from, or give to, the balance
_SOURCES = ("vsource", "isource", "gicsource")
_DISSIPATES = ("line", "transformer", "autotrans", "reactor", "capacitor", "fault", "gicline", "gictransformer", "upfc",
               "vsconverter")  # fmt: skip


def stiff_branches(feeder: Feeder) -> list[str]:
    """Branches of so little impedance that what flows through them is lost in the last digits of the voltages.

    A solve leaves voltages with a relative error of about 2e-16, which a branch of impedance z turns into a power of
    2e-16 V**2 / z: 0.1 W for 0.1 microohm at 12.47 kV. Where that is more than 0.1 W, losses as the small difference
    of source and loads are not to be had.
    """
    rows = []
    for branch in feeder.branches:
        ohm, kv = abs(complex(branch.r_ohm, branch.x_ohm)), feeder.buses[feeder.bus_index[branch.bus1]].kv_base
        if ohm > 0 and _ROUNDING * (kv * 1000) ** 2 / ohm / 1000 > _WORST_KW:
            rows.append(branch.name)
    return rows


def has_solution(context: Any, scratch: NDArray[np.complex128]) -> bool:
    """Whether the voltages are a solution: where the matrix has no inverse, OpenDSS leaves what the memory held before.

    A dead part may make it singular and do no harm; then what the sources give is what the rest takes.

    Args:
        context: with a circuit as solved last.
        scratch: (1 + Y) overwritten; else the solution would be.
    """
    if context.YMatrix.SolveSystem(scratch) != _SINGULAR:
        return True
    given, _ = ElementSums(context).powers()
    total = context.Circuit.TotalPower()
    return bool(abs(given + complex(total[0], total[1])) < 1e-3 * abs(given) + 1.0)  # false for NaN too


class ElementSums:
    """Adds up the powers of a compiled circuit's elements, but for its sources."""

    def __init__(self, context: Any) -> None:
        self._context = context
        names = [name.lower() for name in context.Circuit.AllElementNames()]
        self._all = [name for name in names if name.split(".", 1)[0] not in _SOURCES and self._carries(name)]
        self._lossy = {name for name in self._all if name.split(".", 1)[0] in _DISSIPATES}

    def _carries(self, name: str) -> bool:
        element = activate(self._context, name)
        return bool(element.Enabled()) and not name.split(".", 1)[0].endswith(
            ("control", "controller", "monitor", "meter", "sensor", "relay", "recloser", "fuse", "dispatcher")
        )

    def powers(self) -> tuple[complex, float]:
        """What the sources give [kVA], and what the branches lose [kW]."""
        given, lost = 0j, 0.0
        for name in self._all:
            flat = activate(self._context, name).TotalPowers()
            taken = complex(sum(flat[::2]), sum(flat[1::2]))
            given += taken
            lost += taken.real if name in self._lossy else 0.0
        return given, lost
