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
    for model in PROFILE_KINDS.values():
        definitions[model.__name__].pop("required", None)  # what is missing is that of the base
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
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"{SITE}/scenario.schema.json", **schema}


def _model(model: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    """A reference to a model's schema, which moves its own definitions to those of the whole."""
    schema = model.model_json_schema()
    _accept_numbers_as_text(schema, bool(model.model_config.get("coerce_numbers_to_str")))
    _need_no_place_of_named_ones(schema)
    for name, inner in schema.pop("$defs", {}).items():
        definitions.setdefault(name, inner)
    definitions[model.__name__] = schema
    return {"$ref": f"#/$defs/{model.__name__}"}


def _need_no_place_of_named_ones(schema: dict[str, Any]) -> None:
    """Devices of the circuit, by ``names``, have their place and ratings there."""
    needed = schema.get("required", [])
    if "names" in schema["properties"] and "bus" in needed:
        del schema["required"]
        schema["anyOf"] = [{"required": needed}, {"required": ["names"]}]


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


def _accept_numbers_as_text(schema: dict[str, Any], everywhere: bool) -> None:
    """Names of buses may be numbers, which YAML reads as such; the models turn them into text, some of them any text."""
    for part in (schema, *schema.get("$defs", {}).values()):
        for key, one in part.get("properties", {}).items():
            if everywhere or key == "bus":
                for plain in (one, *one.get("anyOf", [])):
                    text = plain.get("items", plain)
                    if text.get("type") == "string" and "enum" not in text and "const" not in text:
                        text["type"] = ["string", "integer"]
