"""Readable messages for pydantic's validation errors."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ValidationError

_SHAPES = {  # pydantic names Python's types; a file has lists and mappings
    "tuple_type": "a list, such as [a, b]",
    "list_type": "a list, such as [a, b]",
    "dict_type": "a mapping, such as {key: value}",
    "model_type": "a mapping, such as {key: value}",
    "model_attributes_type": "a mapping, such as {key: value}",
    "mapping_type": "a mapping, such as {key: value}",
}


def readable(
    error: ValidationError, model: type[BaseModel], where: str, chosen: Mapping[str, type[BaseModel]] | None = None
) -> str:
    """Pydantic's errors as lines that name the location, the key and the known keys.

    Args:
        error: of the validation.
        model: that was validated.
        where: prefix of each line.
        chosen: models of the keys whose model depends on their data.
    """
    lines = []
    for problem in error.errors():
        loc = problem["loc"]
        if problem["type"] == "unknown_kind":
            loc = (*loc, "kind")
        path = ".".join(str(part) for part in loc if not str(part).endswith("]"))  # without the member of a union
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "tuple_type" and isinstance(problem["input"], str):
            message = f"must be a list, such as [{problem['input']}]; got {problem['input']!r}"
        elif problem["type"] in _SHAPES:
            message = f"must be {_SHAPES[problem['type']]}; got {problem['input']!r}"
        if problem["type"] == "too_short":
            least, count = problem["ctx"]["min_length"], problem["ctx"]["actual_length"]
            message = f"needs at least {least} item{'s' * (least != 1)}; got {count}"
        if problem["type"] == "missing":
            field = model.model_fields.get(path)
            message = f"missing: {field.description}" if field and field.description else "missing"
        if problem["type"] == "extra_forbidden":
            known = _fields_at(model, problem["loc"][:-1], chosen or {})
            close = difflib.get_close_matches(str(problem["loc"][-1]), known, 1)
            message = f"unknown key{f'; did you mean {close[0]!r}?' if close else ';'} known: {', '.join(known)}"
        lines.append(f"{where}: {path}: {message}")
    return "\n".join(lines)


def _fields_at(model: type[BaseModel], path: Sequence[int | str], chosen: Mapping[str, type[BaseModel]]) -> list[str]:
    for part in path:
        if part in chosen:
            model = chosen[str(part)]
            continue
        inner = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return sorted(model.model_fields)
