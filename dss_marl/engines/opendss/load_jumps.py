"""Loads whose power jumps at a voltage limit: there a power flow can have two solutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from dss_marl.engines.opendss.terminals import elements
from dss_marl.grid.state import Array, BoolArray

# Beyond vminpu and vmaxpu a load is the impedance that draws its nominal power at the limit. With these models it draws
# another power just inside, as the limit to this power; with constant power or impedance it does not jump.
_EXPONENT = {3: 2.0, 5: 1.0, 8: 2.0}
_BY_CVR = 4
_SHARE = 0.01  # of all load: a smaller jump moves voltages by less than a tenth of a percent where all load costs 10 %
_BAND_PU = 0.005  # two solutions are no further from the limit


class LoadJumps:
    """The phases of loads that jump by a hundredth of all load or more: between which nodes they lie, and their limits.

    The many small loads of a feeder jump as well, one by one: their two solutions differ by less than 1e-3 pu.
    """

    def __init__(self, context: Any) -> None:
        rows: list[tuple[int, int, float, float, float]] = []
        loads = context.Loads
        total = sum(abs(complex(loads.kW(), loads.kvar())) for _ in elements(loads))
        for _ in elements(loads):
            limits = [limit if _jump(loads, limit) > _SHARE * total else np.inf for limit in _limits(loads)]
            if loads.kV() > 0 and np.isfinite(limits).any():
                refs, phases, delta = context.CktElement.NodeRef(), int(loads.Phases()), bool(loads.IsDelta())
                per_volt = (3**0.5 if phases > 1 and not delta else 1.0) / (loads.kV() * 1000)
                ends = [*refs[1:phases], refs[0] if phases > 2 else refs[-1]] if delta else [refs[-1]] * phases
                rows += [(one, other, per_volt, *limits) for one, other in zip(refs[:phases], ends, strict=True)]
        table = np.array(rows, float).reshape(-1, 5)
        self._ends = table[:, :2].astype(np.int64).T.copy()  # (2, phases)
        self._per_volt, self._limits = table[:, 2].copy(), table[:, 3:].T.copy()

    def __len__(self) -> int:
        return len(self._per_volt)

    def are_near(self, v: Array) -> BoolArray:
        """(...) whether the voltages (..., 1 + Y), ground first [V], bring a load near a jump."""
        one, other = v.take(self._ends) if v.ndim == 1 else np.moveaxis(v.take(self._ends, axis=-1), -2, 0)
        v_pu = np.abs(one - other) * self._per_volt
        gaps = np.abs(v_pu[..., None, :] - self._limits)
        return np.asarray(np.minimum.reduce(gaps, axis=(-2, -1)) < _BAND_PU)


def _limits(loads: Any) -> tuple[float, float]:
    return float(loads.Vminpu()), float(loads.Vmaxpu())


def _jump(loads: Any, limit: float) -> float:
    """Of the active load at a limit, at most [kVA]."""
    model = int(loads.Model())
    exponent = max(loads.CVRwatts(), loads.CVRvars()) if model == _BY_CVR else _EXPONENT.get(model, 0.0)
    return float(abs(limit**exponent - 1.0) * abs(complex(loads.kW(), loads.kvar())))
