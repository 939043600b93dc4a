"""CommunityDay: a day of a community market in linear form, and its simulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dss_marl.controllers.planning.fair_curtailment import sampled
from dss_marl.devices import Batteries, FlexibleLoads
from dss_marl.engines import open_engine
from dss_marl.envs.simulator import Simulator
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray, Setpoints
from dss_marl.mdp.market import Market
from dss_marl.mdp.market.terms import caused_excess, caused_violation, private_bill
from dss_marl.mdp.rewards import (
    battery_use,
    import_excess,
    stored_energy,
    unserved,
    unserved_device_energy,
    voltage_violation,
)

_STEP_KW = 1.0  # of a member's power, for sensitivities
_NODES = 400  # at most about as many stand for all
TERMS = (
    private_bill, caused_excess, caused_violation, import_excess, voltage_violation, battery_use, stored_energy,
    unserved, unserved_device_energy,
)  # fmt: skip


@dataclass(frozen=True)
class Costs:
    """What the task's reward charges, all >= 0: [reward per unit]."""

    bill: float  # per unit of currency
    excess: float  # per kWh above the import limit, by who causes it
    excess_shared: float  # likewise, split evenly
    violation: float  # per pu of the sum over nodes, by who causes it
    violation_shared: float
    use: float  # per kWh through a battery
    unmet: float  # per kWh given up
    stored: float  # per kWh stored at the end


@dataclass(frozen=True)
class Played:
    """A day as simulated.

    Attributes:
        net_kw: (T, P) power that each member drew.
        source_kw: (T) import of the feeder.
        v_pu: (T, m) voltages of the nodes that stand for all.
        rewards: (Z) return of each zone.
    """

    net_kw: Array
    source_kw: Array
    v_pu: Array
    rewards: Array


