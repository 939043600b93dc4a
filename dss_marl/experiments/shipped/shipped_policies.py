"""Trained policies that ship with the package, and any run's, with the scenario and version that they belong to."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dss_marl._assets import data_folder, known_names
from dss_marl.controllers import Controller
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.evaluation import environment_for, evaluate
from dss_marl.experiments.runs import policies
from dss_marl.experiments.runs.run_folder import check_days
from dss_marl.experiments.runs.run_record import FILE, RunRecord, load_run
from dss_marl.experiments.runs.run_scenario import scenario_of_run

POLICY_PREFIX = "policy:"  # begins the name of a shipped policy where a scenario or a run could be meant
# Keys of a scenario that change neither what a policy sees and does nor what it earns.
_FREE = {
    "title",
    "version",
    "reference_controller",
    "tutorial",
    "planner",
    "training",
    "tuned_droop",
    "tuned_on",
    "costs",
    "budgets",
}


class TrainedPolicy:
    """A trained policy and what it was trained on; a controller for environments of its scenario.

    Attributes:
        name: of the shipped policy, or of the run's folder.
        scenario: that it was trained on.
        record: of the run.
        controller: the networks as a controller; what it has besides ``reset`` and ``act`` is here too.
    """

    def __init__(self, name: str, scenario: Scenario, record: RunRecord, controller: Controller) -> None:
        self.name, self.scenario, self.record, self.controller = name, scenario, record, controller

    def reset(self, env: ZoneEnv) -> None:
        """Check that the networks fit the environment.

        Raises:
            ValueError: its spaces are others.
        """
        self.controller.reset(env)

    def act(self, env: ZoneEnv, observations: Mapping[str, Any]) -> dict[str, Any]:
        """Actions of all agents, without exploration."""
        return self.controller.act(env, observations)

    def environment(self, split: str = "test") -> ZoneEnv:
        """An environment of its scenario on days of a split."""
        return environment_for(self.controller, self.scenario, split)

    def evaluate(self, days: int | Sequence[int] | None = None, split: str = "test") -> list[dict[str, float]]:
        """Key figures of each day.

        Args:
            days: how many, from the first of the split; or their numbers; None: all of the split.
            split: of days.
        """
        if days is None or isinstance(days, int):
            env = self.environment(split)
            days = env.days[:days]
            env.close()
        return evaluate(self.controller, self.scenario, days, split)

    @property
    def trained_on(self) -> str:
        """Scenario and version, and version and commit of the package."""
        record, scenario = self.record, self.scenario
        commit = f", commit {record.git_commit[:12]}" if record.git_commit else ""
        return f"{scenario.name} version {scenario.version}, with dss_marl {record.versions['dss_marl']}{commit}"

    def __getattr__(self, name: str) -> Any:
        if name == "controller":  # not there while an instance is copied
            raise AttributeError(name)
        return getattr(self.controller, name)

    def __repr__(self) -> str:
        return (
            f"TrainedPolicy({self.name!r}: trained on {self.trained_on}; seed {self.record.seed}, "
            f"{self.record.agent_steps:,} agent-steps)"
        )


def list_policies() -> list[str]:
    """Names of the policies that ship with the package."""
    return sorted(path.parent.name for path in data_folder("policies").glob(f"*/{FILE}"))


def policy_folder(name: str) -> Path:
    """Folder of a shipped policy.

    Raises:
        ValueError: no such policy; the message lists those that there are.
    """
    known = list_policies()
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        there = f"shipped: {', '.join(known)}" if known else "none is shipped"
        raise ValueError(
            f"unknown policy {name!r}{hint or ';'} {there}; or give the folder of a run, which 'dss-marl train' writes"
        )
    return data_folder("policies") / name


def load_trained(
    name_or_run: str | Path, any_version: bool = False, trust: bool = False, allow_code: bool = False
) -> TrainedPolicy:
    """A trained policy, ready to act.

    It is checked that the policy's files are those of its record, that the days are those that it was trained on, and
    that the shipped scenario of the same name, if there is one, is still the one that it was trained on.

    Args:
        name_or_run: name of a shipped policy, or the folder of a run.
        any_version: take a policy of another version of the scenario too; ``scenario`` is then that of the record.
        trust: see experiments.load_policy.
        allow_code: see load_scenario.

    Raises:
        ValueError: no such policy or run, or a check fails.
        ImportError: the ``train`` extra is not installed.
    """
    folder = Path(name_or_run)
    if str(name_or_run) in list_policies() or not folder.is_dir():
        folder = policy_folder(str(name_or_run).removeprefix(POLICY_PREFIX))
    record = load_run(folder)
    scenario = scenario_of_run(folder, record, allow_code)
    if not any_version:
        check_version(scenario)
        check_days(record, scenario)
    return TrainedPolicy(folder.resolve().name, scenario, record, policies.load_policy(folder, trust))


def check_version(scenario: Scenario) -> None:
    """Check that a policy's scenario is the shipped one of its name, if there is one.

    Raises:
        ValueError: it has been changed since.
    """
    if scenario.name not in known_names("scenarios"):
        return
    now = load_scenario(scenario.name)
    then, today = (one.model_dump(mode="json", exclude=_FREE) for one in (scenario, now))
    off = sorted(key for key in today if then[key] != today[key])
    if off:
        raise ValueError(
            f"the policy was trained on version {scenario.version} of scenario {scenario.name!r}, and this package has "
            f"version {now.version}, with other {', '.join(off)}; train it again, or take it with any_version=True in "
            "the scenario of its record"
        )
