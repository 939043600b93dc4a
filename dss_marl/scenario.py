"""Scenario: a task as data, from YAML or Python, and its Task: everything that the data name, found and checked."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from dss_marl.data import data_folder, known_names
from dss_marl.devices import DeviceGroup, DeviceSpec, device_kind
from dss_marl.engines.opendss import read_feeder
from dss_marl.feeder import Feeder, find
from dss_marl.observations import Observer
from dss_marl.profiles import PROFILE_KINDS, Profiles, ProfilesSpec
from dss_marl.rewards import Term, cost_channel, reward_term
from dss_marl.spaces import Slots
from dss_marl.state import GridState, Setpoints, Solution
from dss_marl.zones import Zone, build_zones, feeder_graph, partition, stack


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FeederSpec(_Data):
    """Which circuit, and what is different from its file."""

    name: str = Field(description="a shipped feeder, or the path of a .dss file")
    source_pu: float | None = Field(default=None, gt=0.5, lt=1.5, description="source voltage; None: the file's")
    load_v_pu: tuple[float, float] | None = Field(
        default=(0.8, 1.2), description="range where loads keep their model; outside they become impedances"
    )
    taps: dict[str, int] = Field(default={}, description="tap positions at reset; others as in the file")
    closed: dict[str, bool] = Field(default={}, description="switch and capacitor states at reset, likewise")
    commands: tuple[str, ...] = Field(default=(), description="OpenDSS commands to run after the file")

    @field_validator("load_v_pu")
    @classmethod
    def _in_order(cls, limits: tuple[float, float] | None) -> tuple[float, float] | None:
        if limits is not None and not 0 < limits[0] < limits[1]:
            raise ValueError(f"must be two positive numbers, the lower first; got {list(limits)}")
        return limits


class Scenario(_Data):
    """A task as data: feeder, devices, zones, days, what agents see, what is rewarded, and for how long."""

    name: str
    title: str = ""
    version: int = Field(default=0, ge=0)
    feeder: FeederSpec
    devices: tuple[dict[str, Any], ...] = Field(min_length=1)
    zones: dict[str, Any] = Field(description="method and its options")
    profiles: ProfilesSpec
    steps: int = Field(default=96, ge=1, description="horizon")
    dt_h: float = Field(default=0.25, gt=0, le=24)
    observations: tuple[str, ...] = Field(min_length=1)
    observed_voltages: Literal["coming", "last"] = "coming"
    rewards: dict[str, float] = Field(min_length=1)
    costs: tuple[str, ...] = ("voltage", "operations")
    unjudged: tuple[str, ...] = Field(default=(), description="buses beside the source whose voltage nobody can change")
    failure_penalty: float = Field(
        default=100.0, ge=0, description="taken from the team's reward if the power flow fails"
    )
    circuit_controls: bool = Field(default=False, description="the circuit's own regulator and capacitor controls act")
    tuned_droop: dict[str, float] = Field(default={}, description="the droop curve tuned on training days")
    training: dict[str, Any] = Field(default={}, description="settings that train this scenario well")

    def replace(self, **changes: Any) -> Scenario:
        """A copy with some fields changed, validated anew; nested fields as ``feeder={"source_pu": 1.0}``."""
        return scenario_from(_merged(self.model_dump(), changes))

    def under_circuit_controls(self) -> Scenario:
        """The same task with its regulators and capacitors left to the circuit's own controls."""
        kept = [spec for spec in self.devices if not device_kind(spec["kind"]).circuit_controls]
        return self.replace(devices=kept, circuit_controls=True, observations=self.observations)

    def build(self) -> Task:
        """Read the feeder and find everything that the scenario names; see Task.

        Raises:
            ValueError: something named does not exist or does not fit; says what, where and what is known.
        """
        return _build(self)


def scenario_from(data: Mapping[str, Any]) -> Scenario:
    """A scenario from plain data.

    Raises:
        ValueError: a key is unknown, missing or of the wrong type; names each, and the keys that are known.
    """
    try:
        return Scenario.model_validate(dict(data))
    except ValidationError as error:
        raise ValueError(_readable(error, Scenario, f"scenario {data.get('name', '?')!r}")) from None


