"""Plan files: solved days of a scenario, stored and replayed."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from dss_marl._assets import data_folder, replacing
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array

_FILE = "plans.npz"
TEST = "test"  # the split of best_known's plans; files of earlier versions name none
_COLUMNS = ("requests", "returns", "drawn_kwh", "versions")
_OPTIONAL = {"seconds": np.nan}  # columns that files of earlier versions lack, with what is read instead
# Keys that change neither the grid nor the reward.
_FREE = {
    "name",
    "title",
    "reference_controller",
    "tutorial",
    "planner",
    "training",
    "tuned_droop",
    "tuned_on",
    "costs",
    "observations",
    "observed_voltages",
    "sensing",
    "messages",
}


@dataclass
class Plans:
    """Joint actions for some days.

    Attributes:
        digest: of the scenario that the days were solved for; see ``digest``.
        requests: day of the year to (T, F), exact in half precision.
        returns: day to the team's return in simulation.
        drawn_kwh: day to its load and PV energy, which identifies the profiles [kWh].
        versions: day to the package's version that solved it.
        seconds: day to the computing time of its plan, NaN if unknown [s].
        split: of the days.
        margin_pu: by which the voltage band was narrower at both ends while the days were planned [pu].
    """

    digest: str
    requests: dict[int, Array] = field(default_factory=dict)
    returns: dict[int, float] = field(default_factory=dict)
    drawn_kwh: dict[int, float] = field(default_factory=dict)
    versions: dict[int, str] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    split: str = TEST
    margin_pu: float = 0.0

    def add(self, task: Task, day: int, requests: Array, earned: float, seconds: float = np.nan) -> None:
        """Add a day; ``seconds`` of computing time."""
        self.requests[day], self.returns[day] = requests, earned
        self.drawn_kwh[day] = drawn_kwh(task, day)
        self.versions[day] = version("dss_marl")
        self.seconds[day] = seconds

    def save(self, path: Path) -> None:
        """Write all days into a compressed file; creates the folder."""
        days = sorted(self.requests)
        with replacing(path) as part:
            np.savez_compressed(
                part,
                digest=np.array(self.digest),
                split=np.array(self.split),
                margin_pu=np.array(self.margin_pu),
                days=np.array(days),
                requests=np.array([self.requests[day] for day in days]).astype(np.float16),
                returns=np.array([self.returns[day] for day in days]),
                drawn_kwh=np.array([self.drawn_kwh[day] for day in days]),
                versions=np.array([self.versions[day] for day in days]),
                seconds=np.array([self.seconds.get(day, np.nan) for day in days]),
            )

    @classmethod
    def load(cls, path: Path) -> Plans:
        """Read what ``save`` wrote; pickled objects are refused.

        Raises:
            ValueError: not a file of plans, or only a part of one.
        """
        try:
            with np.load(path, allow_pickle=False) as data:
                content = {name: data[name] for name in ("digest", "days", *_COLUMNS)}
                missing = {name: np.full(len(content["days"]), value) for name, value in _OPTIONAL.items()}
                content |= {name: data.get(name, value) for name, value in missing.items()}
                split, margin_pu = str(data.get("split", TEST)), float(data.get("margin_pu", 0.0))
        except (OSError, EOFError, ValueError, TypeError, LookupError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(
                f"{str(path)!r} is no file of plans, or only a part of one ({error}); 'dss-marl solve' writes it"
            ) from None
        days = [int(day) for day in content["days"]]
        requests, returns, drawn, versions = (dict(zip(days, content[name], strict=True)) for name in _COLUMNS)
        return cls(
            digest=str(content["digest"]),
            requests={day: one.astype(float) for day, one in requests.items()},
            returns={day: float(one) for day, one in returns.items()},
            drawn_kwh={day: float(one) for day, one in drawn.items()},
            versions={day: str(one) for day, one in versions.items()},
            seconds={day: float(one) for day, one in zip(days, content["seconds"], strict=True)},
            split=split,
            margin_pu=margin_pu,
        )

    def of_day(self, task: Task, day: int) -> Array:
        """(T, F) the plan of a day.

        Raises:
            ValueError: there is none, or it was solved for another scenario or other profiles.
        """
        name = task.scenario.name
        cure = f"run 'dss-marl solve {name}{'' if self.split == TEST else f' --split {self.split}'}'"
        if self.digest != digest(task.scenario):
            raise ValueError(f"the plans of scenario {name!r} were solved before it was changed; {cure}")
        if day not in self.requests:
            known = ", ".join(map(str, sorted(self.requests)))
            raise ValueError(f"scenario {name!r} has no plan of day {day}, only of {known}; {cure} for more")
        if not np.isclose(self.drawn_kwh[day], drawn_kwh(task, day), rtol=1e-6):
            raise ValueError(f"day {day} of scenario {name!r} has changed since its plan was solved; {cure}")
        return self.requests[day]

    @classmethod
    def of_split(cls, path: Path, split: str) -> Plans:
        """As ``load``, of a file that must be of this split.

        Raises:
            ValueError: it is of another; or as ``load``.
        """
        plans = cls.load(path)
        if plans.split != split:
            raise ValueError(f"{str(path)!r} has plans of {plans.split} days, not of {split} days")
        return plans


class PlanReplay:
    """Replays solved days only.

    Args:
        plans: of the scenario.
    """

    circuit_controls = False

    def __init__(self, plans: Plans) -> None:
        self.plans = plans

    @property
    def days(self) -> tuple[int, ...]:
        """The days with plans."""
        return tuple(sorted(self.plans.requests))

    def reset(self, env: ZoneEnv) -> None:
        """Look up the day's plan.

        Raises:
            ValueError: there is none, or it was solved for another scenario or other profiles.
        """
        self._requests = self.plans.of_day(env.task, env.day)

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The plan's actions of the interval."""
        assert env.now is not None
        return env.task.encoding.encode(self._requests[env.now.step])


def digest(scenario: Scenario) -> str:
    """Short hash of the scenario settings that affect its plans."""
    said = scenario.model_dump(mode="json", exclude=_FREE, exclude_defaults=True)  # a new key leaves old plans valid
    text = json.dumps(said, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def drawn_kwh(task: Task, day: int) -> float:
    """Energy of all loads and PV units of a day, both counted positive [kWh]."""
    return float(np.abs(task.profiles.day(day).kw).sum()) * task.scenario.dt_h


def plans_path(scenario: Scenario, split: str = TEST) -> Path:
    """Where ``dss-marl solve`` writes: ``results/<scenario>/plans.npz`` in the working folder.

    Plans of days other than test days are in a file of their own, such as ``train_plans.npz``.
    """
    return Path("results") / scenario.name / (_FILE if split == TEST else f"{split}_{_FILE}")


def load_plans(scenario: Scenario, split: str = TEST) -> Plans:
    """The plans of a scenario's days: those in the working folder, else those shipped with the package.

    Raises:
        ValueError: there are none, or the file has plans of another split.
    """
    own = plans_path(scenario, split)
    for path in (own, data_folder("results").parent / own):
        if path.is_file():
            return Plans.of_split(path, split)
    if split != TEST:
        raise ValueError(
            f"scenario {scenario.name!r} has no plans of {split} days; "
            f"'dss-marl solve {scenario.name} --split {split}' finds them"
        )
    raise ValueError(
        f"scenario {scenario.name!r} has no plans; 'dss-marl solve {scenario.name}' finds them, or the key "
        "reference_controller names a controller in their place, such as linear"
    )
