"""Whole episodes under random actions, bit by bit."""

import hashlib

import numpy as np
from common import task_of

from dss_marl import ZoneEnv


def random_actions(env, rng):
    return {a: rng.uniform(-1, 1, env.action_space(a).shape).astype(np.float32) for a in env.possible_agents}


def still(env):
    return {a: np.zeros(env.action_space(a).shape, np.float32) for a in env.possible_agents}


def bits(*dicts):
    """Every bit of some dicts by agent, keys and order included."""
    parts = []
    for by_agent in dicts:
        for agent, value in by_agent.items():
            parts.append(agent.encode())
            pairs = value.items() if isinstance(value, dict) else [("", value)]
            for key, number in pairs:
                parts += [key.encode(), np.asarray(number).tobytes(), str(np.asarray(number).dtype).encode()]
    return b"|".join(parts)


def play(env, rng, steps=None):
    """The bits of each step under random actions, to the end or for some steps."""
    result = []
    while env.agents and (steps is None or len(result) < steps):
        result.append(bits(*env.step(random_actions(env, rng))) + env.state().tobytes())
    return result


def episode(env, seed):
    """The bits of a whole episode under random actions."""
    first = bits(*env.reset(seed=seed)) + env.state().tobytes()
    return [first, *play(env, np.random.default_rng(seed))]


def digest(name, seed):
    """Fingerprint of an episode."""
    env = ZoneEnv(task_of(name))
    result = hashlib.sha256(b"".join(episode(env, seed))).hexdigest()
    env.close()
    return result
