"""An environment that gives away whether a mask is the right one; in a file of its own, for workers to import."""

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv


class Ladder(ParallelEnv):
    """Two agents on ladders: what an agent sees says what its mask is, so that a mask of another time is found out.

    It sees [episode, step, agent]; its two choices are allowed where bit k of their sum is set, the first one always.
    """

    def __init__(self, horizon=3):
        self.possible_agents = ["pole_1", "pole_2"]
        self.metadata, self.render_mode, self.horizon, self.episode = {"name": "ladder"}, None, horizon, 0
        parts = spaces.Tuple([spaces.MultiBinary(3), spaces.MultiBinary(2)])
        self.seen = spaces.Dict(observation=spaces.Box(-1, 99, (3,), np.float32), action_mask=parts)
        self.acted = spaces.MultiDiscrete([3, 2])

    def observation_space(self, agent):
        return self.seen

    def action_space(self, agent):
        return self.acted

    @staticmethod
    def mask(row):
        bits = int(sum(row))
        return np.array([1, bits & 1, bits >> 1 & 1], np.int8), np.array([1, bits >> 2 & 1], np.int8)

    def maybe_evaluate(self):
        rows = [np.array([self.episode, self.now, a], np.float32) for a in range(2)]
        seen = [{"observation": row, "action_mask": self.mask(row)} for row in rows]
        return dict(zip(self.possible_agents, seen, strict=True))

    def reset(self, seed=None, options=None):
        self.agents, self.now = list(self.possible_agents), 0
        self.episode += 1
        return self.maybe_evaluate(), {agent: {} for agent in self.agents}

    def step(self, actions):
        self.now += 1
        agents, no, end = self.agents, dict.fromkeys(self.agents, False), self.now == self.horizon
        self.agents = [] if end else agents
        return (
            self.maybe_evaluate(),
            dict.fromkeys(agents, 1.0),
            no,
            dict.fromkeys(agents, end),
            {a: {} for a in agents},
        )
