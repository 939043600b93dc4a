"""Guarded inverters in environments: on their response, both engines alike, slopes, plans, and what is refused."""

import numpy as np
import pytest

from dss_marl import BatchZoneEnv, OpenDSSEngine, ZoneEnv, build_task, load_scenario, open_batch_engine
from dss_marl.controllers import NoControl, PlanReplay, RandomControl
from dss_marl.controllers.base import record_requests
from dss_marl.controllers.planning.plan_files import Plans, digest
from dss_marl.devices.guard import GuardSpec
from dss_marl.devices.inverter import InverterSpec
from dss_marl.envs import batch_simulator, simulator
from dss_marl.experiments.evaluation import evaluate, run_day

DAY = 172
GUARD = GuardSpec().model_dump()


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DSS_MARL_CACHE", str(tmp_path_factory.getbasetemp() / "tables"))


@pytest.fixture
def precise(monkeypatch):
    """Devices settle until they agree with their voltages, not to a thousandth of the rating."""
    for module in (simulator, batch_simulator):
        monkeypatch.setattr(module, "SETTLED", 1e-9)


def guarded(name="case33_volt_var", inverter=None, **changes):
    """A task whose inverters have a guard and are changed otherwise."""
    scenario = load_scenario(name)
    own = {"guard": GUARD, **(inverter or {})}
    devices = [{**spec, **own} if spec["kind"] == "inverter" else spec for spec in scenario.devices]
    return build_task(scenario.replace(devices=devices, **changes))


def called_for(group, state, kw, kvar_asked):
    """(D) kvar by the formula: what is asked for and the slope beyond the edges, within capability."""
    v = group.places.voltages(state.solution.v_alive)
    guard = group.guard
    beyond = np.maximum(v - guard.high_pu, 0) - np.maximum(guard.low_pu - v, 0)
    kvar = kvar_asked - guard.slope * beyond * group.kva
    return np.clip(kvar, -group.reach(-1.0 * np.ones_like(kw), kw), group.reach(np.ones_like(kw), kw))


@pytest.mark.parametrize(
    ("name", "inverter"),
    [
        ("case33_volt_var", {}),
        ("case33_volt_var", {"category": "A", "curtail": True, "losses": "none"}),
        ("case33_volt_var", {"category": "none", "action_scale": 0.5}),
        ("case33_volt_var", {"volt_watt": {"v1_pu": 1.03, "v2_pu": 1.06}, "curtail": True}),
        ("ieee13_volt_var", {}),
        ("eulv_volt_var", {}),
    ],
    ids=["category B", "A, curtailed", "none, scaled", "volt-watt", "one-phase units", "many one-phase units"],
)
def test_the_reactive_power_is_that_of_the_response_at_the_resulting_voltage(name, inverter):
    task = guarded(name, inverter)
    env, rng = ZoneEnv(task), np.random.default_rng(0)
    env.reset(seed=0, options={"day": DAY})
    group, worked = task.device_groups[0], 0
    while env.agents:
        request = rng.uniform(-1, 1, task.agents.action_layout.size)
        entry = env.task.encoding.decode(env.task.encoding.encode(request)).joint_action
        entry = entry[task.agents.action_layout.parts[0]].reshape(group.size, -1)[:, 0]
        env.step(env.task.encoding.encode(request))
        points = env.after.setpoints
        kw = points.kw[group.injections] + points.lost_kw[group.injections]
        asked = entry * group.action_scale * group.reach(entry, kw)
        wanted = called_for(group, env.after, kw, asked)
        off = np.abs(points.kvar[group.injections] - wanted) / group.kva
        assert off.max() < 2 * simulator.SETTLED, env.after.step
        worked += int((np.abs(wanted - asked) > 0.05 * group.kva).any())
    assert worked > 5
    env.close()


def test_inverters_without_a_guard_keep_their_share_beside_guarded_ones():
    scenario = load_scenario("case33_volt_var")
    devices = [{**spec, "guard": str(spec["bus"]) in ("18", "33")} for spec in scenario.devices]
    env = ZoneEnv(scenario.replace(devices=devices))
    env.reset(seed=0, options={"day": DAY})
    group, moved = env.task.device_groups[0], np.zeros(6)
    while env.agents:
        env.step(env.task.encoding.encode(np.zeros(6)))
        moved = np.maximum(moved, np.abs(env.after.setpoints.kvar[group.injections]))
    has = np.array([bus in ("18", "33") for bus in group.buses])
    assert (moved[has] > 5).all() and not moved[~has].any()
    env.close()


