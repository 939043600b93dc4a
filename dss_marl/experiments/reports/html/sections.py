"""What each section of the report says: sentences and tables from results and days played."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dss_marl.experiments.recording import Recording
from dss_marl.experiments.reports.html.charts import StressRow
from dss_marl.experiments.reports.html.comparison_rows import Cell, Heading, Row, better_days, comparison, figure_cell
from dss_marl.experiments.reports.html.plays import ChosenDays, Plays
from dss_marl.experiments.reports.html.results import Results
from dss_marl.experiments.reports.html.runs import ReportRun
from dss_marl.experiments.reports.html.terms import ZoneTerms
from dss_marl.experiments.reports.html.text import clock, count, listed, number
from dss_marl.experiments.reports.html.training_engine import engine_note
from dss_marl.experiments.reports.html.where import Quantity, slots_of, voltage_range, worst_buses
from dss_marl.mdp.return_statistics import mean_interval

Section = dict[str, Any]
_MAP_LEAD = {
    "outside": "Hours a day in which a scored node of the bus is outside {band}",
    "dead": "Hours a day in which a scored node of the bus has no voltage",
    "error": "Mean absolute difference between estimated and true voltage of the bus's unmetered nodes",
}


def comparison_section(results: Results, runs: Sequence[ReportRun]) -> Section:
    """The comparison table."""
    heads, rows = comparison(results, runs)
    table, scored = results.table, results.scored
    lead = (
        f"Every controller on the same {count(len(table.days), 'test day')}, mean per day and 95 % bootstrap interval "
        "over days; test days were seen neither in training nor in the choice of the policy."
    )
    note = "An interval below a figure is 95 %, of its mean over days."
    if any(row.kind == "seeds" for row in rows):
        note += " The row of the seeds has the interquartile mean over seeds, and its 95 % interval over seeds."
    if scored is not table:
        note += (
            f" Plans exist for {len(scored.days)} of these days: their row, and all scores, are of those days alone."
        )
    if len(runs) > 1:
        note += f" References are played in the scenario of {runs[0].label}."
    note += engine_note(runs)
    return {
        "lead": lead, "note": note, "heads": heads, "rows": rows, "better": better_days(results, runs),
        "left_out": results.left_out,
    }  # fmt: skip


def learning_section(runs: Sequence[ReportRun], days: int, references: Sequence[str]) -> Section:
    """What the learning curves are."""
    if not any(run.record.history for run in runs):
        return {"lead": "No run has been evaluated during training so far, so that there is no curve."}
    lead = (
        f"Return of the policy on {count(days, 'validation day')} during training, against agent-steps (steps times "
        "agents times copies); a star marks the policy that was kept"
    )
    if references:
        lead += f", and dashed lines are {listed(list(references))} on the same days"
    return {"lead": lead + "."}


def days_section(run: ReportRun, runs: Sequence[ReportRun], chosen: ChosenDays, results: Results, plays: Plays,
                 failed: Mapping[str, str]) -> Section:  # fmt: skip
    """The three days and what they are."""
    which = "" if len(runs) == 1 else f" of {run.label}, the run of median test return (the lower of two),"
    lead = (
        f"The worst, the median and the best of {count(len(results.table.days), 'test day')} by the return of the "
        f"policy{which} under each controller: every device by name, colours on one scale along a row."
    )
    if failed:
        lead += f" Not shown, as they failed: {listed([f'{name} ({why})' for name, why in failed.items()])}."
    shown, taken = [], set[int]()
    for what, day in (("Worst", chosen.worst), ("Median", chosen.median), ("Best", chosen.best)):
        if day in taken:
            continue
        taken.add(day)
        recording = plays[run.label][day]
        date = "" if recording.dates[0] is None else f", {recording.dates[0]}"
        shown.append({
            "title": f"{what} day: test day {day}{date}",
            "text": _returns({name: own[day] for name, own in plays.items() if day in own}),
            "figure": f"day-{day}",
        })  # fmt: skip
    return {"lead": lead, "shown": shown}


def _returns(day: Mapping[str, Recording]) -> str:
    parts = []
    for name, one in day.items():
        own = one.figures[0]
        parts.append(
            f"{name}: return {number(own['team_return'])}, {number(100 * own['controllable_rate'], 0)} % of steps in "
            f"band, {number(own['violation_node_h'])} node h outside, {number(own['loss_kwh'], 0)} kWh of losses"
        )
    return "; ".join(parts) + "."


def where_section(run: ReportRun, runs: Sequence[ReportRun], found: Sequence[Quantity], plays: Plays,
                  days: Sequence[int]) -> Section:  # fmt: skip
    """The map's controls and the ten worst buses."""
    quantity = found[0]
    who = "" if len(runs) == 1 else f" of {run.label} and the references"
    band = run.task.band.text
    lead = (
        f"{_MAP_LEAD[quantity.key].format(band=band)}, mean over {_days_played(days)}{who}; "
        "the slider moves through the day, and dots at zero are grey."
    )
    return {
        "lead": lead,
        "quantities": [one.title for one in found],
        "controllers": list(plays),
        "slots": len(slots_of(run.task)[0]),
        "worst": _worst(run, quantity, plays),
    }


def _days_played(days: Sequence[int]) -> str:
    if len(days) <= 3:
        return count(len(days), "test day")
    return f"{len(days)} test days (the worst, the median, the best, and others spread over the year)"


