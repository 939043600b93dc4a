"""Checks (h) to (k), the standings and the bounds: each on what should fail it, and on what should not."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from common import load_cached, task_of
from typer.testing import CliRunner
from validation_cases import SCOPE, named, noon, results_of

from dss_marl.cli.app import app
from dss_marl.controllers import Droop, DroopCurve, NoControl, PlanReplay, Plans, load_plans, reference
from dss_marl.controllers.planning.bounds import bound_of, optimum_of
from dss_marl.controllers.planning.bounds.radial_network import RadialNetwork
from dss_marl.controllers.planning.solve import play_plan, solve_day
from dss_marl.engines import open_engine
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.envs.task import build_task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.evaluation import environment_for, run_day
from dss_marl.experiments.reports.suite_table import figures_table, whole
from dss_marl.experiments.validation import plan_challenge, prove
from dss_marl.experiments.validation.bound_stage import DayBounds
from dss_marl.experiments.validation.capability import CapabilityUse, CapabilityWatch, same_capability
from dss_marl.experiments.validation.day_coverage import enough_days
from dss_marl.experiments.validation.headroom import headroom
from dss_marl.experiments.validation.result_files import load, save, save_bound, stale_folder, stale_reason
from dss_marl.experiments.validation.standings import best_rule, standings

ZERO, TOP = np.full(10, -10.0), np.linspace(-1.1, -0.9, 10)


# --- standings and headroom


def test_a_controller_counts_on_the_days_that_it_played():
    returns = {
        "opendss_controls": {1: -10.0, 2: -20.0},
        "best_known": {1: 0.0, 2: 0.0},
        "greedy": {2: -10.0},  # half way on a day on which twice as much can be won
        "droop": {1: -6.0, 2: -12.0},
        "random": {1: -1.0, 2: -1.0},
    }
    found = standings(returns, "best_known")
    assert [one.controller for one in found] == ["best_known", "random", "greedy", "droop", "opendss_controls"]
    scores = {one.controller: one.score[0] for one in found}
    assert scores["greedy"] == pytest.approx(0.5) and scores["droop"] == pytest.approx(0.4)
    assert best_rule(found).controller == "greedy"  # random is no rule, and the reference neither
    backwards = standings({"opendss_controls": {1: 0.0}, "best_known": {1: -1.0}}, "best_known")
    assert [one.score for one in backwards] == [None, None] and best_rule(backwards) is None


@pytest.mark.parametrize(("best", "label", "passed"), [(-3.0, False, True), (-1.5, False, False), (-1.5, True, True)])
def test_a_rule_that_comes_close_needs_the_label(best, label, passed):
    episodes = results_of({"opendss_controls": ZERO, "linear": np.full(10, best), "best_known": TOP})
    episodes.task = build_task(noon(tutorial=label))
    (row,) = headroom(episodes, "best_known", ["opendss_controls", "linear", "best_known"], SCOPE)
    assert row.passed is passed and "linear" in row.what
    if label:
        assert "labelled" in row.note


def test_the_label_is_reported_where_it_is_no_longer_needed_and_a_constant_in_hindsight_counts():
    episodes = results_of({"opendss_controls": ZERO, "droop": ZERO + 1, "best_known": TOP})
    episodes.task = build_task(noon(tutorial=True))
    names = ["opendss_controls", "droop", "best_known"]
    (row,) = headroom(episodes, "best_known", names, SCOPE)
    assert row.passed and "no longer needed" in row.note
    episodes = results_of({"opendss_controls": ZERO, "droop": ZERO + 1, "best_known": TOP, "constant found": TOP - 0.1})
    (row,) = headroom(episodes, "best_known", names, SCOPE)
    assert not row.passed and "constant found" in row.what


# --- plans


def plan_rows(monkeypatch, gains):
    episodes = results_of({"opendss_controls": ZERO, "best_known": TOP})
    requests = dict.fromkeys(range(10), np.zeros((96, 1)))
    monkeypatch.setattr(plan_challenge, "_challenge", lambda: lambda *args, **settings: gains)
    return plan_challenge.plan_holds(episodes, PlanReplay(Plans("", requests)), "opendss_controls", SCOPE)


def test_a_plan_that_is_better_without_a_group_of_entries_fails(monkeypatch):
    rows = plan_rows(monkeypatch, {"every group neutral": 1e-3, "single changes": 0.02, "restart": -1.0})
    assert [row.passed for row in rows] == [False, True]  # 0.5 % of a range of 9 is 0.045; a tie is 1e-4
    rows = plan_rows(monkeypatch, {"every group neutral": -1.0, "single changes": 0.06})
    assert [row.passed for row in rows] == [True, False] and "single changes" in rows[1].note


def test_only_plans_are_challenged():
    (row,) = plan_challenge.plan_holds(results_of({}), NoControl(), "opendss_controls", SCOPE)
    assert row.passed is None


# --- days


def day_rows(gains, seconds, name="ieee13_volt_var", **changes):
    episodes = results_of({"opendss_controls": np.zeros(10), "linear": np.array(gains, float)})
    episodes.task = load_cached(name, reference_controller="linear", **changes)
    return enough_days(episodes, "linear", NoControl(), "opendss_controls", seconds, SCOPE)


def test_two_days_of_ten_must_not_carry_the_result():
    assert named(day_rows([1] * 10, 90), "share of the range").passed
    assert not named(day_rows([1] * 8 + [5, 5], 90), "share of the range").passed
    assert not named(day_rows([-1] * 10, 90), "share of the range").passed


def test_few_days_need_a_reason():
    assert not named(day_rows([1] * 10, 3), "test days").passed  # ten days of a controller that takes seconds
    assert named(day_rows([1] * 10, 61), "test days").passed


def test_every_fault_must_be_met():
    row = named(day_rows([1] * 10, 90, "ieee123_restoration_central"), "faults")
    met, every = (int(part) for part in row.measured.split(" of "))
    assert row.passed == (met == every)
    single = load_cached("ieee123_restoration_central", faults=("l52",), reference_controller="linear")
    episodes = results_of({"opendss_controls": np.zeros(10), "linear": np.ones(10)})
    episodes.task = single
    assert named(enough_days(episodes, "linear", NoControl(), "opendss_controls", 90, SCOPE), "faults").passed


# --- capability


def watched(scenario, controller):
    env, watch = ZoneEnv(build_task(scenario), "test"), CapabilityWatch(controller)
    env.reset(seed=4, options={"day": 4})
    watch.reset(env)
    while env.agents:
        env.step(watch.act(env, {}))
        watch.see(env.after)
    env.close()
    return watch


def test_rules_stay_within_what_agents_can_and_a_set_point_beyond_is_seen():
    watch = watched(noon(), Droop(DroopCurve(1.0, 0.0, 9.0)))
    assert watch.use.beyond < 1e-9 and watch.use.foreign == 0 and 0.3 < watch.use.kvar_share <= 1

    class Beyond:
        """Writes an action that no agent has."""

        circuit_controls = False

        def reset(self, env):
            """Nothing."""

        def act(self, env, observations):
            """Twice the largest entry."""
            actions = env.task.encoding.encode(env.task.default_action)
            return {agent: np.full_like(action, 2.0) for agent, action in actions.items()}

    assert watched(noon(), Beyond()).use.foreign > 0
    watch._ranges = [(rows, low, high / 2) for rows, low, high in watch._ranges]
    env = ZoneEnv(build_task(noon()), "test")
    env.reset(seed=4, options={"day": 4})
    env.step(env.task.encoding.encode(np.ones(env.task.agents.action_layout.size)))
    watch.see(env.after)
    assert watch.use.beyond > 0.1
    env.close()


def test_curves_must_reach_as_far_as_agents():
    uses = {"droop": {1: CapabilityUse(0.0, 0, 1.0)}}
    limited = {"droop": Droop()}
    assert not named(same_capability(uses, limited), "reactive power").passed
    free = limited | {"tuned_droop": Droop(DroopCurve(1.0, 0.0, 9.0))}
    row = named(same_capability(uses | {"tuned_droop": uses["droop"]}, free), "reactive power")
    assert row.passed and "droop 0.44" in row.note
    within = {"droop": {1: CapabilityUse(0.0, 0, 0.44)}}
    assert named(same_capability(within, limited), "reactive power").passed
    beyond = {"greedy": {1: CapabilityUse(0.2, 3, 0.0)}}
    assert [row.passed for row in same_capability(beyond, {"greedy": NoControl()})] == [False, False]


# --- bounds


def test_the_balanced_network_solves_as_the_engine_does():
    task = task_of("case33_volt_var")
    network, points, engine = RadialNetwork.of(task), task.feeder.setpoints(), open_engine(task.feeder)
    solution = engine.solve(points)
    engine.close()
    v, loss_kw = network.solved(points.kw, points.kvar)
    assert v.min() == pytest.approx(solution.v_pu.min(), abs=1e-5)
    assert loss_kw == pytest.approx(float(solution.loss_kw), rel=1e-4)


def test_no_plan_exceeds_its_bound_and_volt_var_plans_reach_it():
    """Within 2 % where converters lose nothing; the envelope of the share of nodes outside makes the difference."""
    scenario = load_scenario("case33_volt_var")
    free = [{**spec, "losses": "none"} for spec in scenario.devices]
    rewards = {term: weight for term, weight in scenario.rewards.items() if term != "converter_loss"}
    lossless = build_task(scenario.replace(devices=free, rewards=rewards, steps=16, start_hour=9))
    bound, (_, earned) = bound_of(lossless), solve_day(lossless, 175)
    assert bound.name == "branch flow" and 0 <= bound.day_return(lossless, 175) - earned < 0.02 * abs(earned)
    for task in (task_of("case33_volt_var"), task_of("eulv_ev")):
        requests = load_plans(task.scenario).requests
        day = min(requests)
        assert bound_of(task).day_return(task, day) >= play_plan(task, day, requests[day])
    assert bound_of(task).name == "copper plate"


def test_what_has_no_bound_says_why_and_an_exact_planner_says_optimum():
    with pytest.raises(ValueError, match=r"branch flow: devices other than inverters.*copper plate"):
        bound_of(task_of("ieee13_legacy"))
    assert "sequences" in optimum_of(task_of("ieee34_local_pv")) and optimum_of(task_of("ieee13_volt_var")) == ""


def test_a_gap_is_a_share_of_what_can_be_won():
    bounds = DayBounds("x", "y", {1: 0.0, 2: 0.0})
    assert bounds.gap({1: -1.0, 2: -1.0, 3: 5.0}, {1: -10.0, 2: -10.0}) == pytest.approx(0.1)


# --- what is kept, and the commands


def test_results_keep_bound_claim_and_days_played_and_say_when_they_are_stale(tmp_path):
    scenario = noon()
    proof = prove(scenario, quick=True)
    save(proof, tmp_path)
    result = load(tmp_path)
    assert stale_reason(scenario, result) == stale_folder(scenario, tmp_path) == ""
    assert [(one.controller, one.days) for one in result.standings] == [
        (one.controller, one.days) for one in proof.standings
    ]
    assert result.bounds is None and result.claim == "the strongest controller found" and not result.tutorial
    day = result.metadata["days"][0]
    save_bound(DayBounds("branch flow", "says", {day: 0.0}), tmp_path)
    bounded = load(tmp_path)
    assert bounded.bounds.returns == {day: 0.0} and "from the bound (branch flow)" in bounded.claim
    assert "(within" in whole({"ieee13_volt_var": bounded}) and "| days |" in figures_table(bounded)
    assert "changed since" in stale_reason(scenario.replace(tutorial=True), bounded)
    fewer = replace(bounded, rows=tuple(row for row in bounded.rows if row.check != "h"))
    assert stale_reason(scenario, fewer) == "checks (h) were not made"
    assert "without (h)" in whole({"ieee13_volt_var": fewer})
    assert stale_folder(scenario, tmp_path / "nowhere") == "there are no results"


def test_commands_bound_a_scenario_and_say_what_is_stale(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, ["bound", "eulv_ev", "--days", "1"], env={"COLUMNS": "200"})
    assert said.exit_code == 0 and "copper plate" in said.output and "-1.13" in said.output, said.output
    said = CliRunner().invoke(app, ["bound", "ieee13_legacy", "--days", "1"])
    assert said.exit_code == 2 and "no relaxation bounds" in said.output
    said = CliRunner().invoke(app, ["validate", "ieee13_volt_var", "--check"], env={"COLUMNS": "200"})
    assert said.exit_code == 1 and "there are no results" in said.output and "stale: ieee13_volt_var" in said.output


def test_a_battery_that_hands_its_island_over_stays_within_its_range():
    """It forms the island before the step, and follows its own set point once the diesel has started in it."""
    scenario = load_scenario("ieee13_microgrid")
    controller = reference("time_of_use", scenario)
    env, watch = environment_for(controller, scenario, "test"), CapabilityWatch(controller)
    handed_over = []

    def see(after):
        battery = env.task.device_groups[[type(g).__name__ for g in env.task.device_groups].index("Batteries")]
        handed_over.append(bool(after.setpoints.closed[battery.roles.switches[battery.roles.able]].any()))
        watch.see(after)

    run_day(env, watch, 58, see)
    env.close()
    assert any(before and not now for before, now in pairwise(handed_over))
    assert watch.use.beyond <= 1e-6
