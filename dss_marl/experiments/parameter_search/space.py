"""Spaces: which training settings a search varies, and between which values; all checked before any training."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dss_marl._assets import read_text, read_yaml
from dss_marl.envs.scenario import Scenario
from dss_marl.experiments.parameter_search.setting_types import FIRST, Number, known_type

_FORMS = "{low: 0.8, high: 0.99}, with log: true or step: 0.01 where wanted, or {choices: [32, 64]}"
_FIXED = {
    "agent_steps": "all trials learn as long; set it with --steps",
    "evaluations": "trials are compared evaluation by evaluation; set it with --set training.evaluations=12",
    "evaluation_days": "returns of other days cannot be compared; set it with --set training.evaluation_days=10",
}
_NUMBERS_ALONE = "training.log_std_init"  # of the default space: choices have no standard deviation


@dataclass(frozen=True)
class Parameter:
    """A setting that a search varies.

    Attributes:
        key: such as ``training.gamma`` or ``training.slope.step``.
        low, high: both ends of a range, in the unit of the setting; None with choices.
        log: the range is drawn from on a logarithmic scale.
        step: distance between two values of a range; None: any value, or any whole number.
        integer: whether the setting takes whole numbers.
        choices: values in place of a range.
    """

    key: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    integer: bool = False
    choices: tuple[Any, ...] = ()

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values to check: both ends, or all choices."""
        return self.choices or (self.low, self.high)

    def suggest(self, trial: Any) -> Any:
        """A value of an Optuna trial."""
        if self.choices:
            return self.value(trial.suggest_categorical(self.key, [_as_name(choice) for choice in self.choices]))
        if self.integer:
            return trial.suggest_int(self.key, self.low, self.high, step=int(self.step or 1), log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)

    def value(self, kept: Any) -> Any:
        """The value of what Optuna keeps, which is a text for a list or mapping."""
        return next((choice for choice in self.choices if _as_name(choice) == kept), kept)

    def data(self) -> dict[str, Any]:
        """As in a file."""
        if self.choices:
            return {"choices": [list(one) if isinstance(one, tuple) else one for one in self.choices]}
        given = {"log": self.log or None, "step": self.step}
        return {"low": self.low, "high": self.high, **{name: own for name, own in given.items() if own is not None}}


