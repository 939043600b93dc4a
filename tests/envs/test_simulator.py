"""Simulator: a day's load and PV in the right rows, forecasts, faults, slow devices and those that settle."""

import dataclasses

import numpy as np
import pytest
from common import load_cached

from dss_marl import OpenDSSEngine, ZoneEnv, load_scenario
from dss_marl.envs.task import build_task
from dss_marl.grid.topology import Topology
from dss_marl.profiles import Outage

NAME = "ieee34_volt_var"


def still(env):
    return env.task.encoding.encode(env.task.default_action)


def played(env, steps, day=100):
    """States as seen before each step, devices left alone."""
    env.reset(seed=0, options={"day": day})
    seen = [env.now]
    while env.agents and len(seen) < steps:
        env.step(still(env))
        seen.append(env.now)
    return seen


# --- the day ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("start_hour", "horizon"), [(0.0, 1), (0.0, 8), (14.0, 1), (14.0, 8), (22.0, 4), (23.75, 1)])
def test_an_episode_runs_through_the_day_and_into_the_next(start_hour, horizon):
    env = ZoneEnv(load_cached(NAME, start_hour=start_hour, horizon=horizon))
    today, tomorrow = (env.task.profiles.day(day) for day in (100, 101))
    loads, first = env.task.feeder.loads, round(start_hour * 4)
    rows = np.concatenate([today.kw[:96], tomorrow.kw[:96]])
    price = np.concatenate([today.price[:96], tomorrow.price[:96]])
    for step, state in enumerate(played(env, 96)):
        assert state.hour == pytest.approx((start_hour + step / 4) % 24)
        assert np.array_equal(state.setpoints.kw[loads], rows[first + step, loads])
        assert np.array_equal(state.forecast[0], rows[first + step])
        assert state.forecast.shape == (horizon, len(env.task.feeder.injections))
        assert np.array_equal(state.price, price[first + step : first + step + horizon])
    env.close()


def test_forecasts_err_more_the_farther_they_reach():
    env = ZoneEnv(load_cached(NAME, horizon=12))
    loads = env.task.feeder.loads
    off = []
    for day in range(60, 70):
        rows = env.task.profiles.day(day, 12).kw[:, loads]
        for step, state in enumerate(played(env, 80, day)):
            off.append(state.forecast[:, loads].sum(-1) / rows[step : step + 12].sum(-1) - 1)
    spread = np.std(off, axis=0)
    assert spread[0] == pytest.approx(0, abs=1e-12)
    assert (np.diff(spread) > 0).all()
    assert 0.01 < spread[-1] < 0.15
    env.close()


def test_times_that_do_not_fit_are_refused():
    plain = load_scenario(NAME)
    with pytest.raises(ValueError, match=r"start_hour 0.1 is no multiple of dt_h 0.25"):
        build_task(plain.replace(start_hour=0.1))
    with pytest.raises(ValueError, match="of 48 at most; lower horizon, steps or start_hour"):
        build_task(plain.replace(start_hour=20, horizon=40))


# --- what breaks -----------------------------------------------------------------------------------------------------

SWITCHING = "ieee123_switching"
FAULTS = ("l29", "l38", "l43", "l49", "l52", "l57", "l69", "l74", "l87", "l98", "l103")


def test_a_broken_branch_is_dark_until_the_end_and_nothing_live_reaches_it():
    env = ZoneEnv(load_cached(SWITCHING, faults=FAULTS))
    feeder = env.task.feeder
    drawn = set()
    for seed in range(12):
        observations, _ = env.reset(seed=seed)
        faulted = env.now.faulted
        broken = [b for b in env.task.scenario.faults if np.array_equal(feeder.at_ends([b]), faulted)]
        assert len(broken) == 1
        drawn.update(broken)
        assert not env.now.solution.energised[faulted].any()
        assert env.now.solution.energised.sum() > 0.4 * len(feeder.nodes), "the rest is fed"
        while env.agents:
            sampled = {a: env.action_space(a).sample(observations[a]["action_mask"]) for a in env.agents}
            observations, *_ = env.step(sampled)
            assert not env.after.solution.energised[faulted].any()
    assert len(drawn) > 4
    env.close()


def test_faults_of_the_option_take_the_place_of_the_scenarios():
    env = ZoneEnv(load_cached(SWITCHING))
    env.reset(seed=1, options={"faults": ["l43", "l87"]})
    assert np.array_equal(env.now.faulted, env.task.feeder.at_ends(["l43", "l87"]))
    env.reset(seed=1, options={"faults": []})
    assert env.now.faulted is None
    assert np.array_equal(env.now.setpoints.closed, env.task.start.closed)
    with pytest.raises(ValueError, match="branch 'l999' does not exist"):
        env.reset(options={"faults": ["l999"]})
    with pytest.raises(ValueError, match="no switch can isolate the fault from the source"):
        env.reset(options={"faults": ["reg1a"]})
    env.close()


