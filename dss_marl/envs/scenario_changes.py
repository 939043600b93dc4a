"""Changes of a scenario as ``key=value``, with dotted keys, as a command line gives them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from dss_marl._assets import read_yaml
from dss_marl._plugins import locate_modules
from dss_marl.envs.scenario import Scenario, merged, scenario_from
from dss_marl.envs.scenario_files import locate_files

FORM = (
    "KEY=VALUE, such as steps=48, rewards.loss=2 or devices.0.kw=500, or KEY+=ITEM of a list, such as costs+=operations"
)
_OTHER = {"feeder": ("name", "synthetic"), "profiles": ("kind",)}  # with another one, the rest does not stay
_WHOLE = ("rewards",)  # what follows is one key: package.module:name has dots too


def changed(scenario: Scenario, settings: Sequence[str]) -> Scenario:
    """A validated copy of a scenario with some keys set.

    Args:
        scenario: to change.
        settings: each ``key=value``, or ``key+=item`` for a list. Values are YAML; dots lead into mappings, and numbers
            into lists. Paths and modules are relative to the working folder.

    Raises:
        ValueError: not of that form, no such key, or a wrong value.

    >>> from dss_marl import load_scenario
    >>> changed(load_scenario("ieee34_volt_var"), ["steps=48", "rewards.loss=2"]).rewards["loss"]
    2.0
    """
    if not settings:
        return scenario
    base = scenario.model_dump()
    changes: dict[str, Any] = {}
    for setting in settings:
        _set(changes, base, setting)
    located = locate_modules(changes, Path.cwd())
    locate_files(located, Path.cwd())
    return scenario_from(merged(base, located), scenario.allow_code)


def _set(changes: dict[str, Any], base: dict[str, Any], setting: str) -> None:
    name, equals, text = setting.partition("=")
    adds = name.endswith("+")
    name = name.removesuffix("+").strip()
    first, *inner = _parts(name)
    if not equals or not first:
        raise ValueError(f"a change is {FORM}; got {setting!r}")
    value = _value(setting, text)
    if adds:
        value = [*_list_at(changes.get(first, base.get(first)), inner, name), value]
    if not inner:
        changes[first] = value
        return
    if first not in changes:
        other = inner[0] in _OTHER.get(first, ()) and (base.get(first) or {}).get(inner[0]) != value
        kept = None if other else base.get(first)
        changes[first] = {} if kept is None else _lists(kept)
    at, where = changes, first
    for key in (first, *inner[:-1]):
        at, where = _inside(at, key, name), key
    if isinstance(at, list):
        at[_index(at, inner[-1], name)] = value
    elif isinstance(at, dict):
        at[inner[-1]] = value
    else:
        raise ValueError(f"{name}: {where} is no mapping or list that {inner[-1]!r} could be in; set {where} itself")


def _parts(name: str) -> list[str]:
    first, dot, rest = name.partition(".")
    return [first, rest] if dot and first in _WHOLE else name.split(".")


def _value(setting: str, text: str) -> Any:
    try:
        return read_yaml(text)
    except yaml.YAMLError:
        raise ValueError(f"the value of {setting!r} is not YAML; put it in quotes if it is text") from None


def _lists(value: Any) -> Any:
    """A copy with lists in place of tuples, which cannot be changed."""
    if isinstance(value, dict):
        return {key: _lists(inner) for key, inner in value.items()}
    return [_lists(inner) for inner in value] if isinstance(value, list | tuple) else value


def _inside(at: Any, key: str, name: str) -> Any:
    """What is under a key; an empty mapping where there is nothing yet."""
    if isinstance(at, list):
        return at[_index(at, key, name)]
    if not isinstance(at, dict):
        raise ValueError(f"{name}: there is no mapping or list that {key!r} could be in")
    if at.get(key) is None:
        at[key] = {}
    return at[key]


def _list_at(value: Any, keys: Sequence[str], name: str) -> list[Any]:
    """The list that an item is added to; an empty one where there is none yet."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    if value is not None and not isinstance(value, list | tuple):
        raise ValueError(f"{name} is no list that an item could be added to; set it with {name}=...")
    return list(_lists(value or []))


def _index(at: list[Any], key: str, name: str) -> int:
    if not key.isdigit() or int(key) >= len(at):
        raise ValueError(f"{name}: {key!r} is no place in a list of {len(at)}; take 0 to {len(at) - 1}")
    return int(key)
