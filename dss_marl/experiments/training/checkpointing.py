"""Checkpointing: policies are evaluated on validation days during training, and the best is kept."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from dss_marl.envs.task import Task
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.batch_evaluation import DaysTogether
from dss_marl.experiments.evaluation import run_day
from dss_marl.experiments.runs.run_folder import RunFolder
from dss_marl.experiments.runs.run_record import OPENDSS
from dss_marl.integrations.sb3.trained_policy import PolicyPerKind

Report = Callable[[int, float | None], None]
Tell = Callable[[str], None]


class BestCheckpoint:
    """Evaluates a controller on validation days and saves it if it is the best so far.

    Args:
        task: defines the validation days.
        policy: the controller, whose models are being trained.
        settings: number of evaluations, and of days in each.
        run: where it is saved.
        report: called with the agent-steps done and, after an evaluation, its score, else None.
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

    def maybe_evaluate(self, agent_steps: int) -> float | None:
        """Evaluate the controller if an evaluation is due; returns its score, else None."""
        if agent_steps >= self._next:
            self._next += self._every
            return self.evaluate(agent_steps)
        self._report(agent_steps, None)
        return None

    def evaluate(self, agent_steps: int) -> float:
        """Evaluate the controller; returns its mean team return."""
        begin = time.perf_counter()
        if self._together is None:
            figures = [run_day(self._env, self._policy, day) for day in self._days]
        else:
            figures = self._together.figures(self._policy, self._days)
        score = float(np.mean([own["team_return"] for own in figures]))
        best = not self.history or score > max(row["score"] for row in self.history)
        self.history.append({"agent_steps": float(agent_steps), "score": score})
        self._run.note(agent_steps, self.history, self._policy if best else None)
        self.seconds += time.perf_counter() - begin
        self._report(agent_steps, score)
        return score

    def close(self) -> None:
        """Close the environments."""
        self._env.close()
        if self._together is not None:
            self._together.close()
