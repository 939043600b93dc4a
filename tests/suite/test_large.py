"""Large scenarios: what is tested of those that are too slow for all tests."""

import numpy as np
import pytest
import yaml
from common import LARGE, task_of

from dss_marl import ZoneEnv, load_scenario
from dss_marl._assets import data_folder, known_names
from dss_marl.controllers import OPT_IN, REFERENCES, load_plans
from dss_marl.devices import Inverters


@pytest.fixture(params=LARGE, scope="module")
def name(request):
    return request.param


@pytest.fixture(scope="module")
def env(name):
    made = ZoneEnv(task_of(name), "test")
    yield made
    made.close()


def played(env, seed, steps):
    """Observations, rewards and voltages of a few steps under random actions."""
    rng, observations, result = np.random.default_rng(seed), env.reset(seed=seed)[0], []
    for _ in range(steps):
        assert all(env.observation_space(a).contains(seen) for a, seen in observations.items())
        actions = env.task.encoding.encode(rng.uniform(-0.5, 0.5, env.task.agents.action_layout.size))
        observations, rewards, terminations, _, _ = env.step(actions)
        assert not any(terminations.values())
        seen = [o["observation"] if isinstance(o, dict) else o for o in observations.values()]
        result.append((np.stack(seen), np.array(list(rewards.values())), env.now.solution.v_alive))
    return result


def test_a_large_scenario_is_short_data_that_names_its_strongest_controller(name):
    text = (data_folder("scenarios") / f"{name}.yaml").read_text(encoding="utf-8")
    loaded = load_scenario(name)
    assert 10 <= len(text.splitlines()) <= 48
    assert len(loaded.title) > 20
    assert loaded.training
    assert loaded.reference_controller in REFERENCES
    assert loaded.reference_controller != "best_known" or len(load_plans(loaded).requests) >= 10
    feeder = yaml.safe_load(text)["feeder"]
    folder = feeder.get("name", "").removeprefix("../feeders/").split("/")[0]  # or another circuit of one
    assert "synthetic" in feeder or folder in known_names("feeders")
    assert loaded.reference_controller in OPT_IN or loaded.tuned_droop


def test_every_agent_has_something_to_do(name):
    task = task_of(name)
    assert len(task.zones) >= 3 or task.scenario.zones["count"] == 1
    assert (task.agents.action_layout.place >= 0).any(axis=1).all()
    assert len(task.feeder.nodes) > 8000


def test_the_generated_one_has_over_ten_thousand_nodes_and_a_hundred_agents():
    task = task_of("synthetic10k_volt_var")
    assert len(task.feeder.nodes) > 10_000
    assert len(task.agents.names) > 100


def test_episodes_repeat_bitwise_and_stay_in_range(env):
    first, again, other = played(env, 1, 3), played(env, 1, 3), played(env, 2, 3)
    for one, two in zip(first, again, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(first[-1][2], other[-1][2])
    assert all(0.5 < v.min() < v.max() < 1.5 for _, _, v in first)


def test_reactive_power_of_all_inverters_moves_all_voltages(env):
    env.reset(seed=1)
    task, means = env.task, []
    place = next((k for k, group in enumerate(task.device_groups) if isinstance(group, Inverters)), None)
    if place is None:
        pytest.skip("a task of taps, banks and batteries")
    for share in (-0.5, 0.5):
        flat = task.default_action.copy()
        flat[task.agents.action_layout.parts[place]] = share
        v = env.what_if(task.encoding.encode(flat)).solution.v_pu
        means.append([v[zone.scored_nodes].mean() for zone in task.zones if len(zone.scored_nodes)])
    assert (np.diff(means, axis=0) > 0).all()
