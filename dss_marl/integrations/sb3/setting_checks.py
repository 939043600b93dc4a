"""Which training settings a task can learn with, asked before anything is built or replaced."""

from __future__ import annotations

from dss_marl.envs.reward_gradient import check_differentiable
from dss_marl.envs.task import Task
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.integrations.sb3.entry_layout import EntryLayout, guided_entries, used_columns


def check_settings(task: Task, settings: TrainingSettings, route: str = "native") -> None:
    """Whether the settings fit the task and each other.

    Args:
        task: to learn.
        settings: of the training.
        route: of the rows, see ``to_sb3``.

    Raises:
        ValueError: they do not; says which, why, and the cure.
    """
    scenario, own = task.scenario, settings.beyond_ppo
    where = f"scenario {scenario.name!r}"
    mixed = settings.entries == "mixed"
    if settings.algorithm == "maskable_ppo" and (own or mixed):
        names = ", ".join((*own, *(["entries"] if mixed else [])))
        raise ValueError(
            f"{where}: algorithm 'maskable_ppo' has no {names}; leave them out, or use algorithm 'ppo' or 'mappo'"
        )
    if settings.algorithm == "maskable_ppo" and not task.encoding.discrete:
        raise ValueError(
            f"{where}: algorithm 'maskable_ppo' needs actions that are choices, but these are {scenario.actions!r}; "
            "use actions 'multidiscrete', or algorithm 'ppo'"
        )
    if mixed:
        EntryLayout.of_task(task)
    elif settings.temperature_final is not None:
        raise ValueError(
            f"{where}: temperature_final needs entries 'mixed', whose choices have one; set it, or leave it out"
        )
    of_numbers = [name for name in ("ratio", "slope", "log_std_final") if name in own]
    if of_numbers and scenario.actions != "box":
        raise ValueError(
            f"{where}: {', '.join(of_numbers)} need actions 'box', whose entries are drawn one by one, but these are "
            f"{scenario.actions!r}; leave them out, or use actions 'box'"
        )
    if route != "native" and (settings.central or settings.slope is not None):
        raise ValueError(
            f"route {route!r} hands over neither the states that critic 'central' values nor slopes of the reward; use "
            "route 'native'"
        )
    if settings.slope is not None:
        guided_entries(task, settings.slope.kinds)
        check_differentiable(task, settings.slope.margin_pu)
    if settings.ignore_padding and scenario.actions == "box" and not mixed:
        used_columns(task)