def test_a_repaired_branch_stays_open_until_it_is_closed_again():
    """Three hours are twelve steps; the feeder is whole again with one closing, which was refused until then."""
    env = ZoneEnv(load_cached(SWITCHING, repair_h=(3.0, 3.0), steps=16, dt_h=0.25))
    env.reset(seed=1, options={"faults": ["l43"]})
    feeder, faulted = env.task.feeder, env.now.faulted
    opened = env.task.start.closed & ~env.now.setpoints.closed
    whole = env.task.encoding.encode(np.ones(env.task.agents.action_layout.size))  # close whatever may be closed
    for step in range(16):
        assert (env.now.faulted is None) == (step >= 12)
        env.step(whole if step >= 13 else still(env))
        assert env.after.solution.energised[faulted].any() == (step >= 13)
    assert opened.any() and env.after.solution.energised.sum() == len(feeder.nodes) - 12, "12 are behind open ties"
    env.close()


def test_a_branch_has_its_repair_time_whatever_else_is_broken():
    env = ZoneEnv(load_cached(SWITCHING, repair_h=(1.0, 2.5)))
    steps = {}
    for faults in (["l43"], ["l87"], ["l87", "l43"]):
        env.reset(seed=1, options={"faults": faults, "day": 33})
        for fault, branch in zip(env.simulator.conditions.faults, faults, strict=True):
            steps.setdefault(branch, set()).add(fault.last)
            assert 1.0 <= fault.last * env.task.scenario.dt_h < 2.5 + env.task.scenario.dt_h
    assert all(len(found) == 1 for found in steps.values())
    env.reset(seed=1, options={"faults": ["l43"], "day": 34})
    assert env.simulator.conditions.faults[0].first == 0
    with pytest.raises(ValueError, match="the lower one first"):
        load_scenario(SWITCHING).replace(repair_h=(3.0, 1.0))
    env.close()


def test_faults_that_cannot_be_parted_are_refused_when_building():
    with pytest.raises(ValueError, match=r"fault .reg1a.: no switch can isolate the fault from the source"):
        build_task(load_scenario(SWITCHING).replace(faults=["l43", "reg1a"]))


def test_outages_of_the_day_begin_and_end_at_their_time(monkeypatch):
    scenario = load_scenario(SWITCHING).replace(faults="outages", start_hour=0, steps=40, horizon=1)
    env = ZoneEnv(scenario)
    outages = (Outage("line.l43", 2.1, 1.0), Outage("line.l87", 5.0, 100.0), Outage("transformer.reg1a", 3.0, 1.0))
    monkeypatch.setattr(type(env.task.profiles), "outages", lambda self, number: outages)
    feeder = env.task.feeder
    one, other = feeder.at_ends(["l43"]), feeder.at_ends(["l87"])
    for step, state in enumerate(played(env, 40)):
        first, second = 8 <= step < 13, step >= 20
        wanted = (one & first) | (other & second)
        assert np.array_equal(np.zeros(len(one), bool) if state.faulted is None else state.faulted, wanted)
        if first:
            assert not state.solution.energised[one].any()
        if step < 8:
            assert np.array_equal(state.setpoints.closed, env.task.start.closed)
        if step == 13:  # repaired, but nobody has closed the switches yet
            assert not state.solution.energised[one].any()
            assert env.task.device_groups[0].topology.may_close(state.setpoints.closed, state.faulted).any()
    env.close()


def test_protection_opens_every_switch_around_and_no_other(rng):
    """Against the feeder's own graph: the faulted section is what hangs together without any switch."""
    feeder = load_cached(SWITCHING).feeder
    topology = Topology.build(feeder)
    start = feeder.setpoints().closed
    for name in FAULTS:
        nodes = feeder.at_ends([name])
        after = topology.isolated(start, nodes)
        none = start.copy()
        none[[row.kind == "switch" for row in feeder.switches]] = False
        graph = feeder.multigraph()
        graph.remove_edges_from([(u, v, k) for u, v, k in graph.edges(keys=True) if feeder_switch(feeder, k) >= 0])
        import networkx as nx

        bus = feeder.branches[[b.name for b in feeder.branches].index(f"line.{name}")].bus1
        section = nx.node_connected_component(graph, bus)
        around = {b.switch for b in feeder.branches if b.switch >= 0 and (b.bus1 in section or b.bus2 in section)}
        assert set(np.flatnonzero(start & ~after)) == {s for s in around if start[s]}


def feeder_switch(feeder, name):
    return next(b.switch for b in feeder.branches if b.name == name)


