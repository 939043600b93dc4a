"""One step of ZoneEnv: the interval that agents act in, what-if, clipped and limited actions."""

from dataclasses import replace

import numpy as np
import pytest
from episodes import random_actions, still
from stub_engines import Calm, Failing

from dss_marl import OpenDSSEngine, ZoneEnv, load_scenario
from dss_marl.envs.task import build_task


def test_agents_see_the_interval_they_act_in(env):
    """Its load and PV, and the voltages that these cause with the devices as they are."""
    rng = np.random.default_rng(1)
    env.reset(seed=1, options={"day": 172})
    day = env.task.profiles.day(172)
    fresh = OpenDSSEngine(env.task.feeder)
    loads = env.task.feeder.loads
    first = round(env.task.scenario.start_hour / env.task.scenario.dt_h)
    for step in range(min(30, env.task.scenario.steps - 1)):
        now = env.now
        assert now.step == step
        assert now.hour == pytest.approx(env.task.scenario.start_hour + step * env.task.scenario.dt_h)
        assert np.array_equal(now.setpoints.kw[loads], day.kw[first + step][loads])
        assert np.array_equal(now.forecast[0], day.kw[first + step])
        expected = fresh.solve(replace(now.setpoints, tap=now.solution.tap)).v_pu  # neutral where fed from behind
        assert np.abs(now.solution.v_pu - expected).max() < fresh.tolerance
        env.step(random_actions(env, rng))
        assert env.after.step == step
        assert np.array_equal(env.after.setpoints.kw[loads], day.kw[first + step][loads])
        assert np.array_equal(env.now.setpoints.tap, env.after.setpoints.tap), "devices stay where they were put"
        assert np.array_equal(env.now.setpoints.closed, env.after.setpoints.closed)
        assert np.array_equal(env.now.device_state, env.after.device_state)
    fresh.close()


def test_voltages_may_be_observed_late(scenario):
    """``observed_voltages: last`` shows the voltages of the interval just operated, and saves a solve a step."""
    task = build_task(load_scenario(scenario).replace(observed_voltages="last"))
    counting = Failing(OpenDSSEngine(task.feeder), at=-99)
    env = ZoneEnv(task, engine=counting)
    env.reset(seed=1)
    for k in range(1, 6):
        env.step(random_actions(env, np.random.default_rng(k)))
        assert np.array_equal(env.now.solution.v_pu, env.after.solution.v_pu)
        assert counting.count == k
    env.close()


def test_what_if_commits_nothing(new_env):
    """It returns what the step will bring, and changes nothing."""
    asked, plain = new_env(), new_env()
    asked.reset(seed=1)
    plain.reset(seed=1)
    tolerance = asked.engine.tolerance
    rng = np.random.default_rng(1)
    for _ in range(10):
        actions, others = random_actions(asked, rng), random_actions(asked, rng)
        now, state, agents = asked.now, asked.state(), list(asked.agents)
        held = now.setpoints.copy(), now.device_state.copy(), now.solution.v_pu.copy(), now.forecast.copy()
        asked.what_if(others)
        promised = asked.what_if(actions)
        assert asked.now is now
        assert asked.agents == agents
        assert np.array_equal(asked.state(), state)
        for name in ("kw", "kvar", "tap", "closed"):
            assert np.array_equal(getattr(now.setpoints, name), getattr(held[0], name))
        assert all(
            np.array_equal(a, b)
            for a, b in zip((now.device_state, now.solution.v_pu, now.forecast), held[1:], strict=True)
        )
        reward, expected = (
            asked.step(actions)[1][asked.possible_agents[0]],
            plain.step(actions)[1][plain.possible_agents[0]],
        )
        assert reward == pytest.approx(expected, abs=1e-3)
        assert np.abs(promised.solution.v_pu - asked.after.solution.v_pu).max() < tolerance
        assert np.array_equal(promised.setpoints.kvar, asked.after.setpoints.kvar)
        assert np.array_equal(promised.setpoints.tap, asked.after.setpoints.tap)
        assert np.abs(asked.now.solution.v_pu - plain.now.solution.v_pu).max() < tolerance


