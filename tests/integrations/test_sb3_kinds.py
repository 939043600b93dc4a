"""One policy per kind of agent: the right rows, the others' own models, turns, and learning rates that end."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium import spaces

import dss_marl
from dss_marl.integrations.vector import FlattenedEnv, UniformSpaces, copy_seeds

pytest.importorskip("stable_baselines3")

from stable_baselines3 import DQN, SAC

from dss_marl.integrations.sb3.models import LinearSchedule
from dss_marl.integrations.sb3.per_kind import PerKindGame, kind_by_name, predicted

SHORT = functools.partial(dss_marl.make, "ieee34_volt_var", steps=4, start_hour=10.0)
NATIVE = functools.partial(SHORT, agents="device", actions="native")


class Fixed:
    """A model that always chooses the same, and keeps what it was shown."""

    def __init__(self, value, dtype):
        self.value, self.dtype, self.shown = value, dtype, []

    def predict(self, observation, deterministic=False, action_masks=None):
        self.shown.append((observation, action_masks))
        return np.full((len(observation), 1), self.value, self.dtype), None


@pytest.fixture
def game():
    game = PerKindGame(NATIVE, n_envs=2, seed=0)
    game.models = {"inverter": Fixed(0.5, np.float32), "regulator": Fixed(3, np.int64), "capacitor": Fixed(1, np.int64)}
    yield game
    game.close()


def test_the_kinds_of_agents_are_in_their_names():
    for agents in ("kind", "device"):
        env = SHORT(agents=agents)
        assert tuple(kind_by_name(env.possible_agents).values()) == env.task.agents.kinds
    assert kind_by_name(["pole", "zone_12"]) == {"pole": "pole", "zone_12": "zone"}


def test_each_kind_has_its_own_spaces_and_rows(game):
    inverters, regulators = game.views["inverter"], game.views["regulator"]
    assert inverters.action_space == spaces.Box(-1, 1, (1,)) and regulators.action_space == spaces.Discrete(5)
    assert inverters.rows.tolist() == [*range(6), *range(14, 20)]
    assert regulators.rows.tolist() == [*range(6, 12), *range(20, 26)]
    assert game.views["capacitor"].rows.tolist() == [12, 13, 26, 27]
    assert regulators.has_attr("action_masks") and not inverters.has_attr("action_masks")
    regulators.reset()
    assert np.shape(regulators.env_method("action_masks")) == (12, 5)


def test_a_step_is_that_of_the_environment_with_everybodys_actions(game):
    """The same game by hand, with the same seed: observations, rewards and infos of one kind, others by their model."""
    seen = game.views["regulator"].reset()
    env = NATIVE()
    observations, _ = env.reset(seed=copy_seeds(0, 2)[0])
    inverters, regulators, capacitors = (env.possible_agents[part] for part in (slice(6), slice(6, 12), slice(12, 14)))
    for _ in range(4):
        assert np.array_equal(seen[:6], [observations[agent]["observation"] for agent in regulators])
        actions = np.tile(np.arange(6) % 5, 2)
        seen, rewards, dones, infos = game.views["regulator"].step(actions)
        shown, masks = game.models["inverter"].shown[-1]
        assert np.array_equal(shown[2], observations["inverter_3"]) and masks is None
        hand = {agent: np.float32([0.5]) for agent in inverters} | dict.fromkeys(capacitors, 1)
        observations, paid, *_ = env.step(hand | dict(zip(regulators, actions[:6], strict=True)))
        assert rewards[:6].tolist() == pytest.approx([paid[agent] for agent in regulators], rel=1e-6)
    assert dones.all() and len(infos) == 12
    assert np.array_equal(infos[1]["terminal_observation"], observations[regulators[1]]["observation"])
    assert not game.models["regulator"].shown, "the kind whose turn it is acts by what it was given"


def test_other_kinds_choose_within_their_present_masks(game):
    view = game.views["inverter"]
    view.reset()
    for _ in range(6):  # over the end of an episode
        expected = game.views["regulator"].masks()
        view.step(np.zeros((12, 1), np.float32))
        assert np.array_equal(game.models["regulator"].shown[-1][1], expected)


def test_a_kind_without_a_model_is_named(game):
    del game.models["regulator"]
    view = game.views["inverter"]
    view.reset()
    with pytest.raises(RuntimeError, match=r"'regulator' has no model.*PerKindGame\.models"):
        view.step(np.zeros((12, 1), np.float32))


def test_agents_of_one_kind_with_different_spaces_are_refused():
    make = functools.partial(dss_marl.make, "ieee13_volt_var", agents="kind", actions="native")
    with pytest.raises(ValueError, match=r"kind 'inverter' needs one action space, but 'inverter_1'.*agents='device'"):
        PerKindGame(make)
    mixed = functools.partial(dss_marl.make, "ieee34_volt_var", agents="zone", actions="native")
    with pytest.raises(ValueError, match=r"'zone_2' has the space Dict.*algorithms do not support.*multidiscrete"):
        PerKindGame(mixed)


def test_a_dict_of_choices_is_one_multidiscrete_for_its_kind():
    game = PerKindGame(functools.partial(SHORT, agents="kind", actions="native"))
    assert game.views["regulator"].action_space == spaces.MultiDiscrete([5, 5, 5])
    game.close()


def test_rows_of_numbers_say_any_action():
    env = UniformSpaces(NATIVE())
    env.reset(seed=0)
    given = {}
    env.env.step = lambda actions: given.update(actions) or ({}, {}, {}, {}, {})
    env.step({agent: np.array([3.0]) if "regulator" in agent else np.array([-0.25]) for agent in env.agents})
    assert all(env.env.action_space(agent).contains(action) for agent, action in given.items())
    assert given["regulator_2"] == 3 and given["inverter_1"] == -0.25
    assert isinstance(env.env, FlattenedEnv)


@pytest.mark.parametrize("route", ["native", "supersuit"])
def test_other_algorithms_learn_beside_a_fixed_kind(route):
    """SAC moves the inverters, DQN the regulators: each its own kind, while the other stays as it is."""
    game = PerKindGame(NATIVE, n_envs=1, route=route, seed=0)
    game.models = {"inverter": Fixed(0.5, np.float32), "regulator": Fixed(2, np.int64), "capacitor": Fixed(1, np.int64)}
    small = {"learning_starts": 12, "batch_size": 8, "buffer_size": 500}
    for algorithm, kind in ((SAC, "inverter"), (DQN, "regulator")):
        model = algorithm("MlpPolicy", game.views[kind], **small, policy_kwargs={"net_arch": [8]}, seed=0, device="cpu")
        before = {name: weights.clone() for name, weights in model.policy.state_dict().items()}
        game.models[kind] = model.learn(36)
        assert any(not before[name].equal(weights) for name, weights in model.policy.state_dict().items()), "it learned"
        assert model.replay_buffer.size() * game.views[kind].num_envs >= 36, "its own rows, each step of them"
    game.close()


def test_masks_go_to_models_that_ask_for_them():
    class Asking:
        def predict(self, observation, deterministic, action_masks):
            return action_masks, None

    class Other:
        def predict(self, observation, deterministic):
            return "without", None

    assert predicted(Asking(), None, "masks", True) == "masks"
    assert predicted(Other(), None, "masks", True) == "without"


def test_the_learning_rate_falls_over_the_whole_training():
    rate = LinearSchedule(1.0, 0.1)
    assert rate(1.0) == 1.0 and rate(0.5) == pytest.approx(0.55) and rate(-0.2) == 0.1
    rate.left = 0.5
    assert rate(0.0) == pytest.approx(0.55), "a turn that ends is not the end of the training"


def test_models_take_turns_in_one_running_game(tmp_path):
    from dss_marl.experiments import TrainingSettings
    from dss_marl.experiments.training.alternating_training import learn_in_turns, models_per_kind

    settings = TrainingSettings(agent_steps=300, n_envs=1, n_steps=3, n_epochs=1, batch_size=9, net_arch=(8,))
    game = PerKindGame(NATIVE, seed=0)
    rates = models_per_kind(game, NATIVE().task, settings, 0)
    first = {kind: model.policy.state_dict()["action_net.weight"].clone() for kind, model in game.models.items()}
    resets, looked, asked = [], [], []
    game.reset()
    game.reset = lambda inner=game.reset: (resets.append(1), inner())
    for kind, rate in rates.items():
        model = game.models[kind]
        model.learning_rate = rate
        train = model.train
        model.train = lambda train=train, kind=kind, model=model: (
            train(), asked.append((kind, model.policy.optimizer.param_groups[0]["lr"]))
        )  # fmt: skip
    present = []
    game.step = lambda kind, actions, inner=game.step: (
        present.append(np.array_equal(game.models[kind]._last_obs, game.views[kind].seen())),
        present.append(np.array_equal(game.models[kind]._last_episode_starts, game.began[game.views[kind].rows])),
        inner(kind, actions),
    )[-1]
    sections = SimpleNamespace(
        done=0, pause=lambda done: looked.append(done) or True, finish=lambda done: looked.append(done)
    )
    learn_in_turns(game, rates, settings, sections)
    assert looked == [0, 126, 252, 378], "14 agents x 3 steps a turn, 3 turns a round, sections end between rounds"
    assert [kind for kind, _ in asked] == ["inverter", "regulator", "capacitor"] * 3
    assert asked[0][1] < settings.learning_rate and asked[0][1] == asked[1][1] == asked[2][1] > asked[3][1]
    assert [rate for _, rate in asked[-3:]] == [settings.final_learning_rate] * 3, "each ends at the final rate"
    assert not resets, "the game goes on from turn to turn"
    assert len(present) == 2 * 27 and all(present), "a model acts on what is there now, not where its last turn ended"
    for kind, model in game.models.items():
        rows = len(game.views[kind].rows)
        assert rows == {"inverter": 6, "regulator": 6, "capacitor": 2}[kind] and model.num_timesteps == 3 * 3 * rows
        assert not first[kind].equal(model.policy.state_dict()["action_net.weight"])
        shape = (3 * rows, len(NATIVE().task.observer.low))
        assert model.rollout_buffer.observations.shape == shape, "its own rows alone, flat after the training"
    game.close()
