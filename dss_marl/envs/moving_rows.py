"""Which taps and switches a task can move: engines for many copies fix the others in their tables."""

from __future__ import annotations

import numpy as np

from dss_marl.devices import (
    PV,
    Batteries,
    Capacitors,
    Estimators,
    EVChargers,
    FeederTies,
    FlexibleLoads,
    Generators,
    Inverters,
    LoadShedders,
    OpenPoints,
    Regulators,
    SteppedBatteries,
    SteppedInverters,
    Switches,
)
from dss_marl.envs.task import Task
from dss_marl.grid.state import BoolArray

# Kinds that set powers only, and those that move lines; kinds of a user may move anything.
_POWERS_ONLY = (
    Inverters,
    SteppedInverters,
    SteppedBatteries,
    Batteries,
    EVChargers,
    FlexibleLoads,
    LoadShedders,
    Estimators,
    PV,
)


def moving_rows(task: Task) -> tuple[BoolArray, BoolArray]:
    """(R) and (S) True for the taps and switches that devices or the circuit's own controls may move."""
    feeder = task.feeder
    own = task.scenario.circuit_controls
    taps = np.full(len(feeder.taps), own)
    is_bank = np.array([row.kind == "capacitor" for row in feeder.switches], bool)
    switches = is_bank & own
    for group in task.device_groups:
        if type(group) in _POWERS_ONLY:
            continue
        if type(group) is Regulators:
            taps[group.taps] = True
        elif type(group) is Capacitors:
            switches[group.switches] = True
        else:
            lines = type(group) in (Switches, FeederTies, OpenPoints, Generators)
            switches |= ~is_bank if lines else True
            taps |= True  # a regulator in reverse flow goes to neutral
    return taps, switches
