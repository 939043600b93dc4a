"""Task: a scenario with everything that it names resolved and checked."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from dss_marl.devices import DeviceGroup, DeviceSpec, device_kind
from dss_marl.engines import circuit_edits, read_feeder, synthetic_path
from dss_marl.envs.faults import check_faults
from dss_marl.envs.scenario import FeederSpec, Scenario
from dss_marl.envs.task_summary import task_summary
from dss_marl.envs.validation_messages import readable
from dss_marl.grid.angles import NoCurrents
from dss_marl.grid.elements import PROFILE_DRIVEN
from dss_marl.grid.feeder import AddedUnit, Feeder, find
from dss_marl.grid.load_priorities import Priorities
from dss_marl.grid.own_elements import own_elements
from dss_marl.grid.state import Array, GridState, IntArray, Setpoints, Solution
from dss_marl.grid.topology import Topology
from dss_marl.grid.voltage_band import VoltageBand, voltage_band
from dss_marl.mdp.actions import Encoding, encoding
from dss_marl.mdp.adversary import Attack, AttackSpec, EntryPlaces, open_to
from dss_marl.mdp.agents import Agents, with_devices
from dss_marl.mdp.communication import Messages
from dss_marl.mdp.market import Market, with_market
from dss_marl.mdp.observations import named_feature
from dss_marl.mdp.observer import Observer
from dss_marl.mdp.reward_model import RewardModel
from dss_marl.mdp.rewards import cost_channel, reward_term
from dss_marl.mdp.scaled_terms import Term
from dss_marl.profiles import Profiles
from dss_marl.zones import Zone, build_zones, feeder_graph, partition, stack


@dataclass(frozen=True, repr=False)
class Task:
    """The parts of an environment, resolved from a scenario and checked.

    Attributes:
        scenario: from which it was built.
        feeder: the circuit including the scenario's units.
        device_groups: the devices, one group per kind.
        zones, all_zones: one by one, and stacked.
        agents: their zones, views and action layout.
        encoding: of their actions.
        observer: computes the agents' observations.
        global_observer: the same for all zones, for a central critic.
        reward_model: the weighted reward terms, and the costs.
        profiles: of its days.
        start: set points at reset, before the day's injections.
        sample: a state of the right shapes.
        priorities: of the loads; None if all weigh the same.
    """

    scenario: Scenario
    feeder: Feeder
    device_groups: tuple[DeviceGroup, ...]
    zones: tuple[Zone, ...]
    all_zones: Zone
    agents: Agents
    encoding: Encoding
    observer: Observer
    global_observer: Observer
    reward_model: RewardModel
    profiles: Profiles
    start: Setpoints
    sample: GridState
    priorities: Priorities | None = None

    def __repr__(self) -> str:
        return f"Task({self.scenario.name!r}: {len(self.agents.names)} agents on {self.feeder.name})"

    def __str__(self) -> str:
        return task_summary(self)

    def attack(self) -> Attack | None:
        """A new attack, None if the scenario has none; its random stream is set by its reset."""
        spec = self.scenario.attack
        return None if spec is None else _attack(spec, self.agents, self.device_groups, self._entry_places)

    @cached_property
    def _entry_places(self) -> EntryPlaces:
        return EntryPlaces.build(self.feeder, self.device_groups)

    @cached_property
    def topology(self) -> Topology:
        """The feeder contracted to the blocks between its switches; caches the switch states evaluated."""
        return Topology.build(self.feeder)

    @cached_property
    def objective_rows(self) -> Array:
        """(O, K) by which weighted reward terms give the objectives, without the objectives' own weights."""
        names = list(self.scenario.rewards)
        rows = np.zeros((len(self.scenario.objectives), len(names)))
        for row, spec in zip(rows, self.scenario.objectives.values(), strict=True):
            row[[names.index(term) for term in spec.terms]] = 1 / spec.weight
        return rows

    @cached_property
    def remembered_pv(self) -> IntArray:
        """(U) the PV units among the injections, if a term, cost or feature reads ``GridState.pv_kwh``; else none."""
        features = (named_feature(name).function for name in self.scenario.observations)
        read: list[object] = [*(term for _, term in self.rewards.values()), *self.costs.values(), *features]
        wanted = any(getattr(function, "remembers_pv", False) for function in read)
        rows = [j for j, row in enumerate(self.feeder.injections) if row.kind == "inverter"]
        return np.array(rows if wanted else [], np.int64)

    @property
    def rewards(self) -> dict[str, tuple[float, Term]]:
        """Name to (weight, term) of the reward terms."""
        return self.reward_model.rewards

    @property
    def costs(self) -> dict[str, Term]:
        """Name to function of the costs."""
        return self.reward_model.costs

    @property
    def band(self) -> VoltageBand:
        """Voltage limits of the nodes."""
        return self.all_zones.band

    @property
    def default_action(self) -> Array:
        """(F) the action of uncontrolled devices."""
        return self.sample.action


