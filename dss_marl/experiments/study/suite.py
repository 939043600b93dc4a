"""Suites: which scenarios are learned, by which recipes, with which seeds; and the cells that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from dss_marl._assets import read_text, read_yaml
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.envs.validation_messages import readable
from dss_marl.experiments.recipes import list_recipes, load_recipe
from dss_marl.experiments.runs.run_record import OPENDSS
from dss_marl.experiments.training.many_copies import COPIES, with_copies

_NAME = r"[A-Za-z0-9][\w.+-]{0,39}"  # of a recipe, which names a folder


class Suite(BaseModel):
    """What a suite's YAML file says.

    A recipe is a set of training settings in place of those of the scenario, the name of a shipped recipe, or the path
    of a YAML file that holds one. Besides, ``engine`` names the engine that solves the copies, and ``copies`` their
    number, as the options of ``dss-marl train`` do; ``recipe`` names a shipped one that the other settings change.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="", description="of the benchmark; default: that of the file")
    scenarios: tuple[str, ...] = Field(min_length=1, description="names, or paths of YAML files")
    recipes: dict[str, dict[str, Any]] = Field(min_length=1, description="name of a recipe to its training settings")
    seeds: tuple[int, ...] = Field(default=(0, 1, 2, 3, 4), min_length=1, description="seeds, or how many")
    training: dict[str, Any] = Field(default={}, description="training settings of all recipes, which win over these")
    days: int | None = Field(default=None, ge=1, description="test days at most; default: all that have plans")

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_or_list(cls, seeds: Any) -> Any:
        if isinstance(seeds, bool) or not isinstance(seeds, int):
            return seeds
        if seeds < 1:
            raise ValueError(f"must be at least 1, or a list of seeds; got {seeds}")
        return tuple(range(seeds))

    @field_validator("seeds", "scenarios")
    @classmethod
    def _no_repetition(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} stands twice")
        return values

    @field_validator("recipes")
    @classmethod
    def _names_of_folders(cls, recipes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        import re

        for name in recipes:
            if not re.fullmatch(_NAME, name):
                raise ValueError(
                    f"the name {name!r} of a recipe must be at most 40 letters, digits, '_', '-', '+' and '.', "
                    "as folders are named by it"
                )
        return recipes


@dataclass(frozen=True)
class Cell:
    """One training: a scenario with a recipe's settings, and a seed.

    Attributes:
        scenario: with the settings that it is trained with.
        recipe: name.
        seed: of the training.
        engine: that solves the copies that learn.
    """

    scenario: Scenario
    recipe: str
    seed: int
    engine: str = OPENDSS

    @property
    def name(self) -> str:
        """Scenario, recipe and seed as one path."""
        return f"{self.scenario.name}/{self.recipe}/seed-{self.seed}"


@dataclass(frozen=True)
class Plan:
    """A suite with its scenarios and settings found and checked.

    Attributes:
        suite: as read.
        scenarios: name to scenario, with its own training settings.
        cells: all trainings, those of a scenario together.
    """

    suite: Suite
    scenarios: Mapping[str, Scenario]
    cells: tuple[Cell, ...]

    @cached_property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """Scenario and recipe of each line of a table, in order."""
        return tuple(dict.fromkeys((cell.scenario.name, cell.recipe) for cell in self.cells))


def read_suite(path: Path) -> Suite:
    """Read a suite's file; recipes named by a path, which is relative to the file, are read too.

    Raises:
        ValueError: the file or a recipe's cannot be read, or a key is unknown, missing or of the wrong type.
    """
    data = _mapping(path, "suite")
    data.setdefault("name", path.stem)
    recipes = data.get("recipes")
    if isinstance(recipes, dict):
        data["recipes"] = {str(name): _recipe(own, path.parent) for name, own in recipes.items()}
    if isinstance(data.get("scenarios"), list):
        data["scenarios"] = [_located(str(name), path.parent) for name in data["scenarios"]]
    try:
        return Suite.model_validate(data)
    except ValidationError as error:
        raise ValueError(readable(error, Suite, f"suite {str(path)!r}")) from None


def plan_of(suite: Suite, allow_code: bool = False) -> Plan:
    """Find the scenarios of a suite and check the settings of each recipe on each.

    Args:
        suite: as read.
        allow_code: see load_scenario.

    Raises:
        ValueError: no such scenario, two of the same name, or settings that are unknown or wrong; names the recipe.
    """
    scenarios: dict[str, Scenario] = {}
    for name in suite.scenarios:
        scenario = load_scenario(name, allow_code)
        if scenario.name in scenarios:
            raise ValueError(f"two scenarios of the suite are called {scenario.name!r}; give one another name")
        scenarios[scenario.name] = scenario
    cells = []
    for scenario in scenarios.values():
        for recipe, settings in suite.recipes.items():
            changed, engine = _trained_by(scenario, recipe, {**suite.training, **settings})
            cells += [Cell(changed, recipe, seed, engine) for seed in suite.seeds]
    return Plan(suite, scenarios, tuple(cells))


def _trained_by(scenario: Scenario, recipe: str, settings: dict[str, Any]) -> tuple[Scenario, str]:
    """The scenario with a recipe's settings, and the engine that solves its copies."""
    own = {key: value for key, value in settings.items() if key not in ("engine", "copies")}
    engine, copies = str(settings.get("engine", OPENDSS)), settings.get("copies")
    try:
        changed = scenario.replace(training=own)
        if copies is not None or (engine != OPENDSS and "n_envs" not in own):
            changed = with_copies(changed, COPIES if copies is None else copies, own.get("agent_steps"))
    except (ValueError, TypeError) as error:
        raise ValueError(f"recipe {recipe!r}: {error}") from None
    return changed, engine


def _recipe(own: Any, folder: Path) -> Any:
    """A recipe's settings, from a shipped recipe or a file where one is named; nothing means those of the scenario.

    Settings beside the name of a shipped recipe win over its own.
    """
    if own is None:
        return {}
    if isinstance(own, str):
        return dict(load_recipe(own if own in list_recipes() else folder / own).training)
    return _shipped(own) if isinstance(own, dict) and "recipe" in own else own


def _shipped(own: dict[str, Any]) -> dict[str, Any]:
    settings = {**load_recipe(str(own["recipe"])).training, **{k: v for k, v in own.items() if k != "recipe"}}
    if "engine" in settings and "n_envs" in settings:
        settings.setdefault("copies", settings["n_envs"])  # the recipe is for so many, on whatever engine
    return settings


def _located(name: str, folder: Path) -> str:
    """A scenario's name, or the path of its file, which is relative to the suite's."""
    beside = folder / Path(name).expanduser()
    return str(beside) if beside.suffix in (".yaml", ".yml") and beside.is_file() else name


def _mapping(path: Path, what: str) -> dict[str, Any]:
    try:
        data = read_yaml(read_text(path, f"{what} {str(path)!r}"))
    except yaml.YAMLError as error:
        raise ValueError(f"{what} {str(path)!r} is not YAML: {error}") from None
    if not isinstance(data, dict):
        raise ValueError(f"{what} {str(path)!r} must be a mapping of keys to values")
    return data
