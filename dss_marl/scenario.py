"""Scenario: a task as data, from YAML or Python, checked for what can be known of it alone."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dss_marl.attack import AttackSpec
from dss_marl.cold_load import ColdLoadSpec
from dss_marl.data import data_folder, known_names
from dss_marl.devices import device_kind
from dss_marl.messages import MessageSpec
from dss_marl.priorities import PrioritySpec
from dss_marl.profiles import PROFILE_KINDS, ProfilesSpec
from dss_marl.sensing import SensingSpec
from dss_marl.synthetic import SyntheticSpec

if TYPE_CHECKING:
    from dss_marl.task import Task


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FeederSpec(_Data):
    """Which circuit, and what is different from its file."""

    name: str = Field(default="", description="a shipped feeder, or the path of a .dss file")
    synthetic: SyntheticSpec | None = Field(default=None, description="or a generated one of any size")
    source_pu: float | None = Field(default=None, gt=0.5, lt=1.5, description="source voltage; None: the file's")
    load_v_pu: tuple[float, float] | None = Field(
        default=(0.8, 1.2), description="range where loads keep their model; outside they become impedances"
    )
    taps: dict[str, int] = Field(default={}, description="tap positions at reset; others as in the file")
    closed: dict[str, bool] = Field(default={}, description="switch and capacitor states at reset, likewise")
    import_limit_kw: float | None = Field(
        default=None, gt=0, description="what may be drawn from the source [kW]; None: any amount"
    )
    commands: tuple[str, ...] = Field(default=(), description="OpenDSS commands to run after the file")

    @model_validator(mode="after")
    def _one_of_both(self) -> FeederSpec:
        if bool(self.name) == (self.synthetic is not None):
            raise ValueError("give either name or synthetic")
        return self

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
    agents: Literal["zone", "kind", "device"] = Field(
        default="zone", description="one for each zone, for each kind of device in a zone, or for each device"
    )
    actions: Literal["box", "multidiscrete", "native"] = "box"
    levels: int = Field(default=11, ge=3, le=201, description="of a continuous entry, where actions are discrete")
    steps: int = Field(default=96, ge=1, description="horizon")
    dt_h: float = Field(default=0.25, gt=0, le=24)
    start_hour: float = Field(default=0.0, ge=0, lt=24, description="time of day at which an episode starts")
    horizon: int = Field(default=1, ge=1, description="intervals that forecasts reach, the coming one included")
    observations: tuple[str, ...] = Field(min_length=1)
    observed_voltages: Literal["coming", "last"] = "coming"
    sensing: SensingSpec = SensingSpec()
    messages: MessageSpec = MessageSpec()
    attack: AttackSpec | None = None
    rewards: dict[str, float] = Field(min_length=1)
    reward_sharing: Literal["team", "zone", "agent", "difference"] = "team"
    costs: tuple[str, ...] = ("voltage", "thermal", "unserved_kwh", "operations", "curtailed_kwh")
    faults: tuple[str, ...] | Literal["outages"] = Field(
        default=(),
        description="branches, one of which, drawn at reset, is broken all day (several at once are joined by +), two "
        "in the split outage_season; or the days' own outages",
    )
    priorities: PrioritySpec | None = Field(default=None, description="loads that matter more when not all are served")
    cold_load: ColdLoadSpec | None = Field(default=None, description="what was dark draws more when it comes back")
    unjudged: tuple[str, ...] = Field(default=(), description="buses beside the source whose voltage nobody can change")
    failure_penalty: float = Field(
        default=100.0, ge=0, description="taken from the team's reward if the power flow fails"
    )
    circuit_controls: bool = Field(default=False, description="the circuit's own regulator and capacitor controls act")
    tuned_droop: dict[str, float] = Field(default={}, description="the droop curve tuned on training days")
    strongest: str = Field(
        default="best_known",
        description="the controller that scores 1; another stands in where solving a day costs too much",
    )
    training: dict[str, Any] = Field(default={}, description="settings that train this scenario well")

    @field_validator("levels")
    @classmethod
    def _with_middle(cls, levels: int) -> int:
        if levels % 2 == 0:
            raise ValueError(f"must be odd, so that the middle one is neutral; got {levels}")
        return levels

    def replace(self, **changes: Any) -> Scenario:
        """A copy with some fields changed, validated anew; nested fields as ``feeder={"source_pu": 1.0}``."""
        return scenario_from(_merged(self.model_dump(), changes))

    def under_circuit_controls(self) -> Scenario:
        """The same task with its regulators and capacitors left to the circuit's own controls.

        Where that may leave zones without a device, an agent for each device stands in for the zones' agents.
        """
        kept = [spec for spec in self.devices if not device_kind(spec["kind"]).circuit_controls]
        gone = {spec["kind"] for spec in self.devices} - {spec["kind"] for spec in kept}
        attack = self.attack and self.attack.without(gone)
        alone = self.agents == "zone" and self.attack is None and len(kept) < len(self.devices)
        agents = "device" if alone else self.agents
        return self.replace(devices=kept, circuit_controls=True, agents=agents, attack=attack)

    def build(self) -> Task:
        """Read the feeder and find everything that the scenario names; see Task.

        Raises:
            ValueError: something named does not exist or does not fit; says what, where and what is known.
        """
        from dss_marl.task import build_task  # the task imports this module

        return build_task(self)


def scenario_from(data: Mapping[str, Any]) -> Scenario:
    """A scenario from plain data.

    Raises:
        ValueError: a key is unknown, missing or of the wrong type; names each, and the keys that are known.
    """
    try:
        return Scenario.model_validate(dict(data))
    except ValidationError as error:
        raise ValueError(readable(error, Scenario, f"scenario {data.get('name', '?')!r}")) from None


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
