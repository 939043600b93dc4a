"""Cold start: how a restoration plan looks at intervals in which loads come back after an interruption."""

from __future__ import annotations

import numpy as np

from dss_marl.envs.simulator import Simulator
from dss_marl.grid.state import Array, GridState


def advance_unsolved(simulator: Simulator, after: GridState) -> GridState:
    """The interval after one, as ``Simulator.observe_next``, but the last voltages spare a power flow."""
    return simulator.hold(after.step + 1, after.setpoints, after.device_state, after.action, after.solution)


def picked_up_kw(simulator: Simulator, now: GridState) -> Array:
    """(J) what each load would draw if all were supplied, including cold-load pickup, >= 0 [kW]."""
    kw = np.maximum(-simulator.conditions.injections_kw(now.step), 0.0)
    if simulator.cold_load is not None:
        kw[simulator.cold_load.loads] *= simulator.cold_load.factors(now.device_state[simulator.cold_load_rows])
    return kw


def without_pickup(simulator: Simulator, now: GridState, step: int) -> GridState:
    """The same state in another interval, without cold-load pickup; solution and telemetry are unchanged."""
    device_state = now.device_state.copy()
    device_state[simulator.cold_load_rows] = 0.0
    return now.replace(step=step, device_state=device_state)
