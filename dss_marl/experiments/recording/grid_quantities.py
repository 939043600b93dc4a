"""What a recording holds of the grid and its devices."""

from __future__ import annotations

import numpy as np

from dss_marl.devices import DeviceGroup
from dss_marl.envs.faults import fault_branches
from dss_marl.envs.task import Task
from dss_marl.experiments.recording.quantity import Places, Quantity, Step, labelled
from dss_marl.experiments.recording.table import Column
from dss_marl.grid.feeder import find
from dss_marl.grid.state import Array, GridState, IntArray
from dss_marl.mdp.quantities import estimate_off

_SYSTEM = (
    Column("source_kw", "kW"),
    Column("source_kvar", "kvar"),
    Column("loss_kw", "kW"),
    Column("price", "1/kWh"),
    Column("team_reward", ""),
    Column("failed", ""),
)


def grid_quantities(task: Task) -> list[Quantity]:
    """Tables of the power flow and of what is set; those that would have no column included."""
    system = Quantity(
        "system", "power from the source, losses, price of energy, return, failure", "", _SYSTEM, of_step=_system
    )
    grid = [*_nodes_and_branches(task), *_injections(task), *_positions(task), *_grid_forming(task)]
    return [system, *grid, _faults(task)]


def _system(step: Step) -> list[float]:
    if step.after is None:
        return [*(np.nan,) * 4, step.team_reward, 1.0]
    solution, price = step.after.solution, step.after.price[0]
    grid = (solution.source_kw, solution.source_kvar, solution.loss_kw, price)
    return [*map(float, grid), step.team_reward, 0.0]


def _nodes_and_branches(task: Task) -> list[Quantity]:
    feeder, places = task.feeder, Places(task)
    nodes = tuple(places.at(node.rsplit(".", 1)[0], node, "pu") for node in feeder.nodes)
    rated = np.array([b for b, row in enumerate(feeder.branches) if row.normal_amps > 0], np.int64)
    branches = tuple(places.at(row.bus1, row.name, "1", row.kind) for row in (feeder.branches[b] for b in rated))
    return [
        Quantity(
            "voltages",
            "node voltage; 0 where de-energised",
            "node",
            nodes,
            of_states=lambda _, after: after.solution.v_pu,
        ),
        Quantity(
            "loadings",
            "current over normal rating",
            "branch",
            branches,
            of_states=lambda _, after: after.solution.loading[rated],
        ),
    ]


def _injections(task: Task) -> list[Quantity]:
    places = Places(task)
    kw = tuple(places.at(row.bus, row.name, "kW", row.kind) for row in task.feeder.injections)
    kvar = tuple(column._replace(unit="kvar") for column in kw)
    return [
        Quantity(
            "kw_available",
            "load as demanded and PV power as available, + into the grid",
            "injection",
            kw,
            of_states=lambda _, after: after.forecast[0],
        ),
        Quantity(
            "kw_set",
            "active power as set, + into the grid",
            "injection",
            kw,
            of_states=lambda _, after: after.setpoints.kw,
        ),
        Quantity(
            "kw_converter",
            "converter losses due to reactive power, taken off kw_set",
            "injection",
            kw,
            of_states=lambda _, after: after.setpoints.lost_kw,
        ),
        Quantity(
            "kw_served",
            "active power as delivered, + into the grid",
            "injection",
            kw,
            of_states=lambda _, after: after.solution.served_kw,
        ),
        Quantity(
            "kvar_set",
            "reactive power as set, + into the grid",
            "injection",
            kvar,
            of_states=lambda _, after: after.setpoints.kvar,
        ),
    ]


def _positions(task: Task) -> list[Quantity]:
    feeder, places = task.feeder, Places(task)
    zone_of = {int(row): zone.name for zone in task.zones for row in zone.taps}
    taps = tuple(Column(t.name, "", "regulator", t.bus2, zone_of.get(k, "")) for k, t in enumerate(feeder.taps))
    switches = tuple(places.at(row.bus, row.name, "", row.kind) for row in feeder.switches)
    return [
        Quantity("taps", "tap position, 0 = neutral", "tap", taps, of_step=lambda step: step.present.setpoints.tap),
        Quantity(
            "switches",
            "1 where a switch, a capacitor step or a grid-forming unit is closed",
            "switch",
            switches,
            of_step=lambda step: step.present.setpoints.closed.astype(np.int64),
        ),
    ]


