"""The comparison table: a row for each policy, reference and group of seeds, with numbers to sort by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dss_marl.experiments.evaluation import ComparisonTable
from dss_marl.experiments.metrics import FIGURES
from dss_marl.experiments.reports.html.results import Results
from dss_marl.experiments.reports.html.runs import ReportRun, seeds_of
from dss_marl.experiments.reports.html.statistics import interquartile_mean
from dss_marl.experiments.reports.html.text import count, digits_of, interval, listed, number
from dss_marl.mdp.return_statistics import mean_interval

Interval = tuple[float, float, float]


@dataclass(frozen=True)
class Cell:
    """A cell: its number, to sort by (None sorts last), its text, and the ends of its interval as text."""

    value: float | None
    text: str
    ends: str = ""


@dataclass(frozen=True)
class Row:
    """A row: its name, what it is (policy, seeds or reference), what its intervals are over, and its cells."""

    name: str
    kind: str
    over: str
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Heading:
    """A heading: its name and unit, and an arrow that says which way is better."""

    name: str
    unit: str = ""
    better: str = ""


def comparison(results: Results, runs: Sequence[ReportRun]) -> tuple[list[Heading], list[Row]]:
    """Headings and rows: policies, their seeds together, then references by return."""
    table = results.table
    shown = _shown(results, any({"energy_cost", "excess_cost"} & {*run.task.rewards, *run.task.costs} for run in runs))
    heads = [Heading(FIGURES[f][1], "" if FIGURES[f][0] == "1" else FIGURES[f][0], _arrow(f)) for f in shown]
    scored = results.scored
    if scored.zero is not None:
        heads.append(Heading("score", f"0 {scored.zero}, 1 {scored.reference_controller}", "higher is better"))
    policies = [run.label for run in runs]
    rows = [_row(results, name, "policy", shown) for name in policies]
    rows += [_seeds(results, group, shown) for group in seeds_of(runs) if len(group) > 1]
    found = {**table.figures, **(scored.figures if scored is not table else {})}
    references = sorted((name for name in found if name not in policies), key=lambda name: -_team_return(results, name))
    return heads, rows + [_row(results, name, "reference", shown) for name in references]


def better_days(results: Results, runs: Sequence[ReportRun]) -> dict[str, str]:
    """Reference to on how many days the only policy has the higher return; {} with several policies."""
    if len(runs) != 1:
        return {}
    policy, counts = runs[0].label, {}
    for name in {**results.table.figures, **results.scored.figures}:
        table = _table_of(results, name)
        if name != policy:
            counts[name] = f"{round(table.better_days(policy, name) * len(table.days))} of {len(table.days)}"
    return counts


def _table_of(results: Results, name: str) -> ComparisonTable:
    return results.table if name in results.table.figures else results.scored


def _team_return(results: Results, name: str) -> float:
    return float(_table_of(results, name).column(name, "team_return").mean())


def _shown(results: Results, priced: bool) -> list[str]:
    """Figures that are not zero under every controller but random actions; costs of energy where they are rewarded."""

    def told(figure: str) -> bool:
        rows = [table.column(name, figure) for table in (results.table, results.scored) for name in table.figures
                if name != "random"]  # fmt: skip
        return any(row.any() for row in rows)

    return [figure for figure in FIGURES if told(figure) and (priced or figure != "energy_cost")]


def _arrow(figure: str) -> str:
    return "higher is better" if FIGURES[figure][2] else "lower is better"


def _row(results: Results, name: str, kind: str, shown: Sequence[str]) -> Row:
    table, scored = _table_of(results, name), results.scored
    cells = [figure_cell(*mean_interval(table.column(name, figure)), percent=_share(figure)) for figure in shown]
    if scored.zero is not None:
        cells.append(figure_cell(*scored.score(name)) if name in scored.figures else Cell(None, ""))
    return Row(name, kind, count(len(table.days), "test day"), cells)


def _seeds(results: Results, group: Sequence[ReportRun], shown: Sequence[str]) -> Row:
    """Interquartile mean over seeds of their means over days."""
    names, scored = [run.label for run in group], results.scored
    cells = []
    for figure in shown:
        means = [float(results.table.column(name, figure).mean()) for name in names]
        cells.append(figure_cell(*interquartile_mean(means), percent=_share(figure)))
    if scored.zero is not None:
        cells.append(figure_cell(*interquartile_mean([scored.score(name)[0] for name in names])))
    title = f"{len(group)} seeds: {listed(names, 4)}"
    return Row(title, "seeds", f"interquartile mean over {len(group)} seeds", cells)


def _share(figure: str) -> bool:
    return FIGURES[figure][0] == "1"


def figure_cell(mean: float, low: float, high: float, percent: bool = False) -> Cell:
    """The cell of a mean and its interval; a share in percent."""
    if percent:
        mean, low, high = 100 * mean, 100 * low, 100 * high
    digits = min(digits_of(mean, high - low), 1) if percent else digits_of(mean, high - low)
    return Cell(float(np.round(mean, 9)), number(mean, digits) + (" %" if percent else ""), interval(low, high, digits))
