"""Fields of pydantic models as tables: key, type, default, limits, unit, meaning."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal, Union

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from _generate.markdown import code, table, text_of, unit_of

_LIMITS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
_SIMPLE = {str: "text", int: "integer", float: "number", bool: "true or false", type(None): "null", Any: "anything"}


def fields_table(model: type[BaseModel], without: tuple[str, ...] = ()) -> str:
    """A row for each field, in the order of the model."""
    rows = [
        (f"`{name}`", _type(field), _default(field), unit_of(field.description or "", name), _meaning(field))
        for name, field in model.model_fields.items()
        if name not in without
    ]
    return table(("key", "type", "default", "unit", "meaning"), rows)


def models_below(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The models that the fields hold, each once, in the order of the fields."""
    found: list[type[BaseModel]] = []
    for field in model.model_fields.values():
        for one in models_in(field.annotation):
            for below in (one, *models_below(one)):
                if below not in found:
                    found.append(below)
    return found


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation names."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for part in typing.get_args(annotation) for model in models_in(part)]


def _meaning(field: FieldInfo) -> str:
    """The field's description, else what the model that it holds is."""
    if field.description:
        return code(field.description)
    held = models_in(field.annotation)
    return text_of(held[0]).split("\n\n")[0].replace("\n", " ") if held else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.default if field.default is not PydanticUndefined else field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        changed = value.model_dump(exclude_defaults=True)
        return f"`{as_yaml(changed)}`" if changed else "its defaults"
    return f"`{as_yaml(value)}`"


def as_yaml(value: Any) -> str:
    """A value as it is written in a scenario's file."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(as_yaml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {as_yaml(one)}' for key, one in value.items())}}}"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) or '""'


def _type(field: FieldInfo) -> str:
    limits = []
    for one in field.metadata:
        limits += [f"{sign} {getattr(one, key):g}" for key, sign in _LIMITS.items() if hasattr(one, key)]
        if hasattr(one, "min_length"):
            limits.append(f"at least {one.min_length}")
    return ", ".join([type_text(field.annotation), *limits])


def type_text(annotation: Any) -> str:
    """A type in words."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(type_text(part) for part in parts)
    if origin is typing.Annotated:
        return type_text(parts[0])
    if origin is tuple:
        inner = [part for part in parts if part is not Ellipsis]
        if len(inner) == len(parts) and len(parts) > 1:
            return f"{len(parts)} x {type_text(parts[0])}"
        return f"list of {type_text(inner[0])}"
    if origin is dict:
        return f"mapping of {type_text(parts[0])} to {type_text(parts[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[mapping](#{anchor(annotation)})"
    return _SIMPLE.get(annotation, getattr(annotation, "__name__", str(annotation)))


def anchor(model: type[BaseModel]) -> str:
    """Name of the place that describes a model."""
    return f"model-{model.__name__.lower()}"


def section(model: type[BaseModel], title: str, text: str, without: tuple[str, ...] = ()) -> str:
    """A model's place, with a heading, its text and its fields."""
    return f"({anchor(model)})=\n{title}\n\n{text}\n\n{fields_table(model, without)}"
