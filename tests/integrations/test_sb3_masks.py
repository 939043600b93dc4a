"""Masks on their way to MaskablePPO: the right ones, for the right rows, at the right time."""

import functools

import numpy as np
import pytest
from gymnasium import spaces
from ladder import Ladder

import dss_marl
from dss_marl.envs.flattening import action_in, flat_mask, flatten_space, split_mask, width
from dss_marl.integrations.vector import FlattenedEnv, copy_seeds

pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecMonitor

from dss_marl.integrations.sb3 import to_sb3

places = pytest.mark.parametrize(("route", "num_cpus"), [("native", 0), ("native", 2), ("supersuit", 0)])


@places
def test_a_mask_belongs_to_the_observation_beside_it(route, num_cpus):
    """Also where the episode ended within the step: the mask is then that of the new one."""
    venv = VecMonitor(to_sb3(Ladder, n_envs=3, num_cpus=num_cpus, route=route))
    seen = venv.reset()
    for t in range(8):
        expected = [np.concatenate(Ladder.mask(row)).astype(bool) for row in seen]
        assert np.array_equal(venv.env_method("action_masks"), expected)
        assert np.array_equal(venv.env_method("action_masks", indices=[4, 1]), [expected[4], expected[1]])
        seen, _, dones, _ = venv.step(np.zeros((6, 2), int))
        assert dones.all() == (t % 3 == 2)
    assert seen[0, 0] == 3
    venv.close()


class HalfMasked(Ladder):
    """The second agent has no mask."""

    def observation_space(self, agent):
        return self.seen if agent == "pole_1" else self.seen["observation"]

    def maybe_evaluate(self):
        seen = super().maybe_evaluate()
        return {**seen, "pole_2": seen["pole_2"]["observation"]}


def test_who_has_no_mask_is_allowed_everything():
    venv = to_sb3(HalfMasked)
    seen = venv.reset()
    assert np.array_equal(
        venv.env_method("action_masks"), [np.concatenate(Ladder.mask(seen[0])).astype(bool), [True] * 5]
    )
    venv.close()


def test_masks_before_a_reset_are_an_error():
    venv = to_sb3(Ladder)
    with pytest.raises(RuntimeError, match="call reset first"):
        venv.env_method("action_masks")
    venv.close()


def test_a_wrapper_around_plain_keeps_its_masks():
    from supersuit import frame_stack_v1

    venv = to_sb3(lambda: frame_stack_v1(FlattenedEnv(Ladder()), 2))
    assert venv.reset().shape == (2, 6)
    assert np.array_equal(venv.env_method("action_masks")[1], np.concatenate(Ladder.mask([1, 0, 1])).astype(bool))
    venv.close()


NESTED = spaces.Dict(b=spaces.Discrete(3), a=spaces.MultiDiscrete([2, 4]))
REAL = spaces.Dict(b=spaces.Box(-1, 1, (1,)), a=spaces.Tuple([spaces.Box(-2, 2, (2,))]))


def test_dict_actions_become_arrays_and_come_back():
    choices, numbers = flatten_space(NESTED), flatten_space(REAL)
    assert choices == spaces.MultiDiscrete([3, 2, 4]) and width(NESTED) == 3
    assert numbers == spaces.Box(np.array([-1, -2, -2], np.float32), np.array([1, 2, 2], np.float32))
    mixed = spaces.Dict(a=spaces.Discrete(2), b=spaces.Box(-1, 1, (1,)))
    assert flatten_space(mixed) is mixed
    for space, plain in ((NESTED, choices), (REAL, numbers), (mixed, spaces.Box(0, 1, (2,)))):
        assert space.contains(action_in(space, plain.sample()))
    assert action_in(NESTED, [2, 1, 3]) == {"a": pytest.approx([1, 3]), "b": 2}
    mask = {"a": (np.array([1, 0]), np.array([0, 1, 0, 0])), "b": np.array([0, 0, 1])}  # in another order on purpose
    assert flat_mask(NESTED, mask).tolist() == [False, False, True, True, False, False, True, False, False]


def test_only_a_mask_is_taken_off():
    observation = {"observation": np.zeros(2), "position": np.zeros(2)}
    assert split_mask(observation) == (observation, None)
    masked = spaces.Dict(observation=spaces.Box(0, 1, (2,)), action_mask=spaces.MultiBinary(2))
    assert split_mask(masked)[0].shape == (2,)


# on the shipped scenarios

CASES = [(agents, actions) for agents in ("zone", "kind", "device") for actions in ("box", "multidiscrete", "native")]


@pytest.mark.parametrize("route", ["native", "supersuit"])
@pytest.mark.parametrize(("agents", "actions"), CASES)
def test_rows_for_every_way_to_divide_and_to_say(agents, actions, route):
    make = functools.partial(dss_marl.make, "ieee34_volt_var", agents=agents, actions=actions, steps=3)
    if actions == "native":
        with pytest.raises(ValueError, match=r"one shared policy needs one action space.*actions='box'.*per_kind"):
            to_sb3(make, route=route)
        return
    venv = to_sb3(make, n_envs=2, route=route, seed=0)
    env = make()
    observations, _ = env.reset(seed=copy_seeds(0, 1)[0])
    rows, discrete = len(env.possible_agents), actions == "multidiscrete"
    seen = venv.reset()
    for _ in range(3):
        plain = [split_mask(observations[agent]) for agent in env.possible_agents]
        assert np.array_equal(seen[:rows], [row for row, _ in plain])
        assert venv.has_attr("action_masks") == discrete
        if discrete:
            own = [flat_mask(env.action_space(a), m) for a, (_, m) in zip(env.possible_agents, plain, strict=True)]
            assert np.array_equal(venv.env_method("action_masks")[:rows], own)
        chosen = {agent: env.action_space(agent).sample() for agent in env.possible_agents}
        observations, *_ = env.step(chosen)
        seen, _, dones, _ = venv.step(np.array([chosen[agent] for agent in env.possible_agents] * 2))
    assert dones.all()
    venv.close()


def illegal_in(algorithm, route, agents):
    """Illegal choices that a model makes while it learns."""
    make = functools.partial(dss_marl.make, "ieee13_volt_var", agents=agents, actions="multidiscrete", steps=8)
    venv, counted = to_sb3(make, n_envs=2, route=route), []
    step_wait = venv.step_wait

    def watched():
        result = step_wait()
        counted.append(sum(info["illegal"] for info in result[-1]))
        return result

    venv.step_wait = watched
    settings = {"n_steps": 12, "batch_size": 2 * venv.num_envs, "n_epochs": 1, "policy_kwargs": {"net_arch": [16]}}
    algorithm("MlpPolicy", VecMonitor(venv), **settings, seed=0, device="cpu").learn(24 * venv.num_envs)
    venv.close()
    return sum(counted)


@pytest.mark.parametrize(
    ("route", "agents"), [("native", "zone"), ("native", "kind"), ("native", "device"), ("supersuit", "device")]
)
def test_maskable_ppo_learns_without_one_illegal_choice(route, agents):
    assert illegal_in(MaskablePPO, route, agents) == 0


def test_plain_ppo_makes_some():
    assert illegal_in(PPO, "native", "device") > 100