def test_a_guard_earns_more_on_each_of_some_days():
    days = build_task(load_scenario("case33_volt_var")).profiles.days("validation")[::20]
    plain, kept = (
        np.array([day["team_return"] for day in evaluate(NoControl(), scenario, days, "validation")])
        for scenario in (load_scenario("case33_volt_var"), guarded().scenario)
    )
    assert (kept >= plain).all() and kept.mean() > plain.mean() / 2 and plain.mean() < -10


@pytest.mark.parametrize(
    ("band", "low", "high"),
    [
        ({"low": 0.94, "high": 1.06}, 0.9455, 1.0545),
        ("ansi_b_service", 0.9555, 1.0528),
        ({"mv": [0.97, 1.03]}, 0.9755, 1.0245),
    ],
)
def test_the_edges_are_inside_the_band_of_the_task(band, low, high):
    guard = guarded(band=band).device_groups[0].guard
    assert guard.low_pu == pytest.approx(low, abs=1e-4) and guard.high_pu == pytest.approx(high, abs=1e-4)


def test_the_edges_follow_the_level_of_each_inverter():
    bands = {"lv": [0.9, 1.1], "mv": [0.95, 1.05]}
    group = guarded("ieee13_volt_var", band=bands).device_groups[0]
    low = dict(zip(group.buses, group.guard.low_pu, strict=True))
    assert low["634"] == pytest.approx(0.9055) and low["680"] == pytest.approx(0.9555)


def test_what_does_not_go_with_a_guard_is_refused():
    for rest, said in (
        ({"mode": "volt_var"}, "guard is for mode share"),
        ({"priority": "var"}, "needs priority watt"),
        ({"guard": {"slope": -1}}, "greater than 0"),
    ):
        with pytest.raises(ValueError, match=said):
            InverterSpec(**{"kind": "inverter", "bus": "1", "kw": 10, "guard": True, **rest})
    with pytest.raises(ValueError, match="lower margin_pu"):
        guarded(band={"low": 0.995, "high": 1.005})


def test_a_trial_step_is_the_step_and_a_held_state_says_nothing_of_responses():
    task = guarded("ieee13_volt_var")
    env, rng = ZoneEnv(task), np.random.default_rng(0)
    env.reset(seed=0, options={"day": DAY})
    for _ in range(50):
        actions = env.task.encoding.encode(rng.uniform(-1, 1, task.agents.action_layout.size))
        tried = env.what_if(actions)
        env.step(actions)
        np.testing.assert_allclose(tried.setpoints.kvar, env.after.setpoints.kvar, atol=1e-4)
        own = env.simulator.fleet.states(env.after.device_state)[0]
        assert not own[..., 2].any()  # of responses
    env.close()


def test_the_controls_of_the_circuit_settle_beside_a_guard():
    task = build_task(guarded("ieee34_volt_var").scenario.under_circuit_controls())
    env = ZoneEnv(task)
    assert np.isfinite(run_day(env, NoControl(), DAY)["team_return"])
    env.close()


def test_a_replayed_plan_earns_what_was_earned():
    task = guarded()
    requests = record_requests(task, DAY, RandomControl())
    env, plans = ZoneEnv(task, "test"), Plans(digest(task.scenario))
    plans.add(task, DAY, requests, 0.0)
    earned = [run_day(env, controller, DAY)["team_return"] for controller in (RandomControl(), PlanReplay(plans))]
    assert earned[0] == pytest.approx(earned[1], rel=1e-4)
    env.close()


