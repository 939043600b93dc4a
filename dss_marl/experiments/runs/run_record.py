"""RunRecord: everything needed to repeat a run, and hashes of all that it belongs to; stored in the run's folder."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dss_marl._assets import data_folder, read_text, write_text
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.training_settings import SETTINGS_VERSION, TrainingSettings
from dss_marl.envs.validation_messages import readable
from dss_marl.experiments.runs.older_settings import completed

_PACKAGES = (
    "dss_marl",
    "numpy",
    "gymnasium",
    "pettingzoo",
    "opendssdirect.py",
    "dss_python_backend",
    "stable-baselines3",
    "sb3-contrib",
    "supersuit",
    "torch",
    "safetensors",
    "numba",
)
OPENDSS = "opendss"  # the engine that evaluates, whatever engine a policy was trained on
FILE = "record.json"
FORMAT = 2  # of the record and of the files that it names


class Stage(BaseModel):
    """What a run was asked for before it was continued to more agent-steps."""

    model_config = ConfigDict(extra="forbid")

    agent_steps: int = Field(description="agent-steps that were asked for")
    evaluations: int = Field(description="number of evaluations until then")


class Resumption(BaseModel):
    """A time at which a run went on, and what it went on with."""

    model_config = ConfigDict(extra="forbid")

    agent_steps: int = Field(description="those of the checkpoint that it went on from; 0 without one")
    started: str = Field(description="date and time, UTC")
    git_commit: str = Field(description="of the checkout, with `+` if it had changes")
    versions: dict[str, str] = Field(description="of Python and packages")
    machine: str = Field(description="operating system and processor")


class RunRecord(BaseModel):
    """Scenario, settings, seed, versions of code and packages, and results.

    It is written before training starts, anew whenever a better policy is saved, at checkpoints, and at the end.
    """

    model_config = ConfigDict(extra="forbid")

    format: int = Field(default=FORMAT, description="number of the record's format")
    status: Literal["running", "finished"] = Field(
        default="running", description="`running` or `finished`; a run that was stopped stays `running`"
    )
    scenario: dict[str, Any] = Field(description="the whole scenario")
    scenario_sha256: str = Field(description="hash of the scenario")
    settings: dict[str, Any] = Field(description="all training settings, defaults included")
    settings_version: int = Field(
        default=1, description="version of the settings: which keys existed as the record was written"
    )
    later_settings: list[str] = Field(
        default=[],
        description="settings that did not exist when the run began; they say what was done before they existed",
    )
    seed: int = Field(description="of the run")
    route: str = Field(description="`native` or `supersuit`")
    num_cpus: int = Field(description="worker processes")
    engine: str = Field(default=OPENDSS, description="engine that solved the copies that learned")
    with_sb3: bool = Field(default=False, description="whether SB3's own models are kept too")
    started: str = Field(description="date and time, UTC")
    git_commit: str = Field(description="of the checkout, with `+` if it had changes")
    versions: dict[str, str] = Field(description="of Python and packages")
    machine: str = Field(description="operating system and processor")
    profiles_sha256: str = Field(default="", description="hash of the year of days")
    stages: list[Stage] = Field(
        default=[], description="what was asked for before the run was continued to more agent-steps"
    )
    resumptions: list[Resumption] = Field(
        default=[], description="when, where and with which versions the run went on after it was stopped or finished"
    )
    files: dict[str, str] = Field(
        default={}, description="the policies' files and their SHA-256, which are compared before they are loaded"
    )
    imitation: dict[str, Any] | None = Field(
        default=None,
        description="what was imitated before learning: teacher, split and days, and of each round its states, the "
        "return of its days, and how often policy and teacher agreed; null without a teacher",
    )
    stopped: bool = Field(
        default=False,
        description="whether what watched the evaluations ended training before its agent-steps, as a search does with "
        "trials that fall behind",
    )
    seconds: float = Field(default=0.0, description="duration of training, without imitation [s]")
    agent_steps: int = Field(default=0, description="trained so far")
    agent_steps_per_second: float = Field(default=0.0, description="mean speed without evaluations [1/s]")
    history: list[dict[str, float]] = Field(
        default=[], description="learning curve: agent-steps and mean team return on validation days of each evaluation"
    )
    validation: dict[str, float] = Field(
        default={}, description="mean key figures of the best policy on the validation days of the evaluations"
    )

    @property
    def improved(self) -> bool:
        """Whether an evaluation during training was better than the first, of the untrained policy or the imitation."""
        return bool(self.history) and max(row["score"] for row in self.history) > self.history[0]["score"]

    @property
    def all_seconds(self) -> float:
        """Duration of imitation and training [s]."""
        return self.seconds + float((self.imitation or {}).get("seconds", 0.0))

    def remarks(self) -> list[str]:
        """What whoever uses the policy should know."""
        remarks = []
        if self.status != "finished":
            remarks.append("this run did not finish, or is still running; the policy is its best so far")
        asked = self.settings.get("agent_steps", 0)
        if self.status == "finished" and self.agent_steps < asked:
            why = (
                "as what watched it, such as a search, gave it up"
                if self.stopped
                else f"as {self.settings['early_stop']} evaluations in a row were not better"
            )
            remarks.append(f"training ended after {self.agent_steps:,} of {asked:,} agent-steps, {why}")
        others = {
            f"{name} {self.versions.get(name)} and {now}"
            for one in self.resumptions
            for name, now in one.versions.items()
            if now != self.versions.get(name)
        }
        if others:
            remarks.append(f"this run was resumed with other versions: {', '.join(sorted(others))}")
        if self.later_settings:
            remarks.append(
                f"this run is older than the settings {', '.join(self.later_settings)}; it learned as was done before "
                "they existed"
            )
        if self.history and not self.improved:
            first = "untrained policy" if self.imitation is None else f"imitation of {self.imitation['teacher']}"
            remarks.append(
                f"training never beat the {first} ({self.history[0]['score']:.3f} on the validation days), so the "
                f"policy kept is {'the untrained one' if self.imitation is None else 'this imitation'}"
            )
        return remarks

    def save(self, folder: Path) -> Path:
        """Write ``record.json`` into the run's folder."""
        path = folder / FILE
        write_text(path, json.dumps(self.model_dump(), indent=1))
        return path


