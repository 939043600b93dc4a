"""What printing an environment or a task says, and the labels of every view of it."""

import numpy as np
import pytest

import dss_marl

NAME = "ieee13_volt_var"


@pytest.mark.parametrize("name", [NAME, "ieee123_restoration", "eulv_ev", "ieee34_local_pv"])
def test_a_task_is_told_in_eighty_columns(name):
    env = dss_marl.make(name)
    text, task = str(env), env.task
    assert text == str(task) and max(map(len, text.splitlines())) <= 80
    joined = " ".join(text.split())
    for part in (name, task.feeder.name, "train 284", f"{task.scenario.steps} steps", *task.costs):
        assert part in joined, part
    assert all(f"{weight:g} {term}" in joined for term, (weight, _) in task.rewards.items())
    assert all(f" {agent}: " in joined for agent in env.possible_agents[:8])
    assert f"{len(task.observer.low)} numbers" in joined and len(repr(task)) < 80
    env.close()


def test_each_form_of_an_environment_prints_its_task():
    turns, central = dss_marl.env(NAME), dss_marl.gym_env(NAME)
    assert str(turns) == str(dss_marl.make(NAME)) == str(turns.task)
    assert str(central).startswith(str(central.task))
    assert "observes 96 numbers and sets 11" in str(central)


def test_labels_of_the_central_view_name_every_entry():
    central = dss_marl.gym_env(NAME, split="test")
    labels = central.labels()
    assert len(labels["observation"]) == central.observation_space.shape[0]
    assert len(labels["action"]) == central.action_space.shape[0]
    assert labels["observation"] == central.env.state_labels()
    central.reset(options={"day": 4})
    k = labels["observation"].index("zone_2/lowest voltage [(v_pu - 1) * 20]")
    observed = central.env.state()[k]
    zone = central.task.zones[1]
    assert observed == pytest.approx((central.env.now.solution.v_pu[zone.scored_nodes].min() - 1) * 20, abs=1e-5)
    action = np.zeros(central.action_space.shape, np.float32)
    action[labels["action"].index("zone_1/reg2: tap moves")] = 1.0
    before = central.env.now.setpoints.tap.copy()
    central.step(action)
    assert (central.env.after.setpoints.tap - before).tolist() == [0, 2, 0]
    central.close()


def test_the_view_in_turns_has_the_same_labels():
    turns, env = dss_marl.env(NAME), dss_marl.make(NAME)
    assert all(turns.labels(agent) == env.labels(agent) for agent in env.possible_agents)


@pytest.mark.parametrize("entry", ["make", "parallel_env", "env", "gym_env"])
def test_each_entry_point_takes_an_engine(entry):
    made = getattr(dss_marl, entry)(NAME, engine="own_plugins:CountingEngine", steps=2)
    inner = made.env if entry == "gym_env" else made.unwrapped if entry == "env" else made
    made.reset(seed=0)
    assert inner.engine.solves == 1
    inner.close()
