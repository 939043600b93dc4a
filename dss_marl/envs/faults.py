"""Faults of an episode: drawn from the scenario at reset, or the day's outages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from dss_marl.envs.scenario import Scenario
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import BoolArray, Setpoints
from dss_marl.grid.topology import Topology
from dss_marl.profiles import Outage
from dss_marl.profiles.splits import split_of

_FOREVER = 10**9  # a step beyond any episode


class Fault(NamedTuple):
    """A fault for a part of an episode.

    Attributes:
        first, last: steps; the fault lasts from ``first`` up to, not including, ``last``.
        nodes: (N) True where a node must not be energised during the fault.
        opened: (S) True where protection opens a switch at its start.
    """

    first: int
    last: int
    nodes: BoolArray
    opened: BoolArray


def fault_branches(fault: str) -> list[str]:
    """The branches of a fault as a scenario names it; simultaneous ones are joined by +."""
    return [name.strip() for name in fault.split("+")]


def check_faults(scenario: Scenario, feeder: Feeder, start: Setpoints) -> None:
    """Check that protection can clear each of the scenario's faults.

    Raises:
        ValueError: no such branch, or no switch isolates it from the source.
    """
    if scenario.faults == "outages" or not scenario.faults:
        return
    topology = Topology.build(feeder)
    for name in scenario.faults:
        try:
            topology.isolated(start.closed, feeder.at_ends(fault_branches(name)))
        except ValueError as error:
            raise ValueError(f"scenario {scenario.name!r}: fault {name!r}: {error}") from error


def draw_faults(candidates: Sequence[str] | Literal["outages"], day: int, rng: np.random.Generator) -> list[str] | None:
    """The branches faulted throughout an episode; None if the day's own outages apply.

    Args:
        candidates: faults of the scenario.
        day: its number; in ``outage_season`` two faults occur at once.
        rng: random stream.
    """
    if candidates == "outages":
        return None
    if not candidates:
        return []
    most = 2 if split_of(day)[0] == "outage_season" else 1
    drawn = rng.choice(len(candidates), min(most, len(candidates)), replace=False)
    return [branch for k in drawn for branch in fault_branches(candidates[int(k)])]


def checked_faults(faults: object) -> Sequence[str] | None:
    """Branches as an option of ``reset`` names them; None takes the day's own outages.

    Raises:
        ValueError: no list of names; a lone name would be read letter by letter.
    """
    if faults is None:
        return None
    if not isinstance(faults, list | tuple) or not all(isinstance(name, str) for name in faults):
        raise ValueError(f"faults must be a list of branches, such as ['line.l53']; got {faults!r}")
    return faults


def permanent_fault(branches: Sequence[str], feeder: Feeder, topology: Topology) -> Fault:
    """A fault of these branches throughout an episode.

    Raises:
        ValueError: no such branch, or no switch isolates one from the source.
    """
    nodes = feeder.at_ends(branches)
    return Fault(0, _FOREVER, nodes, _opened(nodes, feeder, topology))


def repaired_faults(
    branches: Sequence[str], scenario: Scenario, feeder: Feeder, topology: Topology, rng: np.random.Generator
) -> tuple[Fault, ...]:
    """A fault per branch from the start of an episode until its repair; what protection opened stays open after it.

    Args:
        branches: faulted at the start.
        scenario, feeder, topology: of the task.
        rng: of the day; a branch has the same repair time whatever other branches are faulted.

    Raises:
        ValueError: as of ``permanent_fault``.
    """
    if not branches or scenario.repair_h is None:
        return (permanent_fault(branches, feeder, topology),) if branches else ()
    low, high = scenario.repair_h
    hours = rng.uniform(low, high, len(feeder.nodes))
    faults = []
    for branch in branches:
        one = permanent_fault([branch], feeder, topology)
        faults.append(one._replace(last=math.ceil(hours[one.nodes.argmax()] / scenario.dt_h)))
    return tuple(faults)


def outage_faults(
    outages: Iterable[Outage], scenario: Scenario, feeder: Feeder, topology: Topology
) -> tuple[Fault, ...]:
    """A day's outages in steps of the episode, without those that no switch can isolate from the source."""
    faults = []
    for outage in outages:
        first = math.floor((outage.start_h - scenario.start_hour) / scenario.dt_h)
        last = math.ceil((outage.start_h + outage.duration_h - scenario.start_hour) / scenario.dt_h)
        nodes = feeder.at_ends([outage.branch])
        if last > 0 and not topology.reaches_source(nodes):
            faults.append(Fault(max(first, 0), last, nodes, _opened(nodes, feeder, topology)))
    return tuple(faults)


def _opened(nodes: BoolArray, feeder: Feeder, topology: Topology) -> BoolArray:
    """(S) the switches that protection opens around faulted nodes (N)."""
    return ~topology.isolated(np.ones(len(feeder.switches), bool), nodes)
