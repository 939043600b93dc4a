"""``write_report``: one self-contained HTML page of one or several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from dss_marl._assets import write_text
from dss_marl._plugins import imported
from dss_marl.controllers import REFERENCES, Controller, PlanReplay
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments.evaluation import environment_for, run_day
from dss_marl.experiments.reports.html import reproduce, sections, verdict
from dss_marl.experiments.reports.html.plays import ChosenDays, Plays, chosen_days, play, shown_references
from dss_marl.experiments.reports.html.results import Progress, Results, collect, no_progress
from dss_marl.experiments.reports.html.runs import ReportRun, load_runs
from dss_marl.experiments.reports.html.stress import stress_rows
from dss_marl.experiments.reports.html.terms import zone_terms
from dss_marl.experiments.reports.html.text import count, listed
from dss_marl.experiments.reports.html.where import quantities
from dss_marl.experiments.runs.run_record import git_commit

DAYS, STRESS_DAYS = 10, 5  # played by default: of the test split, and of each stress split
MOST_NAMED = 3  # references beside the policy in a day's picture
_MOST_ZONES = 40  # zones with a bar
_SECTIONS = ("Verdict", "Comparison", "Learning", "Days", "Where", "Rewards and costs", "Stress", "Reproduce")


@dataclass(frozen=True)
class _Played:
    """The run whose days are shown, the days, what was played on them, and why others were not."""

    run: ReportRun
    chosen: ChosenDays
    plays: Plays
    failed: Mapping[str, str]
    colours: Mapping[str, str]


def write_report(
    runs: Path | str | Sequence[Path | str],
    out: Path | str,
    days: int = DAYS,
    controllers: Sequence[str] | None = None,
    stress: bool = True,
    progress: Progress = no_progress,
    trust: bool = False,
    allow_code: bool = False,
) -> Path:
    """Write one HTML page about runs, which holds all that it shows and opens without a network.

    Key figures come from the table of the run's last evaluation where a day played again agrees with it. What is not
    there is played.

    Args:
        runs: folders of runs on the same grid and days: seeds or variants of a scenario.
        out: file to write, ending in .html.
        days: test days to play for maps, terms and, where there is no table, key figures; and at most half as many of
            each stress split.
        controllers: references whose days are shown beside the policy's, at most three; None takes the circuit's own
            controls, or else no control, and the best of the others.
        stress: play the stress splits as well.
        progress: wraps what is played, and gets a description.
        trust: see load_policy.
        allow_code: see load_scenario.

    Returns:
        the path of the file.

    Raises:
        ValueError: as load_runs, or days or controllers are out of range.
    """
    _check(days, controllers)
    folders = [Path(runs)] if isinstance(runs, str | Path) else [Path(folder) for folder in runs]
    loaded = load_runs(folders, trust, allow_code)
    results = collect(loaded, controllers, days, progress)
    played = _play(loaded, results, controllers, days, progress)
    options = "" if days == DAYS else f" --days {days}"
    options += "" if controllers is None else f" --controllers {','.join(controllers)}"
    text = _page(loaded, results, played, stress, min(STRESS_DAYS, days), options, progress)
    path = Path(out)
    write_text(path, text)
    return path


def _check(days: int, controllers: Sequence[str] | None) -> None:
    if days < 1:
        raise ValueError(f"a report needs at least one day to play; got days={days}")
    if isinstance(controllers, str):
        raise ValueError(f"controllers must be a list of references, such as [{controllers!r}]")
    if controllers is not None and len(controllers) > MOST_NAMED:
        raise ValueError(f"a report shows at most {MOST_NAMED} references beside the policy; got {listed(controllers)}")
    for name in controllers or ():
        if name not in REFERENCES:
            imported(name, "controller", REFERENCES)  # a slip shows before anything is played


def _play(
    runs: Sequence[ReportRun], results: Results, named: Sequence[str] | None, days: int, progress: Progress
) -> _Played:
    """Play the days of the run whose test return is the median, and of the references."""
    from dss_marl.experiments.reports.html.charts import PALETTE

    order = sorted(runs, key=lambda run: float(results.table.column(run.label, "team_return").mean()))
    run = order[(len(order) - 1) // 2]
    chosen = chosen_days(results.table, run.label, days)
    shown = {run.label: run.policy, **shown_references(results, [one.label for one in runs], named)}
    plays, failed = play(run.scenario, shown, "test", chosen.every, progress, [run.label])
    return _Played(run, chosen, plays, failed, dict(zip(shown, PALETTE, strict=False)))


def _page(
    runs: Sequence[ReportRun],
    results: Results,
    played: _Played,
    stress: bool,
    stress_days: int,
    options: str,
    progress: Progress,
) -> str:
    from dss_marl.experiments.reports.html import charts, page

    run, plays, many = played.run, played.plays, len(runs) > 1
    figures: dict[str, Any] = {}
    learning = _learning(runs, results, played, figures, progress)
    where, data = _where(runs, played, figures)
    terms = _terms(runs, played, figures)
    _days(played, figures)
    rows: list[charts.StressRow] = []
    left_out: dict[str, str] = {}
    if stress:
        shown = {name: _controller(run, results, name) for name in plays}
        rows, left_out = stress_rows(run.task, shown, stress_days, progress, [run.label])
    if len(rows) > 1:
        figures["stress"] = charts.stress_figure(rows, played.colours)
    days = played.chosen
    content = _head(runs, results) | {
        "comparison": sections.comparison_section(results, runs),
        "learning": learning,
        "days": sections.days_section(run, runs, days, results, plays, played.failed),
        "where": where,
        "terms": terms,
        "stress": sections.stress_section(rows, left_out, run.label, stress, many),
        "reproduce": _reproduce(runs, options + ("" if stress else " --no-stress")),
    }
    return page.page(content, figures, {"map": data})


def _controller(run: ReportRun, results: Results, name: str) -> Controller:
    return run.policy if name == run.label else results.references[name]


def _head(runs: Sequence[ReportRun], results: Results) -> dict[str, Any]:
    first, task = runs[0], runs[0].task
    scenario, feeder = first.scenario, task.feeder
    names = list(dict.fromkeys(run.scenario.name for run in runs))
    facts = [
        ("runs" if len(runs) > 1 else "run", ", ".join(run.folder.resolve().name for run in runs)),
        ("seed" if len(runs) == 1 else "seeds", ", ".join(str(run.record.seed) for run in runs)),
        ("feeder", feeder.name if "/" not in feeder.name else Path(feeder.name).name),
        ("buses", f"{len(feeder.buses):,}"),
        ("nodes", f"{len(feeder.nodes):,}"),
        ("agents", f"{len(task.agents.names):,}"),
        ("devices", f"{sum(group.size for group in task.device_groups):,}"),
        ("a day", f"{scenario.steps} steps of {60 * scenario.dt_h:g} min"),
        ("algorithm", ", ".join(dict.fromkeys(str(run.record.settings["algorithm"]) for run in runs))),
    ]
    method = (
        "Better and worse mean that the 95 % bootstrap interval of the paired difference of returns over the same "
        f"{count(len(results.table.days), 'test day')} excludes zero."
    )
    return {
        "name": " and ".join(names), "title": scenario.title if len(names) == 1 else "", "facts": facts,
        "sections": [(name.split()[0].lower() if name != "Rewards and costs" else "terms", name) for name in _SECTIONS],
        "headline": verdict.headline(results, runs), "sentences": verdict.sentences(results, runs),
        "tiles": verdict.key_figures(results, runs),
        "remarks": verdict.remarks(results, runs), "verdict_method": method,
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d}", "version": version("dss_marl"), "commit": git_commit(),
    }  # fmt: skip


def _learning(
    runs: Sequence[ReportRun], results: Results, played: _Played, figures: dict[str, Any], progress: Progress
) -> sections.Section:
    """The learning curves, with the shown references on the days that the curves were measured on."""
    from dss_marl.experiments.reports.html.charts import learning_figure

    with_history = [run for run in runs if run.record.history]
    if not with_history:
        return sections.learning_section(runs, 0, [])
    first = with_history[0]
    days = first.task.profiles.days("validation")
    wanted = TrainingSettings.model_validate(first.record.settings).evaluation_days
    days = days[:: max(1, len(days) // wanted)][:wanted]  # as training takes them
    levels = {}
    names = [name for name in played.plays if name in results.references]
    for name in progress(names, "playing validation days"):
        if not isinstance(results.references[name], PlanReplay):  # plans are of test days
            env = environment_for(results.references[name], first.scenario, "validation")
            levels[name] = float(np.mean([run_day(env, results.references[name], day)["team_return"] for day in days]))
            env.close()
    figures["learning"] = learning_figure(with_history, levels)
    return sections.learning_section(runs, len(days), list(levels))


def _days(played: _Played, figures: dict[str, Any]) -> None:
    from dss_marl.experiments.reports.html.day_chart import day_figure

    for day in {played.chosen.worst, played.chosen.median, played.chosen.best}:
        own = {name: days[day] for name, days in played.plays.items() if day in days}
        figures[f"day-{day}"] = day_figure(played.run.task, own, played.colours)


def _where(
    runs: Sequence[ReportRun], played: _Played, figures: dict[str, Any]
) -> tuple[sections.Section, dict[str, Any]]:
    from dss_marl.experiments.reports.html.map_chart import map_data, map_figure

    task, plays = played.run.task, {name: days for name, days in played.plays.items() if days}
    found = quantities(task, plays)
    figures["map"] = map_figure(task)
    section = sections.where_section(played.run, runs, found, plays, played.chosen.every)
    return section, map_data(task, found, list(plays))


def _terms(runs: Sequence[ReportRun], played: _Played, figures: dict[str, Any]) -> sections.Section:
    from dss_marl.experiments.reports.html.charts import terms_figure

    task = played.run.task
    by_kind = []
    for table, names in (("rewards", list(task.rewards)), ("costs", list(task.costs))):
        found = {name: zone_terms(table, days, names) for name, days in played.plays.items()}
        by_kind.append({name: one for name, one in found.items() if one is not None})
    rewards, costs = by_kind
    own = rewards[played.run.label]
    size = np.abs(own.mean()).sum(1)
    largest = set(np.argsort(-size, kind="stable")[:_MOST_ZONES].tolist())
    figures["terms"] = terms_figure(rewards, [zone for k, zone in enumerate(own.zones) if k in largest])
    return sections.terms_section(played.run, runs, rewards, costs, played.chosen.every)


def _reproduce(runs: Sequence[ReportRun], options: str) -> sections.Section:
    heads, rows = reproduce.versions(runs)
    files = [f"{run.scenario.name}.yaml" for run in runs if reproduce.needs_file(run)]
    lead = "The same seed, commit and versions give the same policy on the same kind of machine."
    if files:
        lead += f" First save the scenario below as {listed(list(dict.fromkeys(files)))}, beside what it names."
    return {
        "lead": lead,
        "commands": reproduce.commands(runs, options),
        "runs": [
            {"title": f"Run {run.folder.resolve().name}", "facts": reproduce.facts(run),
             "settings": reproduce.settings_rows(run), "yaml": reproduce.scenario_yaml(run),
             "yaml_name": f"{run.scenario.name}.yaml"}
            for run in runs
        ],
        "version_heads": heads,
        "versions": rows,
        "cite": "Cite the software, and the test feeder by the paper that its SOURCE.md names.",
        "bibtex": reproduce.bibtex(runs),
    }  # fmt: skip
