"""Tuning of the droop baseline: the inverters' curve, and the band of the regulators that run beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import numpy as np

from dss_marl.controllers import Droop, DroopCurve, tune_droop
from dss_marl.devices import Regulators
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.scenario_names import REGULATOR_BAND
from dss_marl.envs.task import build_task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.evaluation import environment_for, run_day

BANDS_V = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)  # on a base of 120 V; a step of a usual regulator is 0.75 V


class DroopTuning:
    """Search for the droop with the best mean team return on training days spread over the year.

    The regulators' band is tuned too where the agents have regulators, which under the rule run by themselves; where
    they are part of the circuit for every controller, it stays.

    Args:
        scenario: to tune for.
        tries: number of random curves; a third as many refine the best, and again with the best band.
        days: number of training days.
        seed: of the search.

    Attributes:
        runs: number of droops that the search tries.
    """

    def __init__(self, scenario: Scenario, tries: int, days: int, seed: int) -> None:
        self._scenario, self._tries, self._seed = scenario, tries, seed
        task = build_task(scenario)
        every = task.profiles.days("train")
        self._days = every[:: max(1, len(every) // days)][:days]
        regulated = any(isinstance(group, Regulators) for group in task.device_groups)
        self._bands = BANDS_V if regulated and not scenario.circuit_controls else ()
        self.runs = tries + tries // 3 + (len(self._bands) + 1 + tries // 3 if self._bands else 0)

    def best(self, progress: Callable[[], None] = lambda: None) -> tuple[dict[str, float], float]:
        """What ``tuned_droop`` of the scenario should be, and its return.

        Args:
            progress: called before each droop that is tried.
        """
        few = self._tries // 3
        curve, earned = self._curve(None, self._tries, few, None, progress)
        if not self._bands:
            return asdict(curve), earned
        by_band = {band: self._return(curve, band, progress) for band in self._bands}
        band = max(by_band, key=lambda one: by_band[one])
        if by_band[band] <= earned:
            return asdict(curve), earned
        curve, earned = self._curve(band, 1, few, curve, progress)
        return {**asdict(curve), REGULATOR_BAND: band}, earned

    def _curve(
        self, band_v: float | None, tries: int, refine: int, start: DroopCurve | None, progress: Callable[[], None]
    ) -> tuple[DroopCurve, float]:
        """The best curve beside regulators with this band, see ``tune_droop``, and its mean return."""
        env = environment_for(Droop(regulator_band_v=band_v), self._scenario, "train")

        def score(curve: DroopCurve) -> float:
            progress()
            return self._mean(env, Droop(curve, regulator_band_v=band_v))

        try:
            curve, tried = tune_droop(score, tries, self._seed, refine, start=start)
        finally:
            env.close()
        return curve, max(row["score"] for row in tried)

    def _return(self, curve: DroopCurve, band_v: float, progress: Callable[[], None]) -> float:
        """Mean return of one curve beside regulators with this band."""
        progress()
        droop = Droop(curve, regulator_band_v=band_v)
        env = environment_for(droop, self._scenario, "train")
        try:
            return self._mean(env, droop)
        finally:
            env.close()

    def _mean(self, env: ZoneEnv, droop: Droop) -> float:
        return float(np.mean([run_day(env, droop, day)["team_return"] for day in self._days]))
