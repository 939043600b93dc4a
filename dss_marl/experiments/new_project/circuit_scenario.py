"""A project from a circuit: its files, and a scenario in which agents control what the circuit brings."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dss_marl._assets import write_text
from dss_marl.engines import PowerFlowError, circuit_files, read_feeder
from dss_marl.envs.scenario import scenario_from
from dss_marl.envs.task import Task, build_task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.new_project.circuit_choices import Days, chosen_days, chosen_devices, chosen_zones
from dss_marl.experiments.new_project.circuit_text import scenario_text
from dss_marl.experiments.new_project.source import Source
from dss_marl.grid.feeder import Feeder


def circuit_scenario(name: str, circuit: Path | Mapping[str, str]) -> Source:
    """The circuit's files, and a scenario for them.

    The files are copied, with all that the master includes or names, in the same places relative to each other: the
    project can be moved, committed and changed without touching the original.

    Args:
        name: of the project.
        circuit: the master file or its folder; or the texts of its files, the master first.

    Raises:
        ValueError: the circuit cannot be read, solved or controlled; says why.
    """
    if isinstance(circuit, Path):
        files = circuit_files(circuit)
        copies = _copies(files)
        return _made(name, circuit, copies[files[0]], {}, {to: origin for origin, to in copies.items()})
    with tempfile.TemporaryDirectory() as folder:
        for path, text in circuit.items():
            write_text(Path(folder) / path, text)
        master = next(iter(circuit))
        return _made(name, Path(folder) / master, Path(master), circuit, {})


def _copies(files: list[Path]) -> dict[Path, Path]:
    """Each file to its place in the project, below ``feeder/``."""
    root = Path(os.path.commonpath([path.parent for path in files]))
    return {path: Path("feeder") / path.relative_to(root) for path in files}


@dataclass(frozen=True)
class Plan:
    """What the scenario is made of.

    Attributes:
        name: of the scenario.
        master: the circuit's file, relative to the project.
        devices: each with the reason why it is there.
        zones: method and options.
        days: profiles and intervals.
        kinds: of the devices.
        load_mw: nominal load [MW].
        load: name of the largest load.
    """

    name: str
    master: str
    devices: list[tuple[dict[str, Any], str]]
    zones: dict[str, Any]
    days: Days
    kinds: frozenset[str]
    load_mw: float
    load: str


def _made(name: str, circuit: Path, master: Path, texts: Mapping[str, str], copies: Mapping[Path, Path]) -> Source:
    feeder = read_feeder(circuit)
    if not len(feeder.loads):
        raise ValueError(
            f"circuit {str(circuit)!r} has no load, so that its days would have nothing to move; add loads"
        )
    devices, remarks = chosen_devices(feeder)
    days = chosen_days(feeder)
    remarks += days.remarks
    plan = Plan(
        name=name,
        master=master.as_posix(),
        devices=devices,
        zones={"method": "balanced", "count": 1},
        days=days,
        kinds=frozenset(str(device["kind"]) for device, _ in devices),
        load_mw=float(-feeder.nominal_kw[feeder.loads].sum()) / 1000,
        load=_largest_load(feeder),
    )
    whole = build_task(scenario_from(_data(plan, circuit)))
    zones, remark = chosen_zones(whole)
    plan = replace(plan, zones=zones)
    task = build_task(scenario_from(_data(plan, circuit)))
    remarks += [remark, _a_day_without_control(task)]
    return Source(
        about=f"Control of the circuit `{master.name}` ({len(feeder.buses)} buses): voltages in the band, few losses.",
        texts={**texts, f"{name}.yaml": scenario_text(plan)},
        copies=copies,
        master=master.as_posix(),
        feeder="the circuit; `" + master.name + "` is read",
        load=plan.load,
        nodes=len(feeder.nodes),
        zones=len(task.zones),
        controllers=_controllers(plan),
        remarks=remarks,
    )


def _controllers(plan: Plan) -> list[str]:
    autonomous = plan.kinds & {"regulator", "capacitor"}
    return [
        "no_control",
        *(["opendss_controls"] if autonomous else []),
        *(["droop"] if "inverter" in plan.kinds else []),
    ]


def _data(plan: Plan, circuit: Path) -> dict[str, Any]:
    """Enough of the scenario to build it where the circuit lies now."""
    return {
        "name": plan.name,
        "feeder": {"name": str(circuit.resolve() if circuit.is_dir() else circuit)},
        "devices": [device for device, _ in plan.devices],
        "zones": plan.zones,
        "profiles": plan.days.profiles,
        "steps": plan.days.steps,
        "dt_h": plan.days.dt_h,
        "observations": ["zone_voltage"],
        "rewards": {"voltage_violation": 100},
    }


def _largest_load(feeder: Feeder) -> str:
    row = min((feeder.injections[int(j)] for j in feeder.loads), key=lambda row: row.kw)
    return row.name.split(".", 1)[1]


def _a_day_without_control(task: Task) -> str:
    """Voltages of a test day on which nobody acts, and whether they are in the band."""
    env = ZoneEnv(task, "test")
    scored = task.all_zones.scored_nodes
    low, high, inside = 2.0, 0.0, True
    try:
        env.reset(seed=0)
        neutral = task.encoding.encode(task.default_action)
        while env.agents:
            if any(env.step(neutral)[2].values()):
                return "a power flow fails on a test day without control; look at loads and PV, or lower load_scale"
            assert env.after is not None
            v_pu = env.after.solution.v_pu[np.unique(scored)]
            low, high = min(low, float(v_pu[v_pu > 0].min())), max(high, float(v_pu.max()))
            inside = inside and not (env.after.solution.excursion(task.band)[scored] > 0).any()
    except PowerFlowError as error:
        return f"the first interval of a test day cannot be solved: {error}"
    finally:
        env.close()
    where = "all within" if inside else "partly outside"
    return (
        f"on a test day without control, voltages are {low:.3f} to {high:.3f} pu, {where} the band of {task.band.text}"
    )
