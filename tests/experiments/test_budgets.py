"""Budgets: what an evaluation charges for a cost beyond its limit, and plans that keep within it."""

import pytest
from common import load_cached

from dss_marl import ZoneEnv, load_scenario
from dss_marl.controllers.planning.budgets import priced
from dss_marl.controllers.planning.solve import solve_day
from dss_marl.envs.task import build_task
from dss_marl.experiments.metrics import EpisodeFigures
from dss_marl.mdp.rewards import voltage_violation_sum

SUMMER = 175


def limited(limit, price=1.0):
    """The first intervals of ieee34_safe around noon, with another budget."""
    budgets = {"voltage_violation_sum": {"limit": limit, "price": price}}
    return build_task(load_scenario("ieee34_safe").replace(steps=4, start_hour=11, budgets=budgets))


def played(task):
    """Figures of no control, the reward earned, and the violation summed by hand."""
    env, figures, earned, violation = ZoneEnv(task), EpisodeFigures(task), 0.0, 0.0
    env.reset(seed=0, options={"day": SUMMER})
    while env.agents:
        env.step(task.encoding.encode(task.default_action))
        figures.add(env.before, env.after, env.team_reward)
        earned += env.team_reward
        violation += sum(float(voltage_violation_sum(zone, env.before, env.after)) for zone in task.zones)
    env.close()
    return figures.result(), earned, violation


def test_an_evaluation_charges_what_goes_beyond_and_the_reward_does_not():
    _, earned, violation = played(limited(1e-3))
    assert violation > 0.1
    figures, again, _ = played(limited(violation / 2, price=3.0))
    assert again == earned, "the reward is the same whatever the budget"
    assert figures["team_return"] == pytest.approx(earned - 3.0 * violation / 2, rel=1e-9)
    assert figures["budget_excess"] == pytest.approx(1.0)


def test_within_its_budget_a_day_has_the_return_that_it_earned():
    _, _, violation = played(limited(1e-3))
    figures, earned, _ = played(limited(1.001 * violation))
    assert figures["team_return"] == earned and figures["budget_excess"] == 0


def test_a_limited_cost_is_priced_at_every_unit_for_planners():
    """A step with and without the price differs by the cost times the price."""
    task = limited(0.5, price=2.5)
    whole, env = priced(task), ZoneEnv(task)
    assert not whole.scenario.budgets and set(whole.scenario.rewards) == {*task.scenario.rewards, "voltage_violation"}
    env.reset(seed=0, options={"day": SUMMER})
    env.step(task.encoding.encode(task.default_action))
    cost = sum(float(voltage_violation_sum(zone, env.before, env.after)) for zone in task.zones)
    expected = env.team_reward - 2.5 * cost
    assert cost > 0 and whole.reward_model.team_reward(env.before, env.after) == pytest.approx(expected, rel=1e-9)
    env.close()


def test_a_plan_keeps_within_the_budget_that_no_control_exceeds():
    pytest.importorskip("clarabel")
    task = limited(0.02)
    requests, earned = solve_day(task, SUMMER)
    env, figures = ZoneEnv(task), EpisodeFigures(task)
    env.reset(seed=0, options={"day": SUMMER})
    for joint_action in requests:
        env.step(task.encoding.encode(joint_action))
        figures.add(env.before, env.after, env.team_reward)
    env.close()
    result = figures.result()
    assert result["budget_excess"] == 0 and result["team_return"] == pytest.approx(earned)
    assert played(task)[0]["budget_excess"] > 0


def test_a_budget_that_cannot_be_kept_to_is_refused():
    scenario = load_scenario("ieee34_safe")
    with pytest.raises(ValueError, match=r"budgets: 'unserved_kwh' is none of the costs .*add it to costs"):
        scenario.replace(budgets={"unserved_kwh": {"limit": 1, "price": 1}})
    with pytest.raises(ValueError, match="limit"):
        scenario.replace(budgets={"operations": {"limit": 0, "price": 1}})
    task = build_task(scenario.replace(budgets={"operations": {"limit": 10, "price": 1}}))
    with pytest.raises(ValueError, match=r"a budget of 'operations' cannot be planned for; planners know .*voltage"):
        priced(task)


def test_without_budgets_the_task_is_itself():
    task = load_cached("ieee34_volt_var")
    assert priced(task) is task
