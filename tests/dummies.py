"""Small ParallelEnvs with known answers and the habits that trip vectorisers."""

import os
import sys
import threading
from pathlib import Path
from typing import ClassVar

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv


class Team(ParallelEnv):
    """Agents that see [noise, share of the horizon, own number] and are paid `reward`, or else their noise.

    On purpose: the random state is the same in every new one until a reset brings a seed; observations are written
    over the last ones; infos have the same keys in reset and step, "TimeLimit.truncated" among them. "steps" is the
    number of steps, or minus the number of resets.
    """

    metadata: ClassVar = {"name": "team_v0", "render_modes": ["rgb_array"]}

    def __init__(self, agents=2, horizon=5, ending="truncated", reward=None, n_actions=None, render_mode=None):
        self.possible_agents = [f"zone_{i}" for i in range(agents)]
        self.horizon, self.ending, self.reward, self.render_mode = horizon, ending, reward, render_mode
        self.observed = spaces.Box(-10, 10, (3,), np.float32)
        self.acted = spaces.Discrete(n_actions) if n_actions else spaces.Box(-1, 1, (2,), np.float32)
        self.rng = np.random.default_rng(0)
        self.seeds, self.options, self.count = [], None, 0
        self.seen = np.zeros((agents, 3), np.float32)

    def observation_space(self, agent):
        return self.observed

    def action_space(self, agent):
        return self.acted

    def reset(self, seed=None, options=None):
        self.seeds.append(seed)
        self.options = options
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.agents, self.now = list(self.possible_agents), 0
        return self._look(), self._infos(-float(len(self.seeds)), False)

    def step(self, actions):
        assert all(self.acted.contains(actions[agent]) for agent in self.agents), actions
        self.now, self.taken = self.now + 1, actions
        seen = self._look()
        rewards = {a: float(seen[a][0]) if self.reward is None else self.reward for a in self.agents}
        ended = self.now == self.horizon
        no, end = dict.fromkeys(self.agents, False), dict.fromkeys(self.agents, ended)
        terminated, truncated = {"truncated": (no, end), "terminated": (end, no), "both": (end, end)}[self.ending]
        infos = self._infos(float(self.now), ended and self.ending == "truncated")
        if ended:
            self.agents = []
        return seen, rewards, terminated, truncated, infos

    def count_up(self, by=1):
        self.count += by
        return self.count

    def render(self):
        return np.full((4, 4, 3), self.now, np.uint8)

    def _look(self):
        self.seen[:, 0] = self.rng.uniform(-1, 1, len(self.seen))
        self.seen[:, 1] = self.now / self.horizon
        self.seen[:, 2] = np.arange(len(self.seen))
        return dict(zip(self.possible_agents, self.seen, strict=True))

    def _infos(self, steps, truncated):
        return {agent: {"steps": steps, "TimeLimit.truncated": truncated} for agent in self.possible_agents}


class Bare(Team):
    """Without the optional: no `render_mode`, no infos about the time limit, the same observation at all times."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        del self.render_mode

    def _look(self):
        return {agent: np.ones(3, np.float32) for agent in self.possible_agents}

    def _infos(self, steps, truncated):
        return {agent: {} for agent in self.possible_agents}


class Locked(Team):
    """Cannot be pickled, as an environment that holds a power flow engine."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.lock = threading.Lock()


class OddError(Exception):
    """Pickles, but cannot be built again from its message."""

    def __init__(self, bus, phase):
        super().__init__(f"no solution at {bus}.{phase}")


class Failing(Team):
    """Raises in its second step; in its constructor if told so."""

    def __init__(self, error=None, early=False):
        super().__init__()
        self.error = error or ValueError("the feeder burnt down")
        if early:
            raise self.error

    def step(self, actions):
        if self.now == 1:
            raise self.error
        return super().step(actions)


class OneDies(Team):
    """The first agent ends before the others."""

    def step(self, actions):
        seen, rewards, terminated, truncated, infos = super().step(actions)
        terminated = {**terminated, "zone_0": True}
        return seen, rewards, terminated, truncated, infos


class Mixed(Team):
    """The second agent has a space of its own, `kind` "observation" or "action"."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        self.other = spaces.Box(-2, 2, (5,), np.float32)

    def observation_space(self, agent):
        return self.other if (self.kind, agent) == ("observation", "zone_1") else self.observed

    def action_space(self, agent):
        return self.other if (self.kind, agent) == ("action", "zone_1") else self.acted


class Closing(Team):
    """Leaves a line in a file when it is closed."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def close(self):
        with Path(self.path).open("a") as file:
            file.write("closed\n")


class Masked(Team):
    """Observations in a Dict, with the switches that may be moved."""

    def __init__(self):
        super().__init__(n_actions=3, reward=1.0)
        self.observed = spaces.Dict(observation=self.observed, action_mask=spaces.Box(0, 1, (3,), np.int8))

    def _look(self):
        mask = np.array([1, 0, 1], np.int8)
        return {agent: {"observation": seen, "action_mask": mask} for agent, seen in super()._look().items()}


class Dying(Team):
    """Takes its process down."""

    def step(self, actions):
        os._exit(3)


class Modules(Team):
    """Reports what its process has imported."""

    def modules(self):
        return set(sys.modules)


ONLY = Team()


def the_only_team():
    """A factory that builds nothing."""
    return ONLY
