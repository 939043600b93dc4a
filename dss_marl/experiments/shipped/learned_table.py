"""What was learned on each scenario, beside the rules: a line for each shipped policy, with figures of all seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dss_marl.experiments.study.report import interval
from dss_marl.experiments.study.results import RESULTS, ScenarioResults, load_results
from dss_marl.experiments.study.summary import lines
from dss_marl.grid.state import Array

HEADS = ["scenario", "recipe", "seeds", "return", "score", "tuned droop", "best rule", "ahead of it", "seconds"]
ABOUT = (
    "Return and score of the policy of each seed that was best on validation days, on the frozen test days: "
    "interquartile mean over seeds, with its 95 % bootstrap interval. The score is 0 for `opendss_controls` (without "
    "it `no_control`) and 1 for the best plans with full foresight. *Ahead of it*: seeds whose mean return is above "
    "that of the best rule without foresight. `linear` is a central controller with a "
    "model of the circuit and all its measurements; an agent sees its zone. Seconds of a training, on one core.\n"
)


def learned_table(places: Sequence[Path]) -> list[list[str]]:
    """Cells of the table, below HEADS, best score first.

    Args:
        places: folders of shipped policies.
    """
    rows: list[tuple[float, list[str]]] = []
    for place in places:
        results = load_results(place / RESULTS)
        (line,) = lines(results)
        scenario = results.scenarios[line.scenario]
        rule = _rule(scenario, line.rule)
        ahead = (
            "" if not line.rule else _ahead([cell.returns for cell in results.cells], scenario.returns_of(line.rule))
        )
        cells = [f"`{line.scenario}`", f"`{line.recipe}`", str(len(line.seeds)), interval(line.returned, 3)]
        cells += [
            "" if line.score is None else interval(line.score),
            _droop(scenario),
            rule,
            ahead,
            f"{line.seconds:.0f}",
        ]
        rows.append((-np.inf if line.score is None else line.score[0], cells))
    return [cells for _, cells in sorted(rows, key=lambda row: -row[0])]


def _ahead(returns: Sequence[Array], rule: Array) -> str:
    return f"{sum(own.mean() > rule.mean() for own in returns)} of {len(returns)}"


def _rule(scenario: ScenarioResults, rule: str) -> str:
    if not rule:
        return ""
    score = scenario.score(scenario.returns_of(rule))
    return f"{rule} {'' if score is None else f'{score:.2f}'}"


def _droop(scenario: ScenarioResults) -> str:
    own = scenario.references.get("tuned_droop")
    if own is None or not set(scenario.days) <= set(own.days):
        return ""
    score = scenario.score(scenario.returns_of("tuned_droop"))
    return "" if score is None else f"{score:.2f}"