def _worst(run: ReportRun, quantity: Quantity, plays: Plays) -> Section:
    buses, names = worst_buses(quantity, run.label), list(plays)
    zone = {bus: one.name for one in run.task.zones for bus in one.buses}
    hours, _ = slots_of(run.task)
    heads = [Heading("bus"), *(Heading(name, quantity.unit) for name in names),
             Heading("worst hour from", run.label), Heading("lowest", f"pu, {run.label}"),
             Heading("highest", f"pu, {run.label}")]  # fmt: skip
    rows = []
    for bus in buses:
        name = run.task.feeder.buses[bus].name
        low, high = voltage_range(run.task, plays[run.label], name)
        values = [float(quantity.times[one].in_all[bus]) for one in names]
        by_slot = quantity.times[run.label].by_slot[:, bus]
        worst = float(hours[int(np.nanargmax(by_slot))])
        when = Cell(worst, clock(worst)) if np.nanmax(by_slot) > 0 else Cell(None, "")
        cells = [*(Cell(value, number(value)) for value in values), when, _pu(low), _pu(high)]
        rows.append(Row(name, "reference", zone.get(name, "no zone"), cells))
    title = "The ten worst buses" if len(rows) == 10 else "The worst buses"
    nothing = f"{quantity.title} is zero at every scored bus under every controller shown."
    text = f"By {quantity.title[:1].lower()}{quantity.title[1:]} under {run.label}, then under the others."
    return {"title": title, "text": text, "heads": heads, "rows": rows, "none": nothing}


def _pu(value: float) -> Cell:
    return Cell(value, number(value, 3)) if np.isfinite(value) else Cell(None, "")


def terms_section(run: ReportRun, runs: Sequence[ReportRun], rewards: Mapping[str, ZoneTerms],
                  costs: Mapping[str, ZoneTerms], days: Sequence[int]) -> Section:  # fmt: skip
    """Reward terms and costs of the team by controller, and by zone under the policy."""
    who = "the policy" if len(runs) == 1 else run.label
    lead = (
        f"What the return is made of: weighted reward terms of each zone, sum over a day and mean over "
        f"{_days_played(days)}; a term's bars to the left lower the return. Costs are reported and not part "
        "of it."
    )
    team = [Row(term, "reference", _unit(run, term), [_team(one, term) for one in group.values()])
            for group in (rewards, costs) for term in next(iter(group.values())).terms]  # fmt: skip
    tables = [{
        "title": "Whole feeder",
        "text": "Reward terms, then costs: sum over all zones, mean per day and 95 % interval over days.",
        "heads": [Heading("term"), *(Heading(name) for name in rewards)],
        "rows": team,
    }]  # fmt: skip
    for title, group in (("Reward terms by zone", rewards), ("Costs by zone", costs)):
        if group and run.label in group:
            one = group[run.label]
            mean = one.mean()
            rows = [_zone_row("all zones", mean.sum(0), "total")]
            rows += [_zone_row(zone, row, "reference") for zone, row in zip(one.zones, mean, strict=True)]
            tables.append({
                "title": title, "text": f"Under {who}, mean per day.",
                "heads": [Heading("zone"), *(Heading(term, _unit(run, term)) for term in one.terms)], "rows": rows,
            })  # fmt: skip
    return {"lead": lead, "tables": tables}


def _unit(run: ReportRun, term: str) -> str:
    """Unit of a cost, in brackets at the end of the first sentence of its documentation; rewards are weighted."""
    text = (getattr(run.task.costs.get(term), "__doc__", "") or "").strip().split("\n")[0]
    found = re.search(r"\[([^\]]+)\]\.?$", text)
    return found[1] if found and term not in run.task.rewards else ""


def _team(one: ZoneTerms, term: str) -> Cell:
    return figure_cell(*one.team(term)) if term in one.terms else Cell(None, "")


def _zone_row(name: str, values: np.ndarray, kind: str) -> Row:
    return Row(name, kind, "", [Cell(float(value), number(float(value))) for value in values])


def stress_section(rows: Sequence[StressRow], left_out: Mapping[str, str], policy: str, asked: bool,
                   many: bool) -> Section:  # fmt: skip
    """The stress splits."""
    if not asked:
        return {"lead": "Stress splits were not played (--no-stress).", "heads": [], "rows": [], "left_out": {}}
    if len(rows) < 2:
        return {"lead": "No stress split applies.", "heads": [], "rows": [], "left_out": left_out}
    names = list(dict.fromkeys(name for row in rows for name in row.returns))
    who = f" by {policy}, the run of median test return" if many else ""
    lead = (
        f"Days unlike those of training, {len(rows[0].days)} of each split{who}, beside as many test days: mean "
        "return per day and 95 % interval over days."
    )
    heads = [Heading("split"), *(Heading(name, "return") for name in names),
             *(Heading(name, "steps in band") for name in names)]  # fmt: skip
    cells = [
        [*(_of(row.returns, name) for name in names), *(_of(row.in_band, name, percent=True) for name in names)]
        for row in rows
    ]
    table = [
        Row(row.split, "reference", f"days {', '.join(str(day) for day in row.days)}", own)
        for row, own in zip(rows, cells, strict=True)
    ]
    return {"lead": lead, "heads": heads, "rows": table, "left_out": left_out}


def _of(columns: Mapping[str, np.ndarray], name: str, percent: bool = False) -> Cell:
    return figure_cell(*mean_interval(columns[name]), percent=percent) if name in columns else Cell(None, "")
