"""The text of a circuit's scenario, with the reason for each weight beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from dss_marl.experiments.new_project.source import (
    COST_REASON,
    OWN_COST,
    OWN_FEATURE,
    OWN_REASON,
    OWN_REWARD,
    OWN_WEIGHT,
    SCHEMA_LINE,
)

if TYPE_CHECKING:
    from dss_marl.experiments.new_project.circuit_scenario import Plan

_COMMENT = 32  # column of the comments


def scenario_text(plan: Plan) -> str:
    """The YAML file."""
    days = plan.days
    parts = [
        f"{SCHEMA_LINE}name: {plan.name}",
        f"title: Control of {plan.master.rsplit('/', 1)[-1]} for voltages within the band and few losses",
        f"feeder:\n  name: {_flow(plan.master)}",
        _devices(plan),
        f"zones: {_flow(plan.zones)}   # compare others with: dss-marl zones {plan.master} --compare",
        f"# {days.reason}\nprofiles: {_flow(days.profiles)}",
        f"steps: {days.steps}\n{_line(f'dt_h: {days.dt_h!r}', 'hours of a step')}",
        f"observations: {_listed(_observations(plan))}",
        "rewards:\n" + "\n".join(f"  {_line(f'{name}: {value}', why, 2)}" for name, value, why in _rewards(plan)),
        "costs:\n" + "\n".join(f"  {_line(f'- {name}', why, 2)}" for name, why in _costs(plan)),
        "training: {agent_steps: 300000, gamma: 0.9, ignore_padding: true}",
    ]
    return "\n\n".join(parts) + "\n"


def _devices(plan: Plan) -> str:
    texts = [f"  - {_flow(device)}" for device, _ in plan.devices]
    width = max(map(len, texts))
    rows = [f"{text:{width}s}   # {why}" for text, (_, why) in zip(texts, plan.devices, strict=True)]
    own = {"kind": "own_device:ReducibleLoads", "load": plan.load, "most": 0.3}
    return "\n".join(["devices:", *rows, f"  # - {_flow(own)}   # of your own; remove the first #"])


def _rewards(plan: Plan) -> Iterable[tuple[str, str, str]]:
    """Name, weight and reason of each term. On a small feeder energy weighs more, so that it still counts."""
    scale = 1.0 if plan.load_mw >= 1 else float(f"{1 / max(plan.load_mw, 1e-3):.1g}")
    dollars = f"{10 / scale:.2g} $"
    yield "voltage_violation", "100", f"mean pu outside the band; 1 = {dollars}"
    yield "violating_share", "5", "share of nodes outside the band, so that small excursions count"
    minutes = 60 * plan.days.dt_h
    yield (
        "loss",
        _number(8 * plan.days.dt_h * scale),
        f"MW; at 80 $/MWh, 1 MW for {minutes:g} minutes costs {80 * minutes / 60:g} $",
    )
    if "battery" in plan.kinds:
        yield "battery_use", _number(2.5 * scale), "MWh in or out, 25 $ of wear per MWh"
        yield (
            "stored_energy",
            _number(8 * scale),
            "MWh, at 80 $/MWh, so that emptying the battery by midnight earns nothing",
        )
    if "generator" in plan.kinds:
        yield "generation", _number(32.4 * scale), "MWh, at 324 $/MWh of diesel"
    if "regulator" in plan.kinds:
        yield "tap_moves", "0.01", "wear of a move: a hundredth of what a step 0.01 pu outside the band costs"
    if "capacitor" in plan.kinds:
        yield "capacitor_moves", "0.05", "wear of an operation: a bank wears faster than a tap"
    yield f'"{OWN_REWARD}"', str(OWN_WEIGHT), OWN_REASON


def _costs(plan: Plan) -> Iterable[tuple[str, str]]:
    yield "voltage_violation_sum", "pu; the zone's excursions unweighted"
    yield "thermal_overload", "share of rating; the reward does not price it"
    if plan.kinds & {"regulator", "capacitor"}:
        yield "operations", "moves of taps and switches"
    yield f'"{OWN_COST}"', COST_REASON


def _observations(plan: Plan) -> list[str]:
    units = plan.kinds & {"inverter", "battery", "generator"}
    wanted = {
        "zone_voltage": True,
        "unit_voltage": units,
        "pv_available": "inverter" in plan.kinds,
        "load": True,
        "unit_kvar": units,
        "tap_position": "regulator" in plan.kinds,
        "tap_voltage": "regulator" in plan.kinds,
        "capacitor_closed": "capacitor" in plan.kinds,
        "telemetry": plan.kinds & {"battery", "generator"},
        "time_of_day": True,
        "identity": True,
        "has_action": True,
        OWN_FEATURE: True,
    }
    return [name for name, needed in wanted.items() if needed]


def _line(text: str, why: str, indent: int = 0) -> str:
    return f"{text:{_COMMENT - indent}s} # {why}"


def _number(value: float) -> str:
    return f"{value:.3g}"


def _flow(data: Any) -> str:
    return (
        yaml.safe_dump(data, default_flow_style=True, width=1000, sort_keys=False).strip().removesuffix("\n...").strip()
    )


def _listed(names: Sequence[str]) -> str:
    lines = yaml.safe_dump(list(names), default_flow_style=True, width=100).split("\n")
    return "\n               ".join(line.strip() for line in lines if line)