def build_task(scenario: Scenario) -> Task:
    """Read the feeder and resolve everything that the scenario names; see Task.

    Raises:
        ValueError: something named does not exist or is incompatible; the message says where, and what is known.
    """
    specs = _device_specs(scenario)
    kinds = sorted(specs, key=lambda kind: device_kind(kind).order_of(specs[kind]))
    units = [unit for kind in kinds for unit in device_kind(kind).added_units(specs[kind])]
    units.append(AddedUnit(replaces="*", kind=PROFILE_DRIVEN))  # what no device controls, the day moves
    switches = [row for kind in kinds for row in device_kind(kind).added_switches(specs[kind])]
    spec = scenario.feeder
    edits = circuit_edits(spec.source_pu, spec.load_v_pu, spec.commands)
    feeder = read_feeder(_circuit(spec), edits, units, switches)
    _warn_of_held(scenario, feeder)
    built = {kind: _with_act_every(device_kind(kind).build(specs[kind], feeder), specs[kind]) for kind in kinds}
    kinds = [kind for kind in kinds if built[kind].size]  # a kind that only adds to the circuit has no devices
    start = _start(scenario, feeder)
    groups = tuple(built[kind].at_start(start) for kind in kinds)
    if not groups:
        raise ValueError(f"scenario {scenario.name!r} has no controllable device; add one")
    band = voltage_band(scenario.band, feeder, scenario.excluded_buses)
    groups = tuple(group.with_band(band) for group in groups)
    zones = build_zones(feeder, _partition(scenario, feeder), scenario.excluded_buses, band)
    priorities = None if scenario.priorities is None else Priorities.build(scenario.priorities, feeder)
    if priorities is not None:
        zones = tuple(zone.with_priorities(priorities.weight) for zone in zones)
        groups = tuple(group.with_priorities(priorities) for group in groups)
    zones = with_devices(_in_market(scenario, feeder, zones, groups), groups, kinds)
    agents = Agents.build(scenario.agents, zones, groups, kinds)
    all_zones = stack(zones)
    _check_times(scenario)
    for group in groups:
        group.check_start(start)
    sample = _sample(scenario, feeder, groups, start)
    observer = Observer.build(scenario.observations, agents.views, agents.all_views, sample)
    messages = Messages(scenario.messages, feeder, zones, sample)  # raises its errors here, not at the first step
    if scenario.attack is not None:
        _attack(scenario.attack, agents, groups, EntryPlaces.build(feeder, groups))
        if scenario.attack.false_data and not messages.width:
            raise ValueError(
                f"scenario {scenario.name!r}: attack: false_data needs messages between zones, and there are none; set "
                "messages.hops to 1 or more, with more than one zone, or remove false_data"
            )
    check_faults(scenario, feeder, start)
    return Task(
        scenario=scenario,
        feeder=feeder,
        device_groups=groups,
        zones=zones,
        all_zones=all_zones,
        agents=agents,
        encoding=encoding(scenario.actions, agents.action_layout, groups, scenario.levels),
        observer=observer,
        global_observer=observer
        if scenario.agents == "zone"
        else Observer.build(scenario.observations, zones, all_zones, sample),
        reward_model=_reward_model(scenario, zones, all_zones),
        profiles=Profiles(scenario.profiles, feeder, scenario.dt_h),
        start=start,
        sample=sample,
        priorities=priorities,
    )


