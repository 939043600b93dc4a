"""reference/devices.md: every kind of device with its keys, and the action and observation entries that it gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from _generate.fields import as_yaml, fields_table, models_below, models_in, section
from _generate.markdown import code, table, text_of
from _generate.usage import scenarios, used_in
from dss_marl import build_task
from dss_marl.devices import KINDS, DeviceSpec
from dss_marl.devices.base import DeviceGroup

HEAD = """# Devices

`devices` of a scenario is a list; each has its `kind` and the keys below. The entries of its action lie in [-1, 1] each: with `actions: box`
as numbers, with `multidiscrete` and `native` as choices. What a device reports about itself appears in the observation `telemetry`.
A request beyond a limit is cut to it and counted in `infos[agent]["limited"]`.
kW and kvar are positive into the grid.

"""
# One line each; what bounds the device stands beside it.
SUMMARY = {
    "inverter": (
        "share of kvar, power factor, or the parameters of a volt-var curve; optionally active-power curtailment",
        "kVA circle, watt or var priority, IEEE 1547-2018 category A or B, night, converter losses, volt-watt",
    ),
    "battery": (
        "active power, and reactive power if `reactive`; `forming: true` holds an island without a running grid-forming generator",
        "kVA circle, IEEE 1547-2018 category, energy, efficiencies, standby, converter losses; a grid-forming unit trips when its island exceeds its rating or its store is empty or full",
    ),
    "regulator": (
        "relative or absolute tap positions, single-phase or ganged",
        "end positions, moves per step, time between moves",
    ),
    "capacitor": ("steps of a capacitor bank", "discharge time before it can close again"),
    "switch": (
        "lines and added ties",
        "no loop on any phase, no paralleled sources, no energised fault; simultaneous requests are resolved one at a time in "
        "rotating order",
    ),
    "generator": (
        "active and reactive power; `forming: true` can supply an island alone, `running: true` starts in service",
        "kVA circle, ramp, minimum load with a load bank, fuel by a linear curve, also at no load; a grid-forming unit trips when its island exceeds its rating on any phase",
    ),
    "ev_charger": (
        "charging power between arrival and departure; with `v2g_kwh` also power lent to the grid",
        "battery of the car, which lends `v2g_kwh` below its state at arrival; energy missing at departure is a cost",
    ),
    "flexible_load": ("load shedding, or shifting with payback", "flexible share, rebound"),
    "open_point": (
        "the open point of a loop, moved by one branch or set to a given branch",
        "always radial and connected",
    ),
    "feeder_tie": ("a tie to another feeder", "kVA; trips at once on overload"),
    "load_shedder": ("loads of a section, shed class by class", "the scenario's `priorities`"),
    "stepped_inverter": (
        "reactive power in steps: lower, hold, raise",
        "kVA circle, IEEE 1547-2018 category, converter losses",
    ),
    "stepped_battery": (
        "active power in levels, with reactive power that follows it; no losses",
        "energy; voltage, beyond whose range it is an impedance",
    ),
    "estimator": ("voltage estimates for unmetered nodes; does not affect the power flow", "range of the estimate"),
    "demand_meter": (
        "the highest import so far, on which a demand charge is billed; no action, does not affect the power flow",
        "`floor_kw`, billed in any case",
    ),
    "crew": (
        "a repair crew: waits, or goes to a dark section to patrol it or to repair its fault",
        "travel, setup, patrol and repair times; a crew at work goes on, a section takes one crew at a time; sections not yet "
        "cleared must not be energised",
    ),
    "flexibility_request": (
        "a change of the import, and a reactive import, that the transmission operator asks for at the source; no action",
        "energy missed beyond the tolerance is owed",
    ),
    "pv": ("uncontrolled PV: part of the circuit, not a device", "irradiance"),
}
# Settings that change a device's entries, on a small feeder; other kinds are shown as a shipped scenario has them.
VARIANTS: dict[str, tuple[str, tuple[dict[str, Any], ...]]] = {
    "inverter": (
        "ieee13_volt_var",
        (
            {"bus": "675", "kw": 500},
            {"bus": "675", "kw": 500, "curtail": True},
            {"bus": "675", "kw": 500, "mode": "power_factor"},
            {"bus": "675", "kw": 500, "mode": "volt_var"},
        ),
    ),
    "stepped_inverter": ("ieee13_volt_var", ({"bus": "675", "kw": 500},)),
    "stepped_battery": (
        "ieee13_volt_var",
        ({"bus": "680", "kw": 200, "kwh": 1000}, {"bus": "680", "kw": 200, "kwh": 1000, "levels": 0}),
    ),
    "battery": (
        "ieee13_volt_var",
        (
            {"bus": "675", "kw": 400, "kwh": 2000},
            {"bus": "675", "kw": 400, "kwh": 2000, "kva": 480, "reactive": True},
        ),
    ),
    "regulator": (
        "ieee13_volt_var",
        (
            {"names": "all"},
            {"names": "all", "absolute": True},
            {"names": "all", "ganged": True, "min_time_h": 0.5},
        ),
    ),
    "capacitor": (
        "ieee13_volt_var",
        ({"names": "all"}, {"names": "all", "discharge_h": 1}, {"names": "all", "absolute": True}),
    ),
    "generator": (
        "ieee13_volt_var",
        ({"bus": "632", "kw": 900}, {"bus": "632", "kw": 900, "forming": True, "tank_l": 5000}),
    ),
}


def pages() -> Iterator[tuple[str, str]]:
    """The one page."""
    yield "reference/devices.md", page()


def page() -> str:
    """All kinds, then each of them."""
    missing = set(KINDS) ^ set(SUMMARY)
    if missing:
        raise LookupError(f"docs/_generate/device_kinds.py: SUMMARY and KINDS differ in {', '.join(sorted(missing))}")
    rows = [(f"[`{kind}`](#device-{kind})", *SUMMARY[kind]) for kind in KINDS]
    common = [name for name in DeviceSpec.model_fields if name != "kind"]
    parts = [HEAD, table(("kind", "what it does", "what limits it"), rows)]
    parts.append(f"## Keys of every device\n\n{fields_table(DeviceSpec, without=('kind',))}")
    parts += [_kind(kind, group, tuple(common)) for kind, group in KINDS.items()]
    inner = dict.fromkeys(model for group in KINDS.values() for model in models_below(group.Spec))
    return "\n".join([*parts, *(section(one, f"## {_holders(one)}", text_of(one)) for one in inner)])


def _holders(model: type[BaseModel]) -> str:
    """The keys that hold a model, such as `ties` of switch."""
    return ", ".join(
        f"`{name}` of `{kind}`"
        for kind, group in KINDS.items()
        for name, field in group.Spec.model_fields.items()
        if model in models_in(field.annotation)
    )


def _kind(kind: str, group: type[DeviceGroup], common: tuple[str, ...]) -> str:
    parts = [f"(device-{kind})=\n## {kind}\n", text_of(group), text_of(group.Spec)]
    parts.append(fields_table(group.Spec, without=("kind", *common)))
    entries = _entries(kind)
    if entries:
        parts.append(table(("for instance", "entries of its action", "entries of its telemetry"), entries))
    found = used_in("devices", kind)
    links = ", ".join(f"[{name}](../scenarios/{name}.md)" for name in found[:6])
    parts.append(f"Used by {links}{f' and {len(found) - 6} more' if len(found) > 6 else ''}.\n" if found else "")
    return "\n\n".join(parts)


def _entries(kind: str) -> list[tuple[str, str, str]]:
    """A row for each variant: the device as in a scenario's file, and what it adds to actions and observations."""
    if kind == "pv":
        return []
    return [_row(kind, *one) for one in _examples(kind)]


