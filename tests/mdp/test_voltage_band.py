"""The voltage band: by standard and level, in every term, figure, slope and planner, by hand on two voltage levels."""

from functools import cache

import numpy as np
import pytest

import dss_marl
from dss_marl import BatchZoneEnv, OpenDSSEngine, ZoneEnv, build_task, load_scenario, open_batch_engine
from dss_marl.controllers.planning.plan_files import digest
from dss_marl.controllers.rules.droop import tuning_key
from dss_marl.experiments.metrics import EpisodeFigures
from dss_marl.experiments.reports.scenario_card import markdown_card
from dss_marl.grid.voltage_band import DEFAULT, STANDARDS, voltage_band
from dss_marl.mdp.rewards import COSTS, REWARDS
from dss_marl.mdp.term_slopes import RewardSlopes
from dss_marl.zones import over_zones

NAME = "ieee13_volt_var"  # bus 634 at 0.48 kV, the others at 4.16 kV
REWARD = {"voltage_violation": 100.0, "violating_share": 5.0, "courant_beltrami": 1000.0}
COST = ["voltage_violation_sum"]


@cache
def task_with(band, name=NAME):
    return build_task(load_scenario(name).replace(band=dict(band) if isinstance(band, tuple) else band, rewards=REWARD))


@cache
def operated(band):
    env = ZoneEnv(task_with(band))
    env.reset(seed=0)
    env.step({agent: np.zeros(env.action_space(agent).shape) for agent in env.agents})
    return env.before, env.after


def with_voltages(state, v_pu):
    solution = state.solution
    fields = {name: getattr(solution, name) for name in solution.__dataclass_fields__}
    return state.replace(solution=type(solution)(**{**fields, "v_pu": v_pu}))


def by_hand(task, volts, low_kv, high_kv):
    """Excursions (n) of the scored nodes, by limits of nodes below and above 600 V."""
    found = []
    for node in task.all_zones.scored_nodes:
        low, high = low_kv if task.feeder.nodes[node].startswith("634.") else high_kv
        found.append(max(volts[node] - high, low - volts[node], 0.0))
    return np.array(found)


@pytest.mark.parametrize(
    ("band", "lv", "mv"),
    [
        # ANSI C84.1-2020, on a base of 120 V
        ("ansi_a_service", (114, 126), (117, 126)),
        ("ansi_b_service", (110, 127), (114, 127)),
        ("ansi_a_utilization", (108, 126), (108, 126)),
        ("ansi_b_utilization", (104, 127), (104, 127)),
        ((("low", 0.94), ("high", 1.06)), (112.8, 127.2), (112.8, 127.2)),
        ((("lv", (0.9, 1.1)), ("mv", (0.975, 1.05))), (108, 132), (117, 126)),
    ],
)
def test_limits_follow_from_the_level_of_a_node(band, lv, mv):
    task = task_with(band)
    limits = task.band.rows(len(task.feeder.nodes))
    for node, name in enumerate(task.feeder.nodes):
        bus = name.split(".")[0]
        if bus != "sourcebus":
            assert 120 * limits[:, node] == pytest.approx(lv if bus == "634" else mv), name
    assert task.band.uniform == (lv == mv)


def test_en_50160_is_207_to_253_volts_whatever_the_base():
    """The European feeder has a base of 416 V line to line: 240.18 V; its source is at 11 kV and is not judged."""
    task = build_task(load_scenario("eulv_volt_var").replace(band="en50160"))
    assert task.band.uniform
    assert 416 / np.sqrt(3) * np.array([task.band.low, task.band.high]) == pytest.approx([207, 253], abs=1e-6)
    assert str(task.band) == "0.8619 to 1.053 pu (EN 50160, supply voltage)"
    mv = build_task(load_scenario("case33_volt_var").replace(band="en50160")).band
    assert (mv.low, mv.high) == (0.9, 1.1), "at medium voltage, of the declared voltage"


@pytest.mark.parametrize(
    ("band", "message"),
    [
        ("en50160", "EN 50160 .* for 230 V .* bus '634' .* 277.1 V"),
        ({"mv": [0.9, 1.1]}, r"no limits for low voltage, at which bus '634' .*add lv: \[lowest, highest\]"),
        ({"lv": [0.9, 1.1]}, "no limits for medium voltage"),
        ({"low": 0.9}, "give both low and high"),
        ({"low": 1.1, "high": 0.9}, "the lower first"),
        ({"lv": [1.1, 0.9], "mv": [0.9, 1.1]}, r"band.lv: must be two voltages in pu, the lower first"),
        ({"low": 114, "high": 126}, r"from 0.5 to 1.5; got \[114.0, 126.0\]"),
        ({"low": 0.9, "high": 1.1, "lv": [0.9, 1.1]}, "give low and high, or limits by level"),
        ({}, "give low and high, or limits by level"),
        ("ansi", "should be 'ansi_a_service', .* or 'en50160'"),
        ([0.9, 1.1], "must be a mapping"),
        ({"hi": 1.1}, "unknown key; did you mean 'high'"),
    ],
)
def test_bad_bands_are_refused(band, message):
    with pytest.raises(ValueError, match=message):
        dss_marl.make(NAME, band=band)