def load_scenario(name_or_path: str | Path | Scenario) -> Scenario:
    """A shipped scenario by name, or one from a YAML file; a ``base:`` names the scenario that it changes.

    Raises:
        ValueError: no such scenario or file, or its content is wrong.
    """
    if isinstance(name_or_path, Scenario):
        return name_or_path
    return scenario_from(_read_yaml(name_or_path))


def _read_yaml(name_or_path: str | Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    known = known_names("scenarios")
    path = Path(name_or_path)
    if str(name_or_path) in known:
        path = data_folder("scenarios") / f"{name_or_path}.yaml"
    elif not path.is_file():
        close = difflib.get_close_matches(str(name_or_path), known, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ";"
        raise ValueError(
            f"unknown scenario {str(name_or_path)!r}{hint} known: {', '.join(known)}, or the path of a YAML file"
        )
    path = path.resolve()
    if path in above:
        chain = " -> ".join(p.stem for p in (*above, path))
        raise ValueError(f"scenario {path.stem!r} is its own base: {chain}")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{str(path)!r} is not YAML: {error}") from error
    if not isinstance(data, dict):
        raise ValueError(f"{str(path)!r} must hold keys and values, like the shipped scenarios do")
    data.setdefault("name", path.stem)
    feeder = data.get("feeder")
    if isinstance(feeder, dict) and str(feeder.get("name", "")).endswith(".dss"):  # relative to the YAML file
        feeder["name"] = str((path.parent / Path(feeder["name"]).expanduser()).resolve())
    zones = data.get("zones")
    if isinstance(zones, dict) and isinstance(zones.get("file"), str):  # likewise, or else to the working folder
        beside = (path.parent / Path(zones["file"]).expanduser()).resolve()
        zones["file"] = str(beside) if beside.is_file() else zones["file"]
    profiles = data.get("profiles")
    if isinstance(profiles, dict) and isinstance(profiles.get("path"), str):
        profiles["path"] = str((path.parent / Path(profiles["path"]).expanduser()).resolve())
    if "base" in data:
        base = str(data.pop("base"))
        beside = path.parent / Path(base).expanduser()  # a file's path is relative to the file that names it
        base = str(beside) if base not in known and beside.is_file() else base
        return _merged(_read_yaml(base, (*above, path)), data)
    return data


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Feeder, profiles and training are merged key by key; everything else is replaced whole."""
    result = dict(base)
    for key, value in changes.items():
        if (
            key in ("feeder", "profiles", "training")
            and isinstance(value, Mapping)
            and isinstance(base.get(key), Mapping)
        ):
            result[key] = {**base[key], **value}
        else:
            result[key] = value
    return result


def _readable(error: ValidationError, model: type[BaseModel], where: str) -> str:
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


# --- the task: a scenario, built ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """What an environment needs, found and checked.

    Attributes:
        scenario: the data that it was built from.
        feeder: the circuit with the scenario's units in it.
        groups: the devices, kind by kind.
        zones, stacked: one by one, and together.
        slots: how actions reach the devices.
        observer: what agents see.
        rewards: name to (weight, function).
        costs: name to function.
        profiles: the days.
        start: set points at reset, before the day's injections.
    """

    scenario: Scenario
    feeder: Feeder
    groups: tuple[DeviceGroup, ...]
    zones: tuple[Zone, ...]
    stacked: Zone
    slots: Slots
    observer: Observer
    rewards: dict[str, tuple[float, Term]]
    costs: dict[str, Term]
    profiles: Profiles
    start: Setpoints


def _build(scenario: Scenario) -> Task:
    specs = _device_specs(scenario)
    new = [unit for kind, of_kind in specs.items() for unit in device_kind(kind).new_injections(of_kind)]
    feeder = read_feeder(scenario.feeder.name, _commands(scenario.feeder), new)
    groups = tuple(device_kind(kind).build(of_kind, feeder) for kind, of_kind in specs.items())
    zones = build_zones(feeder, _partition(scenario, feeder), scenario.unjudged)
    stacked = stack(zones)
    profiles = Profiles(scenario.profiles, feeder, scenario.dt_h)
    if scenario.steps * scenario.dt_h > 24 + 1e-9:
        raise ValueError(
            f"scenario {scenario.name!r}: steps * dt_h is {scenario.steps * scenario.dt_h:g} h, longer than a day"
        )
    start = _start(scenario, feeder)
    return Task(
        scenario=scenario,
        feeder=feeder,
        groups=groups,
        zones=zones,
        stacked=stacked,
        slots=Slots.build(zones, groups),
        observer=Observer.build(scenario.observations, zones, stacked, _sample(feeder, groups, start, scenario.dt_h)),
        rewards={
            short: (scenario.rewards[name], reward_term(name)) for short, name in _short(scenario.rewards).items()
        },
        costs={short: cost_channel(name) for short, name in _short(scenario.costs).items()},
        profiles=profiles,
        start=start,
    )


def _short(names: Iterable[str]) -> dict[str, str]:
    """Names as infos show them, without the module; each to the full name.

    Raises:
        ValueError: two would be shown alike.
    """
    result: dict[str, str] = {}
    for name in names:
        short = name.split(":")[-1]
        if short in result:
            raise ValueError(
                f"two terms would be called {short!r}: {result[short]!r} and {name!r}; rename the function"
            )
        result[short] = name
    return result


def _device_specs(scenario: Scenario) -> dict[str, list[DeviceSpec]]:
    """Device specs by kind, validated."""
    specs: dict[str, list[DeviceSpec]] = {}
    for number, data in enumerate(scenario.devices, start=1):
        where = f"scenario {scenario.name!r}: device {number}"
        if "kind" not in data:
            raise ValueError(f"{where} {dict(data)} has no kind")
        kind = device_kind(str(data["kind"]))
        try:
            specs.setdefault(str(data["kind"]), []).append(kind.Spec.model_validate(data))
        except ValidationError as error:
            raise ValueError(_readable(error, kind.Spec, where)) from None
    return specs


def _commands(spec: FeederSpec) -> list[str]:
    commands = list(spec.commands)
    if spec.source_pu is not None:
        commands.append(f"vsource.source.pu={spec.source_pu!r}")
    if spec.load_v_pu is not None:
        low, high = spec.load_v_pu
        commands.append(f"batchedit load..* vminpu={low!r} vmaxpu={high!r}")
    return commands


def _partition(scenario: Scenario, feeder: Feeder) -> Sequence[set[str]]:
    options = dict(scenario.zones)
    method = options.pop("method", None)
    if method is None:
        raise ValueError(f"scenario {scenario.name!r}: zones needs a method, such as {{method: balanced, count: 4}}")
    return partition(feeder_graph(feeder), str(method), **options)


def _start(scenario: Scenario, feeder: Feeder) -> Setpoints:
    start = feeder.setpoints()
    for name, position in scenario.feeder.taps.items():
        row = find(feeder.taps, name, "regulator", feeder.name)
        tap = feeder.taps[row]
        if not tap.minimum <= position <= tap.maximum:
            raise ValueError(f"regulator {name!r}: tap {position} is outside {tap.minimum} to {tap.maximum}")
        start.tap[row] = position
    for name, is_closed in scenario.feeder.closed.items():
        start.closed[find(feeder.switches, name, "switch or capacitor", feeder.name)] = is_closed
    return start


def _sample(feeder: Feeder, groups: Sequence[DeviceGroup], start: Setpoints, dt_h: float) -> GridState:
    """A state of the right shapes, all voltages 1 pu, to try functions on before anything is solved."""
    n = len(feeder.nodes)
    solution = Solution(
        v_pu=np.ones(n),
        loss_kw=np.float64(0),
        source_kw=np.float64(0),
        source_kvar=np.float64(0),
        served_kw=start.kw,
        energised=np.ones(n, bool),
        tap=start.tap,
        closed=start.closed,
        currents=lambda: np.zeros(len(feeder.branches)),
    )
    memory = np.concatenate([group.initial().ravel() for group in groups])
    return GridState(0, 0.0, dt_h, start.copy(), solution, memory, start.kw[None])
