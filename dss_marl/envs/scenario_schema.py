"""JSON Schema of a scenario file, from the models that validate it: editors complete and check files by it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, PydanticUserError, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from dss_marl.devices import KINDS
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.scenario_names import DROOP_KEYS, PLANNERS, REFERENCE_CONTROLLERS
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.mdp.actions import ENCODINGS
from dss_marl.mdp.adversary import DRIVES
from dss_marl.mdp.observations import KNOWN as FEATURES
from dss_marl.mdp.rewards import COSTS, REWARDS
from dss_marl.profiles import PROFILE_KINDS
from dss_marl.zones import METHODS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
OWN = r"^[^:]+(:[^:]+)?:[A-Za-z_]\w*$"  # package.module:name; a path may begin with the letter of a drive
_FROM_THE_FILE = ("name",)  # required of a Scenario, but a file has it by default
_DROOP = {
    "v_ref_pu": "voltage at which the inverters feed in no reactive power [pu]",
    "dead_band_pu": "width of the band around it in which they do not either [pu]",
    "slope": "share of the rating per pu beyond the dead band [1/pu]",
    "limit": "largest share of the rating [1]",
    "regulator_band_v": "width of the band that regulators' own controls hold [V]; missing: as in the circuit",
}


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a scenario's YAML file.

    It holds every key with its type, range, default, unit and meaning; for devices, profiles and zones the fields of
    each kind or method; and the names of reward terms, costs, observations and controllers. Your own ones, as
    ``package.module:name``, are accepted everywhere, with any fields. With ``base:`` no other key is required.
    """
    schema = _schema_of(Scenario)
    definitions = schema.pop("$defs")
    properties = schema["properties"]
    required = [key for key in schema.pop("required") if key not in _FROM_THE_FILE]
    _name_choices(properties)
    definitions["AttackSpec"]["properties"]["policy"] |= _names(DRIVES)
    definitions["MessageSpec"]["properties"]["share"]["items"] = _names(FEATURES)
    properties["devices"]["items"] = _chosen("kind", {name: kind.Spec for name, kind in KINDS.items()}, definitions)
    about = properties["profiles"]["description"]
    profiles = _chosen("kind", PROFILE_KINDS, definitions, default="synthetic")
    properties["profiles"] = {"description": about, **profiles}
    properties["zones"] |= _zones(definitions)
    properties["training"] |= {"$ref": _defined(TrainingSettings, definitions)}
    whole = {"required": required, "properties": {"profiles": {"allOf": _needed(definitions)}}}
    return {
        "$schema": DIALECT,
        "title": "dss_marl scenario",
        "description": schema["description"],
        "type": "object",
        "properties": {"base": _base(), **properties},
        "additionalProperties": False,
        "if": {"required": ["base"]},
        "else": whole,
        "$defs": definitions,
    }


def schema_text() -> str:
    """The schema as the text of a JSON file."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


class _FileSchema(GenerateJsonSchema):
    """What YAML may hold where the models convert: numbers where names are text, such as buses."""

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        """A name; a number too where the model takes it as one."""
        made = super().str_schema(schema)
        coerced = schema.get("coerce_numbers_to_str", self._config.coerce_numbers_to_str)
        return {**made, "type": ["string", "number"]} if coerced else made


def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    return _without_titles(model.model_json_schema(schema_generator=_FileSchema))


def _without_titles(schema: Any) -> Any:
    """The schema without the titles that pydantic derives from names, and with descriptions in one line."""
    if isinstance(schema, list):
        return [_without_titles(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _without_titles(part) for key, part in schema.items() if key != "title" or not isinstance(part, str)}
    if isinstance(kept.get("description"), str):
        kept["description"] = " ".join(kept["description"].replace("``", "").split())
    return kept


def _defined(model: type[BaseModel], definitions: dict[str, Any]) -> str:
    """Reference to a model's schema among the definitions."""
    made = _schema_of(model)
    definitions |= made.pop("$defs", {})
    definitions[model.__name__] = made
    return f"#/$defs/{model.__name__}"


def _names(known: Mapping[str, Any] | tuple[str, ...]) -> dict[str, Any]:
    """One of these names, or your own."""
    return {"anyOf": [{"enum": sorted(known)}, {"type": "string", "pattern": OWN}]}


