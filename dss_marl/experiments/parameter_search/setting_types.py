"""What a training setting takes, found in the types of TrainingSettings: whole numbers, numbers, or something else."""

from __future__ import annotations

import difflib
from typing import Any, Literal, TypeAlias, get_args

from pydantic import BaseModel

from dss_marl.envs.training_settings import TrainingSettings

Number: TypeAlias = Literal["integer", "number"] | None
FIRST = "training."


def known_type(key: str, place: str) -> Number:
    """Whether a setting is a whole number, a number, or something else (None).

    Args:
        key: such as ``training.slope.step``.
        place: file and key, in messages.

    Raises:
        ValueError: there is no such setting.
    """
    types: set[Any] = {TrainingSettings}
    passed = FIRST.rstrip(".")
    for name in key.removeprefix(FIRST).split("."):
        fields = {field: own for one in _models(types) for field, own in one.model_fields.items()}
        if name not in fields:
            raise ValueError(f"{place}: {_unknown(name, passed, list(fields))}")
        types = _members(fields[name].annotation)
        passed = f"{passed}.{name}"
    if float in types:
        return "number"
    return "integer" if int in types else None


def _unknown(name: str, passed: str, fields: list[str]) -> str:
    if not fields:
        return f"{passed} has no settings inside; vary {passed} itself"
    close = difflib.get_close_matches(name, fields, 1)
    hint = f"did you mean {passed}.{close[0]}?" if close else f"known in {passed}: {', '.join(sorted(fields))}"
    return f"unknown training setting {name!r}; {hint}"


def _models(types: set[Any]) -> list[type[BaseModel]]:
    return [one for one in types if isinstance(one, type) and issubclass(one, BaseModel)]


def _members(annotation: Any) -> set[Any]:
    """The types of a union, without annotations; a tuple of numbers is no number."""
    if getattr(annotation, "__metadata__", None):
        return _members(get_args(annotation)[0])
    inner = get_args(annotation)
    if not inner or isinstance(annotation, type) or getattr(annotation, "__origin__", None) is tuple:
        return {annotation}
    return {one for member in inner for one in _members(member)}
