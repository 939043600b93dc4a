"""Several runs and controllers on one scenario: found by what a user names, and compared day by day."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dss_marl._assets import known_names, write_text
from dss_marl.controllers import REFERENCES, Controller, reference
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.envs.task import build_task
from dss_marl.experiments.evaluation import ComparisonTable, evaluate_all
from dss_marl.experiments.marl_eval import layout, metrics_of, run_of
from dss_marl.experiments.runs.policies import load_policy
from dss_marl.experiments.runs.run_folder import check_days
from dss_marl.experiments.runs.run_record import FILE, RunRecord, load_run
from dss_marl.experiments.runs.run_scenario import scenario_of_run
from dss_marl.experiments.shipped.shipped_policies import POLICY_PREFIX, policy_folder
from dss_marl.experiments.study.report import csv_text
from dss_marl.mdp.return_statistics import mean_interval

DAYS, PAIRED, MARL_EVAL = "days.csv", "paired.csv", "marl_eval.json"
_SAME = 1e-9  # returns closer than this are a tie


@dataclass(frozen=True)
class Contender:
    """A run's policy or a reference controller.

    Attributes:
        name: in tables: of the controller, or of the run's folder.
        controller: that plays.
        folder: of the run; None for a reference.
        record: of the run.
    """

    name: str
    controller: Controller
    folder: Path | None = None
    record: RunRecord | None = None


@dataclass(frozen=True)
class PairedDifference:
    """How a contender differs from another one on the same days.

    Attributes:
        name, against: of both.
        difference: mean over days of the team return minus the other's, with its 95 % bootstrap interval.
        better, worse: numbers of days.
        verdict: ``better``, ``worse`` or ``no clear difference``, by whether the interval holds 0.
    """

    name: str
    against: str
    difference: tuple[float, float, float]
    better: int
    worse: int
    verdict: str


def found_contenders(
    names: Sequence[str], allow_code: bool = False, trust: bool = False
) -> tuple[Scenario, list[Contender], list[str]]:
    """What names mean: one scenario at most, and folders of runs, shipped policies or controllers, in any order.

    A shipped policy is ``policy:NAME``. Without a scenario it is that of the first run.

    Args:
        names: as typed.
        allow_code: see load_scenario.
        trust: see load_policy.

    Returns:
        the scenario, the contenders in the given order, and remarks on runs that were trained on another scenario.

    Raises:
        ValueError: a name means nothing, there are two scenarios, or none and no run.
    """
    folders = {name: _run_folder(name) for name in names}
    scenarios = [name for name in names if folders[name] is None and _is_scenario(name)]
    if len(scenarios) > 1:
        raise ValueError(f"evaluate plays one scenario; got {', '.join(scenarios)}")
    runs = [folder for folder in folders.values() if folder is not None]
    if scenarios:
        scenario = load_scenario(scenarios[0], allow_code)
    elif runs:
        scenario = scenario_of_run(runs[0], load_run(runs[0]), allow_code)
        check_days(load_run(runs[0]), scenario)
    else:
        raise ValueError(f"{', '.join(names)}: name a scenario too ('dss-marl list'), on which they are evaluated")
    contenders = [_contender(name, folders[name], scenario, trust) for name in names if name not in scenarios]
    return scenario, _with_own_names(contenders), _remarks(contenders, scenario)


def compare_contenders(
    scenario: Scenario,
    contenders: Sequence[Contender],
    split: str = "test",
    most_days: int | None = None,
    progress: Callable[[Iterable[str]], Iterable[str]] = lambda items: items,
) -> ComparisonTable:
    """The contenders on the same days: see evaluate_all."""
    return evaluate_all({one.name: one.controller for one in contenders}, scenario, split, most_days, progress)


def paired_differences(table: ComparisonTable, against: str) -> list[PairedDifference]:
    """Every other contender's difference from one of them.

    Raises:
        ValueError: it is not in the table.
    """
    if against not in table.figures:
        raise ValueError(f"{against!r} is not among the compared: {', '.join(table.figures)}")
    base, found = table.column(against, "team_return"), []
    for name in table.figures:
        if name != against:
            off = table.column(name, "team_return") - base
            ends = mean_interval(off)
            verdict = "better" if ends[1] > 0 else "worse" if ends[2] < 0 else "no clear difference"
            better, worse = int((off > _SAME).sum()), int((off < -_SAME).sum())
            found.append(PairedDifference(name, against, ends, better, worse, verdict))
    return found


def save_contenders(
    table: ComparisonTable, contenders: Sequence[Contender], folder: Path, against: str | None
) -> list[Path]:
    """Write table, figures by day, paired differences and MARL-eval's layout into a folder; returns the paths."""
    table.save(folder)
    names = list(dict.fromkeys(figure for rows in table.figures.values() for row in rows for figure in row))
    rows: list[list[object]] = [["controller", "day", *names]]
    for name, days in table.figures.items():
        rows += [
            [name, day, *(f"{own.get(figure, 0.0):.7g}" for figure in names)]
            for day, own in zip(table.days, days, strict=True)
        ]
    write_text(folder / DAYS, csv_text(rows))
    write_text(folder / MARL_EVAL, json.dumps(in_marl_eval(table, contenders), indent=1) + "\n")
    paths = [folder / name for name in ("table.md", "table.json", DAYS, MARL_EVAL)]
    if against is None:
        return paths
    heads = ["controller", "against", "difference", "low", "high", "better_days", "worse_days", "verdict"]
    off = [
        [one.name, one.against, *(f"{x:.7g}" for x in one.difference), one.better, one.worse, one.verdict]
        for one in paired_differences(table, against)
    ]
    write_text(folder / PAIRED, csv_text([heads, *off]))
    return [*paths, folder / PAIRED]