def _chosen(
    key: str, models: Mapping[str, type[BaseModel]], definitions: dict[str, Any], default: str = ""
) -> dict[str, Any]:
    """An object whose fields depend on one of its keys; of your own kind, any fields."""
    choices = []
    for name, model in models.items():
        reference = _defined(model, definitions)
        own = definitions[model.__name__]
        own["properties"][key] = {"const": name, "description": own["properties"][key]["description"]}
        own["required"] = [field for field in own.get("required", []) if field != key]
        choices.append({"if": _given(key, name, default), "then": {"$ref": reference}})
    about = {key: {"description": f"{key}, or your own as package.module:name", **_names(tuple(models))}}
    return {"type": "object", "properties": about, "required": [] if default else [key], "allOf": choices}


def _given(key: str, name: str, default: str = "") -> dict[str, Any]:
    """Condition that a key has this value, or is missing where this is its default."""
    return {"properties": {key: {"const": name}}, **({} if name == default else {"required": [key]})}


def _zones(definitions: dict[str, Any]) -> dict[str, Any]:
    """A partition method and its options, which are the arguments of its function."""
    choices = []
    for name, method in METHODS.items():
        definitions[f"zones_{name}"] = _options(method, name)
        choices.append({"if": _given("method", name), "then": {"$ref": f"#/$defs/zones_{name}"}})
    about = {"method": {"description": "method of partition, or your own as package.module:name", **_names(METHODS)}}
    return {"type": "object", "properties": about, "required": ["method"], "allOf": choices}


def _options(method: Any, name: str) -> dict[str, Any]:
    """Schema of a partition method's options."""
    parameters = list(inspect.signature(method, eval_str=True).parameters.values())[1:]  # the first is the graph
    meanings = _argument_meanings(method)
    properties: dict[str, Any] = {"method": {"const": name}}
    for parameter in parameters:
        try:
            made = TypeAdapter(parameter.annotation).json_schema()
        except PydanticUserError:  # no type of JSON's
            made = {}
        made = {"description": meanings.get(parameter.name, ""), **made}
        if parameter.default is not parameter.empty:
            made["default"] = parameter.default
        properties[parameter.name] = made
    required = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    described = (inspect.getdoc(method) or "").split("\n\n")[0]
    return _without_titles(
        {
            "description": described,
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }
    )


def _argument_meanings(function: Any) -> dict[str, str]:
    """Meaning of each argument by its docstring."""
    meanings: dict[str, str] = {}
    for line in inspect.cleandoc(function.__doc__ or "").partition("Args:\n")[2].splitlines():
        if not line.startswith("    "):
            break
        name, colon, text = line.strip().partition(": ")
        if colon and not line.startswith("     "):
            meanings[name] = text
        elif meanings:
            last = next(reversed(meanings))
            meanings[last] = f"{meanings[last]} {line.strip()}"
    return meanings


def _name_choices(properties: dict[str, Any]) -> None:
    """The names that a scenario may give to terms, features, controllers and encodings."""
    weights = {name: {"type": "number", "description": _first_line(term)} for name, term in REWARDS.items()}
    properties["rewards"] |= {
        "properties": weights,
        "patternProperties": {OWN: {"type": "number"}},
        "additionalProperties": False,
    }
    properties["costs"]["items"] = _described(COSTS)
    properties["observations"]["items"] = _described({name: one.function for name, one in FEATURES.items()})
    properties["actions"] |= _names(ENCODINGS)
    properties["reference_controller"] |= _names(REFERENCE_CONTROLLERS)
    properties["planner"] |= _names(("", *PLANNERS))
    properties["tuned_droop"] |= {
        "properties": {key: {"type": "number", "description": _DROOP[key]} for key in DROOP_KEYS},
        "required": [],
        "additionalProperties": False,
    }


def _described(functions: Mapping[str, Any]) -> dict[str, Any]:
    """One of these names, each with its meaning, or your own."""
    known = [{"const": name, "description": _first_line(function)} for name, function in sorted(functions.items())]
    return {"anyOf": [*known, {"type": "string", "pattern": OWN}]}


def _first_line(function: Any) -> str:
    return (inspect.getdoc(function) or "").split("\n")[0].replace("``", "")


def _base() -> dict[str, Any]:
    return {
        "type": "string",
        "description": "a shipped scenario's name, or the path of a YAML file beside this one: its keys hold where "
        "this file does not change them",
    }


def _needed(definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """The keys that each kind of profiles needs, taken from its definition, as a base may have them."""
    return [
        {"if": _given("kind", name, "synthetic"), "then": {"required": definitions[model.__name__].pop("required", [])}}
        for name, model in PROFILE_KINDS.items()
    ]