class CommunityDay:
    """A day of a task with a market.

    Args:
        task: see ``unsupported_reason``.
        day: of the year.

    Attributes:
        market, costs: of the task.
        base_kw: (T, P) power that each member would draw with its devices idle.
        price: (T) of energy.
        batteries, loads: the devices; None without any.
        battery_of, load_of: member of each.
        load_kw: (T, L) power of each flexible load before control.
        nodes, node_weight: (m) nodes that stand for all, and for how many each.
        slope_v: (m, P) change of their voltages with each member's power [pu/kW].
        slope_source: (P) change of the import.
    """

    def __init__(self, task: Task, day: int) -> None:
        self.task, self.day = task, day
        self.market: Market = task.all_zones.market
        self.costs = costs_of(task)
        self.simulator = Simulator(task, open_engine(task.feeder))
        self.layout = task.agents.action_layout
        self._parts = dict(zip(map(type, task.device_groups), self.layout.parts, strict=True))
        groups = {type(group): group for group in task.device_groups}
        self.batteries: Batteries | None = groups.get(Batteries)  # type: ignore[assignment]
        self.loads: FlexibleLoads | None = groups.get(FlexibleLoads)  # type: ignore[assignment]
        self.battery_of, self.load_of = (self._members(kind) for kind in (Batteries, FlexibleLoads))
        scored = self.market.scored
        self.nodes = sampled(scored, _NODES)
        self.node_weight = np.full(len(self.nodes), len(scored) / len(self.nodes))
        self.reach = self.market.reach[:, self.nodes]
        self.idle, states = self._play(np.tile(task.default_action, (task.scenario.steps, 1)))
        self.base_kw, self.price = self.idle.net_kw, np.array([state.price[0] for state in states])
        rows = np.zeros(0, np.int64) if self.loads is None else self.loads.injections
        self.load_kw = np.array([-state.available[rows] for state in states])
        middle = states[int(np.argmin(self.base_kw.sum(axis=1)))]
        self.slope_v, self.slope_source = self._slopes(middle)

    @property
    def steps(self) -> int:
        """Number of intervals T."""
        return len(self.base_kw)

    @property
    def dt_h(self) -> float:
        """Length of an interval [h]."""
        return self.task.scenario.dt_h

    def _members(self, kind: type) -> IntArray:
        """(D) member of each device of a kind."""
        group = next((group for group in self.task.device_groups if type(group) is kind), None)
        return np.array([] if group is None else [self.market.buses.index(bus) for bus in group.buses], np.int64)

    def _slopes(self, state: GridState) -> tuple[Array, Array]:
        engine, now = self.simulator.engine, state.setpoints
        v, source = np.zeros((len(self.nodes), len(self.market.buses))), np.zeros(len(self.market.buses))
        for i in range(len(self.market.buses)):
            found = []
            for change in (-_STEP_KW, _STEP_KW):
                kw = now.kw.copy()
                kw[self.market.injections[i, 0]] -= change
                found.append(engine.solve(Setpoints(kw, now.kvar, now.tap, now.closed)))
            v[:, i] = (found[1].v_pu - found[0].v_pu)[self.nodes] / (2 * _STEP_KW)
            source[i] = (found[1].source_kw - found[0].source_kw) / (2 * _STEP_KW)
        return v, source

    def requests(self, discharge_kw: Array, shed_kw: Array) -> Array:
        """(T, F) joint actions from the power of the batteries (T, B) and of the loads shed (T, L)."""
        rows = np.tile(self.task.default_action, (self.steps, 1))
        if self.batteries is not None:
            width = len(self.batteries.action_labels)
            rows[:, self._parts[Batteries]][:, ::width] = discharge_kw / self.batteries.kw
        if self.loads is not None:
            most = self.load_kw * self.loads.most
            share = np.divide(shed_kw, most, out=np.zeros_like(shed_kw), where=most > 1e-9)
            rows[:, self._parts[FlexibleLoads]] = 2 * share - 1
        return np.clip(rows, -1.0, 1.0)

    def play(self, requests: Array) -> Played:
        """Simulate joint actions (T, F).

        Raises:
            PowerFlowError: a power flow fails.
        """
        return self._play(requests)[0]

    def _play(self, requests: Array) -> tuple[Played, list[GridState]]:
        simulator, model = self.simulator, self.task.reward_model
        now, states = simulator.begin(self.day, self.task.start), []
        rewards = np.zeros(len(self.task.zones))
        for step, joint_action in enumerate(requests):
            after, _ = simulator.operate(now, joint_action)
            rewards += model.zone_terms(now, after)[: len(model.rewards)].sum(axis=0)
            states.append(after)
            if step + 1 < len(requests):
                now = simulator.observe_next(after)
        solutions = [state.solution for state in states]
        played = Played(
            np.array([self.market.net_kw(state) for state in states]),
            np.array([float(one.source_kw) for one in solutions]),
            np.array([one.v_alive[self.nodes] for one in solutions]),
            rewards,
        )
        return played, states

    def limit_kw(self) -> float:
        """The import limit; infinite without one."""
        return float(self.task.scenario.feeder.import_limit_kw or np.inf)

    def excursions(self, v_pu: Array) -> tuple[Array, Array]:
        """(..., m) how far voltages are above and below the band, times the nodes that each stands for [pu]."""
        band = self.task.band.at(self.nodes)
        return np.maximum(v_pu - band.high, 0.0) * self.node_weight, np.maximum(band.low - v_pu, 0.0) * self.node_weight

    def devices_of(self, member: int) -> tuple[BoolArray, BoolArray]:
        """Which batteries (B) and flexible loads (L) a member has."""
        return self.battery_of == member, self.load_of == member

    def close(self) -> None:
        """Close the engine."""
        self.simulator.engine.close()


def costs_of(task: Task) -> Costs:
    """The prices in the task's reward."""
    weight, nodes = task.reward_model.weight, task.reward_model.n_scored_nodes
    return Costs(
        bill=weight(private_bill),
        excess=weight(caused_excess) / 1000,
        excess_shared=weight(import_excess) / 1000,
        violation=weight(caused_violation) / nodes,
        violation_shared=weight(voltage_violation) / nodes,
        use=weight(battery_use) / 1000,
        unmet=weight(unserved_device_energy, unserved) / 1000,
        stored=weight(stored_energy) / 1000,
    )


def unsupported_reason(task: Task) -> str:
    """Reason why a task is not one of a community; "" if it is."""
    market = task.all_zones.market
    if market is None:
        return "no market"
    other = [type(group).__name__ for group in task.device_groups if type(group) not in (Batteries, FlexibleLoads)]
    if other:
        return f"{', '.join(other)} among the devices"
    unknown = [name for name, (_, term) in task.rewards.items() if term not in TERMS]
    if unknown:
        return f"reward term {unknown[0]!r}"
    if market.spec.clearing != "mid_market":
        return f"clearing {market.spec.clearing!r}; members' best responses are computed for mid_market"
    apart = [bus for group in task.device_groups for bus in group.buses if bus not in market.buses]
    if apart:
        return f"a device at bus {apart[0]!r}, which is no member"
    if any(group.act_every is not None for group in task.device_groups):
        return "devices that do not act at every step"
    return ""
