"""Key figures of a report's policies and references on the same test days: from the runs' tables, else played."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from dss_marl._assets import read_text
from dss_marl.controllers import OPT_IN, REFERENCES, Controller, PlanReplay, reference
from dss_marl.envs.scenario import Scenario
from dss_marl.experiments.evaluation import ComparisonTable, available_controllers, environment_for, run_day
from dss_marl.experiments.metrics import FIGURES
from dss_marl.experiments.reports.html.runs import ReportRun
from dss_marl.profiles.splits import spread_days

Figures = dict[int, dict[str, float]]  # day to key figures
Item = TypeVar("Item")
FEW_DAYS = 20  # fewer test days than this are pointed out


class Progress(Protocol):
    """Wraps what is worked on."""

    def __call__(self, items: Sequence[Item], what: str, /) -> Iterable[Item]:
        """The items one by one; ``what`` is what is done with them."""


def no_progress(items: Sequence[Item], what: str) -> Iterable[Item]:
    """Says nothing."""
    return items


@dataclass(frozen=True)
class Results:
    """Key figures of all policies and references.

    Attributes:
        table: those that can play every test day, on the same days.
        planned: all of them and the replays of plans, on the days that have plans; None without such a replay.
        references: reference controllers by name, which reset without error.
        left_out: references that are not compared, and why.
        failed: those of them that failed while they played.
        replaced: controllers whose saved figures were no longer true, so that they were played again.
        played: whether the runs have no saved table, so that only a part of the test days was played.
    """

    table: ComparisonTable
    planned: ComparisonTable | None
    references: Mapping[str, Controller]
    left_out: Mapping[str, str]
    failed: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    played: bool = False

    @property
    def scored(self) -> ComparisonTable:
        """The table with the controllers that score 0 and 1, where both are known."""
        return self.table if self.planned is None else self.planned


@dataclass
class _Book:
    """Figures by controller and day as they come in, and what became of each controller."""

    figures: dict[str, Figures] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)


def saved_figures(folder: Path, scenario: Scenario, test_days: Sequence[int]) -> dict[str, Figures]:
    """Controller to figures by day, from the table of a run's last evaluation; {} if that is of no use here."""
    path = folder / "table.json"
    try:
        data = json.loads(read_text(path, str(path)))
        rows = {name: dict(zip(data["days"], own, strict=True)) for name, own in data["figures"].items()}
        usable = data["scenario"] == scenario.name and data["split"] == "test" and set(data["days"]) <= set(test_days)
        complete = all({*row} >= {*FIGURES} for own in rows.values() for row in own.values())
    except (AttributeError, KeyError, TypeError, ValueError):  # none, cut short, or of another version
        return {}
    return rows if usable and complete else {}


def collect(
    runs: Sequence[ReportRun], names: Sequence[str] | None, most_days: int, progress: Progress = no_progress
) -> Results:
    """The key figures of a report.

    Args:
        runs: on the same grid and days.
        names: of references to compare with; None takes those that apply and are quick.
        most_days: number of test days to play of what no table holds.
        progress: wraps the days as they are played.

    Raises:
        ValueError: no day of the test split.
    """
    scenario, test_days = runs[0].scenario, runs[0].task.profiles.days("test")
    if not test_days:
        raise ValueError(f"scenario {scenario.name!r} has no test day")
    saved = [saved_figures(run.folder, run.scenario, test_days) for run in runs]
    days = _common_days(saved, test_days, most_days)
    references, left_out = _references(scenario, names, saved[0])
    book = _Book(left_out=left_out)
    for run, own in zip(runs, saved, strict=True):
        _fill(book, run.label, run.policy, run.scenario, days, own.get("learned", {}), progress)
    for name, controller in references.items():
        known = [day for day in days if not isinstance(controller, PlanReplay) or day in controller.days]
        if not known:
            book.left_out[name] = "it has no plan of these days; 'dss-marl solve' finds plans of test days"
            continue
        try:
            _fill(book, name, controller, scenario, known, saved[0].get(name, {}), progress)
        except Exception as error:  # another's code: the report goes on and says so
            book.failed.append(name)
            book.left_out[name] = f"failed: {str(error) or type(error).__name__}"
    played = not all(saved) and len(days) < len(test_days)
    return _tables(book, scenario, days, references, played)