def _examples(kind: str) -> list[tuple[str, dict[str, Any], bool]]:
    """(scenario, device, whether it is the only device) of each variant."""
    if kind in VARIANTS:
        name, variants = VARIANTS[kind]
        return [(name, {"kind": kind, **one}, True) for one in variants]
    for name, scenario in scenarios().items():
        spec = next((dict(one) for one in scenario.devices if one["kind"] == kind), None)
        if spec is not None:
            return [(name, spec, False)]
    raise LookupError(f"no shipped scenario has a {kind}; add it to VARIANTS in docs/_generate/device_kinds.py")


def _row(kind: str, name: str, spec: dict[str, Any], alone: bool) -> tuple[str, str, str]:
    scenario = scenarios()[name]
    if alone:
        whole = {"method": "balanced", "count": 1}
        scenario = scenario.replace(devices=[spec], zones=whole, tuned_droop={}, tuned_on="", training={})
    task = build_task(scenario)
    group = next(one for one in task.device_groups if isinstance(one, KINDS[kind]))
    positions = group.n_levels()[0]
    actions = [
        f"{label}: {f'{count} positions' if count else 'continuous'}"
        for label, count in zip(group.action_labels, positions, strict=True)
    ]
    return f"`{as_yaml(spec)}`", code("\n".join(actions)), code("\n".join(group.telemetry_labels))
