"""Whether the training settings of a space can be learned with, asked before any training."""

from __future__ import annotations

from typing import Any

from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import Task, build_task
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments.parameter_search.space import Parameter, Space, with_values
from dss_marl.experiments.training.teachers import new_teacher
from dss_marl.experiments.training.train import checked_task, learned_variant
from dss_marl.integrations.sb3.setting_checks import check_settings


def check_space(space: Space, scenario: Scenario) -> None:
    """Check both ends of each range, and each choice, with the other settings at their first values.

    Raises:
        ValueError: one is refused; names the space, the key and the reason.
        ImportError: the ``train`` extra is not installed.
    """
    checked_task(scenario, "native")
    first = {one.key: one.ends[0] for one in space.parameters}
    tasks: dict[bool, Task] = {}
    for parameter in space.parameters:
        for value in parameter.ends:
            try:
                _check(with_values(scenario, {**first, parameter.key: value}), parameter, tasks)
            except ValueError as error:
                raise ValueError(f"{space.where}: {parameter.key}: {_told(value)} is refused: {error}") from None


def _check(scenario: Scenario, parameter: Parameter, tasks: dict[bool, Task]) -> None:
    settings = TrainingSettings.model_validate(scenario.training)
    guarded = settings.guard is not None
    variant = learned_variant(scenario, settings)
    if guarded not in tasks:
        tasks[guarded] = build_task(variant)
    check_settings(tasks[guarded], settings)
    if settings.teacher is not None and parameter.key.startswith("training.teacher"):
        new_teacher(tasks[guarded], settings.teacher).close()


def _told(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)