def _common_days(saved: Sequence[dict[str, Figures]], test_days: Sequence[int], most_days: int) -> list[int]:
    """The days that all saved tables hold, or else some, spread over the year."""
    sets = [set(own["learned"]) if "learned" in own else set[int]() for own in saved]
    common = set.intersection(*sets)
    if len(common) >= min(most_days, len(test_days)):
        return sorted(common)
    return spread_days(test_days, min(most_days, len(test_days)))


def _references(
    scenario: Scenario, names: Sequence[str] | None, saved: Mapping[str, Figures]
) -> tuple[dict[str, Controller], dict[str, str]]:
    """The references to compare with, and why others are left out."""
    if names is not None:
        wanted = list(dict.fromkeys(["opendss_controls", "no_control", *names]))
    else:
        extra = [name for name in saved if name not in REFERENCES and name != "learned"]
        quick = [name for name in REFERENCES if name not in OPT_IN or name in saved or name == "best_known"]
        best = scenario.reference_controller
        wanted = [*quick, *extra] + ([best] if best not in quick and best not in OPT_IN else [])
    found, refused = available_controllers(scenario, wanted)
    return _with_plans(scenario, wanted, found, refused)


def _with_plans(
    scenario: Scenario, wanted: Sequence[str], found: dict[str, Controller], refused: dict[str, str]
) -> tuple[dict[str, Controller], dict[str, str]]:
    """The same, with replays of plans that have none of the first test day but of others."""
    for name in [name for name in refused if name in wanted]:
        try:
            controller = reference(name, scenario)
        except (ValueError, ImportError):
            continue
        if isinstance(controller, PlanReplay) and controller.days:
            again, why = available_controllers(scenario, [name], controller.days[0])
            found |= again
            refused = {key: value for key, value in {**refused, **why}.items() if key not in again}
    return {name: found[name] for name in wanted if name in found}, refused


def _fill(
    book: _Book,
    name: str,
    controller: Controller,
    scenario: Scenario,
    days: Sequence[int],
    saved: Figures,
    progress: Progress,
) -> None:
    """Enter a controller's figures: those saved if a day played anew agrees with them, and the missing ones played."""
    env = environment_for(controller, scenario, "test")
    try:
        own: Figures = {}
        known = [day for day in days if day in saved]
        if known:
            own[known[0]] = run_day(env, controller, known[0])
            if _agree(own[known[0]], saved[known[0]]):
                own |= {day: saved[day] for day in known}
            else:
                book.replaced.append(name)
        for day in progress([day for day in days if day not in own], f"evaluating {name}"):
            own[day] = run_day(env, controller, day)
    finally:
        env.close()
    book.figures[name] = own


def _agree(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return all(np.isclose(one[figure], other[figure], rtol=1e-5, atol=1e-8) for figure in FIGURES)


def _tables(
    book: _Book, scenario: Scenario, days: Sequence[int], references: Mapping[str, Controller], played: bool
) -> Results:
    table = ComparisonTable(
        scenario.name,
        "test",
        tuple(days),
        {name: [own[day] for day in days] for name, own in book.figures.items() if set(days) <= {*own}},
        scenario.reference_controller,
    )
    partial = {name: own for name, own in book.figures.items() if not set(days) <= {*own}}
    planned = None
    if partial:
        common = sorted(set.intersection(*(set(own) for own in partial.values())))
        figures = {name: [own[day] for day in common] for name, own in book.figures.items()}
        planned = replace(table, days=tuple(common), figures=figures) if common else None
    kept = {name: one for name, one in references.items() if name in book.figures}
    return Results(table, planned, kept, book.left_out, tuple(book.failed), tuple(book.replaced), played)
