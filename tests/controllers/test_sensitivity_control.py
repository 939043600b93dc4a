"""Linear: against the droop, against planned days, and its slopes against the engine."""

import numpy as np
import pytest
from common import task_of

from dss_marl import OpenDSSEngine, ZoneEnv, load_scenario
from dss_marl.controllers import load_plans, reference
from dss_marl.controllers.search.sensitivity_control import SensitivityControl, _Slopes
from dss_marl.experiments.evaluation import environment_for, run_day

NAME = "ieee34_volt_var"


def test_it_is_below_a_planned_day_and_well_above_the_droop():
    """It sees one interval and holds the banks; the plan sees the day, and moves them."""
    scenario = load_scenario(NAME)
    plans = load_plans(scenario)
    day = min(plans.returns)
    earned = {}
    for name in ("tuned_droop", "linear"):
        controller = reference(name, scenario)
        env = environment_for(controller, scenario, "test")
        earned[name] = run_day(env, controller, day)["team_return"]
        env.close()
    best = plans.returns[day]
    assert earned["tuned_droop"] < earned["linear"] < best + 0.01
    assert earned["linear"] - earned["tuned_droop"] > 0.4 * (best - earned["tuned_droop"])


def test_its_slopes_are_those_of_the_engine():
    """Voltages and losses under other kvar, all inverters at once: within a tenth of the change."""
    task = task_of(NAME)
    slopes = _Slopes.measure(task)
    engine = OpenDSSEngine(task.feeder, tolerance=1e-7)
    base = task.start.copy()
    base.kw[slopes.inverters.injections] = slopes.inverters.kva / 2.4
    kvar = 0.2 * slopes.inverters.kva * np.array([1, -1, 1, 1, -1, 1])
    other = base.copy()
    other.kvar[slopes.inverters.injections] += kvar
    before, after = engine.solve(base), engine.solve(other)
    scored = np.concatenate([zone.scored_nodes for zone in task.zones])
    change = (after.v_alive - before.v_alive)[scored]
    assert slopes.volts[:, : len(kvar)] @ kvar == pytest.approx(change, abs=0.1 * np.abs(change).max())
    bend = slopes.by_kw[slopes.inverters.injections]
    gradient = 2 * slopes.by_kw.T @ base.kvar + slopes.offset
    expected = gradient @ kvar + kvar @ (bend + bend.T) @ kvar / 2
    assert expected == pytest.approx(after.loss_kw - before.loss_kw, rel=0.15)
    engine.close()


def test_taps_go_step_by_step_where_no_programme_helps(monkeypatch):
    """Started eight steps too high, taps come down though no program says so, as far as they may in one interval."""
    monkeypatch.setattr("dss_marl.controllers.search.sensitivity_control.solve_miqp", lambda *rows: None)
    monkeypatch.setattr("dss_marl.controllers.search.sensitivity_control.solve_qp", lambda *rows: None)
    scenario = load_scenario(NAME)
    taps = {name: tap + 8 for name, tap in scenario.feeder.taps.items()}
    env = ZoneEnv(scenario.replace(feeder={"taps": taps}, steps=1), "test")
    env.reset(seed=1)
    controller, before = SensitivityControl(), env.now.setpoints.tap.copy()
    controller.reset(env)
    env.step(controller.act(env, {}))
    moved = env.after.setpoints.tap - before
    assert moved.min() < 0 and np.abs(moved).max() <= 2
    held = env.simulator.operate(env.before, env.task.default_action)[0]
    assert env.after.solution.excursion(env.task.band).sum() < held.solution.excursion(env.task.band).sum()
    env.close()


def test_it_refuses_what_it_cannot_move():
    with pytest.raises(ValueError, match="at least one program"):
        SensitivityControl(rounds=0)
    scenario = load_scenario("ieee13_volt_var")
    others = [spec for spec in scenario.devices if spec["kind"] != "inverter"]
    env = ZoneEnv(scenario.replace(devices=others, zones={"method": "balanced", "count": 1}, agents="device"))
    env.reset(seed=1)
    with pytest.raises(ValueError, match="linear needs inverters"):
        SensitivityControl().reset(env)
    env.close()