# --- devices in the grid ---------------------------------------------------------------------------------------------


def test_a_volt_var_curve_and_the_voltage_it_causes_agree():
    """What the inverters feed in is what their curve says at the voltage that results."""
    plain = load_scenario(NAME)
    devices = [{**d, "mode": "volt_var"} if d["kind"] == "inverter" else d for d in plain.devices]
    task = build_task(plain.replace(devices=devices, start_hour=11))
    env = ZoneEnv(task, engine=OpenDSSEngine(task.feeder, tolerance=1e-8))
    env.reset(seed=0, options={"day": 172})
    group = next(g for g in task.device_groups if type(g).__name__ == "Inverters")
    rng = np.random.default_rng(0)
    moved = []
    for _ in range(6):
        flat = rng.uniform(-1, 1, task.agents.action_layout.size)
        env.step(task.encoding.encode(flat))
        points = env.after.setpoints.copy()
        device_state = env.simulator.fleet.states(env.after.device_state)[task.device_groups.index(group)].copy()
        moved.append(points.kvar[group.injections].copy())
        assert group.respond(device_state, points, env.after.solution) < 0.01
    assert np.ptp(moved, axis=0).max() > 20
    env.close()


def test_cars_leave_full_when_nobody_controls_and_short_when_held_back():
    plain = load_scenario("ieee13_volt_var")
    cars = [{"kind": "ev_charger", "bus": "671", "phases": [p], "kw": 11, "name": f"car{p}{k}"}
            for p in (1, 2, 3) for k in range(5)]  # fmt: skip
    scenario = plain.replace(
        devices=[*plain.devices, *cars],
        start_hour=12,
        rewards={"unserved_device_energy": 100, "loss": 1},
        observations=["telemetry"],
    )
    env = ZoneEnv(scenario)
    chargers = next(k for k, g in enumerate(env.task.device_groups) if type(g).__name__ == "EVChargers")
    owed = {}
    for how in ("free", "held"):
        env.reset(seed=0, options={"day": 100})
        flat = env.task.default_action.copy()
        if how == "held":
            flat[env.task.agents.action_layout.parts[chargers]] = -0.9
        owed[how] = given = 0.0
        while env.agents:
            _, _, _, _, infos = env.step(env.task.encoding.encode(flat))
            owed[how] -= sum(info["reward/unserved_device_energy"] for info in infos.values()) * 10
            given -= env.after.setpoints.kw[env.task.device_groups[chargers].injections].sum() * 0.25
        if how == "free":
            assert 60 < given < 300, "some ten kWh a car"
    assert owed["free"] == pytest.approx(0, abs=1e-6)
    assert owed["held"] > 20
    env.close()


def test_an_island_lives_on_its_generator_and_dies_when_that_trips():
    """The part of bus 48, cut off by a broken line, is fed by the unit there while it can."""
    scenario = load_scenario(SWITCHING)
    light = {"load_scale": [0.2, 0.25]}
    for changes, lives in ((light, True), ({}, False)):
        env = ZoneEnv(scenario.replace(steps=8, profiles=changes))
        _start_at_48(env, lives)
        env.close()


def _start_at_48(env, lives):
    feeder, action_layout = env.task.feeder, env.task.agents.action_layout
    generators = next(k for k, g in enumerate(env.task.device_groups) if type(g).__name__ == "Generators")
    env.reset(seed=0, options={"day": 10, "faults": ["l38"]})
    bus48 = [feeder.node_index[f"48.{p}"] for p in (1, 2, 3)]
    assert not env.now.solution.energised[bus48].any()
    flat = env.task.default_action.copy()
    units = flat[action_layout.parts[generators]].reshape(action_layout.shapes[generators])  # a view
    units[env.task.device_groups[generators].names.index("generator_48"), 0] = 1.0
    env.step(env.task.encoding.encode(flat))
    kw = env.after.solution.served_kw[env.task.device_groups[generators].injections]
    if lives:
        assert env.after.solution.energised[bus48].all(), "the unit forms the island"
        assert env.after.solution.v_pu[bus48] == pytest.approx([1, 1, 1], abs=0.02)
        assert 50 < kw.sum() < 330
    else:
        assert not env.after.solution.energised[bus48].any(), "it trips at once"
        assert kw.sum() == 0
        env.step(env.task.encoding.encode(flat))
        assert not env.after.solution.energised[bus48].any(), "and waits"


def test_save_and_load_refuse_another_scenario():
    env, other = ZoneEnv(load_cached(NAME)), ZoneEnv(load_cached("ieee13_volt_var"))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="of scenario 'ieee34_volt_var'"):
        other.load_state(env.save_state())
    assert dataclasses.is_dataclass(env.save_state())
    for one in (env, other):
        one.close()