def test_terms_by_hand_on_two_levels():
    """0.96 pu is within range A of ANSI C84.1 at 480 V, and 0.015 pu below it at 4.16 kV."""
    task = task_with("ansi_a_service")
    before, after = operated("ansi_a_service")
    index = task.feeder.node_index
    v = np.ones(len(task.feeder.nodes))
    v[[index["634.1"], index["671.1"], index["675.2"], index["634.2"]]] = 0.96, 0.96, 1.06, 0.94
    count = len(task.all_zones.scored_nodes)
    seen = with_voltages(after, v)
    for term, expected in (
        (REWARDS["voltage_violation"], -(0.015 + 0.01 + 0.01) / count),
        (REWARDS["violating_share"], -3 / count),
        (REWARDS["courant_beltrami"], -(0.015**2 + 2 * 0.01**2) / count),
        (COSTS["voltage_violation_sum"], 0.035),
    ):
        for zones in (over_zones(term, task.zones, task.all_zones, before, seen),
                      [term(zone, before, seen) for zone in task.zones]):  # fmt: skip
            assert np.sum(zones) == pytest.approx(expected, rel=1e-9), term.__name__
    figures = EpisodeFigures(task)
    figures.add(before, seen, 0.0)
    found = figures.result()
    assert found["violation_node_h"] == pytest.approx(3 * task.scenario.dt_h)
    assert found["worst_pu"] == pytest.approx(0.015) and found["controllable_rate"] == 0


def test_slopes_are_those_of_the_nodes_own_limits():
    task = task_with("ansi_a_service")
    before, after = operated("ansi_a_service")
    v = np.random.default_rng(0).uniform(0.93, 1.07, len(task.feeder.nodes))
    model = task.reward_model.without(REWARDS["violating_share"])
    slopes = RewardSlopes(model, len(task.feeder.branches))(before, with_voltages(after, v)).v_pu
    for node in range(len(v)):
        ends = []
        for step in (-1e-6, 1e-6):
            moved = v.copy()
            moved[node] += step
            ends.append(model.team_reward(before, with_voltages(after, moved)))
        assert slopes[node] == pytest.approx((ends[1] - ends[0]) / 2e-6, abs=1e-4)


@pytest.mark.parametrize("band", ["ansi_a_service", "ansi_a_utilization"])
def test_both_engines_judge_by_the_level(band):
    """A day's steps, on OpenDSS and on the batched engine, whose sums are compiled: terms as from voltages by hand."""
    pytest.importorskip("numba")
    task = task_with(band)
    low_kv, high_kv = {"ansi_a_service": ((0.95, 1.05), (0.975, 1.05))}.get(band, ((0.9, 1.05), (0.9, 1.05)))
    env = ZoneEnv(task, engine=OpenDSSEngine(task.feeder, tolerance=1e-7))
    batch = BatchZoneEnv(task, 40, engine=open_batch_engine(task.feeder, 40, "batched"))
    env.reset(seed=1)
    batch.reset(1)
    rng, outside = np.random.default_rng(0), 0
    for _ in range(4):
        env.step({a: rng.uniform(-1, 1, env.action_space(a).shape) for a in env.agents})
        batch.step(rng.uniform(-1, 1, batch.action_rows.shape).astype(np.float32))
        terms = batch.terms.sum(-1)
        for copy in range(40):
            out = by_hand(task, batch.after.solution.v_pu[copy], low_kv, high_kv)
            expected = [-100 * out.mean(), -5 * (out > 0).mean(), -1000 * (out**2).mean()]
            assert terms[copy, :3] == pytest.approx(expected, abs=2e-5)
            outside += (out > 0).sum()
        out = by_hand(task, env.after.solution.v_pu, low_kv, high_kv)
        expected = -100 * out.mean() - 5 * (out > 0).mean() - 1000 * (out**2).mean()
        assert env.team_reward == pytest.approx(expected, rel=1e-9)
    assert outside > 0 or band == "ansi_a_utilization"
    env.close()
    batch.close()


def test_a_wider_band_has_another_digest_and_the_default_does_not():
    scenario = load_scenario(NAME)
    assert scenario.band == DEFAULT
    assert digest(scenario.replace(band={"low": 0.95, "high": 1.05})) == digest(scenario)
    assert len({digest(scenario.replace(band=name)) for name in STANDARDS}) == len(STANDARDS)


def test_greedy_and_linear_keep_within_the_scenarios_band():
    """A rule that programs the voltages leaves fewer nodes outside the band that it is told than another one."""
    from dss_marl.controllers import reference

    outside = {}
    for told in ("ansi_a_service", "ansi_b_utilization"):
        scenario = load_scenario(NAME).replace(band=told, steps=12, start_hour=17, profiles={"load_scale": [1.0, 1.0]})
        env = ZoneEnv(scenario, "test")
        controller = reference("linear", scenario)
        judge = voltage_band("ansi_a_service", env.task.feeder).at(env.task.all_zones.scored_nodes)
        env.reset(seed=0)
        controller.reset(env)
        count = 0
        while env.agents:
            env.step(controller.act(env, {}))
            count += int(judge.outside(env.after.solution.v_pu[env.task.all_zones.scored_nodes]).sum())
        outside[told] = count
        env.close()
    assert outside["ansi_a_service"] < outside["ansi_b_utilization"]


def test_the_card_names_the_band():
    card = markdown_card(task_with("ansi_a_service"))
    assert (
        "voltage band: 0.95 to 1.05 pu at low voltage; 0.975 to 1.05 pu at medium voltage (ANSI C84.1 range A" in card
    )
    assert "Excursion outside 0.95 to 1.05 or 0.975 to 1.05 pu, negated" in card
    card = markdown_card(build_task(load_scenario(NAME)))
    assert "voltage band: 0.95 to 1.05 pu\n" in card and "Excursion outside 0.95 to 1.05 pu, negated" in card


def test_a_droop_curve_is_tuned_for_a_band():
    scenario = load_scenario(NAME)
    assert tuning_key(scenario.replace(band={"low": 0.95, "high": 1.05})) == tuning_key(scenario)
    assert tuning_key(scenario.replace(band="ansi_a_service")) != tuning_key(scenario)
