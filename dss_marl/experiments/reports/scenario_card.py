"""Scenario card: the decision process as a paper would tabulate it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dss_marl._assets import data_folder, known_names
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.scenario_comments import reasons
from dss_marl.envs.task import Task
from dss_marl.experiments.evaluation import ComparisonTable
from dss_marl.experiments.game_figures import OBJECTIVE
from dss_marl.experiments.metrics import about_figure
from dss_marl.experiments.reports.scenario_money import device_kinds
from dss_marl.grid.own_elements import own_elements
from dss_marl.mdp.reward_money import money_of
from dss_marl.profiles import SPLITS, STRESS_SPLITS

_MOST_OWN = 30  # elements of the circuit in a card's table


def _summary(function: object) -> str:
    """First line of a docstring."""
    return (getattr(function, "__doc__", "") or "").strip().split("\n")[0]


@dataclass(frozen=True)
class CardTable:
    """A table of a card."""

    title: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


Card = list["str | CardTable"]  # lines of text, and tables


def markdown_card(task: Task, source: str | Path | None = None) -> str:
    """The card as a page of Markdown; see card."""
    scenario = task.scenario
    parts = [f"# {scenario.name}\n", f"{scenario.title}. Version {scenario.version}.\n"]
    for part in card(task, source):
        if isinstance(part, str):
            parts.append(f"* {part}")
        else:
            lines = [part.heads, ("---",) * len(part.heads), *part.rows]
            cells = (" | ".join(cell.replace("|", "/").replace("\n", "<br>") for cell in line) for line in lines)
            parts.append(f"\n## {part.title}\n\n" + "\n".join(f"| {line} |" for line in cells))
    return "\n".join(parts) + "\n"


def card(task: Task, source: str | Path | None = None) -> Card:
    """Agents, observation with labels and units, actions, reward terms, costs, horizon and splits.

    Args:
        task: the scenario, built.
        source: the scenario's file, in which the reasons for the weights are; None: the shipped one of its name.
    """
    scenario, feeder = task.scenario, task.feeder
    hours = scenario.steps * scenario.dt_h
    days = "; ".join(f"{split} {len(task.profiles.days(split))} days" for split in SPLITS)
    parts: Card = [
        repr(feeder),
        f"horizon {scenario.steps} steps of {scenario.dt_h:g} h ({hours:g} h), truncated, terminated only "
        f"by a failed power flow (team reward -{scenario.failure_penalty:g})",
        f"splits: {days}; a random day of the split at each reset",
    ]
    if scenario.profiles.kind == "synthetic":
        parts.append(f"stress splits: {', '.join(_stress(task))}")
    parts += _difficulties(scenario)
    controls = "are active" if scenario.circuit_controls else "are off"
    parts.append(f"the circuit's own regulator and capacitor controls {controls}")
    parts.append(f"voltage band: {task.band}")
    parts += origin(task)
    own = own_elements(feeder)
    if own:
        rows = [(row.name, row.kind, row.does) for row in own[:_MOST_OWN]]
        more = f"; {len(own) - _MOST_OWN} more are in the feeder's report" if len(own) > _MOST_OWN else ""
        parts.append(CardTable(f"what the circuit brings{more}", ("element", "class", "what it does"), rows))
    file = scenario.name if source is None else source
    why, why_cost = reasons(file, "rewards"), reasons(file, "costs")
    parts += [
        _agents(task),
        _observation(task),
        CardTable(
            f"reward: {_SHARING[scenario.reward_sharing]}",
            ("term", "weight", "one zone's contribution", "in money, at 1 = 10 $", "why"),
            [
                (name, f"{weight:g}", _meaning(task, function), _in_money(scenario, name), _why(why, name))
                for name, (weight, function) in task.rewards.items()
            ],
        ),
        CardTable(
            "costs, in infos only",
            ("cost", "meaning", "why"),
            [
                (name, _meaning(task, function).removeprefix("Cost: "), _why(why_cost, name))
                for name, function in task.costs.items()
            ],
        ),
    ]
    return parts + _references(scenario)


def _meaning(task: Task, function: object) -> str:
    """Its first line, with the limits of the task's voltage band."""
    return _summary(function).replace("the band", task.band.text)


def _in_money(scenario: Scenario, short: str) -> str:
    """What a reward weight is in dollars; "" for a term of one's own."""
    name = next(name for name in scenario.rewards if name.split(":")[-1] == short)
    return money_of(name, scenario.rewards[name], scenario.dt_h, device_kinds(scenario)).text


def origin(task: Task) -> list[str]:
    """Origin of the circuit: the first paragraph of its SOURCE.md; empty for a user's circuit."""
    if task.scenario.feeder.name not in known_names("feeders"):
        return []
    path = data_folder("feeders") / task.scenario.feeder.name / "SOURCE.md"
    if not path.is_file():
        return []
    paragraphs = path.read_text(encoding="utf-8").split("\n\n")
    texts = [" ".join(part.split()) for part in paragraphs if part.strip() and not part.startswith("#")]
    return [f"circuit: {texts[0]}"] if texts else []


def _stress(task: Task) -> list[str]:
    """The stress splits that change anything in this task; ``more_pv``, for instance, needs PV units."""
    from dss_marl.experiments.validation.stress_splits import without_meaning

    return [split for split in STRESS_SPLITS if not without_meaning(task, split)]


def _why(why: dict[str, str], short: str) -> str:
    """The file's comment on a term, which it may name with its module."""
    return next((text for name, text in why.items() if name.split(":")[-1] == short), "")


