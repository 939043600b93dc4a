"""JSON Schema of a scenario's file: of the Scenario model, with the choices that it looks up by name."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from _generate import SITE
from dss_marl.devices import KINDS
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.mdp.observations import KNOWN
from dss_marl.mdp.rewards import COSTS, REWARDS
from dss_marl.profiles.sources import PROFILE_KINDS
from dss_marl.zones.registry import METHODS

_OWN = {"type": "string", "pattern": ":", "description": "your own, as module:name"}
_NOT_NEEDED = ("name", "feeder", "devices", "zones", "profiles", "observations", "rewards")  # with a base


def scenario_schema() -> dict[str, Any]:
    """The schema, draft 2020-12."""
    schema = Scenario.model_json_schema()
    definitions, keys = schema["$defs"], schema["properties"]
    keys["base"] = {"type": "string", "description": "another scenario, by name or file, that this one changes"}
    keys["devices"]["items"] = _by_kind({name: kind.Spec for name, kind in KINDS.items()}, definitions, optional=False)
    keys["profiles"] = _by_kind(PROFILE_KINDS, definitions, optional=True)
    keys["training"] = {**_model(TrainingSettings, definitions), "default": {}}
    keys["zones"] = {
        "type": "object",
        "description": "method and its options",
        "properties": {"method": {"anyOf": [{"enum": list(METHODS)}, _OWN]}},
        "required": ["method"],
    }
    keys["observations"]["items"] = {"anyOf": [{"enum": sorted(KNOWN)}, _OWN]}
    keys["costs"]["items"] = {"anyOf": [{"enum": sorted(COSTS)}, _OWN]}
    keys["rewards"]["propertyNames"] = {"anyOf": [{"enum": sorted(REWARDS)}, _OWN]}
    schema["required"] = []
    whole = [key for key in _NOT_NEEDED if key != "name"]
    schema["anyOf"] = [{"required": ["base"]}, {"required": whole}]
    _accept_numbers_as_text(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"{SITE}/scenario.schema.json", **schema}


def _model(model: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    """A reference to a model's schema, which moves its own definitions to those of the whole."""
    schema = model.model_json_schema()
    definitions |= schema.pop("$defs", {})
    definitions[model.__name__] = schema
    return {"$ref": f"#/$defs/{model.__name__}"}


def _by_kind(models: dict[str, type[BaseModel]], definitions: dict[str, Any], optional: bool) -> dict[str, Any]:
    """Objects whose ``kind`` decides which keys they have; those of your own kinds may have any."""
    rules = []
    for name, model in models.items():
        reference = _model(model, definitions)
        test: dict[str, Any] = {"properties": {"kind": {"const": name}}}
        if not (optional and name == "synthetic"):
            test["required"] = ["kind"]
        rules.append({"if": test, "then": reference})
    kinds = {"kind": {"anyOf": [{"enum": list(models)}, _OWN]}}
    return {"type": "object", "properties": kinds, "required": [] if optional else ["kind"], "allOf": rules}


def _accept_numbers_as_text(schema: Any) -> None:
    """Names of buses may be numbers, which YAML reads as such; the models turn them into text."""
    if isinstance(schema, list):
        for part in schema:
            _accept_numbers_as_text(part)
    elif isinstance(schema, dict):
        for key in ("bus", "bus1", "bus2", "homes_at", "shops_at", "factories_at"):
            named = schema.get("properties", {}).get(key) if isinstance(schema.get("properties"), dict) else None
            if isinstance(named, dict):
                plain = named.get("items", named)
                if plain.get("type") == "string":
                    plain["type"] = ["string", "integer"]
        for part in schema.values():
            _accept_numbers_as_text(part)
