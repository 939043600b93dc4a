"""Trial power flows of one interval, many at once, so that OpenDSS solves only what may win."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, TypeVar

import numpy as np

from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.engines import OpenDSSEngine, open_batch_engine
from dss_marl.envs.moving_rows import moving_rows
from dss_marl.envs.task import Task
from dss_marl.envs.trial_simulator import Trials, TrialSimulator
from dss_marl.grid.state import Array, BoolArray, GridState
from dss_marl.mdp.published_terms import bus_violation

T = TypeVar("T", Array, BoolArray)
COPIES = 64  # solved at once
WORTHWHILE = 4  # trials from which a batch takes less time than OpenDSS, on feeders of 13 to 141 buses
_TOLERANCE = 1e-6  # of the batched engine [pu]
_APART = 2e-6  # of voltages from OpenDSS's, beyond OpenDSS's own tolerance [pu]
_ELSE = 1e-5  # largest difference of a reward for other reasons than voltages
_MEAN = 6  # by which the mean difference over nodes is smaller than the largest; measured: 8 and more


class TrialBatch:
    """What candidates of an interval earn, by the batched engine.

    A search that solves on OpenDSS whatever the upper bounds do not rule out chooses as it would with OpenDSS alone.

    Args:
        task: of the episodes.
        tolerance: of OpenDSS, whose rewards are bounded [pu].

    Raises:
        ValueError: the batched engine has no model of the feeder.
    """

    def __init__(self, task: Task, tolerance: float) -> None:
        engine = open_batch_engine(task.feeder, COPIES, "batched", moving_rows(task), tolerance=_TOLERANCE)
        self.task = task
        self._simulator = TrialSimulator(task, engine)
        self._model = self._simulator.task.reward_model
        self._scored = np.concatenate([zone.scored_nodes for zone in task.zones])
        self._close = _APART + tolerance
        buses = sum(len(zone.scored_bus_starts) for zone in task.zones)
        weights = sum(  # of means over nodes, or less steep; one is a sum over buses
            abs(weight) * (buses if term is bus_violation else 1) for weight, term in self._model.rewards.values()
        )
        self._slack = _ELSE + self._close / _MEAN * weights

    @classmethod
    def opened(cls, trials: TrialSolver) -> TrialBatch | None:
        """For the trials of a search; None where it would not be faster or not be true to its engine.

        That is without Numba, on an engine other than OpenDSS, with the circuit's own controls, whose decisions may
        depend on the last digit, and on a feeder that the batched engine refuses.
        """
        task, engine = trials.task, trials.simulator.engine
        if find_spec("numba") is None or not isinstance(engine, OpenDSSEngine) or task.scenario.circuit_controls:
            return None
        try:
            return cls(task, engine.tolerance)
        except ValueError:
            return None

    def rewards(self, trials: TrialSolver, now: GridState, joint_actions: Array, zone: int | None = None) -> Array:
        """(K) team rewards, or those of one zone; -inf where the power flow fails.

        Args:
            trials: on the running episode.
            now: before the interval.
            joint_actions: (K, F).
            zone: its number among the task's zones; None: the team.
        """
        if trials.attack is not None:
            entry_agent = self.task.agents.action_layout.entry_agent
            joint_actions = np.array([trials.attack.act(one, entry_agent, now) for one in joint_actions])
        today, simulator = trials.simulator.conditions, self._simulator
        return np.concatenate(
            [self._worth(simulator.trials(today, now, some), zone) for some in _chunks(joint_actions)]
        )

    def bounds_of_switching(self, trials: TrialSolver, now: GridState, closed: BoolArray) -> Array:
        """(K) upper bounds of the team rewards on OpenDSS with these switches (K, S) and all devices held.

        They allow for the engines' difference in the package's terms; a steeper one of your own may exceed its bound by
        as little.
        """
        today, simulator = trials.simulator.conditions, self._simulator
        found = []
        for some in _chunks(closed):
            tried = simulator.trials(today, now, closed=some)
            v = tried.after.solution.v_alive[:, self._scored]
            close = self.task.all_zones.scored_band.to_limit(v) < self._close  # might lie inside the band
            found.append(self._worth(tried) + self._model.per_node * close.sum(axis=-1) + self._slack)
        return np.concatenate(found)

    def _worth(self, tried: Trials, zone: int | None = None) -> Array:
        terms = self._model.zone_terms(tried.before, tried.after)[..., : len(self._model.rewards), :]
        own = terms if zone is None else terms[..., zone : zone + 1]
        return np.where(tried.failed, -np.inf, own.sum(axis=(-2, -1)))

    def close(self) -> None:
        """Release the engine."""
        self._simulator.batch_engine.close()


class BatchOfTask:
    """The TrialBatch of the task that a controller plays, opened once."""

    def __init__(self) -> None:
        self._task: Task | None = None
        self._batch: TrialBatch | None = None

    def of(self, trials: TrialSolver) -> TrialBatch | None:
        """See TrialBatch.opened."""
        if self._task is not trials.task:
            if self._batch is not None:
                self._batch.close()
            self._batch, self._task = TrialBatch.opened(trials), trials.task
        return self._batch

    def __getstate__(self) -> dict[str, Any]:
        """Without the engine, which a copy opens for itself."""
        return {"_task": None, "_batch": None}


def _chunks(rows: T) -> Iterator[T]:
    """The rows in turn, as many as the engine solves at once."""
    return (rows[start : start + COPIES] for start in range(0, len(rows), COPIES))
