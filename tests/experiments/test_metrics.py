"""Key figures: against sums made another way over a whole episode, and by hand."""

import numpy as np
import pytest
from common import load_cached, task_of
from states import with_voltages

from dss_marl import ZoneEnv, record
from dss_marl.envs.task import build_task
from dss_marl.experiments import compare
from dss_marl.experiments.metrics import FIGURES, EpisodeFigures, TermSums, normalised_score
from dss_marl.grid.load_priorities import CLASSES
from dss_marl.mdp.return_statistics import mean_interval
from dss_marl.mdp.rewards import unserved_kwh


def test_figures_are_the_sums_over_the_day(scenario):
    task = task_of(scenario)
    env, figures = ZoneEnv(task), EpisodeFigures(task)
    env.reset(seed=1, options={"day": 20})
    rng = np.random.default_rng(1)
    taps, states = [env.now.setpoints.tap], [env.now.setpoints.closed]
    v, losses, rewards, lost, dark, drawn = [], [], [], [], [], []
    loadings, bills, terms, dt_h = [], [], TermSums(task), task.scenario.dt_h
    units = [j for j, row in enumerate(task.feeder.injections) if row.kind == "inverter"]
    first = round(task.scenario.start_hour / task.scenario.dt_h)
    sun = task.profiles.day(20).kw[first:, units]
    action_layout = task.agents.action_layout
    while env.agents:  # half of the day still, so that some steps are in band
        flat = (
            rng.uniform(-1, 1, action_layout.size) if env.now.step > task.scenario.steps // 2 else task.default_action
        )
        env.step(task.encoding.encode(flat))
        figures.add(env.before, env.after, env.team_reward)
        terms.add(env.before, env.after)
        loadings.append(env.after.solution.loading.max())
        bills.append(env.after.solution.source_kw * env.after.price[0] * dt_h)
        v.append(env.after.solution.v_alive)
        dark.append(sum(np.sum(unserved_kwh(zone, env.before, env.after)) for zone in task.zones))
        losses.append(env.after.solution.loss_kw)
        taps.append(env.after.setpoints.tap)
        states.append(env.after.setpoints.closed)
        rewards.append(env.team_reward)
        points = env.after.setpoints
        lost.append(sun[env.after.step] - points.kw[units] - points.lost_kw[units])
        drawn.append(points.lost_kw[(env.after.solution.served_kw != 0) | (points.kw == 0)].sum())
    scored = [
        n.rsplit(".", 1)[0] not in (task.feeder.source_bus, *task.scenario.excluded_buses) for n in task.feeder.nodes
    ]
    seen = np.array(v)[:, scored]
    outside = (seen > 1.05) | (seen < 0.95)
    found = figures.result()
    assert list(found) == list(FIGURES)
    assert found["team_return"] == pytest.approx(sum(rewards))
    assert found["controllable_rate"] == pytest.approx(1 - outside.any(axis=1).mean())
    dark_or_regulated = task.scenario.faults or scenario == "ieee123_state_estimation"
    if scenario == "powergym_34":  # its taps start at their upper ends, above the band
        assert found["controllable_rate"] == 0
    else:
        assert 0 < found["controllable_rate"] < 1 or dark_or_regulated  # dark rather than low
    assert found["violation_node_h"] == pytest.approx(outside.sum() * task.scenario.dt_h)
    assert found["worst_pu"] == pytest.approx(max((seen - 1.05).max(), (0.95 - seen).max(), 0))
    assert found["loss_kwh"] == pytest.approx(sum(losses) * task.scenario.dt_h)
    assert found["tap_moves"] == np.abs(np.diff(taps, axis=0)).sum()
    moved = np.array(states[1:]) != np.array(states[:-1])
    kinds = np.array([row.kind for row in task.feeder.switches])
    assert found["capacitor_moves"] == moved[:, kinds == "capacitor"].sum()
    assert found["switch_moves"] == moved[:, kinds == "switch"].sum()
    if task.priorities is None:
        assert found["unserved_kwh"] == pytest.approx(sum(dark))
    else:  # plain, where the cost is weighted
        assert found["unserved_kwh"] == pytest.approx(sum(found[f"unserved_{name}_kwh"] for name in CLASSES))
        assert 0 < found["unserved_kwh"] < sum(dark)
    assert found["converter_kwh"] == pytest.approx(np.sum(drawn) * dt_h, abs=1e-9)
    assert found["curtailed_kwh"] == pytest.approx(np.sum(lost) * dt_h, abs=1e-9)
    assert found["failed"] == 0
    assert found["thermal_overload_h"] == pytest.approx(sum(loading > 1 for loading in loadings) * dt_h)
    assert found["energy_cost"] == pytest.approx(sum(bills))
    whole = sum(value for name, value in terms.sums.items() if name.startswith("reward/"))
    assert whole == pytest.approx(sum(rewards)) and list(terms.sums)[-1].startswith("cost/")
    env.close()