def test_every_slot_with_a_label_moves_the_grid_and_no_other_does(new_env, task):
    env = new_env(engine=OpenDSSEngine(task.feeder, tolerance=1e-9))
    env.attack = None  # whose devices are somebody else's moves nothing
    labels = {agent: env.labels(agent)["action"] for agent in env.possible_agents}
    env.reset(seed=1, options={"day": 172})
    for _ in range(env.task.scenario.steps // 2):
        env.step(still(env))
    at_rest = env.what_if(still(env))
    told = np.concatenate([zone.estimates for zone in task.zones])
    for agent, names in labels.items():
        for entry, label in enumerate(names):
            moved = 0.0
            for value in (-1.0, 1.0):
                actions = still(env)
                actions[agent][entry] = value
                after = env.what_if(actions)
                moved = max(moved, np.abs(after.solution.v_pu - at_rest.solution.v_pu).max())
                moved = max(
                    moved, np.abs(after.device_state - at_rest.device_state)[told].max(initial=0.0)
                )  # by what agents say
            if label == "-":
                assert moved < 1e-7, f"{agent}: padding moves the grid"
            elif moved <= 1e-4:  # a closing that would make a loop, curtailment without the right to it
                place = task.agents.action_layout.place[env.possible_agents.index(agent), entry]
                values = np.tile([-1.0, 1.0], (task.agents.action_layout.size, 1))
                assert not env.simulator.feasible(env.now, values)[place].all(), f"{agent}: {label} moves nothing"


def test_actions_out_of_range_are_clipped_and_counted(new_env):
    wild, tame = new_env(), new_env()
    wild.reset(seed=1)
    tame.reset(seed=1)
    rng = np.random.default_rng(1)
    for k in range(5):
        actions = {a: x * 2 for a, x in random_actions(wild, rng).items()}
        if k == 0:
            actions[wild.possible_agents[0]][0] = np.inf
        results = wild.step(actions), tame.step({a: np.clip(x, -1, 1) for a, x in actions.items()})
        for agent, action in actions.items():
            used = np.array([label != "-" for label in wild.labels(agent)["action"]])
            assert results[0][4][agent]["clipped"] == (np.abs(action[used]) > 1).sum()
            assert results[1][4][agent]["clipped"] == 0
            assert np.array_equal(results[0][0][agent], results[1][0][agent])
        assert results[0][1] == results[1][1]


def test_requests_that_a_limit_cuts_are_counted_in_their_zone(scenario):
    """Regulators pushed up and up reach their end position."""
    task = build_task(load_scenario(scenario))
    regulators = next((g for g in task.device_groups if type(g).__name__ == "Regulators"), None)
    if regulators is None:
        pytest.skip("no regulators in this scenario")
    env = ZoneEnv(task, engine=Calm(task.feeder))
    env.reset(seed=1)
    moves = {agent: [label.endswith("tap moves") for label in env.labels(agent)["action"]] for agent in env.agents}
    counted = []
    while env.agents:
        actions = {agent: np.where(moves[agent], 1.0, 0.0).astype(np.float32) for agent in moves}
        counted.append([info["limited"] for info in env.step(actions)[4].values()])
    assert sum(counted[0]) == 0
    every = 1 if regulators.act_every is None else int(regulators.act_every[0])
    assert counted[(len(counted) - 1) // every * every] == [sum(moves[agent]) for agent in moves]
    assert np.array_equal(env.after.setpoints.tap[regulators.taps], regulators.highest)


def test_any_engine_will_do(task):
    """What the environment needs of an engine is solve, restart and close, nothing of OpenDSS."""
    env = ZoneEnv(task, engine=Calm(task.feeder))
    env.reset(seed=1)
    while env.agents:
        _, _, _, _, infos = env.step(still(env))
        assert all(info.get("cost/voltage_violation_sum", 0) == 0 for info in infos.values())
