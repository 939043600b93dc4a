"""Which taps and switches a task can move: engines for many copies fix the others in their tables."""

from __future__ import annotations

import numpy as np

import dss_marl.devices as devices
from dss_marl.envs.task import Task
from dss_marl.grid.state import BoolArray

# Kinds that set powers only, and those that move lines; kinds of a user may move anything.
_POWERS_ONLY = (
    devices.Inverters,
    devices.SteppedInverters,
    devices.Batteries,
    devices.EVChargers,
    devices.FlexibleLoads,
    devices.LoadShedders,
    devices.Estimators,
    devices.PV,
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
        if type(group) is devices.Regulators:
            taps[group.taps] = True
        elif type(group) is devices.Capacitors:
            switches[group.switches] = True
        else:
            lines = type(group) in (devices.Switches, devices.FeederTies, devices.OpenPoints, devices.Generators)
            switches |= ~is_bank if lines else True
            taps |= True  # a regulator in reverse flow goes to neutral
    return taps, switches