def import_above_500_kw(zone, before, after):
    """Cost: energy through the substation above 500 kW, split over zones [kWh], >= 0."""
    return np.maximum(after.solution.source_kw - 500, 0) * after.dt_h / zone.count


def test_a_cost_of_your_own_is_a_figure_of_the_day():
    own = f"{__name__}:import_above_500_kw"
    scenario = load_cached("ieee13_volt_var").scenario.replace(costs=["operations", own])
    table = compare(scenario, ["no_control", "opendss_controls"], most_days=1)
    assert list(table.figures["no_control"][0]) == [*FIGURES, "cost/import_above_500_kw"]
    env = ZoneEnv(scenario, "test")
    recording = record(env, "no_control", days=env.days[0])
    source_kw, dt_h = recording["system"]["source_kw"], scenario.dt_h
    expected = np.maximum(source_kw - 500, 0).sum() * dt_h
    assert expected > 0 and table.column("no_control", "cost/import_above_500_kw") == pytest.approx([expected])
    assert recording.figures[0]["cost/import_above_500_kw"] == pytest.approx(expected)
    assert "cost import_above_500_kw" in table.rows()[0]
    env.close()


def test_a_dead_node_does_not_violate_and_the_source_does_not_count(scenario):
    task = task_of(scenario)
    env = ZoneEnv(task)
    env.reset(seed=1)
    env.step(task.encoding.encode(task.default_action))
    at_source = np.array([n.rsplit(".", 1)[0] == task.feeder.source_bus for n in task.feeder.nodes])
    v, alive = np.where(at_source, 1.3, 1.0), np.ones(len(at_source), bool)
    node = task.zones[0].scored_nodes[0]
    v[node], alive[node] = 0.0, False
    figures = EpisodeFigures(task)
    figures.add(env.before, with_voltages(env.after, v, alive), 0.0)
    assert figures.result()["violation_node_h"] == 0
    assert figures.result()["worst_pu"] == 0
    figures.add(env.before, with_voltages(env.after, v), 0.0)
    assert figures.result()["violation_node_h"] == pytest.approx(task.scenario.dt_h)
    assert figures.result()["worst_pu"] == pytest.approx(0.95)
    env.close()


def test_a_failure_does_not_hide_the_steps_that_were_not_played(scenario):
    """Three good steps and a failure are three of ninety-six."""
    task = task_of(scenario)
    env = ZoneEnv(task)
    env.reset(seed=1)
    env.step(task.encoding.encode(task.default_action))
    good = with_voltages(env.after, np.ones(len(task.feeder.nodes)))
    figures = EpisodeFigures(task)
    for _ in range(3):
        figures.add(env.before, good, -1.0)
    figures.fail(-100.0)
    found = figures.result()
    assert (found["failed"], found["team_return"]) == (1.0, -103.0)
    assert found["controllable_rate"] == pytest.approx(3 / task.scenario.steps)
    env.close()


def test_intervals_cover_the_mean_as_often_as_they_say():
    """Of 300 samples of 41 days, about 95 in a hundred; and the same numbers give the same interval."""
    rng = np.random.default_rng(3)
    samples = rng.gamma(2.0, 1.0, (300, 41))
    inside = 0
    for days in samples:
        mean, low, high = mean_interval(days, draws=400)
        assert low < mean < high
        assert mean == pytest.approx(days.mean())
        inside += low <= 2.0 <= high
    assert 0.88 < inside / len(samples) < 0.98
    assert mean_interval(samples[0]) == mean_interval(samples[0])
    assert mean_interval([3.0] * 10) == (3.0, 3.0, 3.0)
    wide, narrow = mean_interval(samples[0], level=0.99), mean_interval(samples[0], level=0.5)
    assert wide[2] - wide[1] > 1.5 * (narrow[2] - narrow[1])


def test_the_score_is_linear_from_zero_to_one_and_not_clipped():
    zero, one = np.array([-6.0, -5.0, -10.0]), np.array([-3.0, -2.0, -3.0])
    assert normalised_score(zero, zero, one) == (0.0, 0.0, 0.0)
    assert normalised_score(one, zero, one) == (1.0, 1.0, 1.0)
    half, low, high = normalised_score((zero + one) / 2, zero, one)
    assert np.allclose([half, low, high], 0.5)
    assert normalised_score(one + 1.3, zero, one)[0] == pytest.approx(1.3)
    assert normalised_score(zero - 13, zero, one)[0] == pytest.approx(-3)
    score, low, high = normalised_score([-3.0, -4.0, -9.0], zero, one)
    assert low < score < high


def test_a_score_needs_two_different_ends():
    with pytest.raises(ValueError, match="must earn more than its 0"):
        normalised_score([1.0, 2.0], [3.0, 3.0], [3.0, 3.0])


