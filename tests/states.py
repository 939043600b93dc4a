"""States of the grid that tests share: of a random day, changed by hand, stacked."""

from dataclasses import replace
from functools import cache

import numpy as np
from common import task_of

from dss_marl import OpenDSSEngine, ZoneEnv
from dss_marl.grid.state import GridState, Setpoints, Solution


@cache
def steps(name):
    """(before, after) pairs of a random day, one with dead nodes and an overload made by hand."""
    env = ZoneEnv(task_of(name), engine=OpenDSSEngine(task_of(name).feeder))
    env.reset(seed=1, options={"day": 172})
    rng = np.random.default_rng(1)
    pairs = []
    while env.agents and len(pairs) < 60:
        env.step(env.task.encoding.encode(rng.uniform(-1, 1, env.task.agents.action_layout.size)))
        pairs.append((env.before, env.after))
    before, after = pairs[-1]
    alive = np.arange(len(after.solution.v_pu)) % 7 != 3
    dead = replace(after.solution, v_pu=after.solution.v_pu * alive, energised=alive)
    curtailed = after.setpoints.copy()
    curtailed.kw = curtailed.kw * 0.9
    curtailed.closed = ~curtailed.closed
    pairs[-1] = (before, after.replace(solution=overloaded(dead), setpoints=curtailed))
    env.close()
    return pairs[:: max(1, len(pairs) // 10)] + pairs[-1:]


class Given:
    """Solution.currents: a loading, and the angles of voltages."""

    def __init__(self, loading, angle_rad):
        self.loading, self.angles = loading, angle_rad

    def __call__(self):
        return self.loading

    def angle_rad(self):
        return self.angles


def overloaded(solution, by=0.4):
    return replace(solution, currents=Given(np.linspace(0, 1 + by, len(solution.loading)), solution.angle_rad))


def with_voltages(state, v_pu, energised=None):
    v_pu = np.asarray(v_pu, float)
    alive = np.ones(v_pu.shape, bool) if energised is None else energised
    return state.replace(solution=replace(state.solution, v_pu=v_pu, energised=alive))


def stacked(states, batch=None):
    """States as one with a leading axis, or with the leading axes ``batch``."""
    batch = (len(states),) if batch is None else batch

    def of(get):
        rows = [np.asarray(get(state)) for state in states]
        return np.stack(rows).reshape(*batch, *rows[0].shape)

    currents = Given(of(lambda s: s.solution.loading), of(lambda s: s.solution.angle_rad))
    solution = Solution(
        **{
            name: of(lambda s, name=name: getattr(s.solution, name))
            for name in (
                "v_pu",
                "loss_kw",
                "source_kw",
                "source_kvar",
                "served_kw",
                "energised",
                "tap",
                "closed",
                "grid_forming_kw",
                "grid_forming_kvar",
            )
        },
        currents=currents,
    )
    points = Setpoints(
        *(of(lambda s, name=name: getattr(s.setpoints, name)) for name in ("kw", "kvar", "tap", "closed", "lost_kw"))
    )
    first = states[0]
    names = (
        "device_state",
        "forecast",
        "price",
        "action",
        "telemetry",
        "unmet_kwh",
        "stored_kwh",
        "fuel_l",
        "worn_kwh",
        "pv_kwh",
    )
    rest = {name: of(lambda s, name=name: getattr(s, name)) for name in names}
    rest["import_limit_kw"] = first.import_limit_kw
    if any(state.faulted is not None for state in states):  # none before the fault and after the repair
        nowhere = np.zeros(first.solution.v_pu.shape, bool)
        rest["faulted"] = of(lambda s: nowhere if s.faulted is None else s.faulted)
    return GridState(first.step, first.hour, first.dt_h, setpoints=points, solution=solution, **rest)
