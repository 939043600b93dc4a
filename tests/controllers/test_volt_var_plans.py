"""The reference best_known: plans that hold what they promise."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

import dss_marl
from dss_marl._assets import data_folder
from dss_marl.controllers import Droop, NoControl, PlanReplay, Plans, load_plans, reference
from dss_marl.controllers.optimization.interval_qp import LocalModel, _constraints, _upper, solve_qp
from dss_marl.controllers.optimization.shortest_path import best_path
from dss_marl.controllers.planning.plan_files import digest
from dss_marl.controllers.planning.solve import PLANNERS, play_plan, solve_day
from dss_marl.controllers.planning.volt_var.beam_search import BeamSearch
from dss_marl.controllers.planning.volt_var.interval_model import IntervalModel
from dss_marl.controllers.planning.volt_var.tap_positions import TapPositions
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.envs.simulator import Simulator
from dss_marl.envs.task import build_task
from dss_marl.experiments import evaluate
from dss_marl.experiments.evaluation import evaluate_all
from dss_marl.profiles.splits import spread_days

SUMMER = 175


def small(**changes):
    """Three noon hours of one inverter, one regulator and one bank on the 13-bus feeder."""
    devices = [
        {"kind": "inverter", "bus": 675, "kw": 2000},
        {"kind": "regulator", "names": ["reg1"], "moves": 1},
        {"kind": "capacitor", "names": ["cap2"]},
    ]
    zones = {"method": "balanced", "count": 1}
    base = dss_marl.load_scenario("ieee13_volt_var")
    return base.replace(**{"devices": devices, "zones": zones, "steps": 3, "start_hour": 11, "dt_h": 1.0, **changes})


def exhaustive(task, day):
    """The best of all sequences of taps and banks, with 41 shares of the inverter in each interval."""
    simulator, positions = Simulator(task, dss_marl.ZoneEnv(task).engine), TapPositions(task)
    first, trials = simulator.begin(day, task.start), TrialSolver(simulator)
    states = [
        simulator.observe(t, task.start, first.device_state, task.default_action.copy(), None)
        for t in range(task.scenario.steps)
    ]
    intervals = IntervalModel(trials, states, positions)
    prices = positions.prices(trials, states[0])
    tap, bank = positions.start
    earned = {}
    for t, (k, b) in product(range(len(states)), product(range(tap - 3, tap + 4), (0, 1))):
        shares = np.linspace(-1, 1, 41)[:, None]
        at = np.array([k, b])
        earned[t, k, b] = max(intervals.reward(intervals.operate(t, at, share)) for share in shares)
    best = -np.inf
    for ups in product((-1, 0, 1), repeat=len(states)):
        for banks in product((0, 1), repeat=len(states)):
            total, before = 0.0, (tap, bank)
            for t, (up, b) in enumerate(zip(ups, banks, strict=True)):
                now = (before[0] + up, b)
                total += earned[(t, *now)] - abs(up) * prices[0] - abs(b - before[1]) * prices[1]
                before = now
            best = max(best, total)
    return best


def test_a_tiny_day_is_as_good_as_trying_everything():
    pytest.importorskip("clarabel")
    for changes in ({}, {"feeder": {"source_pu": 1.05}}):
        task = build_task(small(**changes))
        _, earned = solve_day(task, SUMMER)
        assert solve_day(task, SUMMER, thorough=True)[1] >= earned - 1e-5
        best = exhaustive(task, SUMMER)
        assert earned >= best - 1e-4 * abs(best) - 1e-4
        assert earned <= best + 0.03 * abs(best) + 1e-3  # shares between those of the grid, and no more


@pytest.mark.parametrize("kept", [["inverter"], ["regulator"], ["capacitor"]])
def test_one_kind_of_device_alone_is_planned_too(kept):
    pytest.importorskip("clarabel")
    devices = [spec for spec in small().devices if spec["kind"] in kept]
    scenario = small(devices=devices)
    held = evaluate(reference("no_control", scenario), scenario, [SUMMER])[0]["team_return"]
    requests, earned = solve_day(build_task(scenario), SUMMER)
    assert requests.shape == (3, 1)
    assert earned >= held - 1e-4


def test_many_inverters_are_planned_as_well_with_one_curvature_as_with_each_intervals_own(monkeypatch):
    pytest.importorskip("clarabel")
    scenario = dss_marl.load_scenario("case33_volt_var")
    devices = [{**spec, "curtail": k < 2} for k, spec in enumerate(scenario.devices)]
    rewards = {**scenario.rewards, "curtailment": 3}
    task = build_task(scenario.replace(steps=3, start_hour=9, dt_h=3.0, devices=devices, rewards=rewards))
    earned = []
    for few in (1, 50):
        monkeypatch.setattr("dss_marl.controllers.planning.volt_var.interval_model._FEW", few)
        earned.append(solve_day(task, SUMMER)[1])
    assert earned[0] == pytest.approx(earned[1], rel=1e-3)


def test_rows_that_are_alike_count_with_all_their_weight(monkeypatch):
    pytest.importorskip("clarabel")
    rng = np.random.default_rng(3)
    value, slopes, weight = rng.uniform(1.03, 1.07, 5), rng.normal(0, 0.02, (5, 3)), rng.uniform(0.1, 1, 5)
    once = LocalModel(value, slopes, 3 * weight, np.tile([[0.95], [1.05]], 5), rng.normal(0, 0.01, 3), 0.1 * np.eye(3))
    thrice = replace(once, value=np.tile(value, 3), slopes=np.tile(slopes, (3, 1)), weight=np.tile(weight, 3))
    thrice = replace(thrice, band=np.tile([[0.95], [1.05]], 15))
    ends = -np.ones(3), np.ones(3)
    expected = solve_qp(once, *ends)
    assert np.abs(expected).max() > 0.01
    for many in (300, 10):
        monkeypatch.setattr("dss_marl.controllers.optimization.interval_qp._MANY", many)
        assert once.cost(solve_qp(thrice, *ends)) == pytest.approx(once.cost(expected), rel=1e-4)


def test_a_path_is_the_best_of_all():
    rng = np.random.default_rng(0)
    places = [rng.integers(-2, 3, (5, 2)) for _ in range(4)]
    places = [np.vstack([place, np.zeros((1, 2), np.int64)]) for place in places]
    rewards = [rng.normal(size=6) for _ in range(4)]
    start, limits, prices = np.zeros(2, np.int64), [np.array([2, 1])] * 4, np.array([0.1, 0.3])

    def worth(path):
        total, before = 0.0, start
        for reward, place, k in zip(rewards, places, path, strict=True):
            away = np.abs(place[k] - before)
            total += -np.inf if (away > limits[0]).any() else reward[k] - away @ prices
            before = place[k]
        return total

    total, path = best_path(rewards, places, start, limits, prices)
    assert np.isclose(worth(path), total)
    assert np.isclose(total, max(worth(p) for p in product(range(6), repeat=4)))


@pytest.mark.parametrize("absolute", [False, True])
def test_positions_are_reached_by_the_requests_that_they_write(absolute):
    devices = [
        {"kind": "regulator", "names": "all", "ganged": True, "moves": 3, "absolute": absolute},
        {"kind": "capacitor", "names": "all"},
    ]
    env = dss_marl.ZoneEnv(small(devices=devices))
    env.reset(options={"day": SUMMER})
    positions, joint_action = TapPositions(env.task), env.task.default_action.copy()
    goal = positions.start.copy()
    goal[0] += 3
    goal[1:] = 1 - goal[1:]
    positions.write(joint_action, positions.start, goal)
    after = env.what_if(env.task.encoding.encode(joint_action))
    np.testing.assert_array_equal(positions.of(after.setpoints), goal)
    shown = positions.at(env.now, goal).setpoints
    np.testing.assert_array_equal(shown.tap, after.setpoints.tap)
    np.testing.assert_array_equal(shown.closed, after.setpoints.closed)


def test_a_plan_earns_the_same_again_from_its_file(tmp_path):
    scenario = small()
    task = build_task(scenario)
    requests = np.zeros((3, task.agents.action_layout.size))
    requests[:, 0] = [0.25, -0.5, 0.75]
    requests[1, 1] = 1.0
    plans = Plans(digest(scenario))
    plans.add(task, SUMMER, requests, play_plan(task, SUMMER, requests))
    plans.save(tmp_path / "plans.npz")
    again = Plans.load(tmp_path / "plans.npz")
    np.testing.assert_array_equal(again.requests[SUMMER], requests)
    figures = evaluate(PlanReplay(again), scenario, [SUMMER])[0]
    assert figures["team_return"] == plans.returns[SUMMER]
    assert figures["tap_moves"] == 1


def test_all_controllers_play_the_days_that_have_plans():
    scenario = small()
    task = build_task(scenario)
    plans, day = Plans(digest(scenario)), task.profiles.days("test")[7]
    requests = np.zeros((3, task.agents.action_layout.size))
    plans.add(task, day, requests, play_plan(task, day, requests))
    controllers = {"best_known": PlanReplay(plans), "no_control": reference("no_control", scenario)}
    table = evaluate_all(controllers, scenario)
    assert table.days == (day,)
    np.testing.assert_allclose(*(table.column(name, "team_return") for name in controllers), atol=1e-6)
    with pytest.raises(ValueError, match=r"no train day .* has a plan"):
        evaluate_all(controllers, scenario, "train")


def test_plans_of_a_changed_scenario_or_day_are_refused():
    scenario = small()
    task = build_task(scenario)
    plans = Plans(digest(scenario))
    plans.add(task, SUMMER, np.zeros((3, task.agents.action_layout.size)), -1.0)
    with pytest.raises(ValueError, match=r"no plan of day 4, only of 175; run 'dss-marl solve ieee13_volt_var'"):
        evaluate(PlanReplay(plans), scenario, [4])
    with pytest.raises(ValueError, match="solved before it was changed"):
        evaluate(PlanReplay(plans), scenario.replace(rewards={"loss": 2}), [SUMMER])
    plans.drawn_kwh[SUMMER] *= 1.001
    with pytest.raises(ValueError, match=r"day 175 .* has changed since"):
        evaluate(PlanReplay(plans), scenario, [SUMMER])
    assert digest(scenario.replace(observations=["zone_voltage"])) == digest(scenario)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"actions": "multidiscrete"}, "inverters with levels"),
        ({"devices": [{"kind": "regulator", "min_time_h": 1}]}, "reconfiguration: no open points"),
        ({"reward_sharing": "zone"}, "reward_sharing 'zone'"),
        ({"devices": [{"kind": "switch", "names": "all"}]}, "volt_var: Switches among .*; energy: Switches among"),
        ({"devices": [{"kind": "capacitor", "discharge_h": 3}]}, "capacitors whose discharge time exceeds"),
        ({"devices": [{"kind": "regulator", "min_time_h": 1}]}, "regulators with a minimum time"),
    ],
)
def test_what_a_plan_does_not_cover_is_said(changes, problem):
    with pytest.raises(ValueError, match=problem):
        solve_day(build_task(small(**changes)), SUMMER)


def test_more_days_only_add_to_fewer():
    days = list(range(0, 360, 9))
    ten, thirty = spread_days(days, 10), spread_days(days, 30)
    assert len(ten) == 10 and set(ten) <= set(thirty) <= set(days)
    assert max(np.diff(ten)) <= 72


def test_a_scenario_without_plans_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"'dss-marl solve ieee13_never' finds them, or .* reference_controller"):
        reference("best_known", small(name="ieee13_never"))
    with pytest.raises(ValueError, match="no plans"):
        load_plans(small(name="ieee13_never"))


def test_regulators_that_run_by_themselves_are_planned_around():
    pytest.importorskip("clarabel")
    task = build_task(dss_marl.load_scenario("ieee34_var").replace(steps=6, start_hour=10))
    search = BeamSearch(task, SUMMER, kept=3)
    flats = search.plan_day()
    search.close()
    weaker = [evaluate(one, task.scenario, [SUMMER])[0]["team_return"] for one in (NoControl(), Droop())]
    assert play_plan(task, SUMMER, flats) > max(weaker) + 0.01
    unsupported_reason = PLANNERS["beam_search"].unsupported_reason
    assert not unsupported_reason(task) and "Regulators" in unsupported_reason(build_task(small()))
    assert "no controls of the circuit" in unsupported_reason(build_task(task.scenario.replace(circuit_controls=False)))


def test_a_programme_is_put_together_as_its_matrices_are_written():
    rng, n, rows = np.random.default_rng(0), 3, 4
    slopes, curvature = rng.standard_normal((rows, n)), rng.standard_normal((n, n))
    none, one = np.zeros((n, rows)), np.eye(n)
    blocks = [[slopes, -np.eye(rows)], [none.T, -np.eye(rows)], [one, none], [-one, none]]
    assert np.array_equal(_constraints(slopes).toarray(), np.block(blocks))
    wanted = np.block([[np.triu(curvature), none], [none.T, np.zeros((rows, rows))]])
    assert np.array_equal(_upper(curvature, rows).toarray(), wanted)


def test_the_shipped_plans_are_of_the_shipped_scenarios_and_earn_what_they_say():
    for path in sorted(data_folder("results").glob("*/plans.npz")):
        scenario = dss_marl.load_scenario(path.parent.name)
        plans = Plans.load(path)
        if plans.digest != digest(scenario):
            continue  # test_committed_results lists it
        assert len(plans.requests) >= 10
        day = sorted(plans.requests)[len(plans.requests) // 2]
        figures = evaluate(PlanReplay(plans), scenario, [day])[0]
        assert figures["team_return"] == pytest.approx(plans.returns[day], abs=1e-4)
        weaker = reference("tuned_droop" if scenario.tuned_droop else "no_control", scenario)
        assert figures["team_return"] > evaluate(weaker, scenario, [day])[0]["team_return"]


@pytest.mark.parametrize("kind", ["stepped_inverter", "regulator", "inverter"])
def test_one_device_with_levels_is_planned_exactly(kind):
    """As good as every sequence of three choices, or of five shares of an inverter."""
    specs = {
        "stepped_inverter": {"kind": kind, "bus": 675, "kw": 1500, "step": 0.5},
        "regulator": {"kind": kind, "names": ["reg1"], "moves": 1},
        "inverter": {"kind": kind, "bus": 675, "kw": 1500},
    }
    rewards = {"voltage_violation": 100, "violating_share": 5, "loss": 1, "tap_moves": 0.5}
    scenario = small(devices=[specs[kind]], actions="multidiscrete", levels=5, rewards=rewards)
    task = build_task(scenario)
    count = int(task.encoding.counts[0])
    assert count == (5 if kind == "inverter" else 3)
    _, earned = solve_day(task, SUMMER)
    tried = [play_plan(task, SUMMER, np.array(way)[:, None]) for way in product(np.linspace(-1, 1, count), repeat=3)]
    assert earned == pytest.approx(max(tried), abs=1e-6)
    assert max(tried) > min(tried)


def test_an_only_inverter_is_as_good_as_by_trying_everything():
    """Where nodes leave the band one by one no slope tells the way: at bus 611 of phase 3 in ten early hours."""
    pytest.importorskip("clarabel")
    devices = [{"kind": "inverter", "bus": 611, "kw": 800, "phases": [3]}]
    rewards = {"violating_share": 20, "loss": 1, "voltage_deviation": 300}
    task = build_task(small(devices=devices, rewards=rewards, steps=10, start_hour=3))
    _, earned = solve_day(task, SUMMER)
    shares = np.linspace(-1, 1, 257)
    env, hourly = dss_marl.ZoneEnv(task, "test"), []
    env.reset(seed=SUMMER, options={"day": SUMMER})
    while env.agents:
        saved, tried = env.save_state(), []
        for share in shares:
            env.load_state(saved)
            env.step(task.encoding.encode(np.array([share])))
            tried.append(env.team_reward)
        hourly.append(max(tried))
    assert earned >= sum(hourly) - 1e-3


def test_taps_and_banks_alone_are_as_good_as_the_exact_path():
    """A day on which both banks change over and the regulator makes up for them; all positions are tried."""
    pytest.importorskip("clarabel")
    devices = [{"kind": "regulator", "names": ["reg1"], "moves": 16}, {"kind": "capacitor", "names": "all"}]
    base = dss_marl.load_scenario("ieee13_legacy")
    zones = {"method": "balanced", "count": 1}
    task = build_task(base.replace(devices=devices, zones=zones, steps=6, start_hour=16.0))
    simulator, positions = Simulator(task, dss_marl.ZoneEnv(task).engine), TapPositions(task)
    first, trials = simulator.begin(4, task.start), TrialSolver(simulator)
    states = [simulator.observe(t, task.start, first.device_state, task.default_action.copy(), None) for t in range(6)]
    intervals = IntervalModel(trials, states, positions)
    places = np.array(list(product(range(-16, 17), (0, 1), (0, 1))))
    rewards = [np.array([intervals.reward(intervals.operate(t, at, np.zeros(0))) for at in places]) for t in range(6)]
    limits = [positions.may_move(t) for t in range(6)]
    best, _ = best_path(rewards, [places] * 6, positions.start, limits, positions.prices(trials, states[0]))
    assert solve_day(task, 4)[1] == pytest.approx(best, abs=2e-3)  # of the power flow's tolerance


def test_a_plan_that_knows_of_converter_losses_beats_one_that_does_not():
    """The night of ieee34, where inverters run for reactive power alone; both plans are played with losses rewarded."""
    scenario = dss_marl.load_scenario("ieee34_volt_var").replace(steps=6)
    priced = build_task(scenario)
    blind = {term: weight for term, weight in scenario.rewards.items() if term != "converter_loss"}
    earned, running = [], []
    for task in (build_task(scenario.replace(rewards=blind)), priced):
        env = dss_marl.ZoneEnv(priced)
        env.reset(seed=0, options={"day": 172})
        total = count = 0.0
        for joint_action in PLANNERS["volt_var"].plan_day(task, 172):
            env.step(env.task.encoding.encode(joint_action))
            total += env.team_reward
            count += float((env.after.setpoints.lost_kw > 0).sum())
        env.close()
        earned.append(total)
        running.append(count)
    assert earned[1] > 0.95 * earned[0]
    assert running[1] < running[0]


def test_a_plan_is_as_good_as_the_best_with_the_banks_held_in_any_state():
    """A bank and what makes up for it go together: changed one by one, neither gains anything."""
    day, scenario = 157, dss_marl.load_scenario("ieee34_volt_var").replace(steps=6, start_hour=0)
    earned = solve_day(build_task(scenario), day)[1]
    banks = build_task(scenario).device_groups[-1].names
    devices = [device for device in scenario.devices if device["kind"] != "capacitor"]
    start = build_task(scenario).device_groups[-1].switches
    at_reset, wear = build_task(scenario).start.closed[start], 0.1
    held = []
    for closed in product([False, True], repeat=len(banks)):
        feeder = {**scenario.feeder.model_dump(), "closed": dict(zip(banks, closed, strict=True))}
        rewards = {name: weight for name, weight in scenario.rewards.items() if name != "capacitor_moves"}
        alone = scenario.replace(feeder=feeder, devices=devices, rewards=rewards, costs=["voltage_violation_sum"])
        held.append(solve_day(build_task(alone), day)[1] - wear * (np.array(closed) != at_reset).sum())
    assert earned >= max(held) - 1e-3
    assert max(held) > held[-1] + 0.02, "the banks as they are at reset are not the best"