def _in_market(
    scenario: Scenario, feeder: Feeder, zones: tuple[Zone, ...], groups: Sequence[DeviceGroup]
) -> tuple[Zone, ...]:
    """The zones with the scenario's market, if it has one.

    Raises:
        ValueError: a term or observation needs a market, and there is none; or it fits not.
    """
    if scenario.market is not None:
        buses = [bus for group in groups for bus in group.buses]
        scored = np.sort(np.concatenate([zone.scored_nodes for zone in zones]))
        return with_market(zones, Market.build(scenario.market, feeder, buses, scored))
    named: dict[str, object] = {name: reward_term(name) for name in scenario.rewards}
    named |= {name: named_feature(name).function for name in scenario.observations}
    without = [name for name, function in named.items() if getattr(function, "needs_market", False)]
    if without:
        raise ValueError(
            f"scenario {scenario.name!r}: {', '.join(without)} needs a community market; add the key 'market', such as "
            "market: {grid_fee: 0.15, feed_in: 0.05}"
        )
    return zones


def _warn_of_held(scenario: Scenario, feeder: Feeder) -> None:
    """One warning for all that keeps one power day and night; ``feeder_report`` and ``dss-marl show`` list it."""
    held = [row for row in own_elements(feeder) if row.held]
    if held:
        names = ", ".join(row.name for row in held[:5]) + (f" and {len(held) - 5} more" if len(held) > 5 else "")
        warnings.warn(
            f"scenario {scenario.name!r}: {len(held)} element(s) of the circuit keep one power at all hours, at "
            f"midnight too: {names}; give them a LoadShape, make them devices with names: circuit, or disable them",
            stacklevel=3,
        )


def _reward_model(scenario: Scenario, zones: tuple[Zone, ...], all_zones: Zone) -> RewardModel:
    times = {name: spec.weight for spec in scenario.objectives.values() for name in spec.terms}
    rewards = {
        short: (scenario.rewards[name] * times.get(name, 1.0), reward_term(name))
        for short, name in _short(scenario.rewards).items()
    }
    costs = {short: cost_channel(name) for short, name in _short(scenario.costs).items()}
    return RewardModel(rewards, costs, zones, all_zones)


def _attack(spec: AttackSpec, agents: Agents, groups: Sequence[DeviceGroup], places: EntryPlaces) -> Attack:
    layout = agents.action_layout
    return Attack(spec, agents.names, layout.entry_agent, open_to(spec, groups, layout.parts), places)


def _check_times(scenario: Scenario) -> None:
    hours = scenario.steps * scenario.dt_h
    days: int = getattr(scenario.profiles, "chain_days", 1)
    if hours > 24 * days + 1e-9:
        cure = "set chain_days of synthetic profiles" if days == 1 else "raise profiles.chain_days"
        most = f"{days} days" if days > 1 else "a day"
        raise ValueError(
            f"scenario {scenario.name!r}: steps * dt_h is {hours:g} h, longer than {most}; {cure} for a longer episode"
        )
    first = scenario.start_hour / scenario.dt_h
    if abs(first - round(first)) > 1e-9:
        raise ValueError(
            f"scenario {scenario.name!r}: start_hour {scenario.start_hour:g} is no multiple of dt_h {scenario.dt_h:g}"
        )
    reach = scenario.horizon + 1 if scenario.horizon > 1 else 1  # the forecast issued after the last interval
    latest = 24 - scenario.dt_h if scenario.random_start else scenario.start_hour
    if scenario.random_start and scenario.faults == "outages":
        raise ValueError(f"scenario {scenario.name!r}: outages have their own time of day; remove random_start")
    last = latest + (scenario.steps + reach) * scenario.dt_h
    if last > 24 * (days + 1) + 1e-9:
        raise ValueError(
            f"scenario {scenario.name!r}: forecasts reach {last:g} h after the day's midnight at the end, "
            f"of {24 * (days + 1)} at most; lower horizon, steps or start_hour"
        )


