"""Key figures of an episode from a utility's point of view, independent of the reward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dss_marl.devices import EVChargers, FlexibleLoads, LoadShedders
from dss_marl.envs.task import Task
from dss_marl.experiments.game_figures import GAME_FIGURES, OBJECTIVE, RETURN, GameFigures
from dss_marl.grid.load_priorities import CLASSES
from dss_marl.grid.state import Array, GridState
from dss_marl.grid.topology import Topology
from dss_marl.mdp.quantities import converter_kw, curtailed_kw, estimate_off
from dss_marl.mdp.rewards import COSTS, unserved_kwh
from dss_marl.mdp.scaled_terms import Term
from dss_marl.zones import over_zones

# name: (unit, heading, True if more is better)
FIGURES: dict[str, tuple[str, str, bool]] = {
    "team_return": ("", "team return", True),
    "controllable_rate": ("1", "steps with all nodes in band", True),
    "violation_node_h": ("node h", "violation", False),
    "worst_pu": ("pu", "worst excursion", False),
    "loss_kwh": ("kWh", "losses", False),
    "converter_kwh": ("kWh", "converter losses", False),
    "reactive_kvar": ("kvar", "mean reactive power of an inverter", False),
    "tap_moves": ("", "tap moves", False),
    "capacitor_moves": ("", "capacitor moves", False),
    "switch_moves": ("", "switch moves", False),
    "unserved_kwh": ("kWh", "unserved", False),
    "unserved_critical_kwh": ("kWh", "unserved, critical loads", False),
    "unserved_important_kwh": ("kWh", "unserved, important loads", False),
    "unserved_normal_kwh": ("kWh", "unserved, normal loads", False),
    "restored_share": ("1", "restored share of load lost to faults", True),
    "curtailed_kwh": ("kWh", "curtailed PV", False),
    "estimation_error_pu": ("pu", "estimation error", False),
    "estimation_worst_pu": ("pu", "worst estimate", False),
    "thermal_overload_h": ("h", "time with an overloaded branch", False),
    "energy_cost": ("", "energy cost", False),
    "ev_unmet_kwh": ("kWh", "undelivered EV energy", False),
    "flexible_unmet_kwh": ("kWh", "load shed", False),
    "budget_excess": ("1", "excess over a budget, of its limit", False),
    "failed": ("", "failed days", False),
}
OWN_COST = "cost/"  # begins the figure of a cost that is not one of the package's


def about_figure(name: str) -> tuple[str, str, bool]:
    """Unit, heading and whether more is better, of a key figure or of a scenario's own cost."""
    if name.startswith((OBJECTIVE, RETURN)):
        return "", name.replace("/", " "), True
    return FIGURES.get(name) or GAME_FIGURES.get(name) or ("", f"cost {name.removeprefix(OWN_COST)}", False)


