"""Rules, rollout and schedules of repair crews."""

from itertools import permutations

import numpy as np
import pytest
from common import task_of

from dss_marl import ZoneEnv, load_scenario
from dss_marl.controllers import reference
from dss_marl.controllers.base import NoControl
from dss_marl.controllers.planning.crews import plan
from dss_marl.controllers.planning.crews.plan import Scheduled, schedule_cost, started
from dss_marl.controllers.planning.crews.schedule import first_schedule, improved
from dss_marl.controllers.planning.play import play_plan
from dss_marl.controllers.rules.crew_rules import PriorityFirst, RestoreMost
from dss_marl.controllers.rules.section_supply import FAR, SectionSupply
from dss_marl.controllers.search.crew_rollout import CrewRollout
from dss_marl.devices import Crews

NAME, DAY = "ieee123_crews", 13


@pytest.fixture
def env():
    made = ZoneEnv(task_of(NAME), "test")
    yield made
    made.close()


def crews_of(task):
    return next(group for group in task.device_groups if isinstance(group, Crews))


def model_of(env):
    now, rule = started(env, DAY), PriorityFirst()
    rule.reset(env)
    return schedule_cost(env, rule, now)


def played(env, controller):
    return plan._play(env, DAY, controller)[0]


def test_supply_reaches_sections_by_the_way_that_clears_first():
    """Section 47 hangs on 40, and over the tie on 108; whichever way is clear first supplies it."""
    task = task_of(NAME)
    group = crews_of(task)
    supply, buses = SectionSupply(task, group), group.sections.buses
    clear = [0] * len(buses)
    clear[buses.index("135")], clear[buses.index("47")], clear[buses.index("108")] = 9, 2, 5
    found = dict(zip(buses, supply.supplied_from(clear).tolist(), strict=True))
    assert (found["18"], found["135"], found["108"], found["47"], found["40"]) == (0, 9, 5, 5, 5)
    clear[buses.index("152")] = clear[buses.index("18")] = FAR
    assert min(supply.supplied_from(clear)) == FAR


def test_sections_behind_others_count_their_layers():
    task = task_of(NAME)
    group = crews_of(task)
    supply, buses = SectionSupply(task, group), group.sections.buses
    barred = np.array([bus in ("18", "21", "25") for bus in buses])
    layers = dict(zip(buses, supply.layers(barred).tolist(), strict=True))
    assert (layers["18"], layers["21"], layers["25"], layers["54"]) == (1, 2, 3, 0)


def test_a_schedule_costs_on_the_engine_what_the_model_says(env):
    """The model leaves out switch operations and voltages: a few dollars of some ten thousand."""
    cost, group = model_of(env), crews_of(env.task)
    schedule = first_schedule(cost, group, sorted({job % group.sections.size for job in cost.jobs}))
    for one in (schedule, improved(cost, schedule, np.random.default_rng(0), 300)[0]):
        assert played(env, Scheduled(cost.worked(one))) == pytest.approx(-cost(one), rel=2e-3, abs=5)


def test_annealing_finds_the_best_of_all_orders(env):
    """Five jobs of one crew, the others doing nothing: 120 orders."""
    cost = model_of(env)
    few = [job for job in cost.jobs if job < crews_of(env.task).sections.size][:5]
    best = min(cost((order, (), ())) for order in permutations(few))
    rng = np.random.default_rng(1)
    cost.able = lambda crew, job: crew == 0
    assert improved(cost, (tuple(few), (), ()), rng, 2000)[1] == pytest.approx(best)


def test_plans_beat_rules_and_rules_beat_doing_nothing(env, monkeypatch):
    monkeypatch.setattr(plan, "_STARTS", 4)
    monkeypatch.setattr(plan, "_MOVES", 3000)
    found = play_plan(env.task, DAY, plan.plan_day(env.task, DAY))
    nothing = played(env, NoControl())
    rules = {name: played(env, reference(name, env.task.scenario)) for name in ("nearest_section", "restore_most")}
    assert all(nothing < one < found for one in rules.values())


def test_the_rollout_does_not_look_at_faults_that_are_not_found(env):
    """Its first choice is the same if other sections hide the faults."""
    group = crews_of(env.task)
    k, chosen = env.task.device_groups.index(group), []
    for hide in (False, True):
        now = started(env, DAY)
        state = env.simulator.fleet.states(now.device_state)[k]
        if hide:
            state[...] = group.with_repairs(state, np.where(group.known(state) > 0, 1.0, 0.0))
        controller = CrewRollout()
        controller.reset(env)
        chosen.append(controller.jobs(env, now).tolist())
    assert chosen[0] == chosen[1]
    assert max(chosen[0]) >= 0


def test_storms_of_the_rollout_explain_what_is_dark(env):
    started(env, DAY)
    controller, group = CrewRollout(), crews_of(env.task)
    controller.reset(env)
    state = env.simulator.fleet.states(env.now.device_state)[env.task.device_groups.index(group)]
    dark, true = group.known(state) > 0, group.repairs_h(state) > 0
    assert (controller._storms == true).all(axis=1).any()
    assert ((controller._storms @ group.sections.dark) == dark).all()
    for guess in controller._guesses(state):
        assert np.array_equal(group.known(guess), group.known(state))
        assert 2 <= (group.repairs_h(guess) > 0).sum() <= 4


def test_crews_need_a_scenario_that_has_them():
    task = task_of("ieee123_restoration")
    env = ZoneEnv(task)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="no device of kind 'crew'"):
        RestoreMost().reset(env)
    env.close()
    assert "no crews" in plan.unsupported_reason(task) or "in addition to crews" in plan.unsupported_reason(task)
    assert plan.unsupported_reason(task_of(NAME)) == ""
    assert load_scenario(NAME).reference_controller == "best_known"
