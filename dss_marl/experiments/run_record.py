"""RunRecord: everything needed to repeat a run, stored next to the model in the run's folder."""

from __future__ import annotations

import json
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from dss_marl._assets import data_folder, read_text
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.validation_messages import readable

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
)
FILE = "record.json"


class RunRecord(BaseModel):
    """Scenario, settings, seed, versions of code and packages, and results."""

    model_config = ConfigDict(extra="forbid")

    scenario: dict[str, Any]
    settings: dict[str, Any] = Field(min_length=1)
    seed: int
    route: str
    num_cpus: int
    started: str
    git_commit: str
    versions: dict[str, str]
    machine: str
    profiles_sha256: str = ""  # of the generated days; see Profiles.sha256
    seconds: float = 0.0
    agent_steps: int = 0
    agent_steps_per_second: float = 0.0
    history: list[dict[str, float]] = []

    @field_validator("history")
    @classmethod
    def _told(cls, rows: list[dict[str, float]]) -> list[dict[str, float]]:
        if any(not {"agent_steps", "score"} <= row.keys() for row in rows):
            raise ValueError("each row needs agent_steps and score")
        return rows

    def save(self, folder: Path) -> Path:
        """Write ``record.json`` into the run's folder."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE
        path.write_text(json.dumps(self.model_dump(), indent=1), encoding="utf-8")
        return path


def new_record(scenario: Scenario, settings: dict[str, Any], seed: int, route: str, num_cpus: int) -> RunRecord:
    """A record with everything known before the run."""
    return RunRecord(
        scenario=scenario.model_dump(mode="json"),
        settings=settings,
        seed=seed,
        route=route,
        num_cpus=num_cpus,
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        git_commit=git_commit(),
        versions={"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        machine=f"{platform.system()} {platform.machine()}",
    )


def load_run(folder: Path) -> RunRecord:
    """The record in a run's folder.

    Raises:
        ValueError: no run there, or its record cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        raise ValueError(f"{str(folder)!r} is no run: it has no {FILE}; 'dss-marl train' creates one")
    try:
        return RunRecord.model_validate_json(read_text(path, f"run record {str(path)!r}"))
    except ValidationError as error:
        raise ValueError(readable(error, RunRecord, f"run record {str(path)!r}")) from None


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