@pytest.mark.parametrize("name", ["case33_volt_var", "ieee13_volt_var"])
def test_both_engines_give_the_same_trajectories(name):
    """Within the tolerance to which devices settle; the copies on OpenDSS exactly as each alone."""
    task, copies = guarded(name), 3
    batched, exact = BatchZoneEnv(task, copies, engine="batched"), BatchZoneEnv(task, copies)
    assert batched.simulator.precision == np.float32
    rng, group = np.random.default_rng(0), task.device_groups[0]
    alone = ZoneEnv(task)
    alone.reset(seed=1, options={"day": DAY})
    for batch in (batched, exact):
        batch.reset([1, 2, 3], [{"day": DAY}, {"day": 41}, {"day": 240}])
    for _ in range(60):
        rows = rng.uniform(-1, 1, exact.action_rows.shape).astype(np.float32)
        for batch in (batched, exact):
            batch.step(rows)
        alone.step(dict(zip(alone.agents, rows[0], strict=True)))
        one, two = (batch.after.setpoints.kvar[:, group.injections] / group.kva for batch in (batched, exact))
        assert np.abs(one - two).max() < 3 * simulator.SETTLED
        np.testing.assert_allclose(two[0], alone.after.setpoints.kvar[group.injections] / group.kva, atol=1e-9)
    for env in (batched, exact, alone):
        env.close()


# --- slopes ----------------------------------------------------------------------------------------------------------


def differences(env, actions, agent, entry, step):
    """The team's reward by one agent's entry, on both sides."""
    model, sides = env.task.reward_model, []
    for change in (-step, 0.0, step):
        moved = {name: row.astype(float) for name, row in actions.items()}
        moved[agent][entry] += change
        sides.append(model.team_reward(env.now, env.what_if(moved)))
    return (sides[1] - sides[0]) / step, (sides[2] - sides[1]) / step


SMOOTH = {"voltage_violation": 100, "loss": 2, "converter_loss": 2}


@pytest.mark.parametrize(
    ("name", "inverter", "steps_before"),
    [
        ("case33_volt_var", {}, 3),
        ("case33_volt_var", {}, 46),
        ("case33_volt_var", {"curtail": True, "category": "A"}, 46),
        ("case33_volt_var", {"volt_watt": {"v1_pu": 1.01, "v2_pu": 1.05}}, 46),
        ("case33_volt_var", {"guard": False, "mode": "volt_var"}, 46),
        ("ieee13_volt_var", {}, 46),
    ],
    ids=["inside the edges", "beyond", "beyond, curtailed", "with volt-watt", "volt-var curves", "one-phase units"],
)
def test_the_slope_is_that_of_differences_of_settled_steps(name, inverter, steps_before, precise):
    task = guarded(name, inverter, rewards=SMOOTH)
    env = ZoneEnv(task, engine=OpenDSSEngine(task.feeder, tolerance=1e-10))
    env.reset(seed=1, options={"day": DAY})
    layout, rng = task.agents.action_layout, np.random.default_rng(3)
    rows = layout.rows(rng.uniform(-0.3, 0.3, layout.size))
    actions = dict(zip(env.agents, rows, strict=True))
    for _ in range(steps_before):
        env.step(actions)
    slope = env.gradient(actions).by_agent
    open_loop = steps_before == 3
    scale, checked = np.nanmax(np.abs(slope)), 0
    for a, agent in enumerate(env.agents):
        for w in np.flatnonzero(np.isfinite(slope[a]) & layout.used[a]):
            below, above = differences(env, actions, agent, w, 1e-3)
            if abs(above - below) > 0.05 * scale:
                continue  # a kink of the reward or of a response
            assert (below + above) / 2 == pytest.approx(slope[a, w], abs=(2e-4 if open_loop else 5e-3) * scale)
            checked += 1
    assert checked >= 4
    env.close()


def test_each_copy_has_the_slope_that_it_has_alone(precise):
    task, copies = guarded(start_hour=11, steps=8), 3
    engine = open_batch_engine(task.feeder, copies, "batched", tolerance=1e-8, backend="numpy", validate=False)
    many = BatchZoneEnv(task, copies, engine=engine)
    days = (DAY, 41, 240)
    many.reset([1, 2, 3], [{"day": day} for day in days])
    rows = np.random.default_rng(0).uniform(-0.5, 0.5, many.action_rows.shape).astype(np.float32)
    many.step(rows)
    found = many.gradient(rows)
    for b, day in enumerate(days):
        env = ZoneEnv(task, engine=OpenDSSEngine(task.feeder, tolerance=1e-9))
        env.reset(seed=b + 1, options={"day": day})
        actions = dict(zip(env.agents, rows[b], strict=True))
        env.step(actions)
        alone = env.gradient(actions).by_entry
        np.testing.assert_allclose(found.by_entry[b], alone, atol=1e-3 * np.abs(alone).max())
        env.close()
    many.close()
