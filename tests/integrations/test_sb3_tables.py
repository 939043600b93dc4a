"""The tables of docs/guide/learning.md, each cell of which is run.

``PYTHONPATH=tests python tests/integrations/test_sb3_tables.py`` prints them again.
"""

import contextlib
import functools
import warnings

import numpy as np
import pytest
from common import ROOT

import dss_marl
from dss_marl import gym_env, load_scenario
from dss_marl.envs.task import build_task
from dss_marl.integrations.vector import FlattenedEnv

pytest.importorskip("sb3_contrib")
pytest.importorskip("supersuit")

import supersuit
from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3

from dss_marl.integrations.sb3 import to_sb3
from dss_marl.integrations.sb3.per_kind import PerKindGame

pytestmark = pytest.mark.usefixtures("one_thread")

PAGE = ROOT / "docs" / "guide" / "learning.md"
ON, OFF = {"n_steps": 4, "batch_size": 4, "n_epochs": 1}, {"learning_starts": 4, "batch_size": 4, "buffer_size": 200}
ALGORITHMS = {
    "PPO": functools.partial(PPO, **ON),
    "MaskablePPO": functools.partial(MaskablePPO, **ON),
    "A2C": functools.partial(A2C, n_steps=4),
    "SAC": functools.partial(SAC, **OFF),
    "TD3": functools.partial(TD3, **OFF),
    "DQN": functools.partial(DQN, **OFF),
}


class Drawing:
    """A kind that is not learning: it draws."""

    def __init__(self, space):
        self.space = space

    def predict(self, observation, deterministic=False):
        return np.array([self.space.sample() for _ in observation]), None


def rows_of(agents, actions, route="native"):
    make = functools.partial(dss_marl.make, "ieee34_volt_var", agents=agents, actions=actions, steps=3)
    return to_sb3(make, route=route)


@contextlib.contextmanager
def closed(venv):
    yield venv
    venv.close()


@contextlib.contextmanager
def kind_of(agents, kind):
    game = PerKindGame(functools.partial(dss_marl.make, "ieee34_volt_var", agents=agents, actions="native", steps=3))
    game.models = {name: Drawing(view.action_space) for name, view in game.views.items()}
    yield game.views[kind]
    game.close()


@contextlib.contextmanager
def alone(actions):
    env = gym_env("ieee34_volt_var", actions=actions, steps=3)
    yield env
    env.close()


WAYS = {
    **{
        f"{agents}, {actions}": functools.partial(lambda a, b: closed(rows_of(a, b)), agents, actions)
        for agents in ("zone", "kind", "device")
        for actions in ("box", "multidiscrete", "native")
    },
    **{
        f"{agents}, native, per kind: {kind}": functools.partial(kind_of, agents, kind)
        for agents in ("kind", "device")
        for kind in ("inverter", "regulator")
    },
    "gym_env, box": functools.partial(alone, "box"),
    "gym_env, multidiscrete": functools.partial(alone, "multidiscrete"),
}


def learns(way, algorithm):
    """Whether an algorithm takes the environment and learns for a few steps."""
    try:
        with WAYS[way]() as venv:
            model = ALGORITHMS[algorithm]("MlpPolicy", venv, policy_kwargs={"net_arch": [8]}, device="cpu", seed=0)
            model.learn(8 * getattr(venv, "num_envs", 1))
    except (AssertionError, ValueError):
        return "no"
    return "yes"


def supersuit_route(way):
    """Whether the route through SuperSuit takes it too."""
    if way.startswith("gym_env"):
        return "-"
    agents, actions, *per_kind = way.split(", ")
    make = functools.partial(dss_marl.make, "ieee34_volt_var", agents=agents, actions=actions, steps=3)
    try:
        (PerKindGame(make, route="supersuit") if per_kind else to_sb3(make, route="supersuit")).close()
    except ValueError:
        return "no"
    return "yes"


# SuperSuit's own wrappers

