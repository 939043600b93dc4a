"""Reading recipes, by name or from a file."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dss_marl._assets import read_text, read_yaml
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.envs.validation_messages import readable

_FOLDER = Path(__file__).resolve().parent
_SUFFIXES = (".yaml", ".yml")


class Recipe(BaseModel):
    """Training settings that suit a family of scenarios."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="that of its file")
    description: str = Field(default="", description="what it is for, and what it does")
    scenarios: tuple[str, ...] = Field(default=(), description="shipped scenarios that it is for; others may take it")
    found: str = Field(default="", description="how its values were found, and how sure they are")
    training: dict[str, Any] = Field(description="training settings, which win over a scenario's")

    def on(self, scenario: Scenario) -> Scenario:
        """The scenario with the recipe's settings over its own.

        Raises:
            ValueError: a setting is unknown, or wrong beside those of the scenario; names the recipe.
        """
        try:
            changed = scenario.replace(training=self.training)
            TrainingSettings.model_validate(changed.training)
        except ValueError as error:
            raise ValueError(f"recipe {self.name!r}: {error}") from None
        return changed


def list_recipes() -> list[str]:
    """Names of the recipes that ship with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load_recipe(name: str | Path) -> Recipe:
    """A recipe that ships with the package, or one in a file.

    Args:
        name: of a shipped recipe, or path of a YAML file: of a recipe, or of training settings alone, as a search
            writes them into ``best.yaml``.

    Raises:
        ValueError: there is none of this name, or the file cannot be read or holds something else.
    """
    text = str(name)
    if text in list_recipes():
        return _read(_FOLDER / f"{text}.yaml")
    path = Path(name).expanduser()
    if path.suffix in _SUFFIXES or path.is_file():
        return _read(path)
    close = difflib.get_close_matches(text, list_recipes(), 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"unknown recipe {text!r}{hint}; known: {', '.join(list_recipes())}, or the path of a YAML file")


def _read(path: Path) -> Recipe:
    where = f"recipe {str(path)!r}"
    try:
        data = read_yaml(read_text(path, where))
    except yaml.YAMLError as error:
        raise ValueError(f"{where} is not YAML: {error}") from None
    if not isinstance(data, dict):
        raise ValueError(f"{where} must be a mapping of keys to values")
    content = data if "training" in data else {"training": data}
    try:
        return Recipe.model_validate({"name": path.stem, **content})
    except ValidationError as error:
        raise ValueError(readable(error, Recipe, where)) from None
