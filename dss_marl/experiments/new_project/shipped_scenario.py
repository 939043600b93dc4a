"""A project from a shipped scenario: its file in full, with its comments, and its feeder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from dss_marl._assets import data_folder, known_names, read_yaml
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.envs.task import Task, build_task
from dss_marl.experiments.new_project.source import (
    COST_REASON,
    OWN_COST,
    OWN_FEATURE,
    OWN_REASON,
    OWN_REWARD,
    OWN_WEIGHT,
    SCHEMA_LINE,
    Source,
)

_KEY = re.compile(r"^(\w+):")
_MERGED = ("feeder", "profiles", "training")  # key by key with a base, see ``envs.scenario.merged``
_DROPPED = ("base", "version", "name", "tuned_droop", "tuned_on")
Blocks = dict[str, str]


def shipped_scenario(name: str, shipped: str) -> Source:
    """The scenario's text with its base worked in, its feeder's files, and one's own terms added.

    It is copied in full, not named as a base, so that every key stands in front of whoever changes it, with the
    comment that gives its reason. The tuned droop curve is left out, since one's own reward term changes what it was
    tuned for.
    """
    scenario = load_scenario(shipped)
    task = build_task(scenario)
    blocks = _blocks_of(shipped)
    copies, master = _feeder_files(scenario.feeder.name)
    if master:
        blocks["feeder"] = _with_master(blocks["feeder"], scenario.feeder.name, master)
    _add_own(blocks, task)
    head = (
        f"{SCHEMA_LINE}# From the shipped scenario {shipped}, version {scenario.version}, which is not changed by it.\n"
    )
    text = head + _joined([block.strip() for key, block in blocks.items() if key not in _DROPPED])
    return Source(
        about=f"A copy of the scenario `{shipped}`: {scenario.title}.",
        texts={f"{name}.yaml": text},
        copies=copies,
        master=master,
        feeder=f"the feeder `{scenario.feeder.name}`, with its source and licence in `SOURCE.md`" if master else "",
        load=task.feeder.injections[int(task.feeder.loads[0])].name.split(".", 1)[1],
        nodes=len(task.feeder.nodes),
        zones=len(task.zones),
        controllers=_controllers(task),
        remarks=_remarks(task),
    )


def _controllers(task: Task) -> list[str]:
    kinds = {spec["kind"] for spec in task.scenario.devices}
    return ["no_control", *(["opendss_controls", "droop"] if "inverter" in kinds else [])]


def _remarks(task: Task) -> list[str]:
    rows = [
        "the terms of own_terms.py are added to rewards, costs and observations; take them out if you do not want them"
    ]
    if task.scenario.tuned_droop:
        rows.append("the tuned droop curve is left out, as it was tuned for other rewards; 'dss-marl tune' finds one")
    return rows


def _feeder_files(feeder: str) -> tuple[dict[Path, Path], str]:
    """Where each file of a shipped feeder goes, and the master's place; nothing of a generated one."""
    if feeder not in known_names("feeders"):
        return {}, ""
    folder = data_folder("feeders") / feeder
    copies = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "expected.json" and "__pycache__" not in path.parts:
            own = f"{feeder}.dss" if path.name == "feeder.dss" else str(path.relative_to(folder))
            copies[Path("feeder") / own] = path
    return copies, f"feeder/{feeder}.dss"


def _blocks_of(shipped: str) -> Blocks:
    """Top-level keys of a scenario's file to their lines, comments above them included, with its base worked in."""
    text = (data_folder("scenarios") / f"{shipped}.yaml").read_text(encoding="utf-8")
    own, data = _blocks(text), read_yaml(text)
    if "base" not in data:
        return own
    result, base = _blocks_of(data["base"]), load_scenario(str(data["base"])).model_dump(exclude_defaults=True)
    for key, block in own.items():
        theirs = base.get(key)
        alike = key != "feeder" or data[key].get("name", theirs and theirs["name"]) == (theirs and theirs["name"])
        if key in _MERGED and theirs and alike:
            both = yaml.safe_dump({**_plain(theirs), **data[key]}, sort_keys=False, default_flow_style=None, width=110)
            block = f"{key}:\n" + "".join(f"  {line}\n" for line in both.splitlines())
        result[key] = block
    return result


def _plain(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _plain(value) for key, value in data.items()}
    return [_plain(value) for value in data] if isinstance(data, list | tuple) else data


def _blocks(text: str) -> Blocks:
    blocks: Blocks = {}
    above: list[str] = []
    key = ""
    for line in text.splitlines():
        found = _KEY.match(line)
        if found:
            key = found[1]
            blocks[key] = "\n".join([*above, line]) + "\n"
            above = []
        elif line.startswith("#") or not line.strip():  # of what follows
            above = [*above, line] if line.strip() else above
        else:
            blocks[key] += "".join(f"{row}\n" for row in [*above, line])
            above = []
    return blocks


def _with_master(block: str, feeder: str, master: str) -> str:
    """The feeder's block with the file in the project in place of the shipped name."""
    changed, count = re.subn(rf"(\bname:\s*){re.escape(feeder)}\b", rf"\g<1>{master}", block, count=1)
    assert count == 1, f"the feeder's name in {block!r}"
    return changed


def _joined(blocks: list[str]) -> str:
    """The blocks with an empty line around each that has several lines."""
    text = ""
    for before, block in zip(["", *blocks], blocks, strict=False):
        text += ("\n" if before and "\n" in before + block else "") + block + "\n"
    return text


def _add_own(blocks: Blocks, task: Task) -> None:
    """One's own reward term, cost and observation after those of the scenario."""
    own = {"rewards": f'  "{OWN_REWARD}": {OWN_WEIGHT}  # {OWN_REASON}', "costs": f'  - "{OWN_COST}"  # {COST_REASON}'}
    for key, line in own.items():
        blocks[key] = f"{blocks[key].rstrip()}\n{line}\n"
    names = [*task.scenario.observations, OWN_FEATURE]
    lines = yaml.safe_dump(names, default_flow_style=True, width=100).split("\n")
    blocks["observations"] = "observations: " + "\n               ".join(line.strip() for line in lines if line) + "\n"
