"""Messages of pydantic's validation, as a user reads them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from pydantic import BaseModel, ValidationError

from dss_marl.profiles import PROFILE_KINDS


def readable(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """Pydantic's complaints as lines that name the place, the key and the known keys."""
    lines = []
    for problem in error.errors():
        loc = problem["loc"]
        if problem["type"] == "unknown_kind":
            loc = (*loc, "kind")
        elif loc[:1] == ("profiles",) and len(loc) > 1 and loc[1] in PROFILE_KINDS:  # pydantic names the kind too
            loc = (loc[0], *loc[2:])
        path = ".".join(str(part) for part in loc)
        message = problem["msg"]
        if problem["type"] == "extra_forbidden":
            known = _fields_at(model, problem["loc"][:-1])
            close = difflib.get_close_matches(str(problem["loc"][-1]), known, 1)
            message = f"unknown key{f'; did you mean {close[0]!r}?' if close else ';'} known: {', '.join(known)}"
        lines.append(f"{where}: {path}: {message}")
    return "\n".join(lines)


def _fields_at(model: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    for part in path:
        if part in PROFILE_KINDS:
            model = PROFILE_KINDS[str(part)]
            continue
        inner = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return sorted(model.model_fields)
