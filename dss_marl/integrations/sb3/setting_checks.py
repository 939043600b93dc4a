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
    if settings.is_off_policy or settings.is_recurrent:
        _check_of_sb3(settings, where)
    if settings.is_off_policy:
        _check_off_policy(task, settings, where)
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
    if settings.ignore_padding and scenario.actions == "box" and not (mixed or settings.is_off_policy):
        used_columns(task)


def _check_of_sb3(settings: TrainingSettings, where: str) -> None:
    """Check settings of sac, tqc and recurrent_ppo, which are SB3's as they are.

    Raises:
        ValueError: they have what only this package's PPO has, or several policies.
    """
    algorithm = settings.algorithm
    names = [*settings.beyond_ppo]
    names += [
        name for name, given in (("entries", settings.entries == "mixed"), ("teacher", settings.teacher)) if given
    ]
    if names:
        raise ValueError(
            f"{where}: algorithm {algorithm!r} has no {', '.join(names)}; leave them out, or use algorithm 'ppo'"
        )
    if settings.sharing != "all":
        raise ValueError(
            f"{where}: algorithm {algorithm!r} learns one policy for all agents, not sharing {settings.sharing!r}; use "
            "sharing 'all', or algorithm 'ppo'"
        )


def _check_off_policy(task: Task, settings: TrainingSettings, where: str) -> None:
    """Check the actions and the start of learning of sac and tqc.

    Raises:
        ValueError: actions are choices, or learning would never start.
    """
    actions, starts = task.scenario.actions, settings.off_policy.learning_starts
    if actions != "box":
        raise ValueError(
            f"{where}: algorithm {settings.algorithm!r} needs actions that are numbers, but these are {actions!r}; use "
            "actions 'box', or algorithm 'ppo' or 'maskable_ppo'"
        )
    if starts >= settings.agent_steps:
        raise ValueError(
            f"{where}: algorithm {settings.algorithm!r} would learn nothing: off_policy.learning_starts is {starts:,} "
            f"and agent_steps {settings.agent_steps:,}; give more agent_steps (--steps), or fewer learning_starts"
        )