@dataclass
class EpisodeFigures:
    """Accumulates the key figures of one episode, step by step.

    A node counts as violating while it is outside the scenario's band; the excluded buses and de-energised
    nodes do not count. ``thermal_overload_h`` is the time with some branch above its rating; ``energy_cost`` the import
    times its price, export counted as income; ``converter_kwh`` what converters lose due to reactive power, no part of
    ``loss_kwh``; ``reactive_kvar`` the mean magnitude over inverters and completed steps. Unmet energy is in kWh,
    without the devices' priorities; that of devices with priority 0 is not counted. By class, unserved energy is
    counted where there are ``priorities``.
    The restored share refers to the demand of loads that a fault de-energised and that lie outside the faulted section.
    Where the scenario has ``budgets``, the team return is less the price of what a cost exceeds its limit by, and
    ``budget_excess`` is the largest excess over its limit: a policy within all budgets has the return that it earned.
    Costs of the scenario's own, ``module:function``, follow as ``cost/function``, summed over zones and steps; then
    GameFigures, of markets, objectives and private returns.
    """

    task: Task

    def __post_init__(self) -> None:
        self._scored = np.sort(np.concatenate([zone.scored_nodes for zone in self.task.zones]))
        feeder = self.task.feeder
        self._panels = np.array([i for i, row in enumerate(feeder.injections) if row.kind == "inverter"], int)
        self._banks = np.array([row.kind == "capacitor" for row in feeder.switches], bool)
        self._lines = np.array([row.kind == "switch" for row in feeder.switches], bool)
        self._unmet = _unmet_weights(self.task)
        self._rated = any(row.normal_amps > 0 for row in feeder.branches)
        self._dark = _Darkness(self.task) if self.task.priorities is not None or self.task.scenario.faults else None
        self._own = {f"{OWN_COST}{name}": cost for name, cost in self.task.costs.items() if name not in COSTS}
        self._sums = dict.fromkeys([*FIGURES, *self._own], 0.0)
        self._spent = dict.fromkeys(self.task.scenario.budgets, 0.0)
        self._steps, self._game = 0, GameFigures(self.task)

    def add(self, before: GridState, after: GridState, reward: float) -> None:
        """Add one step."""
        out = after.solution.excursion(self.task.band)[self._scored]
        moved = after.setpoints.closed != before.setpoints.closed
        sums, dt_h = self._sums, after.dt_h
        sums["team_return"] += reward
        sums["controllable_rate"] += float(not (out > 0).any())
        sums["violation_node_h"] += float((out > 0).sum()) * dt_h
        sums["worst_pu"] = max(sums["worst_pu"], float(out.max(initial=0.0)))
        sums["loss_kwh"] += float(after.solution.loss_kw) * dt_h
        if self._panels.size:
            sums["reactive_kvar"] += float(np.abs(after.setpoints.kvar[self._panels]).mean())
        sums["tap_moves"] += float(np.abs(after.setpoints.tap - before.setpoints.tap).sum())
        sums["capacitor_moves"] += float(moved[self._banks].sum())
        sums["switch_moves"] += float(moved[self._lines].sum())
        if self._dark is not None:
            self._dark.add(before, after, sums)
        if self.task.priorities is None:
            sums["unserved_kwh"] += float(unserved_kwh(self.task.all_zones, before, after).sum())
        sums["converter_kwh"] += float(converter_kw(self.task.all_zones, before, after).sum()) * dt_h
        sums["curtailed_kwh"] += float(curtailed_kw(after, self._panels).sum()) * dt_h
        off = estimate_off(self.task.all_zones, before, after)
        sums["estimation_error_pu"] += float((off**2).sum())
        sums["estimation_worst_pu"] = max(sums["estimation_worst_pu"], float(np.abs(off).max(initial=0.0)))
        if self._rated:
            sums["thermal_overload_h"] += float(after.solution.loading.max() > 1.0) * dt_h
        sums["energy_cost"] += float(after.solution.source_kw * after.price[0]) * dt_h
        for name, weight in self._unmet.items():
            sums[name] += float(after.unmet_kwh @ weight)
        for name, cost in self._own.items():
            sums[name] += _over_all_zones(self.task, cost, before, after)
        for name in self._spent:
            self._spent[name] += _over_all_zones(self.task, self.task.costs[name], before, after)
        self._game.add(before, after)
        self._steps += 1

    def fail(self, reward: float) -> None:
        """Record a failed power flow: the rest of the episode does not count as controllable."""
        self._sums["team_return"] += reward
        self._sums["failed"] = 1.0

    def result(self) -> dict[str, float]:
        """The figures; ``controllable_rate`` is over the scenario's horizon, so that steps after a failure count.

        ``estimation_error_pu`` is the root mean square over estimated nodes and completed steps.
        """
        count = max(self._steps * self.task.all_zones.all_estimated, 1)
        beyond = {name: max(spent - self.task.scenario.budgets[name].limit, 0.0) for name, spent in self._spent.items()}
        budgets = self.task.scenario.budgets
        charged = sum(budgets[name].price * excess for name, excess in beyond.items())
        return {
            **self._sums,
            "team_return": self._sums["team_return"] - charged,
            "budget_excess": max([0.0, *(excess / budgets[name].limit for name, excess in beyond.items())]),
            "controllable_rate": self._sums["controllable_rate"] / self.task.scenario.steps,
            "reactive_kvar": self._sums["reactive_kvar"] / max(self._steps, 1),
            "estimation_error_pu": float(np.sqrt(self._sums["estimation_error_pu"] / count)),
            "restored_share": 0.0 if self._dark is None else self._dark.restored_share,
            **self._game.result(),
        }


def _unmet_weights(task: Task) -> dict[str, Array]:
    """Figure to (D) 1 over the priority of each device that counts in it, else 0; only figures with such devices.

    States hold unmet energy times priority; a figure is energy alone.
    """
    weights = {"ev_unmet_kwh": [], "flexible_unmet_kwh": []}  # type: dict[str, list[Array]]
    kinds = {"ev_unmet_kwh": EVChargers, "flexible_unmet_kwh": FlexibleLoads}
    for group in task.device_groups:
        for name, kind in kinds.items():
            plain = np.zeros(group.size)
            if isinstance(group, kind):
                priority: Array = group.priority  # type: ignore[attr-defined]
                np.divide(1.0, priority, out=plain, where=priority > 0)
            weights[name].append(plain)
    joined = {name: np.concatenate(rows) for name, rows in weights.items()}
    return {name: row for name, row in joined.items() if row.any()}


def _parts_shed(task: Task) -> Array:
    """(L, D) unserved energy of each load per weighted energy that each flexible load owes."""
    result = np.zeros((len(task.feeder.loads), sum(group.size for group in task.device_groups)))
    first, place = 0, {int(j): row for row, j in enumerate(task.feeder.loads)}
    for group in task.device_groups:
        if isinstance(group, FlexibleLoads):
            rows = [place[int(j)] for j in group.injections]
            weight = np.divide(1.0, group.priority, out=np.zeros(group.size), where=group.priority > 0)
            result[rows, first + np.arange(group.size)] = weight
        first += group.size
    return result


