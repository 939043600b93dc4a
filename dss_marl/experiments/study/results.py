"""Results of a benchmark as data: per scenario, recipe, seed and day; the file ``results.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from dss_marl._assets import read_text, write_text
from dss_marl.envs.validation_messages import readable
from dss_marl.experiments.validation.standings import best_rule, standings
from dss_marl.grid.state import Array

RESULTS = "results.json"
FORMAT = "dss_marl results 1"
RETURN = "team_return"


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Played(_Data):
    """Team return of a reference controller on days."""

    days: list[int]
    team_return: list[float]


class ScenarioResults(_Data):
    """What holds for all recipes of a scenario.

    Attributes:
        title, version, digest: of the scenario; the hash is that of ``dss-marl validate``.
        profiles_sha256: hash of the year of days.
        days: test days that everyone played.
        zero, one: controllers that score 0 and 1; "" where there is no score.
        source: where the references' returns are from.
        references: controller to its returns.
        settings: recipe to all its training settings, and the engine that solved the copies.
    """

    title: str
    version: int
    digest: str
    profiles_sha256: str
    days: list[int]
    zero: str = ""
    one: str = ""
    source: str
    references: dict[str, Played]
    settings: dict[str, dict[str, Any]] = {}

    def returns_of(self, controller: str) -> Array:
        """(days) returns of a reference that played all days."""
        own = self.references[controller]
        by_day = dict(zip(own.days, own.team_return, strict=True))
        return np.array([by_day[day] for day in self.days])

    @property
    def ends(self) -> tuple[Array, Array] | None:
        """(days) returns of the controllers that score 0 and 1; None where there is no score."""
        return (self.returns_of(self.zero), self.returns_of(self.one)) if self.zero and self.one else None

    def score(self, returns: Array) -> float | None:
        """Normalised score of (days) returns; None where there is none."""
        if self.ends is None:
            return None
        zero, one = (float(end.mean()) for end in self.ends)
        return (float(np.mean(returns)) - zero) / (one - zero)

    @property
    def rule(self) -> str:
        """The best rule without foresight that played all days; "" if none did, or there is no score."""
        whole = {
            name: dict(zip(own.days, own.team_return, strict=True))
            for name, own in self.references.items()
            if set(self.days) <= set(own.days)
        }
        found = best_rule(standings(whole, self.one)) if self.one else None
        return found.controller if found else ""


class CellResults(_Data):
    """One training: what was learned, and the figures of its policy on the test days."""

    scenario: str
    recipe: str
    seed: int
    agent_steps: int
    seconds: float
    git_commit: str
    history: list[dict[str, float]]
    figures: dict[str, list[float]]

    @property
    def returns(self) -> Array:
        """(days) team returns."""
        return np.array(self.figures[RETURN], float)


class FailedCell(_Data):
    """A training that failed, and why."""

    scenario: str
    recipe: str
    seed: int
    error: str


class StudyResults(_Data):
    """All results of a benchmark."""

    format: str = FORMAT
    name: str
    made: str
    version: str
    machine: str
    suite: dict[str, Any]
    scenarios: dict[str, ScenarioResults]
    cells: list[CellResults]
    failed: list[FailedCell] = []

    @property
    def recipes(self) -> list[str]:
        """Names of the recipes that have results, in the suite's order."""
        done = {cell.recipe for cell in self.cells}
        return [name for name in self.suite["recipes"] if name in done]

    def of(self, scenario: str, recipe: str) -> list[CellResults]:
        """The cells of a scenario and recipe, by seed."""
        found = [cell for cell in self.cells if (cell.scenario, cell.recipe) == (scenario, recipe)]
        return sorted(found, key=lambda cell: cell.seed)

    def save(self, folder: Path) -> Path:
        """Write ``results.json`` into a folder."""
        path = folder / RESULTS
        data = self.model_dump(mode="json")
        lines = {
            "scenarios": _by_key(data.pop("scenarios")),
            "cells": _by_line(data.pop("cells")),
            "failed": _by_line(data.pop("failed")),
        }
        head = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in data.items()]
        write_text(path, "{\n" + ",\n".join([*head, *(f' "{key}": {text}' for key, text in lines.items())]) + "\n}\n")
        return path


def load_results(path: Path) -> StudyResults:
    """Results of a benchmark from its folder or from its ``results.json``.

    Raises:
        ValueError: no such file, or it is not one of this version.
    """
    path = path / RESULTS if path.is_dir() else path
    try:
        data = json.loads(read_text(path, repr(str(path))))
    except json.JSONDecodeError as error:
        raise ValueError(f"{str(path)!r} is no results file, or only a part of one: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ValueError(f"{str(path)!r} is no results file of this version; 'dss-marl benchmark' writes {RESULTS}")
    try:
        return StudyResults.model_validate(data)
    except ValidationError as error:
        raise ValueError(readable(error, StudyResults, repr(str(path)))) from None


def _by_key(data: dict[str, Any]) -> str:
    return "{\n" + ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in data.items()) + "\n }"


def _by_line(rows: Sequence[Any]) -> str:
    return "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n ]" if rows else "[]"
