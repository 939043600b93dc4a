"""Choosing: policies are evaluated on validation days during training, and the best is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from dss_marl.envs.task import Task
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.batch_evaluation import DaysTogether
from dss_marl.experiments.evaluation import run_day
from dss_marl.experiments.runs.run_folder import RunFolder
from dss_marl.experiments.runs.run_record import OPENDSS
from dss_marl.integrations.sb3.trained_policy import PolicyPerKind

Figures: TypeAlias = Mapping[str, float]  # mean key figures over validation days
Report: TypeAlias = Callable[[int, Figures | None], None]  # agent-steps done, and figures after an evaluation
Tell: TypeAlias = Callable[[str], None]
Watch: TypeAlias = Callable[[int, Figures], bool]  # agent-steps done and figures of an evaluation: whether to stop
RETURN = "team_return"


class BestCheckpoint:
    """Evaluates a controller on validation days and saves it if it is the best so far.

    Args:
        task: defines the validation days.
        policy: the controller, whose models are being trained.
        settings: number of evaluations, of days in each, and when to stop early.
        run: where it is saved.
        report: called with the agent-steps done and, after an evaluation, the mean figures of its days, else None.
        together: play the days at once, which is faster; the returns are the same but for the last digits.

    Attributes:
        history: agent-steps and score of each evaluation.
        seconds: total time of evaluations.
    """

    def __init__(
        self,
        task: Task,
        policy: PolicyPerKind,
        settings: TrainingSettings,
        run: RunFolder,
        report: Report,
        together: bool = False,
    ) -> None:
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        self._policy, self._run, self._report = policy, run, report
        self._env = ZoneEnv(task, "validation")
        days = self._env.days
        self._days = days[:: max(1, len(days) // settings.evaluation_days)][: settings.evaluation_days]
        self._together = DaysTogether(task, "validation", OPENDSS, len(self._days)) if together else None
        self._every = settings.agent_steps / settings.evaluations
        self._next = 0.0
        self._early_stop, self._counted = settings.early_stop, 0  # evaluations before a continuation do not count

    @property
    def enough(self) -> bool:
        """Whether so many evaluations in a row were not better that training should end."""
        scores = [row["score"] for row in self.history]
        since_best = len(scores) - 1 - int(np.argmax(scores)) if scores else 0
        return bool(self._early_stop) and min(since_best, len(scores) - self._counted) >= self._early_stop

    def maybe_evaluate(self, agent_steps: int) -> Figures | None:
        """Evaluate the controller if an evaluation is due; returns its mean figures, else None."""
        if agent_steps >= self._next:
            self._next += self._every
            return self.evaluate(agent_steps)
        self._report(agent_steps, None)
        return None

    def evaluate(self, agent_steps: int) -> Figures:
        """Evaluate the controller; returns its mean figures."""
        begin = time.perf_counter()
        if self._together is None:
            days = [run_day(self._env, self._policy, day) for day in self._days]
        else:
            days = self._together.figures(self._policy, self._days)
        figures = {name: float(np.mean([own[name] for own in days])) for name in days[0]}
        best = not self.history or figures[RETURN] > max(row["score"] for row in self.history)
        self.history.append({"agent_steps": float(agent_steps), "score": figures[RETURN]})
        if best:
            self._run.record.validation = figures
        self._run.note(agent_steps, self.history, self._policy if best else None)
        self.seconds += time.perf_counter() - begin
        self._report(agent_steps, figures)
        return figures

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of the evaluations."""
        return {
            "history": [dict(row) for row in self.history],
            "validation": dict(self._run.record.validation),
            "seconds": self.seconds,
            "next": self._next,
            "counted": self._counted,
        }

    def restore(self, state: Mapping[str, Any], agent_steps: int, more: bool) -> None:
        """Go on from a checkpoint.

        Args:
            state: of the evaluations.
            agent_steps: done until then.
            more: the run was finished, and goes on: the last evaluation is not repeated.
        """
        self.history, self.seconds = state["history"], state["seconds"]
        self._next, self._counted = state["next"], state["counted"]
        if more:
            self._next, self._counted = agent_steps + self._every, len(self.history)
        self._run.record.history, self._run.record.validation = self.history, state["validation"]

    def close(self) -> None:
        """Close the environments."""
        self._env.close()
        if self._together is not None:
            self._together.close()