def _grid_forming(task: Task) -> list[Quantity]:
    feeder, places = task.feeder, Places(task)
    units = [feeder.switches[s] for s in feeder.grid_forming_units]
    kw = tuple(places.at(row.bus, f"{row.name}.{phase}", "kW", row.kind) for row in units for phase in (1, 2, 3))
    kvar = tuple(column._replace(unit="kvar") for column in kw)
    meaning, axis = "output of grid-forming units by phase, + into the grid", "grid_forming_phase"
    return [
        Quantity("grid_forming_kw", meaning, axis, kw, of_states=lambda _, after: after.solution.grid_forming_kw),
        Quantity("grid_forming_kvar", meaning, axis, kvar, of_states=lambda _, after: after.solution.grid_forming_kvar),
    ]


def _faults(task: Task) -> Quantity:
    """Branches that can be faulted; no columns where the scenario has no faults."""
    feeder, drawn, places = task.feeder, task.scenario.faults, Places(task)
    lines = [row for row in feeder.branches if row.kind == "line"] if drawn == "outages" else []
    named = [name for fault in ([] if drawn == "outages" else drawn) for name in fault_branches(fault)]
    lines += [feeder.branches[find(feeder.branches, name, "branch", feeder.name)] for name in dict.fromkeys(named)]
    ends = [np.array([*row.nodes1, *row.nodes2]) for row in lines]

    def broken(step: Step) -> list[int]:
        faulted = step.present.faulted
        return [0 if faulted is None else int(faulted[nodes].all()) for nodes in ends]

    columns = tuple(places.at(row.bus1, row.name, "", row.kind) for row in lines)
    return Quantity("faults", "1 where a branch is faulted at both its ends", "faulted_branch", columns, of_step=broken)


def device_quantities(task: Task) -> list[Quantity]:
    """Tables of what devices store, owe, report and estimate; those that would have no column included."""
    stores, stored = _devices(task, "kWh", "stored_kwh")
    debtors, owed = _devices(task, "kWh", "unmet_kwh")
    burners, burned = _devices(task, "l", "fuel_l")
    return [
        Quantity(
            "stored_kwh",
            "energy stored at the end of the interval; negative where it is still to be drawn",
            "store",
            stores,
            of_states=lambda _, after: after.stored_kwh[stored],
        ),
        Quantity(
            "fuel_l",
            "fuel burned, also at no load and in starts",
            "burner",
            burners,
            of_states=lambda _, after: after.fuel_l[burned],
        ),
        Quantity(
            "unmet_kwh",
            "energy owed and not delivered, times the device's priority",
            "debtor",
            debtors,
            of_states=lambda _, after: after.unmet_kwh[owed],
        ),
        Quantity(
            "telemetry",
            "what devices report of themselves",
            "reading",
            _readings(task),
            of_states=lambda _, after: after.telemetry,
        ),
        *_estimates(task),
    ]


def _devices(task: Task, unit: str, method: str) -> tuple[tuple[Column, ...], IntArray]:
    """The devices of the groups that define a method of their own, and their places among all."""
    places, columns, rows = Places(task), list[Column](), list[int]()
    first = 0
    for group, kind in zip(task.device_groups, task.zones[0].entries["kinds"], strict=True):
        if getattr(type(group), method) is not getattr(DeviceGroup, method):
            pairs = zip(group.buses, group.names, strict=True)
            columns += [places.at(bus, name, unit, kind) for bus, name in pairs]
            rows += range(first, first + group.size)
        first += group.size
    return tuple(columns), np.array(rows, np.int64)


def _readings(task: Task) -> tuple[Column, ...]:
    places = Places(task)
    return tuple(
        labelled(f"{name}: {label}", places.at(bus, name, "", kind))
        for group, kind in zip(task.device_groups, task.zones[0].entries["kinds"], strict=True)
        for bus, name in zip(group.buses, group.names, strict=True)
        for label in group.telemetry_labels
    )


def _estimates(task: Task) -> list[Quantity]:
    names, places = task.feeder.nodes, Places(task)
    nodes = [names[n] for zone in task.zones for n in zone.estimated]
    held = np.concatenate([zone.estimates for zone in task.zones])  # where in the devices' state
    columns = tuple(places.at(node.rsplit(".", 1)[0], node, "pu") for node in nodes)

    def errors(before: GridState, after: GridState) -> Array:
        return np.concatenate([estimate_off(zone, before, after) for zone in task.zones])

    meaning, axis = "node voltage as estimated, of the interval as agents saw it", "estimated_node"
    wrong = "estimate minus the true voltage of that interval; 0 where de-energised"
    return [
        Quantity("estimates", meaning, axis, columns, of_states=lambda _, after: after.device_state[held]),
        Quantity("estimate_errors", wrong, axis, columns, of_states=errors),
    ]
