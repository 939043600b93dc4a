"""Model cards: data, recipe, results and limits of a trained policy, written from its record and results."""

from __future__ import annotations

import json

import numpy as np

from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments.runs.run_record import OPENDSS, RunRecord
from dss_marl.experiments.study.report import interval, reference_rows, table
from dss_marl.experiments.study.results import CellResults, ScenarioResults, StudyResults
from dss_marl.experiments.study.summary import Line, lines
from dss_marl.mdp.return_statistics import mean_interval

CARD = "card.md"


def card(name: str, record: RunRecord, results: StudyResults) -> str:
    """The card of a shipped policy as Markdown.

    Args:
        name: of the policy.
        record: of its run.
        results: of its scenario and recipe: all seeds that were trained.
    """
    (task, scenario), (line,) = next(iter(results.scenarios.items())), lines(results)
    own = next(cell for cell in results.cells if cell.seed == record.seed)
    parts = [
        f"# {name}\n",
        f"A policy for scenario `{task}`: {scenario.title}.\n",
        f'```python\nimport dss_marl\n\npolicy = dss_marl.load_policy("{name}")\nprint(policy, '
        "policy.evaluate(days=2))\n```\n",
        "## Data\n",
        _data(task, scenario, record),
        "## Recipe\n",
        _recipe(record),
        "## Results\n",
        _results(results, line, own),
        "## Limits\n",
        _limits(name, scenario, line, own, record),
    ]
    return "\n".join(parts)


def _data(task: str, scenario: ScenarioResults, record: RunRecord) -> str:
    profiles = record.scenario["profiles"]
    engine = "OpenDSS" if record.engine == OPENDSS else f"the engine `{record.engine}`"
    commit = f", commit {record.git_commit[:12]}" if record.git_commit else ""
    return (
        f"Version {scenario.version} of `{task}`, with dss_marl {record.versions['dss_marl']}{commit}, on {engine}. "
        f"Days: {profiles['kind']} profiles, SHA-256 of the year {record.profiles_sha256[:12]}. It learned on training "
        f"days; of {len(record.history)} evaluations on validation days the best one is kept; the figures below are of "
        f"{len(scenario.days)} frozen test days, which had no part in either.\n"
    )


def _recipe(record: RunRecord) -> str:
    plain = TrainingSettings().model_dump(mode="json")
    changed = {key: value for key, value in record.settings.items() if value != plain.get(key)}
    rows = [[f"`{key}`", f"`{json.dumps(value)}`", f"`{json.dumps(plain.get(key))}`"] for key, value in changed.items()]
    shown = table(["setting", "value", "default"], rows) if rows else "All settings are the defaults.\n"
    return (
        f"{record.settings['algorithm']}, seed {record.seed}, {record.agent_steps:,} agent-steps in "
        f"{record.all_seconds:.0f} s ({record.machine}). Settings that differ from the defaults:\n\n{shown}"
    )


def _results(results: StudyResults, line: Line, own: CellResults) -> str:
    task = line.scenario
    scenario = results.scenarios[task]
    score = scenario.score(own.returns)
    heads = ["", "return", "score"]
    seeds = f"{len(line.seeds)} seeds, interquartile mean" if len(line.seeds) > 1 else "one seed"
    over = "intervals over seeds" if len(line.seeds) > 1 else "interval over days"
    shown = line.returned if len(line.seeds) > 1 else line.returned_over_days
    scored = line.score if len(line.seeds) > 1 else line.score_over_days
    rows = [["this policy (interval over days)", interval(mean_interval(own.returns), 3), _two(score)]]
    if len(line.seeds) > 1:
        rows.append([f"{seeds} ({over})", interval(shown, 3), interval(scored) if scored else ""])
    return (
        f"{table(heads, rows)}\nMean of a test day with 95 % bootstrap intervals; by the scale of these "
        f"references:\n\n{table(*reference_rows(results))}"
    )


def _two(score: float | None) -> str:
    return "" if score is None else f"{score:.2f}"


def _limits(name: str, scenario: ScenarioResults, line: Line, own: CellResults, record: RunRecord) -> str:
    said = [
        "It fits this feeder with these zones, devices and observations; with other spaces it is refused, and on other "
        "days nothing is promised. Stress splits: "
        f"`dss-marl evaluate policy:{name} {line.scenario} --split sunny_low_load`.",
        "It is trained in simulation, acts without a check of its actions, and is for research and comparison, not for "
        "operating a grid.",
    ]
    worst, failed = own.figures.get("worst_pu", [0.0]), own.figures.get("failed", [0.0])
    if max(worst) > 0:
        days = int((np.array(worst) > 0).sum())
        said.append(
            f"On {days} of {line.days} test days some voltage leaves the band, by {max(worst):.3f} pu at the worst."
        )
    if max(failed) > 0:
        said.append(f"On {int(sum(failed))} of {line.days} test days a power flow failed.")
    if line.rule:
        beaten = int((own.returns > scenario.returns_of(line.rule)).sum())
        said.append(
            f"The best rule without foresight, `{line.rule}`, has a lower return on {beaten} of {line.days} test days."
        )
    if len(line.seeds) == 1:
        said.append("One seed was trained: how far another one would be from it is not known.")
    return "\n".join(f"* {one[:1].upper()}{one[1:]}" for one in [*said, *record.remarks()]) + "\n"