@dataclass
class TermSums:
    """Accumulates every weighted reward term and cost channel of one episode, over all zones.

    The sums of the reward terms add up to the team's return.
    """

    task: Task

    def __post_init__(self) -> None:
        self.sums = {f"reward/{name}": 0.0 for name in self.task.rewards}
        self.sums |= {f"cost/{name}": 0.0 for name in self.task.costs}

    def add(self, before: GridState, after: GridState) -> None:
        """Add one step."""
        task = self.task
        terms = [(f"reward/{name}", weight, term) for name, (weight, term) in task.rewards.items()]
        terms += [(f"cost/{name}", 1.0, term) for name, term in task.costs.items()]
        for name, weight, term in terms:
            self.sums[name] += weight * _over_all_zones(task, term, before, after)


def _over_all_zones(task: Task, term: Term, before: GridState, after: GridState) -> float:
    """Sum of a term over the task's zones."""
    values = over_zones(term, task.zones, task.all_zones, before, after)
    return float(np.broadcast_to(values, len(task.zones)).sum())


class _Darkness:
    """Unserved loads by class, and the share restored."""

    def __init__(self, task: Task) -> None:
        feeder = task.feeder
        self._loads, self._priorities = feeder.loads, task.priorities
        self._topology = Topology.build(feeder)
        self._nodes = [list(feeder.injections[j].nodes) for j in feeder.loads]
        self._lost = np.zeros(len(feeder.loads), bool)
        self._faulted: bytes | None = b""
        self._risked = self._restored = 0.0
        shedding = [isinstance(group, LoadShedders | FlexibleLoads) for group in task.device_groups]
        self._others = ~np.repeat(
            shedding, [group.size for group in task.device_groups]
        )  # their loads are counted here
        self._part = _parts_shed(task)

    @property
    def restored_share(self) -> float:
        return self._restored / self._risked if self._risked else 1.0

    def add(self, before: GridState, after: GridState, sums: dict[str, float]) -> None:
        """Add one step to the figures."""
        self._look(before)
        wanted = np.maximum(-after.forecast[0, self._loads], 0.0) * after.dt_h
        without = -after.solution.served_kw[self._loads] * after.dt_h < 1e-3 * wanted  # practically no power
        self._risked += float(wanted[self._lost].sum())
        self._restored += float(wanted[self._lost & ~without].sum())
        if self._priorities is not None:
            of = self._priorities.of[self._loads]
            lost = np.where(without, wanted, np.minimum(self._part @ after.unmet_kwh, wanted))
            for number, name in enumerate(CLASSES):
                sums[f"unserved_{name}_kwh"] += float(lost[of == number].sum())
            sums["unserved_kwh"] += float(lost.sum() + after.unmet_kwh[self._others].sum())

    def _look(self, before: GridState) -> None:
        """Find the loads de-energised by a new fault."""
        faulted = None if before.faulted is None else before.faulted.tobytes()
        if before.faulted is not None and faulted != self._faulted:
            broken = self._topology.faulted(before.faulted)[self._topology.block] | before.solution.energised
            self._lost |= np.array([not broken[nodes].any() for nodes in self._nodes])
        self._faulted = faulted


def normalised_score(
    returns: Sequence[float] | Array,
    zero: Sequence[float] | Array,
    one: Sequence[float] | Array,
    level: float = 0.95,
    draws: int = 2000,
) -> tuple[float, float, float]:
    """A controller's mean return, scaled to 0 and 1 at those of two others, with its bootstrap interval over days.

    It is not clipped: below 0 is worse than the first, above 1 better than the second, which is no upper bound.

    Args:
        returns: (days) returns of the controller.
        zero, one: (days) returns of the controllers that score 0 and 1, on the same days.
        level, draws: as in ``mean_interval``; days are resampled jointly for all three.

    Returns:
        score, lower end, upper end.

    Raises:
        ValueError: different numbers of days, or the returns at 0 and 1 are equal.
    """
    table = np.array([returns, zero, one], float)
    mean, low, high = table.mean(axis=1)
    if high - low < 1e-9:
        raise ValueError(f"the score's 1 must earn more than its 0; mean returns are {high:g} and {low:g}")
    drawn = np.random.default_rng(0).integers(0, table.shape[1], (draws, table.shape[1]))
    means = table[:, drawn].mean(axis=-1)
    width = means[2] - means[1]
    scores = np.divide(means[0] - means[1], width, where=width > 0, out=np.full(draws, np.nan))
    ends = np.nanquantile(scores, [(1 - level) / 2, (1 + level) / 2])
    return float((mean - low) / (high - low)), float(ends[0]), float(ends[1])
