"""RewardModel: a task's reward terms with their weights, its costs, and prices derived from the weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from dss_marl.grid.state import Array, GridState
from dss_marl.mdp.rewards import converter_loss, energy_cost, excess_cost, violating_share, voltage_violation
from dss_marl.mdp.scaled_terms import ScaledTerms, Term
from dss_marl.zones import Zone, over_zones

NEAR = 0.002  # excursion over which a planner spreads the price of leaving the band [pu]


@dataclass(frozen=True)
class RewardModel:
    """What a step is worth to zones and to the team; a function of the states before and after it.

    A planner that linearises an interval reads the prices here, takes the terms that it models itself out by
    ``without``, and differentiates the team's reward of the rest.

    Attributes:
        rewards: name to (weight, term).
        costs: name to cost.
        zones, all_zones: one by one, and stacked.
    """

    rewards: dict[str, tuple[float, Term]]
    costs: dict[str, Term]
    zones: tuple[Zone, ...]
    all_zones: Zone

    def zone_terms(self, before: GridState, after: GridState) -> Array:
        """(..., K, Z) weighted reward terms, then costs, of all zones."""
        scaled, others = self._evaluators
        values = scaled(before, after)
        for row, weight, term in others:
            values[..., row, :] = over_zones(term, self.zones, self.all_zones, before, after)
            values[..., row, :] *= weight
        return values

    @cached_property
    def _evaluators(self) -> tuple[ScaledTerms, list[tuple[int, float, Term]]]:
        """The terms and costs that are scaled quantities, and the others: row, weight, function."""
        weighted = [*self.rewards.values(), *((1.0, cost) for cost in self.costs.values())]
        scaled = ScaledTerms(weighted, self.all_zones)
        return scaled, [(row, *weighted[row]) for row in scaled.others]

    def rewards_of(self, zones: Sequence[Zone], stacked: Zone, before: GridState, after: GridState) -> Array:
        """(..., Z) sum of the weighted reward terms of each of some zones, which need not be the task's.

        Args:
            zones, stacked: one by one, and together.
            before, after: states around the step.
        """
        total = np.zeros((*after.solution.v_pu.shape[:-1], len(zones)))
        for weight, term in self.rewards.values():
            total += weight * np.asarray(over_zones(term, zones, stacked, before, after), float)
        return total

    def zone_reward(self, zone: int, before: GridState, after: GridState) -> float:
        """Sum of the weighted reward terms of one zone of the task, by its number."""
        own = self.zones[zone]
        return sum(weight * float(term(own, before, after)) for weight, term in self.rewards.values())

    def team_reward(self, before: GridState, after: GridState) -> float:
        """Sum of the weighted reward terms over all zones."""
        total = 0.0
        for weight, term in self.rewards.values():
            values = over_zones(term, self.zones, self.all_zones, before, after)
            total += weight * float(np.broadcast_to(values, len(self.zones)).sum())
        return total

    def without(self, *terms: Term) -> RewardModel:
        """The same with these reward terms left out: what remains of it is smooth to a planner that models them."""
        return replace(self, rewards={name: row for name, row in self.rewards.items() if row[1] not in terms})

    def weight(self, *terms: Term) -> float:
        """Sum of the weights of reward terms; one that the scenario does not have weighs 0."""
        return sum((weight for weight, term in self.rewards.values() if term in terms), 0.0)

    @property
    def n_scored_nodes(self) -> int:
        """Number of the feeder's nodes whose voltage counts."""
        return self.zones[0].n_scored_nodes

    @cached_property
    def per_pu(self) -> float:
        """Price of an excursion of 1 pu outside the band at one node, by ``voltage_violation``."""
        return self.weight(voltage_violation) / self.n_scored_nodes

    @cached_property
    def per_node(self) -> float:
        """Price of one node outside the band, however far, by ``violating_share``."""
        return self.weight(violating_share) / self.n_scored_nodes

    def drawn_price(self, price: Array, dt_h: float) -> Array:
        """(...) price of 1 kW more of the feeder's import over an interval, by its energy price (...) [1/kWh]."""
        return np.asarray(self.weight(energy_cost, excess_cost) * dt_h * price)

    def converter_price(self, price: Array, dt_h: float) -> Array:
        """(...) price of 1 kW of converter losses over an interval: as such, and drawn from the grid; >= 0."""
        return np.maximum(self.weight(converter_loss) / 1000 + self.drawn_price(price, dt_h), 0.0)

    def excursion_price(self, v_pu: Array) -> Array:
        """(N) price of a further excursion of 1 pu at the scored nodes, with ``per_node`` made a slope.

        A node far outside the band has lost its share already; one at the end of it has not.

        Args:
            v_pu: (N) their voltages, zone after zone [pu].
        """
        out = self.all_zones.scored_band.beyond(v_pu)
        price = self.weight(voltage_violation) + self.weight(violating_share) / (out + NEAR)
        return np.asarray(price / self.n_scored_nodes)
