"""Minari datasets: what they hold is what the environment gave; read by minari as its users do."""

import json

import numpy as np
import pytest
from common import load_cached
from stub_engines import Failing

import dss_marl
from dss_marl import ZoneEnv
from dss_marl.controllers import NoControl, RandomControl
from dss_marl.envs.flattening import flat_mask, split_mask
from dss_marl.integrations.minari_datasets import write_datasets

minari = pytest.importorskip("minari")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))


@pytest.mark.parametrize("name", ["ieee13_volt_var", "case33_reconfiguration", "ieee123_restoration"])
def test_episodes_are_the_environments_own(name):
    env = ZoneEnv(load_cached(name, steps=3), "train")
    names = write_datasets(env, RandomControl(1), [20, 21], "grid/random")
    assert names == [f"grid/random/{view}-v0" for view in ("central", *env.possible_agents)]
    central = dss_marl.gym_env(name, steps=3)
    kept = {view.split("/")[-1][:-3]: list(minari.load_dataset(view).iterate_episodes()) for view in names}
    for number, day in enumerate((20, 21)):
        controller = RandomControl(1)
        observations, _ = env.reset(seed=day, options={"day": day})
        seen, _ = central.reset(seed=day, options={"day": day})
        controller.reset(env)
        for t in range(3):
            actions = controller.act(env, observations)
            for agent in env.possible_agents:
                row, mask = split_mask(observations[agent])
                episode = kept[agent][number]
                assert (episode.observations[t] == row).all() and (episode.actions[t] == actions[agent]).all()
                if mask is not None:
                    allowed = flat_mask(env.action_space(agent), mask)
                    assert (episode.infos["action_mask"][t] == allowed).all()
            own = kept["central"][number]
            assert (own.observations[t] == seen).all()
            if env.task.encoding.discrete:
                assert (own.infos["action_mask"][t] == central.action_masks()).all()
            together = {agent: np.asarray(one) for agent, one in central.actions(own.actions[t]).items()}
            layout, decode = env.task.agents.action_layout, env.task.encoding.decode
            assert layout.size and (decode(together).joint_action == decode(actions).joint_action).all()
            observations, rewards, _, _, infos = env.step(actions)
            seen, reward, _, truncated, _ = central.step(own.actions[t])
            assert own.rewards[t] == reward and own.truncations[t] == truncated == (t == 2)
            assert not own.terminations.any()
            for agent in env.possible_agents:
                assert kept[agent][number].rewards[t] == rewards[agent]
                for term in env.task.costs:
                    assert kept[agent][number].infos["cost"][term][t + 1] == infos[agent][f"cost/{term}"]
    env.close()
    central.close()


def test_the_central_dataset_gives_its_environment_back_and_says_what_it_is():
    env = dss_marl.make("ieee13_volt_var")
    central, first = write_datasets(env, RandomControl(), [20], "grid/random", "random")[:2]
    made = minari.load_dataset(central)
    again = made.recover_environment()
    assert isinstance(again.unwrapped, dss_marl.CentralEnv) and again.observation_space == made.observation_space
    assert made.storage.metadata["algorithm_name"] == "random"
    labels = json.loads(minari.load_dataset(first).storage.metadata["labels"])
    assert labels == env.labels("zone_1")
    env.close()


def test_names_that_are_taken_or_cannot_be_are_refused_before_playing():
    env = ZoneEnv(load_cached("ieee13_volt_var", steps=2), "train")
    with pytest.raises(ValueError, match="dataset name 'a b': use letters"):
        write_datasets(env, RandomControl(), [20], "a b")
    write_datasets(env, RandomControl(), [20], "grid/random")
    with pytest.raises(ValueError, match="a dataset 'grid/random/central-v0' exists; 'minari delete"):
        write_datasets(env, None, [20], "grid/random")
    env.close()
    native = ZoneEnv(load_cached("ieee13_volt_var", actions="native"), "train")
    with pytest.raises(ValueError, match="do not form one array"):
        write_datasets(native, RandomControl(), [20], "grid/native")


def test_a_failed_power_flow_ends_an_episode_by_termination():
    env = ZoneEnv(load_cached("ieee13_volt_var", steps=4), "train")
    env = ZoneEnv(env.task, "train", Failing(env.engine, at=3))
    for name in write_datasets(env, NoControl(), [20], "grid/failing"):
        [episode] = minari.load_dataset(name).iterate_episodes()
        assert episode.terminations.tolist() == [False, True] and not episode.truncations.any()
        assert episode.rewards[1] == -env.task.scenario.failure_penalty
        assert (
            len(episode.observations) == 3
            and episode.infos["reward"]["loss"][2] == 0 > episode.infos["reward"]["loss"][1]
        )
    env.close()