def _references(scenario: Scenario) -> Card:
    """The reference controller, and the returns of all controllers on the frozen days if results exist."""
    from dss_marl.experiments.validation.result_files import (  # needs controllers, which a card does not
        load,
        results_folder,
        stale_reason,
    )
    from dss_marl.experiments.validation.standings import days_text

    parts: Card = ["a tutorial: no score of the suite counts it"] if scenario.tutorial else []
    parts.append(f"the controller that scores 1: {scenario.reference_controller}")
    folder = results_folder(scenario.name)
    if folder is None:
        return parts
    result = load(folder)
    reason = stale_reason(scenario, result)
    if reason == "the scenario has changed since":
        return [
            *parts,
            f"its results are for another version of the scenario; run 'dss-marl validate {scenario.name}'",
        ]
    parts[-1] = f"{parts[-1]}, {result.claim}"
    every, rows = len(result.metadata["days"]), []
    for one in result.standings:
        mean, low, high = one.returned
        score = f"{one.score[0]:.2f}" if one.score is not None else ""
        rows.append((one.controller, days_text(one.days, every), f"{mean:.4g} ({low:.4g} to {high:.4g})", score))
    title = f"references: mean return on test days (95 % interval), version {result.metadata['version']}"
    table = result.table()
    shown = CardTable(title, ("controller", "days", "return", "score"), rows)
    return [*parts, *_anarchy(table), shown, *_objectives(table)]


def _anarchy(table: ComparisonTable) -> list[str]:
    """The price of anarchy, where selfish and cooperative play are both known."""
    selfish, together, idle = "best_response", table.reference_controller, "no_control"
    if not {selfish, together, idle} <= set(table.figures):
        return []
    means = {name: float(table.column(name, "team_return").mean()) for name in (selfish, together, idle)}
    gap, range_ = means[together] - means[selfish], means[together] - means[idle]
    return [
        f"price of anarchy: selfish best responses ({selfish}) leave {gap:.3g} of welfare a day to {together}, "
        f"{gap / range_:.1%} of what control can win: {means[selfish]:.4g} against {means[together]:.4g}, "
        f"a cost {means[selfish] / means[together]:.3f} times as high"
    ]


def _objectives(table: ComparisonTable) -> Card:
    """Mean of each objective under every controller, for scenarios with a vector reward."""
    first = next(iter(table.figures.values()))[0]
    names = [name for name in first if name.startswith(OBJECTIVE)] + [name for name in ("pv_jain",) if name in first]
    if not any(name.startswith(OBJECTIVE) for name in names):
        return []
    heads = ("controller", *(about_figure(name)[1] for name in names))
    rows = [(who, *(f"{table.column(who, name).mean():.4g}" for name in names)) for who in table.figures]
    return [CardTable("vector reward: mean of each objective", heads, rows)]


_SHARING = {
    "team": "team reward: weighted sum of terms over all zones, the same for every agent",
    "zone": "weighted sum of terms over the agent's zone",
    "agent": "weighted sum of terms over the agent's own view",
    "difference": "difference reward: team reward minus the team reward had the agent held",
}


def _difficulties(scenario: Scenario) -> list[str]:
    """Limits of observation, communication and control, one line each."""
    sensing, messages, attack = scenario.sensing, scenario.messages, scenario.attack
    lines = []
    if not sensing.perfect:
        lines.append(
            f"meters: voltage noise {sensing.noise_v_pu:g} pu, power noise {sensing.noise_power:.0%}, "
            f"{sensing.missing:.0%} missing, {sensing.delay} intervals late"
        )
    if messages.hops:
        whom = "all other zones" if messages.hops == "all" else f"zones up to {messages.hops} hop(s) away"
        lines.append(
            f"messages: {', '.join(messages.share)} of {whom}, {messages.loss:.0%} lost, "
            f"{messages.delay} intervals late"
        )
    if attack is not None:
        who = ", ".join(attack.agents) or f"{attack.share:.0%} of the agents"
        what = f" (of their devices: {', '.join(attack.kinds)})" if attack.kinds else ""
        lie = ", false messages" if attack.false_data else ""
        lines.append(f"attack: {who}{what} compromised, policy {attack.policy}{lie}, from step {attack.from_step} on")
    if scenario.faults:
        what = "the days' own outages" if scenario.faults == "outages" else f"one of {', '.join(scenario.faults)}"
        lines.append(f"faults: {what}")
    return lines


def _agents(task: Task) -> CardTable:
    rows = []
    for zone, labels in zip(task.agents.views, task.agents.action_layout.labels, strict=True):
        scored_nodes = f"{len(zone.scored_nodes)} of {len(zone.nodes)}"
        buses = ", ".join(zone.buses[:6]) + (f", ... ({len(zone.buses)})" if len(zone.buses) > 6 else "")
        moves = "\n".join(f"[{k}] {label}" for k, label in enumerate(labels))
        rows.append((zone.name, buses, scored_nodes, moves))
    title = f"agents and actions: {_action(task)}; '-' is ignored"
    return CardTable(title, ("agent", "buses", "scored nodes", "action entries"), rows)


def _action(task: Task) -> str:
    """Description of an agent's action space."""
    width = task.agents.action_layout.width
    known = {
        "box": f"a vector of {width} in [-1, 1] each",
        "multidiscrete": f"{width} choices each, with a mask",
        "native": "each device's own space, with a mask for choices",
    }
    return known.get(task.scenario.actions) or _summary(type(task.encoding))


def _observation(task: Task) -> CardTable:
    zone = max(task.agents.views, key=lambda zone: (zone.action_weight.sum(), -int(zone.index)))
    labels = task.observer.labels(zone, task.feeder)
    low, high = task.observer.low, task.observer.high
    rows = [(str(k), label, f"{low[k]:g} to {high[k]:g}") for k, label in enumerate(labels)]
    title = f"observation of {zone.name}; other agents have the same columns, 0 where not applicable"
    return CardTable(title, ("entry", "meaning [unit]", "clipped to"), rows)
