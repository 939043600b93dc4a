"""Droop control: reactive power as a function of the local voltage, a standard inverter function."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dss_marl.devices import Inverters, device_kind
from dss_marl.engines import regulator_band
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array, GridState
from dss_marl.grid.voltage_band import DEFAULT


@dataclass(frozen=True)
class DroopCurve:
    """A volt-var curve, symmetric about a reference voltage.

    Attributes:
        v_ref_pu: centre [pu].
        dead_band_pu: half-width without reactive power [pu].
        slope: reactive power over rating per pu of voltage beyond the dead band [1/pu].
        limit: maximum reactive power over rating [1]; the devices' own capability limits it further.
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


STEEPEST = 0.44 / 0.02
"""IEEE 1547-2018, steepest volt-var curve within its ranges of adjustment: 0.44 over 0.02 pu [1/pu]."""


@dataclass(frozen=True)
class WattCurve:
    """A volt-watt curve: maximum active power over PV peak power as a function of the voltage.

    Attributes:
        v_pu: voltages at which the power starts and stops to decrease [pu].
        share: maximum power above the second voltage [1].
    """

    v_pu: tuple[float, float]
    share: float

    def kw_per_kw(self, v_pu: Array) -> Array:
        """Maximum active power over peak power at these voltages [1]."""
        return np.interp(v_pu, self.v_pu, (1.0, self.share))


WATT_B = WattCurve(v_pu=(1.06, 1.10), share=0.2)
"""IEEE 1547-2018, default volt-watt settings of category B: full power up to 1.06 pu, 20 % of rating from 1.10 pu."""


class Droop:
    """Every inverter on the same curve, settled within the interval; the circuit's own controls run as well.

    Inverters that may curtail also follow a volt-watt curve.

    Inverters respond in seconds, so curve and resulting voltage must agree, by a damped fixed-point iteration on the
    power flow. Droop on the voltage of the previous interval would be an unrealistic baseline.

    Args:
        curve: the volt-var curve.
        watt: the volt-watt curve of inverters that may curtail.
        solves: maximum number of trial power flows per interval.
        tolerance: mismatch of reactive power over rating at which the iteration stops [1].
        regulator_band_v: width of the band that the circuit's own regulator controls hold, on the secondary side of
            their transducers, as OpenDSS's ``band`` [V]; None: as in the circuit.
    """

    circuit_controls = True
    local = True

    def __init__(
        self,
        curve: DroopCurve = CATEGORY_B,
        watt: WattCurve = WATT_B,
        solves: int = 12,
        tolerance: float = 0.005,
        regulator_band_v: float | None = None,
    ) -> None:
        self.curve = curve
        self.watt = watt
        self.solves = solves
        self.tolerance = tolerance
        self.regulator_band_v = regulator_band_v

    @property
    def acts_with(self) -> str:
        """What the rule has that the scenario as it stands has not; "" for nothing."""
        return "" if self.regulator_band_v is None else f"regulators that hold a band of {self.regulator_band_v:g} V"

    def variant(self, scenario: Scenario) -> Scenario:
        """The scenario with the regulators' band, if the rule has one."""
        if self.regulator_band_v is None:
            return scenario
        command = regulator_band(self.regulator_band_v)
        if command in scenario.feeder.commands:
            return scenario
        return scenario.replace(feeder={"commands": (*scenario.feeder.commands, command)})

    def reset(self, env: ZoneEnv) -> None:
        """Find the inverters.

        Raises:
            ValueError: the scenario has none.
        """
        places = [k for k, group in enumerate(env.task.device_groups) if isinstance(group, Inverters)]
        if not places:
            raise ValueError(f"droop needs inverters; scenario {env.task.scenario.name!r} has none")
        self._place = places[0]
        group = env.task.device_groups[self._place]
        assert isinstance(group, Inverters)
        self._group = group
        self._nodes = [np.array(env.task.feeder.injections[j].nodes) for j in group.injections]
        self._peak_kw = np.array([env.task.feeder.injections[j].kw for j in group.injections])
        self._kvar_per_kva, self._kw_per_kw = np.zeros(group.size), np.ones(group.size)

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Actions at the fixed point of the curves and the power flow."""
        assert env.now is not None
        q, p, damping, residual = self._kvar_per_kva, self._kw_per_kw, 0.5, np.inf
        sun = np.minimum(env.now.forecast[0, self._group.injections], self._group.kva)
        curtails = bool(self._group.may_curtail.any())
        for _ in range(self.solves):
            v = self._voltages(env.what_if(self._actions(env, q, p, sun)))
            q_off = np.clip(self.curve.kvar_per_kva(v), -self._left(sun, p, -1.0), self._left(sun, p, 1.0)) - q
            p_off = self.watt.kw_per_kw(v) - p if curtails else np.zeros_like(p)
            error = float(np.maximum(np.abs(q_off), np.abs(p_off)).max())
            if error > residual:  # overshoot: the curves are too steep for this grid
                damping = max(damping / 2, 0.05)
            residual = error
            part = 1.0 if error < self.tolerance else damping
            q, p = q + part * q_off, p + part * p_off
            if error < self.tolerance:
                break
        self._kvar_per_kva, self._kw_per_kw = q, p
        return self._actions(env, q, p, sun)

    def _voltages(self, state: GridState) -> Array:
        return np.array([state.solution.v_pu[nodes].mean() for nodes in self._nodes])

    def _others(self, env: ZoneEnv) -> Array:
        """(F) joint action of the other devices; the inverters' entries are overwritten."""
        return env.task.default_action.copy()

    def _taken(self, sun: Array, p: Array) -> Array:
        """(D) share of the available PV power [kW] that is fed in with a limit of p times the peak power."""
        free = np.divide(p * self._peak_kw, sun, out=np.ones_like(sun), where=sun > 1e-9)
        return np.where(self._group.may_curtail > 0, np.clip(free, 0.0, 1.0), 1.0)

    def _left(self, sun: Array, p: Array, sign: Array | float) -> Array:
        """(D) reactive power in the direction of the sign that an action can ask for, over rating [1]."""
        kw = sun * self._taken(sun, p)
        reach = self._group.converters.reach(np.broadcast_to(sign, kw.shape), kw)
        return np.asarray(self._group.action_scale * reach / self._group.kva)

    def _actions(self, env: ZoneEnv, q: Array, p: Array, sun: Array) -> dict[str, Any]:
        action_layout = env.task.agents.action_layout
        joint_action = self._others(env)
        left = self._left(sun, p, q)
        entries = joint_action[action_layout.parts[self._place]].reshape(action_layout.shapes[self._place])  # a view
        entries[:, 0] = np.divide(q, left, out=np.zeros_like(q), where=left > 1e-9)
        if self._group.may_curtail.any():
            entries[:, -1] = self._taken(sun, p) - 1
        return env.task.encoding.encode(joint_action)