def in_marl_eval(table: ComparisonTable, contenders: Sequence[Contender]) -> dict[str, object]:
    """The table in MARL-eval's layout: one step, at the end of training, which is the absolute metrics too.

    Runs with equal settings on the same scenario are runs of one algorithm, with their seeds; every other contender is
    an algorithm of its own.
    """
    algorithms = _algorithms(contenders)
    runs = []
    for one in contenders:
        metrics = metrics_of(table.figures[one.name])
        count = one.record.agent_steps if one.record is not None else 0
        algorithm, run = algorithms[one.name]
        runs.append((table.scenario, algorithm, run, run_of([(count, metrics)], metrics)))
    return layout(runs)


def _algorithms(contenders: Sequence[Contender]) -> dict[str, tuple[str, str]]:
    """Name of a contender to algorithm and run: seeds of equal settings together, named by the first of them."""
    first: dict[str, str] = {}
    found = {}
    for one in contenders:
        if one.record is None:
            found[one.name] = (one.name, "run_0")
            continue
        key = json.dumps([one.record.scenario, one.record.settings, one.record.engine], sort_keys=True)
        first.setdefault(key, one.name)
        taken = {run for algorithm, run in found.values() if algorithm == first[key]}
        run = f"seed_{one.record.seed}"
        found[one.name] = (first[key], run if run not in taken else f"{run}_{len(taken)}")
    return found


def _run_folder(name: str) -> Path | None:
    """The folder of the run or shipped policy that a name means; a shipped scenario goes before a folder."""
    if name.startswith(POLICY_PREFIX):
        return policy_folder(name.removeprefix(POLICY_PREFIX))
    folder = Path(name)
    shipped = name in known_names("scenarios") or name in REFERENCES
    return folder if folder.is_dir() and not shipped else None


def _is_scenario(name: str) -> bool:
    return name in known_names("scenarios") or name.endswith((".yaml", ".yml"))


def _contender(name: str, folder: Path | None, scenario: Scenario, trust: bool) -> Contender:
    if folder is not None:
        short = name if name.startswith(POLICY_PREFIX) else folder.resolve().name
        return Contender(short, load_policy(folder, trust), folder, load_run(folder))
    try:
        return Contender(name, reference(name, scenario))
    except ValueError as error:
        if ":" in name or name in REFERENCES:
            raise
        raise ValueError(
            f"{name!r} is neither a run (a folder with {FILE}) nor a scenario; as a controller: {error}"
        ) from None


def _with_own_names(contenders: Sequence[Contender]) -> list[Contender]:
    """Names that are no two alike: folders of the same name with the folder above, then with numbers."""
    names = [one.name for one in contenders]
    result: list[Contender] = []
    for one in contenders:
        name = one.name
        if names.count(name) > 1 and one.folder is not None:
            name = "/".join(one.folder.resolve().parts[-2:])
        taken = [other.name for other in result]
        result.append(replace(one, name=name if name not in taken else f"{name} ({taken.count(name) + 1})"))
    return result


def _remarks(contenders: Sequence[Contender], scenario: Scenario) -> list[str]:
    """Runs that were trained on something else than the scenario, apart from its training settings."""
    free = {"training", "title", "tuned_droop", "tuned_on", "reference_controller", "tutorial", "planner"}
    now = scenario.model_dump(mode="json", exclude=free)
    days, remarks = build_task(scenario).profiles.sha256(), []
    for one in contenders:
        if one.record is None:
            continue
        then = {key: value for key, value in one.record.scenario.items() if key not in free}
        if one.record.profiles_sha256 != days:
            remarks.append(f"{one.name} was trained on other days than those of {scenario.name!r}")
        if {**now, **then} != now:
            off = sorted(key for key in now if then.get(key, now[key]) != now[key])
            remarks.append(
                f"{one.name} was trained on another scenario than {scenario.name!r}: {', '.join(off)} differ"
            )
        remarks += [f"{one.name}: {remark}" for remark in one.record.remarks()]
    return remarks
