"""Weights in money: by hand, and the shipped scenarios against the table of unit costs."""

import math

import pytest
from common import EVERY

import dss_marl
from dss_marl import load_scenario
from dss_marl.experiments.reports.scenario_card import markdown_card
from dss_marl.experiments.reports.scenario_money import device_kinds, money_deviations
from dss_marl.mdp.reward_money import deviations, money_of
from dss_marl.mdp.rewards import REWARDS
from dss_marl.mdp.unit_costs import DOLLARS, UNIT_COSTS

# Weights that are not the table's; each needs a reason in its scenario's file. A weight that has become right, or
# another one that has not, fails the test below.
DIFFERENT: dict[str, set[str]] = {
    "ieee123_demand_response": {"unserved_device_energy"},  # industrial loads are paid for what they shed
    # Stored energy at what it is worth at noon, comfort above the retail price, peaks at what others ask for.
    "eulv_community": {"caused_excess", "stored_energy", "unserved_device_energy"},
    "eulv_fair_curtailment": {"curtailment"},  # at the price of the energy lost
    "ieee123_flexibility": {"unserved_device_energy"},  # what is missed of a request, at the price of balancing energy
    **{f"powergym_{buses}": {"capacitor_moves", "tap_moves"} for buses in (13, 34, 123, 8500)},  # the published weights
}


@pytest.mark.parametrize("name", EVERY)
def test_weights_of_the_shipped_scenarios_against_the_table(name):
    assert set(money_deviations(load_scenario(name))) == DIFFERENT.get(name, set())


@pytest.mark.parametrize(
    ("term", "weight", "dt_h", "kinds", "dollars", "text"),
    [
        ("loss", 2.0, 0.25, [], 80, "1 MW for 15 min = 2 = 20 $, at 80 $/MWh"),
        ("loss", 8.0, 1.0, [], 80, "1 MW for 1 h = 8 = 80 $"),
        ("energy_cost", 0.1, 0.25, [], 1, "1 $ of the bill = 0.1 = 1 $"),
        ("battery_use", 2.5, 0.25, [], 25, "1 MWh in or out = 2.5 = 25 $"),
        ("tap_moves", 0.01, 0.25, [], 0.1, "1 move = 0.01 = 0.1 $"),
        ("switch_moves", 0.1, 1.0, [], 1, "1 operation = 0.1 = 1 $"),
        ("unserved", 500, 0.25, [], 5, "1 kWh of a normal load = 0.5 = 5 $"),
        ("curtailment", 10, 0.25, [], 0.1, "1 kWh = 0.01 = 0.1 $"),
        ("stored_energy", 8, 0.25, ["battery"], 80, "1 MWh = 8 = 80 $"),
        ("stored_energy", 32.4, 0.25, ["battery", "generator"], 324, "1 MWh = 32.4 = 324 $"),
        ("converter_loss", 2.0, 0.25, [], 80, "1 MW for 15 min = 2 = 20 $, at 80 $/MWh"),
        ("private_bill", 0.1, 0.5, [], 1, "1 $ of a member's bill = 0.1 = 1 $"),
        ("caused_excess", 100, 0.5, [], 1, "1 kWh = 0.1 = 1 $"),
        ("fuel", 0.12, 0.25, ["generator"], 1.2, "1 l of diesel = 0.12 = 1.2 $"),
        ("generation", 32.4, 0.25, ["generator"], 1000 * 1.2 * 0.27, "1 MWh = 32.4 = 324 $"),
    ],
)
def test_a_weight_in_money_by_hand(term, weight, dt_h, kinds, dollars, text):
    money = money_of(term, weight, dt_h, kinds)
    assert money.text == text and money.dollars == pytest.approx(dollars)
    assert money.agrees and money.right == pytest.approx(weight)
    assert not money_of(term, 1.2 * weight, dt_h, kinds).agrees


def test_what_a_weight_says_is_what_a_step_earns():
    """1 MW of losses for a step, by the term itself."""
    env = dss_marl.make("ieee13_volt_var", rewards={"loss": 2.0}, split="test")
    env.reset(seed=0)
    env.step({agent: env.action_space(agent).sample() for agent in env.agents})
    per_mwh = money_of("loss", 2.0, env.task.scenario.dt_h).dollars
    lost_mwh = float(env.after.solution.loss_kw) / 1000 * env.task.scenario.dt_h
    assert -env.team_reward * DOLLARS == pytest.approx(lost_mwh * per_mwh)
    env.close()


def test_voltage_is_a_penalty_and_ones_own_term_is_not_judged():
    money = money_of("voltage_violation", 100, 0.25)
    assert money.text == ("a penalty, not money: 0.01 pu outside the band at every node, for 15 min, counts as 10 $")
    assert math.isnan(money.dollars) and money.agrees
    assert money_of("my_module:mine", 3, 0.25).text == ""
    assert all(money_of(name, 1.0, 0.25).text for name in REWARDS), "every term of the package is explained"


@pytest.mark.parametrize(
    ("term", "weight", "text"),
    [
        ("peak_increase", 1200, "1 kW of peak demand = 1.2 = 12 $"),
        ("fairness", 60, "a penalty, not money: 0.1 less of Jain's index at the end of the day counts as 60 $"),
        ("loss_ratio", 10, "a penalty, not money: a hundredth of the sources' power lost, for 1 h, counts as 1 $"),
    ],
)
def test_tariffs_and_penalties_have_no_unit_cost(term, weight, text):
    money = money_of(term, weight, 1.0)
    assert money.text == text and money.agrees and math.isnan(money.dollars)


def test_priorities_are_compared_too():
    assert deviations({}, 1.0, priorities={"critical": 10.0, "important": 3.0}) == {}
    found = deviations({}, 1.0, priorities={"critical": 3.0, "important": 3.0})
    assert found == {"priorities.critical": "3 times a normal load; the table has 10"}


def test_every_cost_lies_within_its_range_and_has_a_source():
    for name, cost in UNIT_COSTS.items():
        assert cost.low <= cost.dollars <= cost.high and cost.sources and cost.why, name


def test_the_card_has_weights_in_money():
    scenario = load_scenario("ieee13_volt_var").replace(rewards={"loss": 2, "voltage_violation": 100})
    card = markdown_card(dss_marl.build_task(scenario))
    assert "| in money, at 1 = 10 $ |" in card and "| 1 MW for 15 min = 2 = 20 $, at 80 $/MWh |" in card
    assert device_kinds(scenario) >= {"inverter"}
