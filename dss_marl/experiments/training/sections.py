"""Sections of learning: each ends with an evaluation, a checkpoint of everything, and a reset of all copies.

The copies start a section from a seed derived of the run's seed and the section's number, whether the run was stopped
in between or not. So a checkpoint need not hold what is inside the environments, and a resumed run and one that was
never stopped agree to the last bit where one process steps the copies.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dss_marl.envs.task import Task
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments.runs.run_folder import RunFolder
from dss_marl.experiments.training.checkpoint_file import restore_files, write_checkpoint
from dss_marl.experiments.training.checkpointing import BestCheckpoint, Figures, Report, Tell, Watch
from dss_marl.experiments.training.logs import Logs
from dss_marl.integrations.sb3.trained_policy import PolicyPerKind

_LEAST_ROLLOUTS = 2  # in a section


@dataclass(frozen=True)
class Course:
    """What a learner gets beside its task.

    Attributes:
        run: the folder.
        report: called with the agent-steps done and, after an evaluation, the mean figures of its days, else None.
        logs: where the figures of each update go.
        found: the checkpoint that it goes on from; None: from the start.
        tell: called with a line of text on what happens before learning: each round of imitation.
        watch: asked after each evaluation but the last whether learning should end there.
    """

    run: RunFolder
    report: Report
    logs: Logs
    found: Mapping[str, Any] | None = None
    tell: Tell = lambda text: None
    watch: Watch = lambda agent_steps, figures: False


class Sections:
    """Evaluations, checkpoints and resets of a run.

    Args:
        task: that is learned.
        settings: of the training.
        seed: of the run.
        policy: the controller, whose models are SB3's.
        rows: of the VecEnv: agents times copies.
        restart: starts an episode in all copies from a seed, and tells the models.
        course: of the run.
        together: see BestCheckpoint.

    Attributes:
        keeper: evaluates.
        done: agent-steps at the start of the section.
    """

    def __init__(
        self,
        task: Task,
        settings: TrainingSettings,
        seed: int,
        policy: PolicyPerKind,
        rows: int,
        restart: Callable[[int], None],
        course: Course,
        together: bool,
    ) -> None:
        self.keeper = BestCheckpoint(task, policy, settings, course.run, course.report, together)
        self.done = 0
        self._seed, self._policy, self._restart, self._course = seed, policy, restart, course
        self._stage = len(course.run.record.stages)
        self._number, self._before_s, self._began = 0, 0.0, time.perf_counter()
        steps = max(settings.checkpoint_episodes * task.scenario.steps, _LEAST_ROLLOUTS * settings.rollout_steps)
        self._shortest, self._episode = steps * rows, task.scenario.steps * rows
        self._in_step = not together  # all copies are at the same hour; those of a batch are spread over the day
        self._evaluated = False  # in this section

    @property
    def seconds(self) -> float:
        """Duration of the training so far [s]."""
        return self._before_s + time.perf_counter() - self._began

    def begin(self) -> bool:
        """Go on from the checkpoint, if there is one, and open the logs; returns whether anything is left to learn."""
        from dss_marl.integrations.sb3.model_state import restore, restore_streams

        found, models = self._course.found, self._policy.models
        if found is not None:
            self.done, self._number, self._before_s = found["agent_steps"], found["section"], found["seconds"]
            more = found["stage"] != self._stage
            self.keeper.restore(found["evaluations"], self.done, more)
            self._course.run.note_restored(restore_files(self._course.run.path, found))
            for kind, model in models.items():
                restore(model, found["models"][kind])
        for kind, model in models.items():
            model.set_logger(self._course.logs.logger(kind, None if found is None else model.num_timesteps))
        if found is not None:
            self._restart(self._section_seed())
            restore_streams(found["streams"])  # after whatever drew from them until here
        return found is None or more or not found["ended"]

    def pause(self, agent_steps: int) -> bool:
        """Evaluate if it is time, and end the section where that hurts nothing; called before a rollout.

        Returns:
            Whether training should go on.
        """
        figures = self.keeper.maybe_evaluate(agent_steps)
        if figures is not None:
            self._log(figures)
            self._course.run.record.stopped = bool(self._course.watch(agent_steps, figures))
            if self._course.run.record.stopped or self.keeper.enough:
                self._end(agent_steps)
                return False
            self._evaluated |= agent_steps > self.done
        if self._evaluated and self._may_end(agent_steps - self.done):
            self._end(agent_steps, restart=True)
        return True

    def _may_end(self, agent_steps: int) -> bool:
        """Whether a section of so many agent-steps may end: where all copies begin an episode anyway, or if it is long.

        Otherwise the first hours of the day would be learned noticeably more often than the last.
        """
        return agent_steps >= self._shortest or (self._in_step and agent_steps % self._episode == 0)

    def finish(self, agent_steps: int) -> None:
        """Evaluate for the last time, and write the last checkpoint."""
        self._log(self.keeper.evaluate(agent_steps))
        self._end(agent_steps)

    def _end(self, agent_steps: int, restart: bool = False) -> None:
        from dss_marl.integrations.sb3.model_state import state_of, streams

        self.done, self._number, self._evaluated = agent_steps, self._number + 1, False
        if restart:
            self._restart(self._section_seed())
        run = self._course.run
        run.record.seconds = self.seconds
        run.note_last(self._policy)
        content = {
            "agent_steps": agent_steps,
            "stage": self._stage,
            "ended": not restart,
            "section": self._number,
            "seconds": self.seconds,
            "evaluations": self.keeper.state(),
            "models": {kind: state_of(model) for kind, model in self._policy.models.items()},
            "streams": streams(),
        }
        write_checkpoint(run.path, run.record, content)

    def _section_seed(self) -> int:
        return int(np.random.SeedSequence([self._seed, self._number]).generate_state(1)[0])

    def _log(self, figures: Figures) -> None:
        """Write the figures, and with them what the models have not yet written, so that nothing is left in between."""
        for model in self._policy.models.values():
            for name, value in figures.items():
                if value or name == "team_return":
                    model.logger.record(f"validation/{name}", value)
            model.logger.record("time/total_timesteps", model.num_timesteps, exclude="tensorboard")
            model.logger.dump(model.num_timesteps)
