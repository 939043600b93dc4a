"""Where voltages leave the band: hours by bus and time of day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dss_marl.envs.task import Task
from dss_marl.experiments.recording import Recording
from dss_marl.experiments.reports.html.plays import scored_columns
from dss_marl.grid.state import Array, BoolArray, IntArray
from dss_marl.grid.voltage_band import VoltageBand


@dataclass(frozen=True)
class BusTimes:
    """A quantity of the buses under one controller, over the time of day.

    Attributes:
        by_slot: (S, B) mean over days in each slot; NaN where a bus has no such quantity.
        in_all: (B) over the whole episode.
    """

    by_slot: Array
    in_all: Array


@dataclass(frozen=True)
class Quantity:
    """What the map shows.

    Attributes:
        key, title, unit: of it.
        sums: whether slots add up to the whole day; else they are averaged.
        times: controller to its values.
    """

    key: str
    title: str
    unit: str
    sums: bool
    times: Mapping[str, BusTimes]


def slots_of(task: Task) -> tuple[Array, IntArray]:
    """Hours after midnight at which slots of an hour, or of an interval if that is longer, begin (S); slot of each
    step (T).
    """
    scenario = task.scenario
    starts = scenario.start_hour + np.arange(scenario.steps) * scenario.dt_h
    begins = starts if scenario.dt_h >= 1 else np.floor(starts + 1e-9)
    hours, slot = np.unique(begins, return_inverse=True)
    return hours, slot


def quantities(task: Task, plays: Mapping[str, Mapping[int, Recording]]) -> list[Quantity]:
    """Time outside the band; where it occurs, time without voltage; and errors of estimates where there are any."""
    outside = {name: _hours(task, own, _outside) for name, own in plays.items()}
    found = [Quantity("outside", f"Time outside {task.band.text}", "h per day", True, outside)]
    dead = {name: _hours(task, own, _dead) for name, own in plays.items()}
    if any(np.nansum(times.in_all) > 0 for times in dead.values()):
        found.append(Quantity("dead", "Time without voltage", "h per day", True, dead))
    if task.all_zones.all_estimated:
        errors = {name: _errors(task, own) for name, own in plays.items()}
        found.insert(0, Quantity("error", "Mean absolute error of the estimates", "pu", False, errors))
    return found


def worst_buses(quantity: Quantity, controller: str, most: int = 10) -> list[int]:
    """Buses with the largest values under a controller, the largest first; equal ones by the others' largest.

    Those at 0 under all are left out.
    """
    own = np.nan_to_num(quantity.times[controller].in_all)
    largest = np.max([np.nan_to_num(times.in_all) for times in quantity.times.values()], axis=0)
    order = np.lexsort((-largest, -own))
    return [int(bus) for bus in order[:most] if largest[bus] > 0]


def voltage_range(
    task: Task, recordings: Mapping[int, Recording], bus: str, scored: bool = True
) -> tuple[float, float]:
    """Lowest and highest voltage of a bus's energised (scored) nodes over all days [pu]; NaN if there is none."""
    nodes = [k for k in (scored_columns(task) if scored else range(len(task.feeder.nodes))) if _bus_of(task, k) == bus]
    v = np.concatenate([one["voltages"].values[:, nodes].ravel() for one in recordings.values()])
    v = v[np.isfinite(v) & (v > 0)]
    return (float(v.min()), float(v.max())) if v.size else (np.nan, np.nan)


def _bus_of(task: Task, node: int) -> str:
    return task.feeder.nodes[node].rsplit(".", 1)[0]


def _outside(v_pu: Array, band: VoltageBand) -> BoolArray:
    return np.asarray((v_pu > 0) & band.outside(v_pu))


def _dead(v_pu: Array, band: VoltageBand) -> BoolArray:
    return v_pu == 0


def _hours(task: Task, recordings: Mapping[int, Recording], test: object) -> BusTimes:
    """Hours a day in which the test holds at a scored node of the bus."""
    assert callable(test)
    nodes = scored_columns(task)
    buses = np.array([task.feeder.node_bus[k] for k in nodes])
    hours, slot = slots_of(task)
    sums, count = np.zeros((len(hours), len(task.feeder.buses))), len(task.feeder.buses)
    for recording in recordings.values():
        found = test(recording["voltages"].values[:, nodes], task.band.at(nodes))
        for step, row in zip(recording.step, found, strict=True):
            sums[slot[step]] += np.bincount(buses[row], minlength=count) > 0
    by_slot = sums * task.scenario.dt_h / max(len(recordings), 1)
    by_slot[:, np.setdiff1d(np.arange(count), buses)] = np.nan
    return BusTimes(by_slot, by_slot.sum(0))


def _errors(task: Task, recordings: Mapping[int, Recording]) -> BusTimes:
    """Mean absolute error of the estimates at a bus [pu]."""
    hours, slot = slots_of(task)
    count = len(task.feeder.buses)
    sums, seen = np.zeros((len(hours), count)), np.zeros((len(hours), count))
    for recording in recordings.values():
        table = recording["estimate_errors"]
        buses = np.array([task.feeder.bus_index[column.bus] for column in table.columns])
        off = table.values
        for step, row in zip(recording.step, np.abs(off), strict=True):
            known = np.isfinite(row)
            sums[slot[step]] += np.bincount(buses[known], row[known], count)
            seen[slot[step]] += np.bincount(buses[known], minlength=count)
    with np.errstate(invalid="ignore"):
        return BusTimes(sums / seen, sums.sum(0) / seen.sum(0))
