"""A task in a few lines of plain text, 80 columns wide: what ``print(env)`` and ``print(env.task)`` show."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from dss_marl.mdp.communication import Messages
from dss_marl.profiles import SPLITS

if TYPE_CHECKING:
    from dss_marl.envs.task import Task

COLUMNS = 80
_HEAD = 14  # columns of the first column
_MOST = 8  # agents with a line of their own
_JOINED = "~"  # a space at which no line is broken


def task_summary(task: Task) -> str:
    """Scenario, feeder, agents with devices, sizes, horizon, splits, reward terms and costs."""
    scenario, feeder = task.scenario, task.feeder
    hours = scenario.steps * scenario.dt_h
    rewards = ", ".join(f"{weight:g}{_JOINED}{name}" for name, (weight, _) in task.rewards.items())
    rows = [
        ("feeder", f"{feeder.name}: {len(feeder.buses)} buses, {len(feeder.nodes)} nodes"),
        ("agents", f"{len(task.agents.names)}, one per {_PER[scenario.agents]}"),
        *_agent_rows(task),
        ("observation", _observation(task)),
        ("action", _action(task)),
        ("horizon", f"{scenario.steps} steps of {60 * scenario.dt_h:g} min ({hours:g} h)"),
        ("days", ", ".join(f"{split} {len(task.profiles.days(split))}" for split in SPLITS)),
        ("reward", f"{scenario.reward_sharing}: {rewards}"),
        ("costs", ", ".join(task.costs) or "none"),
    ]
    title = [f"{scenario.name} v{scenario.version}", *textwrap.wrap(scenario.title, COLUMNS)]
    return "\n".join([*title, *(line for head, text in rows for line in _row(head, text))])


_PER = {"zone": "zone", "kind": "kind of device in a zone", "device": "device"}


def _row(head: str, text: str) -> Iterable[str]:
    lines = textwrap.wrap(text, COLUMNS - _HEAD, break_long_words=False, break_on_hyphens=False) or [""]
    return [f"{head if k == 0 else '':{_HEAD}s}{line.replace(_JOINED, ' ')}" for k, line in enumerate(lines)]


def _agent_rows(task: Task) -> list[tuple[str, str]]:
    """The devices of each agent, or of the first ones."""
    layout = task.agents.action_layout
    rows = []
    for name, labels in list(zip(task.agents.names, layout.labels, strict=True))[:_MOST]:
        devices = Counter(label.split(":")[0] for label in labels if label != "-")
        rows.append(("", f"{name}: {', '.join(devices) or 'nothing'}"))
    left = len(task.agents.names) - len(rows)
    return [*rows, ("", f"... and {left} more")] if left else rows


def _observation(task: Task) -> str:
    spec = task.scenario.messages
    width = Messages(spec, task.feeder, task.zones, task.sample).width
    heard = f"; {width} by messages: {', '.join(spec.share)}" if width else ""
    return f"{len(task.observer.low)} numbers: {', '.join(task.scenario.observations)}{heard}"


def _action(task: Task) -> str:
    width = task.agents.action_layout.width
    known = {
        "box": "a number in [-1, 1]" if width == 1 else f"{width} numbers in [-1, 1]",
        "multidiscrete": f"{width} choice{'s' if width > 1 else ''}, with a mask",
    }
    return known.get(task.scenario.actions, f"{task.scenario.actions}, up to {width} entries")