@dataclass(frozen=True)
class Space:
    """The settings that a search varies.

    Attributes:
        parameters: one for each setting.
        where: names the space in messages.
    """

    parameters: tuple[Parameter, ...]
    where: str = "space"

    def data(self) -> dict[str, Any]:
        """As in a file."""
        return {one.key: one.data() for one in self.parameters}

    def suggest(self, trial: Any) -> dict[str, Any]:
        """A value for each setting, of an Optuna trial."""
        return {one.key: one.suggest(trial) for one in self.parameters}

    def values(self, kept: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the settings, of what Optuna keeps of a trial."""
        return {one.key: one.value(kept[one.key]) for one in self.parameters if one.key in kept}


def read_space(path: Path) -> Space:
    """The space in a YAML file: each setting's key to a range or to choices.

    Raises:
        ValueError: the file cannot be read, or a key, range or choice is wrong; names file, key and cure.
    """
    where = f"space {str(path)!r}"
    try:
        data = read_yaml(read_text(path, where))
    except yaml.YAMLError as error:
        raise ValueError(f"{where} is not YAML: {error}") from None
    return space_from(data, where)


def default_space(scenario: Scenario) -> Space:
    """The space where none is given: learning rate, gamma, lambda, epochs and, of numbers, their noise."""
    space = read_space(Path(__file__).with_name("default_space.yaml"))
    kept = [one for one in space.parameters if scenario.actions == "box" or one.key != _NUMBERS_ALONE]
    return Space(tuple(kept), "the default space")


def space_from(data: Any, where: str = "space") -> Space:
    """A space from plain data.

    Raises:
        ValueError: see ``read_space``.
    """
    if not isinstance(data, Mapping) or not data:
        raise ValueError(f"{where} must be a mapping of settings to ranges, such as training.gamma: {_FORMS}")
    keys = [str(key) for key in data]
    for key in keys:
        inside = [other for other in keys if other.startswith(f"{key}.")]
        if inside:
            raise ValueError(f"{where}: {key} holds {inside[0]} already; leave one of them out")
    return Space(tuple(_parameter(str(key), own, where) for key, own in data.items()), where)


def with_values(scenario: Scenario, values: Mapping[str, Any]) -> Scenario:
    """The scenario with these training settings, by dotted key; what a mapping has beside them stays.

    Raises:
        ValueError: a value is refused.
    """
    training = dict(scenario.training)
    for key, value in values.items():
        first, *inner = key.removeprefix(FIRST).split(".")
        training[first] = _put(training.get(first), inner, value) if inner else value
    return scenario.replace(training=training)


def _put(before: Any, keys: list[str], value: Any) -> Any:
    if not keys:
        return value
    own = {"name": before} if isinstance(before, str) else dict(before or {})  # a teacher may be a name alone
    return {**own, keys[0]: _put(own.get(keys[0]), keys[1:], value)}


def _parameter(key: str, own: Any, where: str) -> Parameter:
    place = f"{where}: {key}"
    if not key.startswith(FIRST):
        raise ValueError(
            f"{place}: a search varies training settings alone, such as {FIRST}gamma, as returns of other tasks cannot "
            "be compared; change the scenario with --set"
        )
    number = known_type(key, place)
    name = key.removeprefix(FIRST)
    if name in _FIXED:
        raise ValueError(f"{place} cannot vary: {_FIXED[name]}")
    if not isinstance(own, Mapping) or not own:
        raise ValueError(f"{place} must be {_FORMS}; got {own!r}")
    unknown = [str(one) for one in own if one not in ("low", "high", "log", "step", "choices")]
    if unknown:
        raise ValueError(f"{place}: unknown key {unknown[0]!r}; known: low, high, log, step, choices")
    if "choices" in own:
        return _choice(key, own, place)
    return _range(key, own, number, place)


def _choice(key: str, own: Mapping[str, Any], place: str) -> Parameter:
    choices = own["choices"]
    if len(own) > 1:
        raise ValueError(f"{place} has choices and {', '.join(k for k in own if k != 'choices')}; keep choices alone")
    if not isinstance(choices, list) or len(choices) < 2:
        raise ValueError(
            f"{place}: choices must be a list of at least two values; got {choices!r}. Set a single one with --set"
        )
    names = [_as_name(choice) for choice in choices]
    twice = [choice for choice, name in zip(choices, names, strict=True) if names.count(name) > 1]
    if twice:
        raise ValueError(f"{place}: the choice {twice[0]!r} stands twice; remove one")
    return Parameter(key, choices=tuple(choices))


def _range(key: str, own: Mapping[str, Any], number: Number, place: str) -> Parameter:
    if number is None:
        raise ValueError(f"{place} is no number, so that it has no range; give {{choices: [...]}}")
    if "low" not in own or "high" not in own:
        raise ValueError(f"{place} needs low and high, or choices: {_FORMS}; got {dict(own)}")
    given = {name: _number(own[name], number, f"{place}: {name}") for name in ("low", "high", "step") if name in own}
    low, high, step, log = given["low"], given["high"], given.get("step"), own.get("log", False)
    if not isinstance(log, bool):
        raise ValueError(f"{place}: log must be true or false; got {log!r}")
    if low >= high:
        raise ValueError(f"{place}: low must be below high; got {low} and {high}")
    if log and low <= 0:
        raise ValueError(f"{place}: log needs a low above 0; got {low}")
    if step is not None and (log or not 0 < step <= high - low):
        raise ValueError(f"{place}: a step must be above 0, at most high - low, and without log; got {step}")
    return Parameter(key, low, high, log, step, number == "integer")


def _number(value: Any, number: Number, place: str) -> float:
    if isinstance(value, str):
        raise ValueError(f"{place} must be a number; got the text {value!r}. YAML wants a point: 1.0e-4 or 0.0001")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{place} must be a number; got {value!r}")
    if number == "integer":
        if value != int(value):
            raise ValueError(f"{place} must be a whole number, as the setting takes no other; got {value}")
        return int(value)
    return float(value)


def _as_name(choice: Any) -> Any:
    """What Optuna keeps of a choice: numbers, texts and null as they are, lists and mappings as a text."""
    return json.dumps(choice, sort_keys=True) if isinstance(choice, list | tuple | dict) else choice
