"""What a circuit's scenario is made of: devices, zones and days, chosen from what the circuit has."""

from __future__ import annotations

import math
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from dss_marl.engines import read_controlled_banks, read_load_shapes
from dss_marl.envs.task import Task
from dss_marl.grid.feeder import Feeder
from dss_marl.profiles.circuit_loadshapes import common_minutes
from dss_marl.zones import build_zones, feeder_graph, partition

_OWN = {"pvsystem": "inverter", "storage": "battery", "generator": "generator"}
_ZONES = 6  # at most, by default
_LEAST_DAYS = 9  # whole days for splits that differ, see ``profiles.own_days``
_SHORTEST = 15  # minutes of an interval, at least
Chosen = list[tuple[dict[str, Any], str]]


def chosen_devices(feeder: Feeder) -> tuple[Chosen, list[str]]:
    """Devices with the reason why each is there, and remarks.

    All PVSystems, Storage, Generators, regulators and capacitor banks of the circuit; where some banks have a
    CapControl, the others are fixed and no devices. Where it has none of these, inverters are added.
    """
    own = Counter(unit.kind for unit in feeder.units)
    devices: Chosen = []
    for kind, device in _OWN.items():
        if own[kind]:
            extra = {"reactive": True} if device == "battery" else {}
            devices.append(({"kind": device, "names": "circuit", **extra}, f"the circuit's {own[kind]} {_NAMES[kind]}"))
    if feeder.taps:
        devices.append(({"kind": "regulator", "names": "all", "moves": 2}, f"{len(feeder.taps)} tap changer(s)"))
    banks, remarks = _banks(feeder)
    devices += banks
    if devices:
        return devices, remarks
    added = _added_inverters(feeder)
    remark = (
        "the circuit has no PVSystem, Storage, Generator, regulator or capacitor bank, so that inverters are added at "
        f"{', '.join(str(device['bus']) for device, _ in added)}, where most load is; move them in the scenario's file"
    )
    return added, [remark]


def _banks(feeder: Feeder) -> tuple[Chosen, list[str]]:
    """The capacitor banks that can be switched."""
    steps = Counter(row.element for row in feeder.switches if row.kind == "capacitor")
    if not steps:
        return [], []
    moved = [bank for bank in steps if bank in read_controlled_banks(feeder)]
    if not moved or len(moved) == len(steps):
        return [({"kind": "capacitor", "names": "all"}, f"{steps.total()} step(s) of capacitor banks")], []
    names = [bank.split(".", 1)[1] for bank in moved]
    fixed = [bank.split(".", 1)[1] for bank in steps if bank not in moved]
    remark = (
        f"capacitor banks without a CapControl stay as they are: {', '.join(fixed)}; with 'names: all' agents switch "
        "them too"
    )
    reason = f"{sum(steps[bank] for bank in moved)} step(s) of banks that have a CapControl"
    return [({"kind": "capacitor", "names": names}, reason)], [remark]


_NAMES = {"pvsystem": "PVSystem(s)", "storage": "Storage element(s)", "generator": "Generator(s)"}


def _added_inverters(feeder: Feeder) -> Chosen:
    """PV at the three buses with most load, of one or three phases, half as much again as the load there."""
    load: dict[str, float] = defaultdict(float)
    for j in feeder.loads:
        row = feeder.injections[int(j)]
        load[row.bus] += -row.kw
    phases = Counter(feeder.buses[bus].name for bus in feeder.node_bus)
    usable = {bus: kw for bus, kw in load.items() if kw > 0 and phases[bus] != 2}
    top = sorted(usable.items(), key=lambda item: -item[1])[:3]
    if not top:
        raise ValueError(
            f"circuit {feeder.name!r} has nothing to control, and no load at a bus of one or three phases where an "
            "inverter could be added; add a PVSystem, a Storage, a RegControl or a Capacitor to it"
        )
    added = [{"kind": "inverter", "bus": bus, "kw": max(float(f"{1.5 * kw:.2g}"), 0.1)} for bus, kw in top]
    return [(device, "not in the circuit: added") for device in added]


@dataclass(frozen=True)
class Days:
    """Days and intervals of a scenario: the keys ``profiles``, ``dt_h`` and ``steps``, the reason, and remarks."""

    profiles: dict[str, Any]
    dt_h: float
    steps: int
    reason: str
    remarks: list[str] = field(default_factory=list)


def chosen_days(feeder: Feeder) -> Days:
    """The circuit's own LoadShapes if they hold days enough for splits, else generated days."""
    seed = sum(map(ord, feeder.name)) % 1000
    generated = {"kind": "synthetic", "seed": seed, "load_scale": [0.5, 1.0], "commercial_share": 0.3}
    best, minutes, most = "", 15, 0
    for which in ("yearly", "daily", "duty"):
        shapes = read_load_shapes(feeder, which)
        if not shapes:
            continue
        try:
            native = common_minutes(shapes)
        except ValueError as error:
            return Days(generated, 0.25, 96, _GENERATED, [f"days are generated: {error}"])
        days = max(len(shape.factors) * round(shape.minutes) for shape in shapes.values()) // 1440
        if days > most:
            best, minutes, most = which, native, days
    if most >= _LEAST_DAYS:
        interval = next(m for m in range(max(minutes, _SHORTEST), 1441) if not m % minutes and not 1440 % m)
        reason = f"the circuit's own {best} LoadShapes, {most} days; PV, price and weather are generated"
        profiles = {"kind": "loadshapes", "which": best, "weather": {"seed": seed}}
        return Days(profiles, interval / 60, 1440 // interval, reason)
    if not most:
        return Days(generated, 0.25, 96, _GENERATED)
    remark = (
        f"the circuit's LoadShapes hold {most} day(s), too few to train on some and test on others, so that days are "
        f"generated; 'profiles: {{kind: loadshapes, which: {best}}}' takes them all the same"
    )
    return Days(generated, 0.25, 96, _GENERATED, [remark])


_GENERATED = "a year of generated days; 'dss-marl profiles' shows them, kind csv takes your own"


def chosen_zones(whole: Task) -> tuple[dict[str, Any], str]:
    """A partition in which every zone has a device, with up to six zones, and a remark.

    Args:
        whole: the task with a single zone.
    """
    feeder, graph = whole.feeder, feeder_graph(whole.feeder)
    places = {bus for group in whole.device_groups for bus in group.buses}
    most = min(_ZONES, len(places), max(math.isqrt(len(feeder.buses)), 1))
    for count in range(most, 1, -1):
        for method in ("electrical", "balanced"):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    zones = build_zones(feeder, partition(graph, method, count=count))
            except ValueError:
                continue
            if all(places & set(zone.buses) for zone in zones):
                return {"method": method, "count": count}, f"{count} zones ({method}), each with a device"
    return {"method": "balanced", "count": 1}, "one zone: its devices are too few or too close for more"
