"""The reward model: sums of terms over zones, weights, and what leaving the band costs."""

import numpy as np
import pytest
from common import SCENARIOS, task_of
from states import steps, with_voltages

from dss_marl.mdp.rewards import loss, stored_energy, violating_share, voltage_violation

NAME = "ieee34_volt_var"


@pytest.mark.parametrize("name", SCENARIOS)
def test_team_and_zone_rewards_are_sums_of_the_weighted_terms(name):
    task = task_of(name)
    model = task.reward_model
    for before, after in steps(name)[:3]:
        terms = model.zone_terms(before, after)
        assert terms.shape == (len(task.rewards) + len(task.costs), len(task.zones))
        rewards = terms[: len(task.rewards)]
        assert model.team_reward(before, after) == pytest.approx(rewards.sum(), rel=1e-9, abs=1e-12)
        by_zone = [model.zone_reward(z, before, after) for z in range(len(task.zones))]
        assert by_zone == pytest.approx(list(rewards.sum(0)), rel=1e-9, abs=1e-12)
        every = model.rewards_of(task.zones, task.all_zones, before, after)
        assert every == pytest.approx(rewards.sum(0), rel=1e-9, abs=1e-12)


def test_a_term_that_the_scenario_lacks_weighs_nothing():
    model = task_of(NAME).reward_model
    assert model.weight(stored_energy) == 0.0
    assert model.weight(loss, stored_energy) == model.rewards["loss"][0]


def test_a_model_without_terms_is_the_rest_of_the_reward():
    model = task_of(NAME).reward_model
    rest = model.without(voltage_violation, violating_share)
    assert set(model.rewards) - set(rest.rewards) <= {"voltage_violation", "violating_share"}
    before, after = steps(NAME)[0]
    violations = model.without(*(term for _, term in rest.rewards.values()))
    total = rest.team_reward(before, after) + violations.team_reward(before, after)
    assert total == pytest.approx(model.team_reward(before, after), rel=1e-12)


def test_prices_are_what_one_node_outside_the_band_costs():
    task = task_of(NAME)
    model = task.reward_model
    now = steps(NAME)[0][1]
    v = np.ones(len(task.feeder.nodes))
    node = task.zones[0].scored_nodes[0]
    v[node] = 1.06
    others = {term for _, term in model.rewards.values()} - {voltage_violation, violating_share}
    band = model.without(*others)
    cost = -band.team_reward(now, with_voltages(now, v))
    assert cost == pytest.approx(0.01 * model.per_pu + model.per_node, rel=1e-9)


def test_the_price_of_an_excursion_falls_with_the_share_already_lost():
    model = task_of(NAME).reward_model
    price = model.excursion_price(np.array([1.0, 1.05, 1.06, 0.94]))
    assert price[0] == price[1] == pytest.approx(model.per_pu + model.per_node / 0.002)
    assert price[2] == pytest.approx(price[3])
    assert price[2] <= price[1]
