"""A benchmark as files: Markdown, CSV, MARL-eval's JSON, and pictures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dss_marl._assets import write_text
from dss_marl.experiments.marl_eval import RETURN, layout, run_of
from dss_marl.experiments.study.results import RESULTS, StudyResults
from dss_marl.experiments.study.summary import Line, Overall, lines, overall
from dss_marl.mdp.score_statistics import Interval

PAGE, SCORES, DAYS, MARL_EVAL = "results.md", "scores.csv", "days.csv", "marl_eval.json"
CURVES, AGGREGATED, PROFILES = "learning.png", "scores.png", "profiles.png"
TITLES = {
    "iqm": "interquartile mean",
    "median": "median",
    "mean": "mean",
    "optimality_gap": "optimality gap (lower is better)",
}


def write_report(results: StudyResults, folder: Path) -> list[Path]:
    """Write tables, data and, where matplotlib is installed, pictures into a folder; returns the paths."""
    texts = {
        PAGE: markdown(results),
        SCORES: scores_csv(results),
        DAYS: days_csv(results),
        MARL_EVAL: json.dumps(in_marl_eval(results), indent=1) + "\n",
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / RESULTS, *(folder / name for name in texts), *_pictures(results, folder)]


def markdown(results: StudyResults) -> str:
    """The tables as a page."""
    found, whole = lines(results), overall(results)
    parts = [f"# {results.name}\n", _about(results)]
    if found:
        parts += [
            "## Each scenario\n",
            table(*line_rows(found)),
            "Return: mean of a test day, interquartile mean over seeds; in brackets its 95 % bootstrap interval over "
            "seeds. Score: 0 and 1 are the means of the two controllers under *References*. *over days*: the interval "
            "if days are drawn instead, for all seeds and references together. The policy played is the one that was "
            "best on validation days (the absolute metric).\n",
        ]
    if whole is not None:
        parts += _overall_part(whole)
    parts += ["## References\n", table(*reference_rows(results)), _sources(results)]
    if results.failed:
        rows = [[one.scenario, one.recipe, str(one.seed), one.error] for one in results.failed]
        parts += ["## Failed\n", table(["scenario", "recipe", "seed", "error"], rows)]
    return "\n".join(parts)


def line_rows(found: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of the scenarios' lines."""
    heads = ["scenario", "recipe", "seeds", "test days", "return", "score", "score, over days", "best rule"]
    heads += ["days better than it, by seed", "agent-steps", "seconds"]
    return heads, [_cells(one) for one in found]


def _cells(one: Line) -> list[str]:
    return [
        f"`{one.scenario}`",
        one.recipe,
        str(len(one.seeds)),
        str(one.days),
        interval(one.returned, 3),
        interval(one.score) if one.score else "",
        interval(one.score_over_days) if one.score_over_days else "",
        f"`{one.rule}`" if one.rule else "",
        ", ".join(map(str, one.better_days)),
        f"{one.agent_steps:,.0f}",
        f"{one.seconds:.0f}",
    ]


def aggregate_rows(whole: Overall) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of the aggregates over scenarios."""
    rows = [
        [recipe, str(len(whole.scores[recipe])), *(interval(own[name]) for name in TITLES)]
        for recipe, own in whole.aggregates.items()
    ]
    return ["recipe", "seeds", *TITLES.values()], rows


def reference_rows(results: StudyResults) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of what the references earn."""
    rows = []
    for name, one in results.scenarios.items():
        cells = [f"`{end}` {one.returns_of(end).mean():.4g}" if end else "" for end in (one.zero, one.one, one.rule)]
        rows.append([f"`{name}`", str(one.version), str(len(one.days)), *cells, one.source])
    return ["scenario", "version", "test days", "scores 0", "scores 1", "best rule", "returns from"], rows


def interval(found: Interval, digits: int | None = None) -> str:
    """A value and its interval: with two decimals, or with so many significant digits."""
    value, low, high = (f"{x:.2f}" if digits is None else f"{x:#.{digits}g}".rstrip(".") for x in found)
    return value if low == high else f"{value} ({low} to {high})"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    every = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in every) + "\n"


def scores_csv(results: StudyResults) -> str:
    """One line for each training."""
    rows: list[list[object]] = [["scenario", "recipe", "seed", "return", "score", "agent_steps", "seconds"]]
    for cell in results.cells:
        score = results.scenarios[cell.scenario].score(cell.returns)
        figures = [f"{cell.returns.mean():.6g}", "" if score is None else f"{score:.6g}"]
        rows.append([cell.scenario, cell.recipe, cell.seed, *figures, cell.agent_steps, cell.seconds])
    return csv_text(rows)