VIEWS = {
    "box": dict(agents="zone", actions="box"),
    "flattened, MultiDiscrete": dict(agents="zone", actions="multidiscrete"),
    "flattened, Discrete": dict(agents="device", actions="multidiscrete"),
    "masked, unwrapped": dict(agents="zone", actions="multidiscrete"),
}
WRAPPERS = {
    "frame_stack_v1": lambda env: supersuit.frame_stack_v1(env, 2),
    "frame_skip_v0": lambda env: supersuit.frame_skip_v0(env, 2),
    "normalize_obs_v0": supersuit.normalize_obs_v0,
    "flatten_v0": supersuit.flatten_v0,
    "dtype_v0": lambda env: supersuit.dtype_v0(env, np.float64),
    "delay_observations_v0": lambda env: supersuit.delay_observations_v0(env, 1),
    "max_observation_v0": lambda env: supersuit.max_observation_v0(env, 2),
    "agent_indicator_v0": supersuit.agent_indicator_v0,
    "agent_indicator_v0 after normalize_obs_v0": lambda env: supersuit.agent_indicator_v0(
        supersuit.normalize_obs_v0(env)
    ),
    "pad_observations_v0": supersuit.pad_observations_v0,
    "clip_actions_v0": supersuit.clip_actions_v0,
    "scale_actions_v0": lambda env: supersuit.scale_actions_v0(env, 0.5),
    "sticky_actions_v0": lambda env: supersuit.sticky_actions_v0(env, 0.5),
    "pad_action_space_v0": supersuit.pad_action_space_v0,
    "clip_reward_v0": supersuit.clip_reward_v0,
    "black_death_v3": supersuit.black_death_v3,
    "nan_noop_v0": lambda env: supersuit.nan_noop_v0(
        env, env.task.encoding.encode(env.task.default_action)[env.possible_agents[0]]
    ),
    "nan_random_v0": supersuit.nan_random_v0,
    "nan_zeros_v0": supersuit.nan_zeros_v0,
}


def applies(wrapper, view):
    """What comes of a wrapper over an episode: "yes", or how it refuses or misbehaves."""
    env = dss_marl.make("ieee34_volt_var", steps=4, **VIEWS[view])
    steps, step = [], env.step
    env.step = lambda actions: (steps.append(1), step(actions))[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _played(
                WRAPPERS[wrapper](FlattenedEnv(env) if view.startswith("flattened") else env), wrapper, steps
            )
        except Exception as error:
            return f"no: {type(error).__name__}"


def _played(env, wrapper, steps):
    """Of an episode with drawn actions; NaN now and then where the wrapper is there for it."""
    for a, agent in enumerate(env.possible_agents):
        env.action_space(agent).seed(a)
    seen, infos = env.reset(seed=0)
    last, said, ended = None, set(), {}
    for t in range(10):
        for agent, one in seen.items():
            if not env.observation_space(agent).contains(one):
                said.add("observation outside its space")
            if last is not None and isinstance(one, np.ndarray) and one is last.get(agent):
                said.add("the same array at each step")
        if not env.agents or any(ended.values()):
            break
        actions = {agent: env.action_space(agent).sample() for agent in env.agents}
        if wrapper.startswith("nan") and t == 1:
            actions[env.agents[0]] = np.full_like(actions[env.agents[0]], np.nan, dtype=float)
        last = seen
        seen, _, terminations, ended, infos = env.step(actions)
        assert not any(terminations.values()) and infos
    if len(steps) != 4:
        said.add(f"{len(steps)} steps of 4")
    return "no: " + ", ".join(sorted(said)) if said else "yes"


# the page


def tables():
    """The tables as they should be: heading of the first column -> lines of cells."""
    algorithms = [["agents, actions", *ALGORITHMS, "SuperSuit route"]]
    algorithms += [[way, *(learns(way, one) for one in ALGORITHMS), supersuit_route(way)] for way in WAYS]
    wrappers = [["SuperSuit wrapper", *VIEWS]]
    wrappers += [[wrapper, *(applies(wrapper, view) for view in VIEWS)] for wrapper in WRAPPERS]
    return algorithms, wrappers


@functools.cache
def written():
    """(row, column) -> cell, of all tables on the page."""
    cells, heads = {}, None
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        parts = [part.strip().strip("`") for part in line.strip("|").split("|")] if line.startswith("|") else None
        heads = parts if parts and heads is None else heads if parts else None
        if parts and parts is not heads:
            cells |= {(parts[0], head): cell for head, cell in zip(heads[1:], parts[1:], strict=True)}
    return cells


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("way", WAYS)
def test_the_page_says_which_algorithm_takes_what(way):
    found = {name: learns(way, name) for name in ALGORITHMS} | {"SuperSuit route": supersuit_route(way)}
    assert found == {name: written()[way, name] for name in found}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_page_says_which_wrappers_apply(wrapper):
    found = {view: applies(wrapper, view) for view in VIEWS}
    assert found == {view: written()[wrapper, view] for view in VIEWS}


def test_wrapped_rows_learn_on_the_native_route():
    """Frame stacking around FlattenedEnv leaves the masks available."""

    def make():
        env = dss_marl.make("ieee34_volt_var", agents="device", actions="multidiscrete", steps=4)
        return supersuit.flatten_v0(supersuit.frame_stack_v1(FlattenedEnv(env), 2))

    width = len(build_task(load_scenario("ieee34_volt_var").replace(agents="device")).observer.low)
    with closed(to_sb3(make)) as venv:
        assert venv.observation_space.shape == (2 * width,)
        MaskablePPO("MlpPolicy", venv, **ON, device="cpu", seed=0).learn(96)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for table in tables():
        for number, cells in enumerate(table):
            print("| " + " | ".join(cells) + " |")
            if not number:
                print("|" + " --- |" * len(cells))
        print()
