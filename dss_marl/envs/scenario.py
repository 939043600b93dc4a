"""Scenario: a task as data, validated without reading the feeder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from dss_marl.devices import device_kind
from dss_marl.engines import SyntheticSpec, check_command
from dss_marl.envs.cold_load_pickup import ColdLoadSpec
from dss_marl.envs.scenario_names import check_controller, check_droop, check_planner, check_terms
from dss_marl.envs.training_settings import TeacherSettings, TrainingSettings
from dss_marl.envs.validation_messages import readable
from dss_marl.grid.load_priorities import PrioritySpec
from dss_marl.grid.voltage_band import DEFAULT, Band, BandSpec
from dss_marl.mdp.actions import encoding_kind
from dss_marl.mdp.adversary import AttackSpec
from dss_marl.mdp.communication import MessageSpec
from dss_marl.mdp.market import MarketSpec
from dss_marl.mdp.sensing import SensingSpec
from dss_marl.profiles import ProfilesSpec, profile_kind_of


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FeederSpec(_Data):
    """The circuit, and changes to its file."""

    name: str = Field(default="", description="a shipped feeder, or the path of a .dss file")
    synthetic: SyntheticSpec | None = Field(default=None, description="or a generated feeder of any size")
    source_pu: float | None = Field(
        default=None, gt=0.5, lt=1.5, description="source voltage [pu]; null: as in the file"
    )
    load_v_pu: tuple[float, float] | None = Field(
        default=(0.8, 1.2), description="voltage range of the loads' model [pu]; outside it they become impedances"
    )
    taps: dict[str, int] = Field(default={}, description="tap positions at reset; others as in the file")
    closed: dict[str, bool] = Field(default={}, description="initial switch and capacitor states")
    import_limit_kw: float | None = Field(
        default=None, gt=0, description="limit of the import from the source [kW]; null: no limit"
    )
    commands: tuple[str, ...] = Field(default=(), description="OpenDSS commands to run after the file")

    @field_validator("commands")
    @classmethod
    def _touch_no_file(cls, commands: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not (info.context or {}).get("allow_code"):
            for command in commands:
                check_command(command)
        return commands

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


class ObjectiveSpec(_Data):
    """One entry of a vector reward: the sum of some reward terms, each with its own weight."""

    terms: tuple[str, ...] = Field(min_length=1, description="reward terms, each in one objective")
    weight: float = Field(default=1.0, gt=0, description="of the objective in the reward, on top of its terms' weights")


class BudgetSpec(_Data):
    """Most that a cost may add up to over an episode, and what evaluations charge for more."""

    limit: float = Field(gt=0, description="most of the cost, summed over zones and steps")
    price: float = Field(gt=0, description="subtracted from an evaluated return per unit beyond the limit")


class Scenario(_Data):
    """A task as data: feeder, devices, zones, profiles, agents, observations, rewards and horizon."""

    name: str = Field(description="names runs and results; of a file, by default the file's own name")
    title: str = Field(default="", description="one line that says what is controlled, and why it is hard")
    version: int = Field(default=0, ge=0, description="raised with every change that affects returns")
    feeder: FeederSpec = Field(description="the circuit, and changes to its file")
    devices: tuple[dict[str, Any], ...] = Field(
        min_length=1, description="devices that agents control, each with its kind and that kind's fields"
    )
    zones: dict[str, Any] = Field(description="partition of the buses into zones: a method and its options")
    profiles: ProfilesSpec = Field(description="days of load, PV, price and outages: a kind and its fields")
    agents: Literal["zone", "kind", "device"] = Field(
        default="zone", description="one per zone, per kind of device in a zone, or per device"
    )
    actions: str = Field(default="box", description="box, multidiscrete, native, or package.module:Class")
    levels: int = Field(default=11, ge=3, le=201, description="of a continuous entry if actions are discrete")
    steps: int = Field(default=96, ge=1, description="number of steps of an episode")
    dt_h: float = Field(default=0.25, gt=0, le=24, description="length of a step [h]; divides the day into whole ones")
    start_hour: float = Field(default=0.0, ge=0, lt=24, description="time of day at which an episode starts")
    random_start: bool = Field(
        default=False,
        description="episodes whose day is drawn start at an interval of that day drawn as well, and may run into the "
        "next; those of a day asked for by number, such as all of a comparison, start at start_hour",
    )
    horizon: int = Field(default=1, ge=1, description="number of intervals in a forecast, including the coming one")
    observations: tuple[str, ...] = Field(
        min_length=1, description="features that each agent observes of its zone, in this order"
    )
    observed_voltages: Literal["coming", "last"] = Field(
        default="coming",
        description="voltages of the coming interval with the devices held, or those of the last interval",
    )
    sensing: SensingSpec = Field(default=SensingSpec(), description="noise, gaps and delay of measurements")
    messages: MessageSpec = Field(default=MessageSpec(), description="what zones receive from each other")
    attack: AttackSpec | None = Field(default=None, description="compromised agents; null: none")
    rewards: dict[str, float] = Field(min_length=1, description="reward terms and their weights")
    objectives: dict[str, ObjectiveSpec] = Field(
        default={}, description="entries of a vector reward, whose weighted sum is the reward; empty: a single one"
    )
    reward_sharing: Literal["team", "zone", "agent", "difference"] = Field(
        default="team",
        description="what an agent receives: the sum over all zones, over its zone, over its own view, or the team "
        "reward minus the team reward had it held",
    )
    market: MarketSpec | None = Field(
        default=None, description="a community whose members trade energy and pay their own bills; null: none"
    )
    costs: tuple[str, ...] = Field(
        default=("voltage_violation_sum", "thermal_overload", "unserved_kwh", "operations", "curtailed_kwh"),
        description="quantities reported in the infos and not in the reward",
    )
    budgets: dict[str, BudgetSpec] = Field(
        default={},
        description="constraints on costs over an episode; the reward does not contain them, evaluations charge excess",
    )
    faults: tuple[str, ...] | Literal["outages"] = Field(
        default=(),
        description="branches, one of which, drawn at reset, is faulted all day (simultaneous ones joined by +), two "
        "in the split outage_season; 'outages': the days' own outages",
    )
    repair_h: tuple[float, float] | None = Field(
        default=None,
        description="range of hours from which the repair time of each faulted branch is drawn, the same for a day and "
        "branch; its switches stay open until an agent closes them; null: no repair within the episode",
    )
    priorities: PrioritySpec | None = Field(default=None, description="weights of unserved energy by load class")
    cold_load: ColdLoadSpec | None = Field(default=None, description="cold-load pickup after an interruption")
    excluded_buses: tuple[str, ...] = Field(
        default=(), description="buses without influence of any device, excluded from rewards like the source bus"
    )
    band: Band = Field(
        default=DEFAULT,
        description="voltage band that nodes are judged by: a standard's name (ansi_a_service, ansi_b_service, "
        "ansi_a_utilization, ansi_b_utilization, en50160), {low, high}, or by level {lv: [low, high], mv: [low, high]}",
    )
    failure_penalty: float = Field(
        default=100.0, ge=0, description="subtracted from the team reward if the power flow fails"
    )
    circuit_controls: bool = Field(default=False, description="the circuit's own regulator and capacitor controls act")
    tuned_droop: dict[str, float] = Field(
        default={}, description="the droop curve, and the band of regulators beside it, tuned on training days"
    )
    tuned_on: str = Field(
        default="", description="key of the feeder, inverters and rewards that it was tuned on; 'dss-marl tune' says it"
    )
    reference_controller: str = Field(
        default="best_known",
        description="the controller that scores 1; name another one if plans would take too long to compute",
    )
    tutorial: bool = Field(
        default=False,
        description="rules without foresight play it nearly as well as the reference controller: it is for learning "
        "the package, and no score of the suite counts it",
    )
    planner: str = Field(
        default="", description="of days: exact_dp, ..., or package.module:name; empty: the first that fits"
    )
    training: dict[str, Any] = Field(default={}, description="recommended training settings")
    _allow_code: bool = PrivateAttr(default=False)  # consent is the reader's: no file can give it

    def model_post_init(self, context: Any) -> None:
        """Keep the consent with which the scenario was read."""
        self._allow_code = bool((context or {}).get("allow_code"))

    @property
    def allow_code(self) -> bool:
        """Whether whoever read the scenario allowed OpenDSS commands that may touch files or load code."""
        return self._allow_code

    @field_validator("name")
    @classmethod
    def _names_folders(cls, name: str) -> str:
        if not re.fullmatch(r"\w[\w.-]{0,99}", name):
            raise ValueError(
                f"must be at most 100 letters, digits, '_', '-' and '.', as files and folders are named by it; "
                f"got {name!r}"
            )
        return name

    @field_validator("actions")
    @classmethod
    def _known_encoding(cls, name: str) -> str:
        encoding_kind(name)
        return name

    @field_validator("repair_h")
    @classmethod
    def _range_of_hours(cls, hours: tuple[float, float] | None) -> tuple[float, float] | None:
        if hours is not None and not 0 < hours[0] <= hours[1]:
            raise ValueError(f"must be two numbers of hours above 0, the lower one first; got {list(hours)}")
        return hours

    @field_validator("rewards", "costs", "observations")
    @classmethod
    def _known_terms(cls, names: Any, info: ValidationInfo) -> Any:
        check_terms(**{str(info.field_name): tuple(names)})
        return names

    @model_validator(mode="after")
    def _budgets_of_costs(self) -> Scenario:
        lost = [name for name in self.budgets if name not in self.costs]
        if lost:
            raise ValueError(f"budgets: {lost[0]!r} is none of the costs {', '.join(self.costs)}; add it to costs")
        return self

    @field_validator("reference_controller")
    @classmethod
    def _known_controller(cls, name: str) -> str:
        check_controller(name)
        return name

    @field_validator("planner")
    @classmethod
    def _known_planner(cls, name: str) -> str:
        check_planner(name)
        return name

    @field_validator("tuned_droop")
    @classmethod
    def _whole_curve(cls, curve: dict[str, float]) -> dict[str, float]:
        check_droop(curve)
        return curve

    @field_validator("training")
    @classmethod
    def _known_settings(cls, settings: dict[str, Any]) -> dict[str, Any]:
        TrainingSettings.model_validate(settings)  # its complaints become this scenario's
        return settings

    @model_validator(mode="after")
    def _each_in_one_objective(self) -> Scenario:
        named = [term for spec in self.objectives.values() for term in spec.terms]
        off = sorted({term for term in named if named.count(term) > 1} | set(named) ^ set(self.rewards))
        if self.objectives and off:
            raise ValueError(f"objectives: every reward term must be in exactly one; {', '.join(off)} is not")
        if self.objectives and self.reward_sharing not in ("team", "zone"):
            raise ValueError(f"objectives need reward_sharing 'team' or 'zone'; got {self.reward_sharing!r}")
        return self

    @field_validator("levels")
    @classmethod
    def _with_middle(cls, levels: int) -> int:
        if levels % 2 == 0:
            raise ValueError(f"must be odd, so that the middle one is neutral; got {levels}")
        return levels

    def replace(self, **changes: Any) -> Scenario:
        """A validated copy with some fields changed; nested fields as ``feeder={"source_pu": 1.0}``."""
        return scenario_from(merged(self.model_dump(), changes), self.allow_code)

    def under_circuit_controls(self) -> Scenario:
        """The same task with regulators and capacitors under the circuit's own controls.

        There is one agent per device where zones might be left without a device. Where no device would be left at all,
        they stay: ``default_action`` moves none, and the controls act on them.
        """
        kept = [spec for spec in self.devices if not device_kind(spec["kind"]).circuit_controls]
        gone = {spec["kind"] for spec in self.devices} - {spec["kind"] for spec in kept}
        if not kept:
            return self.replace(circuit_controls=True, attack=None)
        attack = self.attack and self.attack.without(gone)
        alone = self.agents == "zone" and self.attack is None and len(kept) < len(self.devices)
        agents = "device" if alone else self.agents
        return self.replace(devices=kept, circuit_controls=True, agents=agents, attack=attack)


def scenario_from(data: Mapping[str, Any], allow_code: bool = False) -> Scenario:
    """A scenario from plain data.

    Args:
        data: its fields.
        allow_code: accept OpenDSS commands that may touch files or load code; only for data that you trust.

    Raises:
        ValueError: a key is unknown, missing or of the wrong type; names each, and the keys that are known.
    """
    try:
        return Scenario.model_validate(dict(data), context={"allow_code": allow_code})
    except ValidationError as error:
        chosen: dict[str, type[BaseModel]] = {
            "training": TrainingSettings,
            "teacher": TeacherSettings,
            "band": BandSpec,
        }
        with suppress(ValueError):  # an unknown kind is reported with the other errors
            chosen["profiles"] = profile_kind_of(data.get("profiles"))
        raise ValueError(readable(error, Scenario, f"scenario {data.get('name', '?')!r}", chosen)) from None


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a scenario with changes.

    Feeder, profiles and training are merged key by key, but only with their like: what was set for another circuit
    (its source voltage, taps, commands, limits) or another kind of profiles does not follow. Everything else is
    replaced whole. A droop curve brings its own ``tuned_on``.
    """
    result = {**base, **changes}
    for key, alike in (("feeder", _same_circuit), ("profiles", _same_kind), ("training", lambda *_: True)):
        old, new = base.get(key), changes.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping) and alike(old, new):
            result[key] = {**old, **new}
    if "tuned_droop" in changes:
        result["tuned_on"] = changes.get("tuned_on", "")
    return result


def _same_circuit(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return all(not new.get(key) or new[key] == old.get(key) for key in ("name", "synthetic"))


def _same_kind(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    kind = old.get("kind", "synthetic")
    return bool(new.get("kind", kind) == kind)