def tuning_key(scenario: Scenario) -> str:
    """Short hash of what a droop curve is tuned on: the scenario's feeder, inverters and rewards.

    Files count by their names, not by where they lie.

    Raises:
        ValueError: a device is of no known kind, or has unknown settings.
    """
    feeder = scenario.feeder.model_dump(mode="json", exclude_defaults=True)
    inverters = []
    for data in scenario.devices:
        kind = device_kind(str(data.get("kind")))
        if issubclass(kind, Inverters):
            spec = kind.Spec.model_validate(data)
            inverters.append(json.dumps(spec.model_dump(mode="json", exclude_defaults=True), sort_keys=True))
    rewards = {Path(name).name: weight for name, weight in scenario.rewards.items()}
    said: list[Any] = [{**feeder, "name": Path(scenario.feeder.name).name}, sorted(inverters), rewards]
    if scenario.band != DEFAULT:  # so that curves tuned before there were others keep their key
        said.append(scenario.model_dump(mode="json", include={"band"}))
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]


def tune_droop(
    score: Callable[[DroopCurve], float],
    tries: int = 48,
    seed: int = 0,
    refine: int = 16,
    steepest: float = STEEPEST,
    start: DroopCurve | None = None,
) -> tuple[DroopCurve, list[dict[str, float]]]:
    """Random search for the best curve, with local refinement.

    Args:
        score: mean team return of a curve on training days; higher is better.
        tries: number of random curves over the whole range.
        seed: of the search.
        refine: number of further curves around the best, with decreasing spread.
        steepest: upper bound of the slope [1/pu].
        start: the first curve that is tried; None: that of category B, without its limit.

    Returns:
        the best curve, and all evaluated curves with their scores.
    """
    rng = np.random.default_rng(seed)
    low, high = np.array([0.98, 0.0, 1.0]), np.array([1.03, 0.02, steepest])
    tried: list[dict[str, float]] = []
    best, best_score = np.array([1.0, 0.02, 0.44 / 0.06]), -np.inf
    if start is not None:
        best = np.array([start.v_ref_pu, start.dead_band_pu, start.slope])
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
