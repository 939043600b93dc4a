"""A plan played in the environment, on OpenDSS."""

from __future__ import annotations

from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array
from dss_marl.profiles.splits import seed_of


def play_plan(task: Task, day: int, requests: Array) -> float:
    """Team return of (T, F) joint actions on a day.

    Raises:
        ValueError: a power flow fails.
    """
    env = ZoneEnv(task, "test")
    env.reset(seed=seed_of(day), options={"day": day})
    total = 0.0
    try:
        for joint_action in requests:
            _, _, failed, _, _ = env.step(task.encoding.encode(joint_action))
            total += env.team_reward
            if any(failed.values()):
                raise ValueError(f"day {day} of scenario {task.scenario.name!r}: a power flow of the plan fails")
    finally:
        env.close()
    return total
