"""The verdict: what a reader should know first, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from dss_marl.controllers import PlanReplay, acts_with
from dss_marl.experiments.reports.html.results import FEW_DAYS, Results
from dss_marl.experiments.reports.html.runs import ReportRun, seeds_of
from dss_marl.experiments.reports.html.statistics import interquartile_mean, paired_difference, verdict_of
from dss_marl.experiments.reports.html.text import count, listed, number, with_interval
from dss_marl.experiments.runs.run_record import git_commit
from dss_marl.mdp.return_statistics import mean_interval

FEW_SEEDS = 5


@dataclass(frozen=True)
class Remark:
    """Something to know: a warning, which bears on what the results mean, or a note."""

    level: str
    text: str


def sentences(results: Results, runs: Sequence[ReportRun]) -> list[str]:
    """The verdict on each policy, one sentence on its return and one on the references."""
    found = []
    for run in runs:
        returns = results.table.column(run.label, "team_return")
        who = "The learned policy" if len(runs) == 1 else f"{run.label} (seed {run.record.seed})"
        days = count(len(returns), "test day")
        head = f"{who} returns {with_interval(*mean_interval(returns))} a day, mean and 95 % interval over {days}."
        found.append(f"{head} {_against(results, run)}".strip())
    for group in seeds_of(runs):
        if len(group) > 1:
            means = [float(results.table.column(run.label, "team_return").mean()) for run in group]
            found.append(
                f"Over {len(group)} seeds ({listed([str(run.record.seed) for run in group])}) the interquartile mean "
                f"of the return is {with_interval(*interquartile_mean(means))}, with its 95 % interval over seeds."
            )
    return found


def compared(results: Results, policy: str) -> dict[str, str]:
    """Reference to whether the policy is better, worse or not clearly different, on the days of both."""
    found = {}
    for table in (results.scored, results.table):  # the second has more days
        for name in table.figures:
            if name in results.references and name != policy:
                one, other = (table.column(who, "team_return") for who in (policy, name))
                found[name] = verdict_of(paired_difference(one, other))
    return found


def _against(results: Results, run: ReportRun) -> str:
    outcome = compared(results, run.label)
    parts = []
    for words, verdict in (
        ("better than", "better"), ("not clearly different from", "no clear difference"), ("worse than", "worse")
    ):  # fmt: skip
        names = [name for name, found in outcome.items() if found == verdict]
        if names:
            names = [
                f"{name} (full foresight)" if isinstance(results.references[name], PlanReplay) else name
                for name in names
            ]
            parts.append(f"{words} {listed(names)}")
    text = "; ".join(parts)
    return f"It is {text}." if text else ""


def remarks(results: Results, runs: Sequence[ReportRun]) -> list[Remark]:
    """Warnings, then notes."""
    warnings = [*_of_runs(runs), *_of_results(results, runs), *_of_references(results, runs)]
    notes = [*_of_versions(runs, results), *(text for run in runs for text in run.said)]
    found = [Remark("warning", text) for text in warnings] + [Remark("note", text) for text in notes]
    return list(dict.fromkeys(found))


def _named(runs: Sequence[ReportRun], run: ReportRun, text: str) -> str:
    return text[:1].upper() + text[1:] if len(runs) == 1 else f"{run.label}: {text}"


def _of_runs(runs: Sequence[ReportRun]) -> list[str]:
    found = [_named(runs, run, f"{text}.") for run in runs for text in run.record.remarks()]
    found += [_named(runs, run, f"the policy acts with {what}.") for run in runs if (what := acts_with(run.policy))]
    for run in runs:
        scores = [row["score"] for row in run.record.history]
        if len(scores) > 2 and int(np.argmax(scores)) == len(scores) - 1 and run.record.improved:
            found.append(
                _named(runs, run, "the best validation return is the last one, so that longer training may help.")
            )
    kept = [tuple(sorted(run.record.files.values())) for run in runs]
    twice = [run.label for run, files in zip(runs, kept, strict=True) if kept.count(files) > 1]
    if twice:
        found.append(f"{listed(twice)} hold the same policy: they are not independent seeds.")
    groups = seeds_of(runs)
    if len({str(sorted(run.scenario.rewards.items())) for run in runs}) > 1:
        found.append(
            "The runs have different rewards: their returns, and those of the references, which are "
            f"{runs[0].label}'s, are not comparable; the other figures are."
        )
    for group in groups:
        if len(group) < FEW_SEEDS:
            who = "" if len(groups) == 1 else f" of {group[0].label}"
            found.append(
                f"Only {count(len(group), 'seed')}{who}: results of learning vary from seed to seed; "
                f"train {FEW_SEEDS} or more before drawing conclusions on the method."
            )
    return found


def _of_results(results: Results, runs: Sequence[ReportRun]) -> list[str]:
    table, found = results.table, []
    every = len(runs[0].task.profiles.days("test"))
    if len(table.days) < min(FEW_DAYS, every):
        more = "; 'dss-marl evaluate RUN' plays all of them, and the report then uses its table" if every > 1 else ""
        found.append(f"Only {len(table.days)} of {every} test days were played{more}.")
    elif every < FEW_DAYS:
        found.append(f"The scenario has only {count(every, 'test day')}: intervals over so few days are rough.")
    for name in table.figures:
        failed = int(table.column(name, "failed").sum())
        if failed:
            found.append(
                f"{name}: the power flow failed on {failed} of {len(table.days)} test days; such a day ends there, "
                "with the scenario's failure penalty in its return."
            )
    for run in runs:
        outcome = _without_foresight(results, compared(results, run.label))
        worse = [name for name, found_ in outcome.items() if found_ == "worse"]
        if worse:
            found.append(
                _named(runs, run, f"the policy earns less than {listed(worse)}: the 95 % interval of the paired "
                       "difference of returns lies below zero.")
            )  # fmt: skip
    return found


def _without_foresight(results: Results, outcome: Mapping[str, str]) -> dict[str, str]:
    """The references that know no more than the policy: plans are made with the whole day known."""
    plans = {name for name, one in results.references.items() if isinstance(one, PlanReplay)}
    return {name: found for name, found in outcome.items() if name not in plans}


def _of_references(results: Results, runs: Sequence[ReportRun]) -> list[str]:
    scenario, left_out, found = runs[0].scenario, results.left_out, []
    best = scenario.reference_controller
    if best in left_out:
        found.append(f"No score: the reference controller {best} is left out, as {_lower(left_out[best])}.")
    elif results.scored.zero is None:
        found.append(f"No score: the controllers that score 0 and 1 are not both there, or {best} earns no more.")
    if scenario.tuned_droop and "tuned_droop" in left_out:
        found.append(f"The tuned droop is left out: {_lower(left_out['tuned_droop'])}.")
    found += [f"{name} is left out, as it {_lower(left_out[name])}." for name in results.failed if name != best]
    if results.replaced:
        found.append(
            f"The saved table did not hold for {listed(results.replaced)}: a day played again gave other figures, so "
            "the policy, the plans or the package have changed since; these were played again."
        )
    return found


def _lower(text: str) -> str:
    return text.rstrip(".")


def _of_versions(runs: Sequence[ReportRun], results: Results) -> list[str]:
    found, here = [], git_commit()
    commits = {run.label: run.record.git_commit for run in runs}
    other = [label for label, commit in commits.items() if commit.rstrip("+") != here.rstrip("+")]
    if other and here:
        told = ", ".join(f"{label} {commits[label][:12] or 'unknown'}" for label in other)
        found.append(f"Trained with another commit ({told}) than evaluated with ({here[:12]}).")
    if any(commit.endswith("+") for commit in (*commits.values(), here)):
        found.append("The code had changes that were not committed, so that the commit alone does not identify it.")
    for name in ("dss_marl", "opendssdirect.py", "dss_python_backend"):
        olds = {run.record.versions.get(name, "unknown") for run in runs} - {version(name)}
        if olds:
            found.append(f"Trained with {name} {listed(sorted(olds))}, evaluated with {version(name)}.")
    for name, controller in results.references.items():
        if isinstance(controller, PlanReplay):
            made = {controller.plans.versions[day] for day in controller.days} - {version("dss_marl")}
            if made:
                found.append(f"The plans of {name} were made by version {listed(sorted(made))} of the package.")
    return found


def key_figures(results: Results, runs: Sequence[ReportRun]) -> list[tuple[str, str, str, str]]:
    """Heading, value, unit and interval of the figures that a reader looks for first.

    Of one run: over days. Of several seeds: interquartile means over seeds. None of variants.
    """
    if len(seeds_of(runs)) > 1:
        return []
    table, scored = results.table, results.scored
    found = []
    for figure, title, scale, unit in _KEY:
        if figure == "team_return" or any(table.column(run.label, figure).any() for run in runs):
            rows = [scale * table.column(run.label, figure) for run in runs]
            whole = mean_interval(rows[0]) if len(runs) == 1 else interquartile_mean([row.mean() for row in rows])
            found.append((title, unit, whole))
    if scored.zero is not None:
        scores = [scored.score(run.label) for run in runs]
        whole = scores[0] if len(runs) == 1 else interquartile_mean([score for score, _, _ in scores])
        found = [*found[:4], ("score", "", whole)]
    texts = [(title, unit, *with_interval(*whole).partition(" (")) for title, unit, whole in found[:5]]
    return [(title, value, unit.strip(), ends.rstrip(")")) for title, unit, value, _, ends in texts]


_KEY = (
    ("team_return", "return a day", 1.0, ""),
    ("estimation_error_pu", "estimation error", 1.0, " pu"),
    ("unserved_kwh", "unserved energy", 1.0, " kWh"),
    ("controllable_rate", "steps in the band", 100.0, " %"),
    ("violation_node_h", "violation", 1.0, " node h"),
    ("loss_kwh", "losses", 1.0, " kWh"),
)


def headline(results: Results, runs: Sequence[ReportRun]) -> str:
    """One line: what the policies are worth beside the references."""
    outcomes = [_without_foresight(results, compared(results, run.label)) for run in runs]
    counts = [sum(found == "better" for found in own.values()) for own in outcomes]
    worse = [sum(found == "worse" for found in own.values()) for own in outcomes]
    total = max((len(own) for own in outcomes), default=0)
    if not total:
        return "No reference to compare with"
    if len(runs) == 1:
        both = counts[0] + worse[0]
        parts = [f"Better than {'all' if counts[0] == total else f'{counts[0]} of'} {total} references"]
        parts += [f"not clearly different from {total - both}"] if both < total else []
        return ", ".join(parts + ([f"worse than {worse[0]}"] if worse[0] else []))
    low, high = min(counts), max(counts)
    span = str(low) if low == high else f"{low} to {high}"
    return f"{len(runs)} policies, each better than {span} of {total} references"


def days_text(days: Sequence[int]) -> str:
    """Day numbers as text."""
    return ", ".join(number(day, 0) for day in days)
