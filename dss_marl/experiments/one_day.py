"""What pictures and films of one day share: which scenario, which day, which controllers."""

from __future__ import annotations

from pathlib import Path

from dss_marl.controllers import Controller, reference
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import build_task
from dss_marl.experiments.runs.policies import load_policy
from dss_marl.experiments.runs.run_record import load_run
from dss_marl.experiments.runs.run_scenario import scenario_of_run
from dss_marl.experiments.validation.budget import frozen_days

LEARNED = "learned"  # name of a run's policy among controllers


def scenario_of(run_or_scenario: Path | Scenario) -> tuple[Scenario, Path | None]:
    """The scenario, and the run's folder; None for a scenario.

    Raises:
        ValueError: no run there.
    """
    if isinstance(run_or_scenario, Path):
        return scenario_of_run(run_or_scenario, load_run(run_or_scenario)), run_or_scenario
    return run_or_scenario, None


def middle_day(scenario: Scenario) -> int:
    """The middle one of the frozen test days; of all test days where the scenario has no plans yet."""
    task = build_task(scenario)
    try:
        days = frozen_days(task)
    except ValueError:
        days = task.profiles.days("test")
    return int(days[len(days) // 2])


def named_controller(name: str, scenario: Scenario, folder: Path | None, trust: bool = False) -> Controller:
    """A reference controller, or a run's policy by the name "learned".

    Args:
        name: of a reference, or ``package.module:name``.
        scenario: to play.
        folder: of the run; None where there is none.
        trust: see load_policy.

    Raises:
        ValueError: unknown, or "learned" without a run.
    """
    if name != LEARNED:
        return reference(name, scenario)
    if folder is None:
        raise ValueError(f"{LEARNED!r} is the policy of a run; give a run's folder in place of {scenario.name!r}")
    return load_policy(folder, trust)
