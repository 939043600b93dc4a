"""The card of a scenario's decision process: all that a paper's table of the environment says."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dss_marl.profiles import SPLITS, STRESS_SPLITS
from dss_marl.scenario import Scenario
from dss_marl.task import Task


def _summary(function: object) -> str:
    """First line of a docstring."""
    return (getattr(function, "__doc__", "") or "").strip().split("\n")[0]


def _rows(title: str, headings: tuple[str, ...], rows: Sequence[tuple[str, ...]], console: Console) -> None:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # plain: brackets are units, not markup
    console.print(table)


def print_card(task: Task, console: Console) -> None:
    """Print agents, observation with labels and units, actions, reward terms, costs, horizon and splits."""
    scenario, feeder = task.scenario, task.feeder
    console.print(f"[bold]{scenario.name}[/bold] v{scenario.version}: {scenario.title}", highlight=False)
    console.print(repr(feeder), highlight=False)
    hours = scenario.steps * scenario.dt_h
    console.print(
        f"horizon {scenario.steps} steps of {scenario.dt_h:g} h ({hours:g} h), truncated, never terminated, "
        f"except by a failed power flow (team reward -{scenario.failure_penalty:g})",
        highlight=False,
    )
    days = "; ".join(f"{split} {len(task.profiles.days(split))} days" for split in SPLITS)
    console.print(f"splits: {days}; a random day of the split at each reset", highlight=False)
    if scenario.profiles.kind == "synthetic":
        console.print(f"stress splits: {', '.join(STRESS_SPLITS)}", highlight=False)
    for line in _difficulties(scenario):
        console.print(line, highlight=False)
    controls = "run by themselves" if scenario.circuit_controls else "are off"
    console.print(f"the circuit's own regulator and capacitor controls {controls}", highlight=False)
    _agents(task, console)
    _observation(task, console)
    _rows(
        f"reward: {_SHARING[scenario.reward_sharing]}",
        ("term", "weight", "one zone's contribution"),
        [(name, f"{weight:g}", _summary(function)) for name, (weight, function) in task.rewards.items()],
        console,
    )
    _rows(
        "costs, in infos only",
        ("cost", "what it is"),
        [(name, _summary(function).removeprefix("Cost: ")) for name, function in task.costs.items()],
        console,
    )


_SHARING = {
    "team": "of the team, the weighted sum of terms over zones; the same for every agent",
    "zone": "weighted sum of terms over the agent's zone",
    "agent": "weighted sum of terms over the agent's own view",
    "difference": "what the team's weighted sum of terms lost had the agent held",
}


def _difficulties(scenario: Scenario) -> list[str]:
    """What agents do not see, do not hear, or do not have in hand, a line each."""
    sensing, messages, attack = scenario.sensing, scenario.messages, scenario.attack
    lines = []
    if not sensing.perfect:
        lines.append(
            f"meters: voltage noise {sensing.noise_v_pu:g} pu, power noise {sensing.noise_power:.0%}, "
            f"{sensing.missing:.0%} missing, {sensing.delay} intervals late"
        )
    if messages.hops:
        whom = "all other zones" if messages.hops == "all" else f"zones at most {messages.hops} borders away"
        lines.append(
            f"messages: {', '.join(messages.share)} of {whom}, {messages.loss:.0%} lost, "
            f"{messages.delay} intervals late"
        )
    if attack is not None:
        who = ", ".join(attack.agents) or f"{attack.share:.0%} of the agents"
        what = f" (of their devices: {', '.join(attack.kinds)})" if attack.kinds else ""
        lines.append(f"attack: {who}{what} driven by {attack.policy} from step {attack.from_step} on")
    if scenario.faults:
        what = "the days' own outages" if scenario.faults == "outages" else f"one of {', '.join(scenario.faults)}"
        lines.append(f"broken: {what}")
    return lines


def _agents(task: Task, console: Console) -> None:
    rows = []
    for zone, labels in zip(task.agents.views, task.agents.slots.labels, strict=True):
        judged = f"{len(zone.judged)} of {len(zone.nodes)}"
        buses = ", ".join(zone.buses[:6]) + (f", ... ({len(zone.buses)})" if len(zone.buses) > 6 else "")
        moves = "\n".join(f"[{k}] {label}" for k, label in enumerate(labels))
        rows.append((zone.name, buses, judged, moves))
    title = f"agents and actions: {_action(task)}; '-' is ignored"
    _rows(title, ("agent", "buses", "judged nodes", "action entries"), rows, console)


def _action(task: Task) -> str:
    """What an agent's action is."""
    width = task.agents.slots.width
    return {
        "box": f"a vector of {width} in [-1, 1] each",
        "multidiscrete": f"{width} choices each, with a mask",
        "native": "each device's own space, choices with a mask",
    }[task.scenario.actions]


def _observation(task: Task, console: Console) -> None:
    zone = max(task.agents.views, key=lambda zone: (zone.action_weight.sum(), -int(zone.index)))
    labels = task.observer.labels(zone, task.feeder)
    low, high = task.observer.low, task.observer.high
    rows = [(str(k), label, f"{low[k]:g} to {high[k]:g}") for k, label in enumerate(labels)]
    title = f"observation of {zone.name}; the other agents' have the same columns, 0 where there is no such thing"
    _rows(title, ("entry", "what it is [unit]", "clipped to"), rows, console)
