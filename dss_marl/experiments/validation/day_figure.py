"""Figure of one test day under three controllers, for visual inspection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dss_marl.controllers import OPT_IN, REFERENCES
from dss_marl.devices import Batteries, DeviceGroup, OpenPoints
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import Task, build_task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.evaluation import available_controllers, environment_for, run_day
from dss_marl.experiments.validation.budget import frozen_days
from dss_marl.grid.state import Array, BoolArray, GridState
from dss_marl.mdp.quantities import estimate_off
from dss_marl.mdp.rewards import unserved_kwh

_PLAIN = ("tuned_droop", "droop", "opendss_controls")  # if no rule-based controller supports the task
_STILL = 1e-5  # in any unit drawn: smaller changes are rounding errors


def picture(scenario: Scenario, day: int | None, path: Path) -> Path:
    """Draw a day under no control, a rule-based controller or droop, and the reference controller.

    Args:
        scenario: to run.
        day: number; None takes the middle one of the frozen test days.
        path: PNG to write.

    Raises:
        ValueError: no controller supports the day.
        ImportError: matplotlib is missing.
    """
    from dss_marl import plots

    task = build_task(scenario)
    days = frozen_days(task)
    day = days[len(days) // 2] if day is None else day
    best = scenario.reference_controller
    names = [name for name in REFERENCES if name not in OPT_IN or name == best]
    found, refused = available_controllers(scenario, names if best in names else [*names, best], day)
    if scenario.reference_controller in refused:
        raise ValueError(f"scenario {scenario.name!r}, day {day}: {refused[scenario.reference_controller]}")
    rules = [name for name in found if name not in ("no_control", "random", scenario.reference_controller, *_PLAIN)]
    middle = [name for name in (*rules, *_PLAIN) if name in found and name != scenario.reference_controller][:1]
    panels = {}
    for name in ("no_control", *middle, scenario.reference_controller):
        env = environment_for(found[name], scenario, "test")
        states: list[tuple[GridState, GridState]] = []

        def watch(after: GridState, env: ZoneEnv = env, states: list[tuple[GridState, GridState]] = states) -> None:
            assert env.before is not None
            states.append((env.before, after))

        figures = run_day(env, found[name], day, watch)
        panels[f"{name}: return {figures['team_return']:.4g}"] = panels_of(env.task, states)
        env.close()
    every = [label for label in _ORDER if _varies(label, list(panels.values()))]
    intervals = max(len(next(iter(own["power [kW]"].values()))) for own in panels.values())
    whole = {name: _filled(own, every, intervals) for name, own in panels.items()}
    hours: Array = scenario.start_hour + np.arange(intervals + 1, dtype=float) * scenario.dt_h
    title = f"{scenario.name}, test day {day}"
    return plots.save(plots.operation_figure(whole, hours, title), path)


def panels_of(task: Task, states: Sequence[tuple[GridState, GridState]]) -> dict[str, dict[str, Array]]:
    """Lines of a day's panels, by label; only for devices that the feeder has.

    Args:
        task: as simulated.
        states: before and after each interval.
    """
    feeder, after = task.feeder, [state for _, state in states]
    scored_nodes = np.sort(np.concatenate([zone.scored_nodes for zone in task.zones]))
    v = np.array([_band(state.solution.v_pu[scored_nodes], state.solution.energised[scored_nodes]) for state in after])
    rows = {kind: [j for j, row in enumerate(feeder.injections) if row.kind == kind] for kind in _kinds(task)}
    served = np.array([state.solution.served_kw for state in after])
    power = {"import": np.array([float(state.solution.source_kw) for state in after])}
    power |= {_PLURAL.get(kind, kind): abs(served[:, own].sum(1)) if kind == "load" else served[:, own].sum(1)
              for kind, own in rows.items()}  # fmt: skip
    panels = {"voltage [pu]": dict(zip(("lowest", "median", "highest"), v.T, strict=True)), "power [kW]": power}
    kvar = np.array([state.setpoints.kvar for state in after])
    for kind in ("inverter", "battery", "generator"):
        own = [j for j in rows.get(kind, []) if kvar[:, j].any()]
        if own:
            panels[f"{kind} [kvar]"] = _lines(kvar[:, own])
    for kind in ("battery", "generator"):
        if rows.get(kind):
            panels[f"{kind} [kW]"] = _lines(served[:, rows[kind]])
    charge, places = _readings(task, after, Batteries), _readings(task, after, OpenPoints)
    if charge is not None:
        panels["state of charge [1]"] = _lines(charge[..., 0])
    if places is not None:
        panels["open point [index]"] = _lines(places.argmax(-1).astype(float))
    if task.all_zones.all_estimated:
        off = np.array([np.abs(estimate_off(task.all_zones, *pair)).ravel() for pair in states])  # 0 where padded
        panels["estimation error [pu]"] = {"worst": off.max(1), "mean": off.sum(1) / task.all_zones.all_estimated}
    if len(feeder.taps):
        panels["tap position"] = _lines(np.array([state.setpoints.tap for state in after], float))
    closed = np.array([state.setpoints.closed for state in after])
    for kind, label, shut in (("capacitor", "capacitor steps closed", True), ("switch", "open switches", False)):
        own = [s for s, row in enumerate(feeder.switches) if row.kind == kind]
        if own:
            panels[label] = {"_count": (closed[:, own] == shut).sum(1).astype(float)}
    dark = np.array([float(unserved_kwh(task.all_zones, *pair).sum()) / task.scenario.dt_h for pair in states])
    panels[_UNSERVED[task.priorities is not None]] = {"_unserved": dark}
    return panels


_UNSERVED = ("unserved [kW]", "unserved, weighted [kW]")
_ORDER = (
    "voltage [pu]",
    "power [kW]",
    *(f"{kind} [{unit}]" for kind in ("inverter", "battery", "generator") for unit in ("kW", "kvar")),
    "state of charge [1]",
    "estimation error [pu]",
    "open point [index]",
    "tap position",
    "capacitor steps closed",
    "open switches",
    *_UNSERVED,
)


def _varies(label: str, panels: Sequence[dict[str, dict[str, Array]]]) -> bool:
    """Whether any line of the panel varies over time or between controllers."""
    lines = [own[label] for own in panels if label in own]
    moves = any(np.ptp(line) > _STILL for own in lines for line in own.values())
    return moves or any(own[name][0] != lines[0][name][0] for own in lines for name in own if name in lines[0])


def _band(v_pu: Array, alive: BoolArray) -> tuple[float, float, float]:
    """Lowest, median and highest voltage of energised nodes; NaN if there are none."""
    v = v_pu[alive]
    return (float(v.min()), float(np.median(v)), float(v.max())) if v.size else (np.nan, np.nan, np.nan)


_PLURAL = {"load": "loads", "inverter": "PV", "battery": "batteries", "ev_charger": "EVs", "generator": "generators"}


def _kinds(task: Task) -> list[str]:
    return list(dict.fromkeys(row.kind for row in task.feeder.injections))


def _lines(values: Array) -> dict[str, Array]:
    """(T, n) values as lines without names."""
    return {f"_{k}": column for k, column in enumerate(values.T)}


def _readings(task: Task, states: Sequence[GridState], kind: type[DeviceGroup]) -> Array | None:
    """(T, D, M) telemetry of the devices of a kind; None where there are none."""
    place = 0
    for group in task.device_groups:
        width = group.size * len(group.telemetry_labels)
        if isinstance(group, kind):
            return np.array([s.telemetry[place : place + width].reshape(group.size, -1) for s in states])
        place += width
    return None


def _filled(own: dict[str, dict[str, Array]], labels: Sequence[str], steps: int) -> dict[str, dict[str, Array]]:
    """The same panels for all controllers; empty where a controller lacks one, or after a failed power flow."""
    blank = np.full(steps, np.nan)
    return {
        label: {
            name: np.append(values, blank[len(values) :]) for name, values in own.get(label, {"_none": blank}).items()
        }
        for label in labels
    }
