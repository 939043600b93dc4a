"""Settings of older records: keys that came later read as what was done before they existed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dss_marl.envs.training_settings import Added


def completed(model: type[BaseModel], settings: Mapping[str, Any], version: int) -> tuple[dict[str, Any], list[str]]:
    """The settings of a record with what was added since, and the names of that, such as ``slope.clip``.

    Args:
        model: that describes the settings; fields which came later are annotated with ``Added``.
        settings: of the record.
        version: of the settings when the record was written.

    Raises:
        ValueError: a key is unknown, or missing that existed then: a default would stand in for what was used.
    """
    later: list[str] = []
    missing: list[str] = []
    filled = _filled(model.model_validate(settings), settings, version, "", later, missing)
    if missing:
        raise ValueError(f"settings: {', '.join(sorted(missing))} missing")
    return (model.model_validate(filled).model_dump(mode="json") if later else dict(settings)), later


def _filled(
    read: BaseModel, given: Mapping[str, Any], version: int, above: str, later: list[str], missing: list[str]
) -> dict[str, Any]:
    """What was given with the values of later keys; notes the names of these, and of keys that should be there."""
    filled = dict(given)
    for name, field in type(read).model_fields.items():
        value = getattr(read, name)
        if name in given:
            if isinstance(value, BaseModel) and isinstance(given[name], Mapping):
                filled[name] = _filled(value, given[name], version, f"{above}{name}.", later, missing)
            continue
        added = _added(field)
        if added is None or added.version <= version:
            missing.append(above + name)
        else:
            later.append(above + name)
            filled[name] = value if added.before is ... else added.before
    return filled


def _added(field: FieldInfo) -> Added | None:
    return next((one for one in field.metadata if isinstance(one, Added)), None)
