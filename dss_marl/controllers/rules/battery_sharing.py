"""How rules share a total power among batteries."""

from __future__ import annotations

import numpy as np

from dss_marl.devices import Batteries
from dss_marl.grid.state import Array

_KEPT = 0.02  # of the capacity of batteries that may form an island, which trip when empty or full


def shared_power(group: Batteries, kw: float, device_state: Array, dt_h: float) -> tuple[Array, float]:
    """Share a power among batteries in proportion to what each can do in the interval.

    Args:
        group: (D) batteries.
        kw: total output, negative to charge [kW].
        device_state: (D, K) of the group.
        dt_h: length of the interval [h].

    Returns:
        (D) shares of rated power, and the achieved output [kW].
    """
    soc = group.stored_kwh(device_state) / group.kwh
    if group.roles is not None:
        soc = np.clip(soc, group.minimum + _KEPT, group.maximum - _KEPT)
        soc = soc - _KEPT if kw >= 0 else soc + _KEPT
    if kw >= 0:
        most = np.minimum(group.kw, np.maximum(soc - group.minimum, 0) * group.kwh * group.discharging / dt_h)
    else:
        most = -np.minimum(group.kw, np.maximum(group.maximum - soc, 0) * group.kwh / group.charging / dt_h)
    part = min(kw / most.sum(), 1.0) if abs(most.sum()) > 0 else 0.0
    return part * most / group.kw, float(part * most.sum())
