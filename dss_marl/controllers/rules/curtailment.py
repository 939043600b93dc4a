"""Rules of PV curtailment: a watt limit of each unit by its own voltage, or the same share for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dss_marl.controllers.rules.droop import Droop, WattCurve
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array

WATT_IN_BAND = WattCurve(v_pu=(1.035, 1.06), share=0.0)
"""A volt-watt curve that acts around the upper end of the band; that of IEEE 1547-2018 begins at 1.06 pu."""
_NEVER = WattCurve(v_pu=(1.5, 1.6), share=0.0)
_HALVINGS = 7  # of the share curtailed: to within 1 %


class VoltWatt(Droop):
    """The droop with ``WATT_IN_BAND``: far houses, whose voltage is the highest, feed in the least."""

    def __init__(self) -> None:
        super().__init__(watt=WATT_IN_BAND)

    def reset(self, env: ZoneEnv) -> None:
        """Find the inverters.

        Raises:
            ValueError: no inverter may curtail.
        """
        super().reset(env)
        if not self._group.may_curtail.any():
            raise ValueError(
                f"a curtailment rule needs inverters with curtail; scenario {env.task.scenario.name!r} has none"
            )


class EqualShare(VoltWatt):
    """Curtails all PV units by the same share of their power, the least at which no voltage is above the band.

    Reactive power follows the droop. The rule tries shares on the power flow, and knows the whole feeder.
    """

    local = False

    def __init__(self) -> None:
        super().__init__()
        self.watt = _NEVER

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The least sufficient share; all is fed in where that does no harm."""
        assert env.now is not None
        scored = np.concatenate([zone.scored_nodes for zone in env.task.zones])
        sun = np.minimum(env.now.forecast[0, self._group.injections], self._group.kva)
        actions = super().act(env, observations)
        low, high = 0.0, 1.0
        most = env.task.band.at(scored).high
        if (env.what_if(actions).solution.v_alive[scored] <= most).all():
            return actions
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            state = env.what_if(self._curtailed(env, middle, sun))
            low, high = (low, middle) if (state.solution.v_alive[scored] <= most).all() else (middle, high)
        return self._curtailed(env, high, sun)

    def _curtailed(self, env: ZoneEnv, share: float, sun: Array) -> dict[str, Any]:
        """Actions that leave this share of what is available, with the droop's reactive power."""
        return self._actions(env, self._kvar_per_kva, (1 - share) * sun / self._peak_kw, sun)
