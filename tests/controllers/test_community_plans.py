"""Plans of games: a community together and each for itself; curtailment shared fairly; and the rules beside them."""

from __future__ import annotations

import numpy as np
import pytest

from dss_marl import build_task, load_scenario
from dss_marl.controllers import reference
from dss_marl.controllers.planning import fair_curtailment
from dss_marl.controllers.planning.community import best_response, cooperative
from dss_marl.controllers.planning.community.day_model import CommunityDay, unsupported_reason
from dss_marl.controllers.planning.solve import choose_planner
from dss_marl.envs.zone_env import ZoneEnv


@pytest.fixture(scope="module")
def community():
    """A community of three from noon on, with its day in linear form, plans and simulated returns."""
    task = build_task(load_scenario("eulv_community").replace(steps=20))
    number = task.profiles.days("test")[1]
    day = CommunityDay(task, number)
    selfish = best_response.best_responses(task, number)
    plan = cooperative.plan_day(task, number)
    yield day, selfish, plan
    day.close()


def test_together_beats_each_for_itself_which_beats_nothing(community):
    day, selfish, plan = community
    alone, both = day.play(selfish.requests).rewards.sum(), day.play(plan).rewards.sum()
    assert day.idle.rewards.sum() < alone < both


def test_no_member_gains_by_changing_its_own_plan(community):
    """In simulation: each member in turn plays what the common plan has for it, or nothing, against selfish others."""
    day, selfish, plan = community
    assert selfish.gain == 0
    owner = day.task.agents.action_layout.entry_agent
    at_rest = day.play(selfish.requests).rewards
    for agent in range(0, len(day.task.zones), 3):
        for other in (plan, np.tile(day.task.default_action, (day.steps, 1))):
            changed = np.where(owner == agent, other, selfish.requests)
            gained = day.play(changed).rewards[agent] - at_rest[agent]
            assert gained < 5e-3, (agent, gained)  # what the linear model is off


def test_linear_model_agrees_with_the_power_flow(community):
    day, _, plan = community
    played = day.play(plan)
    moved = played.net_kw - day.idle.net_kw
    assert np.abs(day.idle.v_pu + moved @ day.slope_v.T - played.v_pu).max() < 2e-3
    assert np.abs(day.idle.source_kw + moved @ day.slope_source - played.source_kw).max() < 1.0


def test_lower_hull_by_hand():
    x, y = np.array([0.0, 1.0, 1.0, 2.0, 3.0, 4.0]), np.array([0.0, -1.0, 9.0, 0.5, 0.0, 3.0])
    assert best_response._lower_hull(x, y) == [0, 1, 4, 5]


def test_planners_are_chosen_and_refuse():
    assert choose_planner(build_task(load_scenario("eulv_community"))) is cooperative
    assert choose_planner(build_task(load_scenario("eulv_fair_curtailment"))) is fair_curtailment
    other = build_task(load_scenario("ieee13_volt_var"))
    assert unsupported_reason(other) == "no market"
    assert "fairness" in fair_curtailment.unsupported_reason(other)
    traded = load_scenario("eulv_community").replace(market={"clearing": "peer_to_peer"})
    assert "peer_to_peer" in unsupported_reason(build_task(traded))


@pytest.mark.parametrize("name", ["best_response", "self_consumption", "volt_watt", "equal_share"])
def test_rules_say_what_they_need(name):
    env = ZoneEnv(load_scenario("ieee13_legacy").replace(steps=2), "test")
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"no market|has none|needs inverters"):
        reference(name, env.task.scenario).reset(env)
    env.close()


def test_self_consumption_balances_the_house():
    scenario = load_scenario("eulv_community").replace(steps=6, start_hour=9)
    env = ZoneEnv(scenario, "test")
    env.reset(seed=0, options={"day": env.days[20]})
    rule, market = reference("self_consumption", scenario), env.task.zones[0].market
    rule.reset(env)
    house = market.buses.index("34")
    while env.agents:
        idle_kw = market.net_kw(
            env.now.replace(solution=env.what_if(env.task.encoding.encode(env.task.default_action)).solution)
        )
        env.step(rule.act(env, {}))
        if abs(idle_kw[house]) < 3.68 and 0.11 < env.after.telemetry[0] < 0.89:  # within rating and storage
            assert abs(market.net_kw(env.after)[house]) < 1e-3
    env.close()


@pytest.fixture(scope="module")
def sunny():
    task = build_task(load_scenario("eulv_fair_curtailment").replace(steps=6, start_hour=11))
    return task, task.profiles.days("test")[18]


def _played(task, day, requests):
    env = ZoneEnv(task, "test")
    env.reset(seed=0, options={"day": day})
    total = 0.0
    for joint_action in requests:
        env.step(task.encoding.encode(joint_action))
        total += env.team_reward
    found = total, env.after.pv_kwh, env.after.solution.v_pu.max()
    env.close()
    return found


def test_curtailment_plan_beats_the_rules_and_a_fairer_one_is_fairer(sunny):
    from dss_marl.mdp.pv_sharing import jain_index, served_shares

    task, day = sunny
    earned, pv_kwh, highest = _played(task, day, fair_curtailment.plan_day(task, day))
    env = ZoneEnv(task, "test")
    for name in ("no_control", "volt_watt", "equal_share"):
        env.reset(seed=0, options={"day": day})
        rule, total = reference(name, task.scenario), 0.0
        rule.reset(env)
        while env.agents:
            env.step(rule.act(env, {}))
            total += env.team_reward
        assert total < earned
        if name == "equal_share":
            shares = served_shares(env.after.pv_kwh)
            assert np.ptp(shares) < 0.05
            assert shares.max() < 0.99
            assert env.after.solution.v_pu.max() < 1.0501
    env.close()
    assert highest < 1.055
    objectives = {
        "efficiency": {"terms": ["voltage_violation", "loss", "curtailment"]},
        "equity": {"terms": ["fairness"], "weight": 20},
    }
    fairer = build_task(task.scenario.replace(objectives=objectives))
    other = _played(fairer, day, fair_curtailment.plan_day(fairer, day))[1]
    assert jain_index(served_shares(other)) > jain_index(served_shares(pv_kwh))