@pytest.mark.parametrize(
    ("spec", "figure"),
    [
        ({"kind": "flexible_load", "names": ["671"], "priority": 4}, "flexible_unmet_kwh"),
        ({"kind": "ev_charger", "bus": "645", "phases": [2], "kw": 40, "priority": 4}, "ev_unmet_kwh"),
    ],
)
def test_unmet_energy_is_counted_without_its_priority(spec, figure):
    devices = [spec] if "names" in spec else [{**spec, "name": f"car{k}"} for k in range(5)]  # not every car comes
    task = build_task(
        load_cached("ieee13_volt_var").scenario.replace(devices=devices, zones={"method": "balanced", "count": 1})
    )
    env, figures = ZoneEnv(task), EpisodeFigures(task)
    env.reset(seed=0, options={"day": 20})
    asked = np.full(len(devices), 1.0 if "flexible" in figure else -1.0)  # shed all; do not charge
    owed = 0.0
    while env.agents:
        env.step(task.encoding.encode(asked))
        figures.add(env.before, env.after, 0.0)
        owed += env.after.unmet_kwh.sum()
    assert figures.result()[figure] == pytest.approx(owed / 4) and owed > 0
    env.close()


@pytest.mark.parametrize("entry", [0.0, 1.0])
def test_what_is_shed_in_part_is_counted_once_and_by_class(entry):
    """Half or all of every load of the islanded feeder: so much of each class's energy goes without."""
    task = load_cached("ieee13_microgrid")
    env, figures = ZoneEnv(task), EpisodeFigures(task)
    env.reset(seed=0, options={"day": 20})
    flat, wanted = task.default_action.copy(), np.zeros(len(CLASSES))
    action_layout = task.agents.action_layout
    flat[
        action_layout.parts[next(k for k, g in enumerate(task.device_groups) if type(g).__name__ == "FlexibleLoads")]
    ] = entry
    for _ in range(3):
        env.step(task.encoding.encode(flat))
        figures.add(env.before, env.after, 0.0)
        assert env.after.solution.energised.all()
        kwh = -env.after.forecast[0, task.feeder.loads] * 0.25
        wanted += np.bincount(task.priorities.of[task.feeder.loads], kwh, len(CLASSES))
    told = figures.result()
    share = (entry + 1) / 2
    assert [told[f"unserved_{name}_kwh"] for name in CLASSES] == pytest.approx(share * wanted)
    assert told["unserved_kwh"] == pytest.approx(share * wanted.sum())
    env.close()


def test_cars_a_flexible_load_and_a_fault_without_priorities_are_each_counted_by_themselves():
    """No car charges, the load is shed twice, the tie closes in the fourth of 22 steps; figures by hand."""
    devices = [
        {"kind": "switch", "names": ["sw2", "sw7"]},
        {"kind": "flexible_load", "names": ["s1a"], "priority": 3},
        {"kind": "ev_charger", "bus": 48, "kw": 40, "priority": 2, "name": "counts"},
        {"kind": "ev_charger", "bus": 7, "kw": 40, "priority": 0, "name": "does not"},
    ]
    changes = {"devices": devices, "priorities": None, "cold_load": None, "zones": {"method": "balanced", "count": 1}}
    scenario = load_cached("ieee123_restoration").scenario.replace(
        **changes, faults=["l52"], actions="box", start_hour=5, steps=22
    )
    task = build_task(scenario)
    env, figures, flat = ZoneEnv(task), EpisodeFigures(task), task.default_action.copy()
    env.reset(seed=0, options={"day": 20})
    tie, load, cars = (entries[..., 0] for entries in task.agents.action_layout.by_group(flat))  # views
    due = env.simulator.fleet.states(env.now.device_state)[2][:, 3].copy()  # of cars that are there
    cars[:], wanted, lit, shed = -1.0, [], [], 0.0
    s1a = [row.name for row in task.feeder.injections].index("load.s1a")
    nodes = [list(task.feeder.injections[j].nodes) for j in task.feeder.loads]
    while env.agents:
        step = env.now.step
        tie[1], load[:] = float(step >= 3), 1.0 if step in (4, 5) else -1.0
        env.step(task.encoding.encode(flat))
        figures.add(env.before, env.after, 0.0)
        wanted.append(-env.after.forecast[0, task.feeder.loads] * scenario.dt_h)
        lit.append([env.after.solution.energised[of].all() for of in nodes])
        shed += -env.after.forecast[0, s1a] * scenario.dt_h * (step in (4, 5))
    found, wanted, lit = figures.result(), np.array(wanted), np.array(lit)
    assert (due > 1).all() and shed > 5
    assert found["ev_unmet_kwh"] == pytest.approx(due[0])
    assert found["flexible_unmet_kwh"] == pytest.approx(shed)
    lost = ~lit[0] & lit[-1]  # what the tie brings back; the broken section stays dark and does not count
    assert lost.sum() > 20 and (~lit[-1]).any() and not lit[:3, lost].any() and lit[3:, lost].all()
    share = wanted[3:, lost].sum() / wanted[:, lost].sum()
    assert found["restored_share"] == pytest.approx(share) and 0.5 < share < 0.95
    assert found["unserved_critical_kwh"] == found["unserved_normal_kwh"] == 0
    env.close()
