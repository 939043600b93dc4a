"""Key figures of an episode: what a utility would ask, whatever the reward was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dss_marl.rewards import estimate_off, unserved_kwh
from dss_marl.state import Array, GridState
from dss_marl.task import Task

# name: (unit, heading, True if more is better)
FIGURES: dict[str, tuple[str, str, bool]] = {
    "team_return": ("", "team return", True),
    "controllable_rate": ("1", "steps with all nodes in band", True),
    "violation_node_h": ("node h", "violation", False),
    "worst_pu": ("pu", "worst excursion", False),
    "loss_kwh": ("kWh", "losses", False),
    "tap_moves": ("", "tap moves", False),
    "capacitor_moves": ("", "capacitor moves", False),
    "switch_moves": ("", "switch moves", False),
    "unserved_kwh": ("kWh", "unserved", False),
    "curtailed_kwh": ("kWh", "sun curtailed", False),
    "estimation_error_pu": ("pu", "estimation error", False),
    "estimation_worst_pu": ("pu", "worst estimate", False),
    "failed": ("", "failed days", False),
}


@dataclass
class EpisodeFigures:
    """Adds up the key figures of one episode, step by step.

    A node counts as violating while it is outside 0.95 to 1.05 pu; the scenario's unjudged buses and de-energised
    nodes do not count.
    """

    task: Task

    def __post_init__(self) -> None:
        self._judged = np.sort(np.concatenate([zone.judged for zone in self.task.zones]))
        feeder = self.task.feeder
        self._panels = np.array([i for i, row in enumerate(feeder.injections) if row.kind == "inverter"], int)
        self._banks = np.array([row.kind == "capacitor" for row in feeder.switches], bool)
        self._lines = np.array([row.kind == "switch" for row in feeder.switches], bool)
        self._sums = dict.fromkeys(FIGURES, 0.0)
        self._steps = 0

    def add(self, before: GridState, after: GridState, reward: float) -> None:
        """Count one step."""
        out = after.solution.excursion[self._judged]
        moved = after.setpoints.closed != before.setpoints.closed
        sums, dt_h = self._sums, after.dt_h
        sums["team_return"] += reward
        sums["controllable_rate"] += float(not (out > 0).any())
        sums["violation_node_h"] += float((out > 0).sum()) * dt_h
        sums["worst_pu"] = max(sums["worst_pu"], float(out.max(initial=0.0)))
        sums["loss_kwh"] += float(after.solution.loss_kw) * dt_h
        sums["tap_moves"] += float(np.abs(after.setpoints.tap - before.setpoints.tap).sum())
        sums["capacitor_moves"] += float(moved[self._banks].sum())
        sums["switch_moves"] += float(moved[self._lines].sum())
        sums["unserved_kwh"] += float(unserved_kwh(self.task.stacked, before, after).sum())
        lost = after.forecast[0, self._panels] - after.setpoints.kw[self._panels]
        sums["curtailed_kwh"] += float(lost.sum()) * dt_h
        off = estimate_off(self.task.stacked, before, after)
        sums["estimation_error_pu"] += float((off**2).sum())
        sums["estimation_worst_pu"] = max(sums["estimation_worst_pu"], float(np.abs(off).max(initial=0.0)))
        self._steps += 1

    def fail(self, reward: float) -> None:
        """Count a power flow that failed: the rest of the episode is not controllable."""
        self._sums["team_return"] += reward
        self._sums["failed"] = 1.0

    def result(self) -> dict[str, float]:
        """The figures; ``controllable_rate`` over the scenario's horizon, so that a failure does not hide steps.

        ``estimation_error_pu`` is the root of the mean square over estimated nodes and the steps played.
        """
        count = max(self._steps * self.task.stacked.all_estimated, 1)
        return {
            **self._sums,
            "controllable_rate": self._sums["controllable_rate"] / self.task.scenario.steps,
            "estimation_error_pu": float(np.sqrt(self._sums["estimation_error_pu"] / count)),
        }


def mean_interval(
    values: Sequence[float] | Array, level: float = 0.95, draws: int = 2000
) -> tuple[float, float, float]:
    """Mean and its bootstrap interval over days (percentile method, fixed stream).

    Returns:
        mean, lower end, upper end.
    """
    x = np.asarray(values, float)
    means = x[np.random.default_rng(0).integers(0, len(x), (draws, len(x)))].mean(-1)
    tail = (1 - level) / 2
    return float(x.mean()), float(np.quantile(means, tail)), float(np.quantile(means, 1 - tail))


def normalised_score(
    returns: Sequence[float] | Array,
    zero: Sequence[float] | Array,
    one: Sequence[float] | Array,
    level: float = 0.95,
    draws: int = 2000,
) -> tuple[float, float, float]:
    """Where a controller's mean return lies between two others', with its bootstrap interval over days.

    It is not clipped: below 0 is worse than the one, above 1 better than the other, best known but no bound.

    Args:
        returns: (days) of the controller.
        zero, one: (days) of those that score 0 and 1, on the same days.
        level, draws: as in ``mean_interval``; days are drawn together for all three.

    Returns:
        score, lower end, upper end.

    Raises:
        ValueError: other days, or 0 and 1 are the same.
    """
    table = np.array([returns, zero, one], float)
    mean, low, high = table.mean(axis=1)
    if high - low < 1e-9:
        raise ValueError(f"the score's 1 must earn more than its 0; mean returns are {high:g} and {low:g}")
    drawn = np.random.default_rng(0).integers(0, table.shape[1], (draws, table.shape[1]))
    means = table[:, drawn].mean(axis=-1)
    width = means[2] - means[1]
    scores = np.divide(means[0] - means[1], width, where=width > 0, out=np.full(draws, np.nan))
    ends = np.nanquantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return float((mean - low) / (high - low)), float(ends[0]), float(ends[1])