def days_csv(results: StudyResults) -> str:
    """One line for each training and test day, with all key figures; references have their return."""
    names = sorted({name for cell in results.cells for name in cell.figures} - {"team_return"})
    rows: list[list[object]] = [["scenario", "controller", "seed", "day", "team_return", *names]]
    for name, scenario in results.scenarios.items():
        for cell in (cell for cell in results.cells if cell.scenario == name):
            for k, day in enumerate(scenario.days):
                others = [cell.figures[figure][k] if figure in cell.figures else 0.0 for figure in names]
                rows.append([name, cell.recipe, cell.seed, day, cell.figures["team_return"][k], *others])
        for controller, own in scenario.references.items():
            for day, value in zip(own.days, own.team_return, strict=True):
                rows.append([name, controller, "", day, value, *[""] * len(names)])
    return csv_text(rows)


def csv_text(rows: Sequence[Sequence[object]]) -> str:
    """Rows as CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def in_marl_eval(results: StudyResults) -> dict[str, object]:
    """The trainings in MARL-eval's layout: steps hold validation returns, absolute metrics those of test days."""
    runs = []
    for cell in results.cells:
        steps = [(int(row["agent_steps"]), {RETURN: [row["score"]]}) for row in cell.history]
        runs.append(
            (cell.scenario, cell.recipe, f"seed_{cell.seed}", run_of(steps, {RETURN: cell.figures["team_return"]}))
        )
    return layout(runs)


def _about(results: StudyResults) -> str:
    recipes = "; ".join(
        f"`{name}`: {own or 'the settings of the scenario'}" for name, own in results.suite["recipes"].items()
    )
    common = results.suite["training"]
    shared = f" All recipes: {common}." if common else ""
    return (
        f"Written by `dss-marl benchmark` of version {results.version} on {results.made[:10]} ({results.machine}). "
        f"Recipes: {recipes}.{shared}\n"
    )


def _overall_part(whole: Overall) -> list[str]:
    tasks = ", ".join(f"`{name}`" for name in whole.tasks)
    parts = [
        "## Over scenarios\n",
        table(*aggregate_rows(whole)),
        f"Normalised scores over {tasks}, of the seeds that are finished on all of them; in brackets the 95 % "
        "bootstrap interval, for which runs are drawn within each scenario. The interquartile mean is over all runs of "
        "all scenarios, the median over scenarios; the optimality gap is what is missing to 1 on average.\n",
    ]
    if whole.improvement:
        names = list(whole.scores)
        rows = [
            [row, *("" if row == other else interval(whole.improvement[row, other]) for other in names)]
            for row in names
        ]
        parts += [
            "Probability that a run of the recipe at the left scores higher than one of the recipe above, on average "
            "over scenarios:\n",
            table(["", *names], rows),
        ]
    return parts


def _sources(results: StudyResults) -> str:
    lost = [f"`{name}`" for name, one in results.scenarios.items() if one.ends is None]
    if not lost:
        return ""
    return (
        f"Without a score: {', '.join(lost)}; it needs the circuit's own controls or no control, and the scenario's "
        "reference controller with a higher return, on all test days (`dss-marl solve` finds plans).\n"
    )


def _pictures(results: StudyResults, folder: Path) -> list[Path]:
    """Learning curves, aggregates and performance profiles; none without matplotlib."""
    try:
        from dss_marl import plots
    except ImportError:
        return []
    made = []
    curves = {name: curves_of(results, name) for name in results.scenarios}
    curves = {name: own for name, own in curves.items() if own}
    if curves:
        made.append(plots.save(plots.recipe_curves_figure(curves), folder / CURVES))
    whole = overall(results)
    if whole is not None:
        own = {TITLES[name]: {r: a[name] for r, a in whole.aggregates.items()} for name in TITLES}
        made.append(plots.save(plots.score_intervals_figure(own), folder / AGGREGATED))
        if max(len(scores) for scores in whole.scores.values()) > 1:  # the profile of one run is a step
            figure = plots.performance_profile_figure(dict(whole.scores), xlabel="normalised score")
            made.append(plots.save(figure, folder / PROFILES))
    return made


def curves_of(results: StudyResults, scenario: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Recipe to (E) agent-steps and (seeds, E) validation returns of a scenario."""
    found = {}
    for recipe in results.recipes:
        cells = [cell for cell in results.of(scenario, recipe) if cell.history]
        if cells:
            count = min(len(cell.history) for cell in cells)
            steps = np.array([row["agent_steps"] for row in cells[0].history[:count]])
            found[recipe] = (steps, np.array([[row["score"] for row in cell.history[:count]] for cell in cells]))
    return found
