"""Droop: reactive power as a function of the local voltage, as every inverter ships with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dss_marl.devices import Inverters
from dss_marl.env import ZoneEnv
from dss_marl.state import Array, GridState


@dataclass(frozen=True)
class DroopCurve:
    """A volt-var curve, symmetric about a reference voltage.

    Attributes:
        v_ref_pu: centre [pu].
        dead_band_pu: half-width without reactive power [pu].
        slope: reactive power over rating per pu of voltage beyond the dead band [1/pu].
        limit: highest reactive power over rating [1]; the kVA circle limits it further.
    """

    v_ref_pu: float
    dead_band_pu: float
    slope: float
    limit: float = 1.0

    def kvar_per_kva(self, v_pu: Array) -> Array:
        """Reactive power over rating at these voltages [1], + into the grid."""
        off = v_pu - self.v_ref_pu
        beyond = np.sign(off) * np.maximum(np.abs(off) - self.dead_band_pu, 0.0)
        return np.clip(-self.slope * beyond, -self.limit, self.limit)


CATEGORY_B = DroopCurve(v_ref_pu=1.0, dead_band_pu=0.02, slope=0.44 / 0.06, limit=0.44)
"""IEEE 1547-2018, default volt-var settings of category B: 0.44 at 0.92 pu, 0 from 0.98 to 1.02, -0.44 at 1.08."""


class Droop:
    """Every inverter on the same curve, settled within the interval; the circuit's own controls run beside it.

    Inverters respond in seconds, so the curve and the voltage that it causes must agree: a damped fixed-point
    iteration on the power flow. A droop on the voltage of an interval ago would be a broken baseline.

    Args:
        curve: the volt-var curve.
        solves: most trial power flows an interval.
        tolerance: of reactive power over rating at which the iteration stops [1].
    """

    circuit_controls = True
    local = True

    def __init__(self, curve: DroopCurve = CATEGORY_B, solves: int = 12, tolerance: float = 0.005) -> None:
        self.curve = curve
        self.solves = solves
        self.tolerance = tolerance

    def start(self, env: ZoneEnv) -> None:
        """Find the inverters.

        Raises:
            ValueError: the scenario has none.
        """
        places = [k for k, group in enumerate(env.task.groups) if isinstance(group, Inverters)]
        if not places:
            raise ValueError(f"droop needs inverters; scenario {env.task.scenario.name!r} has none")
        self._place = places[0]
        group = env.task.groups[self._place]
        assert isinstance(group, Inverters)
        self._group = group
        self._nodes = [np.array(env.task.feeder.injections[j].nodes) for j in group.injections]
        self._kvar_per_kva = np.zeros(group.size)

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Actions at the fixed point of curve and power flow."""
        assert env.now is not None
        q, damping, residual = self._kvar_per_kva, 0.5, np.inf
        kw = np.minimum(env.now.forecast[0, self._group.injections], self._group.kva)
        left = np.sqrt(self._group.kva**2 - kw**2) / self._group.kva  # what the circle leaves [1]
        for _ in range(self.solves):
            wanted = np.clip(
                self.curve.kvar_per_kva(self._voltages(env.what_if(self._actions(env, q, left)))), -left, left
            )
            error = float(np.abs(wanted - q).max())
            if error > residual:  # overshoot: the curve is steep for this grid
                damping = max(damping / 2, 0.05)
            residual = error
            q = q + (wanted - q if error < self.tolerance else damping * (wanted - q))
            if error < self.tolerance:
                break
        self._kvar_per_kva = q
        return self._actions(env, q, left)

    def _voltages(self, state: GridState) -> Array:
        return np.array([state.solution.v_pu[nodes].mean() for nodes in self._nodes])

    def _others(self, env: ZoneEnv) -> Array:
        """(F) what all devices are asked; the inverters' entries are written over."""
        return env.task.neutral.copy()

    def _actions(self, env: ZoneEnv, q: Array, left: Array) -> dict[str, Any]:
        slots = env.task.agents.slots
        flat = self._others(env)
        entries = flat[slots.parts[self._place]].reshape(slots.shapes[self._place])  # a view
        entries[:, 0] = np.divide(q, left, out=np.zeros_like(q), where=left > 1e-9)
        return env.task.encoding.encode(flat)


def tune_droop(
    score: Callable[[DroopCurve], float], tries: int = 48, seed: int = 0, refine: int = 16
) -> tuple[DroopCurve, list[dict[str, float]]]:
    """The best of random curves, then of random changes of the best.

    Args:
        score: mean team return of a curve on training days; higher is better.
        tries: random curves over the whole range.
        seed: of the search.
        refine: further tries around the best, ever closer.

    Returns:
        the best curve, and every curve tried with its score.
    """
    rng = np.random.default_rng(seed)
    low, high = np.array([0.98, 0.0, 1.0]), np.array([1.03, 0.02, 60.0])
    tried: list[dict[str, float]] = []
    best, best_score = np.array([1.0, 0.02, 0.44 / 0.06]), -np.inf
    for k in range(tries + refine):
        if k == 0:
            point = best
        elif k < tries:
            point = low + (high - low) * rng.random(3)
        else:
            point = np.clip(best + 0.2 * 0.9 ** (k - tries) * (high - low) * rng.standard_normal(3), low, high)
        curve = DroopCurve(*(round(float(x), 4) for x in point))
        result = score(curve)
        tried.append({**asdict(curve), "score": result})
        if result > best_score:
            best, best_score = point, result
    winner: Sequence[float] = [round(float(x), 4) for x in best]
    return DroopCurve(*winner), tried
