"""One small implementation of everything that a scenario or a caller may name as ``package.module:name``."""

from typing import Literal

import numpy as np
from pydantic import Field

from dss_marl import OpenDSSEngine
from dss_marl.mdp.actions import BoxEncoding, DecodedActions
from dss_marl.profiles import Day, ProfileSpec


class HalfSun:
    """A controller that feeds nothing back: reactive power at a share of what there is."""

    circuit_controls = False

    def __init__(self, share=0.5):
        self.share = share

    def reset(self, env):
        self.started = env.day

    def act(self, env, observations):
        return env.task.encoding.encode(np.full(env.task.agents.action_layout.size, -self.share))


def of_scenario(scenario):
    """A controller that needs to know the scenario."""
    return HalfSun(1 / scenario.steps)


class Idle:
    """A planner that leaves everything as if nobody controlled it."""

    def unsupported_reason(self, task):
        return "" if task.scenario.attack is None else "compromised agents"

    def plan_day(self, task, day, thorough=False):
        return np.tile(task.default_action, (task.scenario.steps, 1))


class CountingEngine(OpenDSSEngine):
    """OpenDSS, with a count of its power flows."""

    solves = 0

    def solve(self, setpoints, controls=False):
        self.solves += 1
        return super().solve(setpoints, controls)


class ConstantDays(ProfileSpec):
    """Every load at the same share of its nominal power, no PV, a price of 1."""

    kind: Literal["own_plugins:ConstantDays"]
    share: float = Field(gt=0, le=2)
    days: int = 60

    def open(self, feeder, minutes):
        return ConstantSource(self, feeder)


class ConstantSource:
    seed = 0

    def __init__(self, spec, feeder):
        self.spec, self.feeder = spec, feeder
        self.days, self.nominal_kw = spec.days, feeder.nominal_kw

    def rows(self, day, intervals):
        is_load = np.isin(np.arange(len(self.nominal_kw)), self.feeder.loads)
        share = self.spec.share * is_load * np.ones((intervals, 1))
        price = np.ones(intervals)
        return Day(share * self.nominal_kw, share * self.feeder.nominal_kvar, price, 20 * price)

    def outages(self, day):
        return ()


class SquaredBox(BoxEncoding):
    """Numbers whose square, with their sign, goes to the devices: finer near 0."""

    def decode(self, actions):
        decoded = super().decode(actions)
        x = decoded.joint_action
        return DecodedActions(np.sign(x) * x**2, decoded.level, decoded.clipped)

    def encode(self, joint_action):
        return super().encode(np.sign(joint_action) * np.sqrt(np.abs(joint_action)))
