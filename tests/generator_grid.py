"""Grid-forming units and the switches of ieee123, stepped as the environment does."""

from functools import cache

import numpy as np

from dss_marl import OpenDSSEngine, read_feeder
from dss_marl.devices import device_kind
from dss_marl.grid.state import Interval

RATED = {"35": 240, "48": 330, "64": 545, "78": 535, "95": 350, "108": 275}  # kW, the sizes of our study
OFF, FULL = -1.0, 1.0


@cache
def built(**changes):
    """Forming units at the six buses, the switches of ieee123, and an engine."""
    kinds = device_kind("generator"), device_kind("switch")
    units = [
        kinds[0].Spec.model_validate(
            {"kind": "generator", "name": f"dg{bus}", "bus": bus, "kw": kw, "forming": True, **changes}
        )
        for bus, kw in RATED.items()
    ]
    lines = [kinds[1].Spec(kind="switch")]
    feeder = read_feeder("ieee123", ["batchedit load..* vminpu=0.5 vmaxpu=1.3"], kinds[0].added_units(units))
    return kinds[0].build(units, feeder), kinds[1].build(lines, feeder), feeder, OpenDSSEngine(feeder, 1e-8)


def at(step=0, faulted=None):
    return Interval(step, 0.0, 0.25, faulted)


class Grid:
    """Switches and generators stepped as the environment does: switches first, one solve, then the check."""

    def __init__(self, scale=1.0, **changes):
        self.units, self.switches, self.feeder, self.engine = built(**changes)
        self.setpoints, self.state = self.feeder.setpoints(), self.units.initial()
        self.setpoints.kw[self.feeder.loads] *= scale
        self.setpoints.kvar[self.feeder.loads] *= scale
        self.step_number = 0

    def step(self, run=(), faulted=None, **lines):
        """Run units at an action (others off), move lines; what was limited in acting, and what tripped."""
        interval = at(self.step_number, faulted)
        self.step_number += 1
        asked = np.zeros((self.switches.size, 1))
        for name, value in lines.items():
            asked[self.switches.names.index(name)] = value
        _, refused = self.switches.act(asked, self.switches.initial(), self.setpoints, interval)
        action = self.units.default_action()
        for bus, value in dict(run).items():
            action[self.units.names.index(f"dg{bus}")] = value if isinstance(value, tuple) else (value, 0.0)
        self.state, limited = self.units.act(action, self.state, self.setpoints, interval)
        self.solution = self.engine.solve(self.setpoints)
        self.state, tripped = self.units.check(self.state, self.setpoints, self.solution)
        assert not refused.any()
        return self.named(limited), self.named(tripped)

    def named(self, flags):
        return {name.removeprefix("dg") for name, flag in zip(self.units.names, flags, strict=True) if flag}

    @property
    def forming(self):
        return self.named(self.setpoints.closed[self.units.grid_forming_units])

    def kw(self, bus):
        return self.solution.served_kw[self.units.injections[self.units.names.index(f"dg{bus}")]]

    def volts(self, bus):
        return self.solution.v_pu[[self.feeder.node_index[f"{bus}.{p}"] for p in (1, 2, 3)]]
