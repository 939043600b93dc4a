"""Grid-forming units: their model in the circuit, and their output."""

from __future__ import annotations

from typing import Any

import numpy as np

from dss_marl.engines.opendss.terminals import activate
from dss_marl.grid.elements import Bus, Injection, Switch
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, BoolArray

_STIFF = "r1=1e-4 x1=2e-3 r0=1e-4 x0=2e-3"  # weaker sources do not converge when overloaded
_PREFIX = "dss_marl_former_"


def grid_forming_unit(unit: Injection, bus: Bus, feeder: str) -> tuple[Switch, list[str]]:
    """The switch row and the commands that let a unit form an island.

    A source on a hidden bus, always on, behind a line of its own: switching the line takes a third of the time of
    switching the source. The hidden bus exists only in OpenDSS, not in the Feeder.

    Raises:
        ValueError: the bus does not have three phases.
    """
    own = unit.name.split(".", 1)[1]
    if unit.phases != (1, 2, 3):
        raise ValueError(
            f"{unit.kind} {own!r} at bus {bus.name!r} of feeder {feeder!r} has phases {list(unit.phases)}; a unit that "
            "forms an island needs three"
        )
    hidden, line = f"{_PREFIX}{own}", f"line.{_PREFIX}{own}"
    row = Switch(f"grid_forming.{own}", "grid_forming", line, bus.name, (1, 2, 3), closed=False)
    return row, [
        f'new "vsource.{hidden}" bus1="{hidden}" phases=3 basekv={bus.kv_base * 3**0.5:.9g} pu=1 angle=0 {_STIFF}',
        f'new "{line}" phases=3 bus1="{hidden}.1.2.3" bus2="{bus.name}.1.2.3" r1=1e-6 x1=0 r0=1e-6 x0=0 c1=0 c0=0 '
        "length=1 units=none",
        f'open "{line}" 1',
    ]


def grid_forming_powers(context: Any, feeder: Feeder, closed: BoolArray) -> tuple[Array, Array]:
    """(G, 3) output of each grid-forming unit per phase [kW, kvar]; 0 where it is off."""
    power = np.zeros((len(feeder.grid_forming_units), 6))
    for g, s in enumerate(feeder.grid_forming_units):
        if closed[s]:
            source = activate(context, "vsource." + feeder.switches[s].element.removeprefix("line."))
            power[g] = source.Powers()[:6]  # of the first terminal, kW and kvar in turn, into the source
    return -power[:, ::2], -power[:, 1::2]