def new_record(
    scenario: Scenario, settings: dict[str, Any], seed: int, route: str, num_cpus: int, engine: str = OPENDSS
) -> RunRecord:
    """A record with everything known before the run."""
    data = scenario.model_dump(mode="json")
    return RunRecord(
        scenario=data,
        scenario_sha256=_sha256(data),
        settings=settings,
        settings_version=SETTINGS_VERSION,
        seed=seed,
        route=route,
        num_cpus=num_cpus,
        engine=engine,
        **_present(),
    )


def note_resumption(record: RunRecord, agent_steps: int) -> None:
    """Add to the record that the run goes on here and now, from a checkpoint after so many agent-steps."""
    record.resumptions = [*record.resumptions, Resumption(agent_steps=agent_steps, **_present())]
    record.status, record.stopped = "running", False


def note_more(record: RunRecord, agent_steps: int) -> None:
    """Ask a run for more agent-steps, with evaluations as often as before."""
    before = Stage(agent_steps=record.settings["agent_steps"], evaluations=record.settings["evaluations"])
    evaluations = max(1, round(agent_steps * before.evaluations / before.agent_steps))
    more = {"agent_steps": agent_steps, "evaluations": evaluations}
    record.stages = [*record.stages, before]
    record.settings = {**record.settings, **more}
    record.scenario = {**record.scenario, "training": {**record.scenario["training"], **more}}
    record.scenario_sha256 = _sha256(record.scenario)


def _present() -> dict[str, Any]:
    """When, on which machine and with which code and packages."""
    return {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "machine": f"{platform.system()} {platform.machine()}",
    }


def load_run(folder: Path) -> RunRecord:
    """The record in a run's folder.

    Raises:
        ValueError: no run there, its record is of another format or cannot be read, or its scenario was changed.
    """
    path = folder / FILE
    if not path.is_file():
        raise ValueError(f"{str(folder)!r} is no run: it has no {FILE}; 'dss-marl train' creates one")
    try:
        data = json.loads(read_text(path, f"run record {str(path)!r}"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not a run record, or only a part of one: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format", "without a number") if isinstance(data, dict) else "unknown"
        raise ValueError(
            f"{str(path)!r} is a run record of format {found}, and this version of dss_marl reads format {FORMAT}; "
            "train the run again, or use the version that wrote it"
        )
    try:
        record = RunRecord.model_validate(data)
    except ValidationError as error:
        problems = readable(error, RunRecord, "record")
        raise ValueError(f"{str(path)!r} is not a run record of this version: {problems}") from None
    try:
        _check_complete(record)
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not a run record of this version: {error}") from error
    if _sha256(record.scenario) != record.scenario_sha256:
        raise ValueError(f"the scenario in {str(path)!r} was changed after the run; train the changed scenario")
    return record


def _check_complete(record: RunRecord) -> None:
    """Check the parts whose keys the record leaves open, and complete settings of an older version."""
    record.settings, later = completed(TrainingSettings, record.settings, record.settings_version)
    record.later_settings = list(dict.fromkeys((*record.later_settings, *later)))
    for row in record.history:
        if {*row} != {"agent_steps", "score"}:
            raise ValueError(f"history: a row must have agent_steps and score; got {row}")


def _sha256(data: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def git_commit() -> str:
    """Commit of the checkout that the code runs from, with "+" if modified; "" outside a checkout."""
    try:
        root = data_folder("scenarios").parent
        ask = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
        return subprocess.run(ask, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