def _short(names: Iterable[str]) -> dict[str, str]:
    """Names as shown in infos, without the module, each to the full name.

    Raises:
        ValueError: two would have the same short name.
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
    for number, data in enumerate(_rated_devices(scenario), start=1):
        where = f"scenario {scenario.name!r}: device {number}"
        if "kind" not in data:
            raise ValueError(f"{where} {dict(data)} has no kind")
        kind = device_kind(str(data["kind"]))
        try:
            specs.setdefault(str(data["kind"]), []).append(kind.Spec.model_validate(data))
        except ValidationError as error:
            raise ValueError(readable(error, kind.Spec, where)) from None
    return specs


def _rated_devices(scenario: Scenario) -> Sequence[Mapping[str, Any]]:
    """The scenario's devices, inverters rated by the data where the profiles say so."""
    peaks = scenario.profiles.pv_peaks_kw()
    if peaks is None:
        return scenario.devices
    own = [k for k, data in enumerate(scenario.devices) if data.get("kind") == "inverter"]
    if len(own) != len(peaks):
        raise ValueError(
            f"scenario {scenario.name!r} has {len(own)} inverters, its profiles the power of {len(peaks)} PV units; "
            "take the data of this network"
        )
    rated = [dict(data) for data in scenario.devices]
    for k, kw in zip(own, peaks.tolist(), strict=True):
        rated[k] = {**rated[k], "kw": kw, "kva": 0.0}
    return rated


def _with_act_every(group: DeviceGroup, specs: Sequence[DeviceSpec]) -> DeviceGroup:
    """The group; a kind that does not set ``act_every`` itself gets it if all its specs agree.

    Raises:
        ValueError: the specs differ, and the kind does not assign them to devices.
    """
    every = {spec.act_every for spec in specs}
    if group.act_every is not None or every == {1}:
        return group
    if len(every) > 1:
        raise ValueError(
            f"{type(group).__name__}: give all devices of this kind the same 'act_every'; got {sorted(every)}"
        )
    return replace(group, act_every=np.full(group.size, every.pop(), np.int64))


def _circuit(spec: FeederSpec) -> str | Path:
    return spec.name if spec.synthetic is None else synthetic_path(spec.synthetic)


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


def _kept(scenario: Scenario, feeder: Feeder) -> int:
    """Length of the state of cold-load pickup, after that of the devices; see ColdLoad."""
    return 0 if scenario.cold_load is None else 2 * len(feeder.loads)


def _sample(scenario: Scenario, feeder: Feeder, groups: Sequence[DeviceGroup], start: Setpoints) -> GridState:
    """A state of the right shapes, all voltages 1 pu, to test functions on before anything is solved."""
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
        currents=NoCurrents(len(feeder.branches), n),
    )
    return GridState(
        0,
        0.0,
        scenario.dt_h,
        setpoints=start.copy(),
        solution=solution,
        device_state=np.concatenate(
            [*(group.initial().ravel() for group in groups), np.zeros(_kept(scenario, feeder))]
        ),
        forecast=np.tile(start.kw, (scenario.horizon, 1)),
        price=np.zeros(scenario.horizon),
        action=np.concatenate([group.default_action().ravel() for group in groups]),
        telemetry=np.zeros(sum(group.size * len(group.telemetry_labels) for group in groups)),
        unmet_kwh=np.zeros(sum(group.size for group in groups)),
        stored_kwh=np.concatenate([group.stored_kwh(group.initial()) for group in groups]),
        fuel_l=np.zeros(sum(group.size for group in groups)),
        worn_kwh=np.zeros(sum(group.size for group in groups)),
        import_limit_kw=scenario.feeder.import_limit_kw or np.inf,
    )
