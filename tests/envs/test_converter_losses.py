"""Converter losses and volt-watt in environments: both engines alike, gradients, and the energy balance of a day."""

import numpy as np
import pytest

from dss_marl import BatchZoneEnv, OpenDSSEngine, ZoneEnv, build_task, load_scenario, open_batch_engine
from dss_marl.experiments.metrics import EpisodeFigures

LOSSES = {"standby": 0.01, "proportional": 0.02, "quadratic": 0.03}
DAY = 172


@pytest.fixture(autouse=True)
def own_store(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DSS_MARL_CACHE", str(tmp_path_factory.getbasetemp() / "tables"))


def task_with(name="ieee34_volt_var", feeder=None, **inverter):
    """The scenario with its inverters changed, and converter losses rewarded and paid for."""
    scenario = load_scenario(name)
    devices = [{**spec, **inverter} if spec["kind"] == "inverter" else spec for spec in scenario.devices]
    rewards = {**scenario.rewards, "converter_loss": 1.0, "excess_cost": 0.01, "curtailment": 0.5}
    return build_task(scenario.replace(devices=devices, rewards=rewards, feeder=feeder or {}))


@pytest.mark.parametrize(
    "inverter",
    [
        {"losses": LOSSES},
        {"losses": LOSSES, "curtail": True, "priority": "var", "category": "A"},
        {"losses": LOSSES, "volt_watt": {"v1_pu": 1.0, "v2_pu": 1.03, "p2": 0.0}},
        {"losses": LOSSES, "mode": "volt_var", "volt_watt": {"v1_pu": 1.0, "v2_pu": 1.03, "p2": 0.0}},
    ],
    ids=["losses", "var priority", "volt-watt", "volt-var and volt-watt"],
)
def test_both_engines_give_the_same_trajectories(inverter):
    """Rewards, converter losses and PV power of random actions until morning, in single precision if batched."""
    task, copies = task_with(**inverter), 3
    batched, exact = BatchZoneEnv(task, copies, engine="batched"), BatchZoneEnv(task, copies)
    assert batched.simulator.precision == np.float32
    for batch in (batched, exact):
        batch.reset(5)
    rng, lost, cut = np.random.default_rng(0), [], []
    for _ in range(32):
        rows = rng.uniform(-1, 1, exact.action_rows.shape).astype(np.float32)
        ours, theirs = batched.step(rows), exact.step(rows)
        one, two = batched.after.setpoints, exact.after.setpoints
        # Devices settle to 0.5 % of their rating on either engine.
        limit = 5.0 if exact.simulator.fleet.voltage_dependent else 1e-2
        assert np.abs(one.kw - two.kw).max() < limit
        assert np.abs(one.converter_kw - two.converter_kw).max() < limit / 10
        scale = max(1.0, np.abs(theirs.rewards).max())
        if not exact.simulator.fleet.voltage_dependent:
            assert np.abs(ours.rewards - theirs.rewards).max() < 2e-3 * scale
        lost.append(two.converter_kw.max())
        units = np.concatenate([zone.pv_units for zone in task.zones])
        left = exact.after.available[:, units] - (two.kw + two.converter_kw)[:, units]
        cut.append(left.max())
        assert left.min() > -1e-9
    assert max(lost) > 5
    assert (max(cut) > 5) == (len(inverter) > 1)
    batched.close()
    exact.close()


@pytest.mark.parametrize("start", [0, 11])
@pytest.mark.parametrize("curtail", [False, True])
def test_the_gradient_is_that_of_differences(start, curtail):
    """At night, where the converters run for reactive power alone, and at noon; on OpenDSS."""
    task = build_task(task_with(losses=LOSSES, curtail=curtail).scenario.replace(start_hour=start, steps=4))
    env = ZoneEnv(task, engine=OpenDSSEngine(task.feeder, tolerance=1e-9))
    env.reset(seed=1, options={"day": DAY})
    layout, rng = task.agents.action_layout, np.random.default_rng(3)
    rows = dict(zip(env.agents, layout.rows(rng.uniform(-0.7, 0.7, layout.size)), strict=True))
    slope = env.gradient(rows)
    scale, checked = np.nanmax(np.abs(slope.by_agent)), 0
    model = task.reward_model
    for a, agent in enumerate(env.agents):
        for w in np.flatnonzero(np.isfinite(slope.by_agent[a]) & layout.used[a]):
            sides = []
            for change in (-1e-3, 0.0, 1e-3):
                moved = {name: row.copy() for name, row in rows.items()}
                moved[agent][w] += change
                sides.append(model.team_reward(env.now, env.what_if(moved)))
            if abs(sides[0] + sides[2] - 2 * sides[1]) > 1e-3 * 0.05 * scale:
                continue  # a kink or a step of the voltage terms
            assert (sides[2] - sides[0]) / 2e-3 == pytest.approx(slope.by_agent[a, w], abs=2e-4 * scale)
            checked += 1
    assert checked >= 4
    env.close()


def test_the_gradient_of_a_batch_in_single_precision_is_that_in_double_precision():
    task, found = task_with(losses=LOSSES), []
    for precise in (False, True):
        options = {"tolerance": 1e-8, "backend": "numpy", "validate": False} if precise else {"validate": False}
        env = BatchZoneEnv(task, 2, engine=open_batch_engine(task.feeder, 2, "batched", **options))
        env.reset(seed=[0, 1])
        assert (env.simulator.precision == np.float64) == precise
        rows = np.random.default_rng(0).uniform(-0.7, 0.7, env.action_rows.shape).astype(np.float32)
        for _ in range(3):
            env.step(rows)
        found.append(env.gradient(rows).by_entry)
        env.close()
    scale = np.nanmax(np.abs(found[1]))
    np.testing.assert_allclose(found[0], found[1], atol=2e-3 * scale)


def test_a_day_without_actions_is_the_same_with_and_without_losses():
    returns = []
    for losses in (LOSSES, "none"):
        env = ZoneEnv(task_with(losses=losses))
        env.reset(seed=0, options={"day": DAY})
        total = 0.0
        while env.agents:
            hold = env.task.encoding.encode(env.simulator.hold_action(env.now))
            total += sum(env.step(hold)[1].values())
        returns.append(total)
        env.close()
    assert returns[0] == returns[1]


def test_losses_of_a_day_are_reported_and_are_no_curtailment():
    """All kvar of the capability all day: at night every inverter draws 1 % + 0.88 % + 0.5808 % of its rating."""
    task = task_with(losses=LOSSES)
    env, figures = ZoneEnv(task), EpisodeFigures(task)
    env.reset(seed=0, options={"day": DAY})
    kva, drawn = task.device_groups[0].kva.sum(), 0.0
    ones = {agent: np.zeros(env.action_space(agent).shape, np.float32) for agent in env.agents}
    for a, agent in enumerate(env.agents):
        shares = ["share" in label for label in task.agents.action_layout.labels[a]]
        ones[agent][np.array(shares)[: ones[agent].size]] = 1
    for _ in range(12):
        env.step(ones)
        figures.add(env.before, env.after, 0.0)
        assert env.after.setpoints.kw[task.device_groups[0].injections].sum() == pytest.approx(-0.024608 * kva)
        assert env.after.solution.served_kw[task.device_groups[0].injections].sum() == pytest.approx(-0.024608 * kva)
        drawn += 0.024608 * kva * task.scenario.dt_h
    result = figures.result()
    assert result["converter_kwh"] == pytest.approx(drawn)
    assert result["curtailed_kwh"] == 0
    env.close()
