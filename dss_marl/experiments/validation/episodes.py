"""Episodes: days simulated under controllers, each once, in shared environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dss_marl.controllers import Controller, place_of
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import Task, build_task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.evaluation import environment_for, run_day
from dss_marl.experiments.metrics import TermSums
from dss_marl.experiments.validation.capability import CapabilityUse, CapabilityWatch
from dss_marl.grid.state import Array, GridState, Setpoints

SAMPLES = 24  # intervals of a day whose energy balance is computed independently


class EpisodeResult(NamedTuple):
    """The result of one day.

    Attributes:
        figures: key figures; see metrics.FIGURES.
        terms: sum of each reward term and cost.
        lowest, highest: voltage of any energised node in any interval [pu].
        imbalance: largest difference between the losses by the balance of sources, units and loads and OpenDSS's own
            sum over the elements, over the power that flows [1]; NaN if not computed.
        use: of the devices' capability; None if not computed.
    """

    figures: dict[str, float]
    terms: dict[str, float]
    lowest: float
    highest: float
    imbalance: float
    use: CapabilityUse | None = None


class EpisodeCache:
    """Runs a scenario's days and keeps the results.

    Args:
        scenario: to run.

    Attributes:
        task: the scenario without the circuit's own controls.
        results: controller name to day to result.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.task: Task = build_task(scenario)
        self.results: dict[str, dict[int, EpisodeResult]] = {}
        self._envs: dict[tuple[bool, str], ZoneEnv] = {}

    def run(self, name: str, controller: Controller, days: Sequence[int], balance: bool = False) -> Array:
        """(days) team returns; a day with a result under this name is not run again.

        Args:
            name: under which results are stored.
            controller: to run.
            days: day numbers.
            balance: also compute the energy balance and the use of the devices' capability.
        """
        own = self.results.setdefault(name, {})
        for day in days:
            if day not in own:
                own[day] = self.simulate(controller, day, balance)
        return self.returns(name, days)

    def returns(self, name: str, days: Sequence[int]) -> Array:
        """(days) team returns of days already run."""
        return np.array([self.results[name][day].figures["team_return"] for day in days])

    def team_returns(self, days: Sequence[int]) -> dict[str, dict[int, float]]:
        """Controller to day to team return, of those of the days that it has run."""
        return {
            name: {day: own[day].figures["team_return"] for day in days if day in own}
            for name, own in self.results.items()
        }

    def uses(self) -> dict[str, dict[int, CapabilityUse]]:
        """Controller to day to its use of the devices' capability, where that was computed."""
        return {
            name: {day: result.use for day, result in own.items() if result.use is not None}
            for name, own in self.results.items()
        }

    def simulate(self, controller: Controller, day: int, balance: bool = False) -> EpisodeResult:
        """Run one day without storing the result."""
        env, watched = self.environment(controller), CapabilityWatch(controller) if balance else None
        sums, voltages = TermSums(env.task), _VoltageRange(balance, env.task.scenario.steps)

        def watch(after: GridState) -> None:
            assert env.before is not None
            sums.add(env.before, after)
            voltages.add(after)
            if watched is not None:
                watched.see(after)

        figures = run_day(env, watched or controller, day, watch)
        use = None if watched is None else watched.use
        return EpisodeResult(figures, sums.sums, voltages.lowest, voltages.highest, voltages.imbalance(env), use)

    def environment(self, controller: Controller) -> ZoneEnv:
        """The environment shared by controllers that act in the same variant of the scenario."""
        kind = place_of(controller, self.scenario)
        if kind not in self._envs:
            self._envs[kind] = (
                environment_for(controller, self.scenario, "test") if any(kind) else ZoneEnv(self.task, "test")
            )
        return self._envs[kind]

    def close(self) -> None:
        """Close the engines."""
        for env in self._envs.values():
            env.close()


class _VoltageRange:
    """Voltage range of a day, and some of its intervals to solve again."""

    def __init__(self, balance: bool, steps: int) -> None:
        self.lowest, self.highest = np.inf, -np.inf
        self._wanted = set(np.linspace(0, steps - 1, SAMPLES).round().astype(int).tolist()) if balance else set()
        self._states: list[tuple[Setpoints, float, float]] = []

    def add(self, after: GridState) -> None:
        """Record an interval."""
        solution = after.solution
        alive = solution.v_pu if solution.energised.all() else solution.v_pu[solution.energised]
        self.lowest = min(self.lowest, float(alive.min(initial=np.inf)))
        self.highest = max(self.highest, float(alive.max(initial=-np.inf)))
        if after.step in self._wanted:
            flow = float(np.abs(solution.served_kw).sum() + abs(solution.source_kw))
            operated = after.setpoints.copy()
            operated.tap = solution.tap.copy()  # neutral where a regulator is fed in reverse
            self._states.append((operated, float(solution.loss_kw), flow))

    def imbalance(self, env: ZoneEnv) -> float:
        """See EpisodeResult; the intervals are solved again, and OpenDSS gives the losses of its elements."""
        worst = np.nan
        element_loss_kw = getattr(env.engine, "element_loss_kw", None)  # OpenDSS provides it; a user's engine may not
        if element_loss_kw is None:
            return worst
        for setpoints, loss_kw, flow in self._states:
            env.engine.solve(setpoints)
            off = abs(loss_kw - element_loss_kw()) / max(flow, 1.0)
            worst = off if np.isnan(worst) else max(worst, off)
        return float(worst)
