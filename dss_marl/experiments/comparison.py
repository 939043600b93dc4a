"""Comparison of a run or a scenario's reference controllers, as a table and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from dss_marl.controllers import OPT_IN, REFERENCES, Controller, Droop, DroopCurve, PlanReplay, reference, tune_droop
from dss_marl.envs.scenario import Scenario, scenario_from
from dss_marl.envs.task import build_task
from dss_marl.experiments.evaluation import (
    ComparisonTable,
    available_controllers,
    environment_for,
    evaluate_all,
    run_day,
)
from dss_marl.experiments.policies import load_policy
from dss_marl.experiments.recording import Recording, record
from dss_marl.experiments.run_record import RunRecord, load_run
from dss_marl.grid.state import Array, GridState


def fitting_references(scenario: Scenario) -> dict[str, Controller]:
    """The reference controllers that apply to this scenario, without those that run only on request."""
    names = [name for name in REFERENCES if name not in OPT_IN]
    return available_controllers(scenario, names)[0]


def compare(
    run_or_scenario: Path | Scenario,
    names: Sequence[str] | None = None,
    split: str = "test",
    most_days: int | None = None,
    progress: Callable[[Iterable[str]], Iterable[str]] = lambda items: items,
) -> ComparisonTable:
    """Reference controllers, and the policy of a run if one is given, on the same days.

    ``table.md``, ``table.json`` and, where matplotlib is installed, three figures are written to a run's folder.

    Args:
        run_or_scenario: a run's folder, or a scenario.
        names: of reference controllers; None takes those that apply.
        split, most_days: days to evaluate.
        progress: wraps the controllers' names as they are evaluated.

    Raises:
        ValueError: no run there, or an unknown controller.
    """
    scenario, controllers = compared_controllers(run_or_scenario, names)
    table = evaluate_all(controllers, scenario, split, most_days, progress)
    if isinstance(run_or_scenario, Path):
        table.save(run_or_scenario, "learned")
        draw(run_or_scenario, load_run(run_or_scenario), scenario, controllers, table)
    return table


def compared_controllers(
    run_or_scenario: Path | Scenario, names: Sequence[str] | None = None
) -> tuple[Scenario, dict[str, Controller]]:
    """The scenario, and the controllers by name; a run's policy is called ``learned``.

    Args:
        run_or_scenario, names: as for ``compare``.

    Raises:
        ValueError: no run there, or an unknown controller.
    """
    if isinstance(run_or_scenario, Path):
        scenario = scenario_from(load_run(run_or_scenario).scenario)
    else:
        scenario = run_or_scenario
    controllers = fitting_references(scenario) if names is None else {name: reference(name, scenario) for name in names}
    if isinstance(run_or_scenario, Path):
        controllers["learned"] = load_policy(run_or_scenario)
    return scenario, controllers


def record_day(
    run_or_scenario: Path | Scenario,
    names: Sequence[str] | None,
    split: str,
    day: int,
    progress: Callable[[Iterable[str]], Iterable[str]] = lambda items: items,
) -> tuple[ComparisonTable, dict[str, Recording]]:
    """One day under each controller: their key figures, and all that the day held.

    Args:
        run_or_scenario, names, split, progress: as for ``compare``; nothing is written.
        day: its number; it need not belong to the split.

    Raises:
        ValueError: no run there, an unknown controller, no such day, or a controller without a plan for it.
    """
    scenario, controllers = compared_controllers(run_or_scenario, names)
    recordings = {}
    for name in progress(controllers):
        env = environment_for(controllers[name], scenario, split)
        recordings[name] = record(env, controllers[name], day, name)
        env.close()
    figures = {name: [dict(own) for own in recording.figures] for name, recording in recordings.items()}
    return ComparisonTable(scenario.name, split, (day,), figures, scenario.reference_controller), recordings


def tuned_droop(
    scenario: Scenario, tries: int, days: int, seed: int, progress: Callable[[], None] = lambda: None
) -> tuple[dict[str, float], float]:
    """The droop curve with the best mean team return on training days spread over the year; and that return."""
    env = environment_for(Droop(), scenario, "train")
    chosen = env.days[:: max(1, len(env.days) // days)][:days]

    def score(curve: DroopCurve) -> float:
        progress()
        return float(np.mean([run_day(env, Droop(curve), day)["team_return"] for day in chosen]))

    curve, tried = tune_droop(score, tries, seed, refine=tries // 3)
    env.close()
    return asdict(curve), max(row["score"] for row in tried)


def telling_day(table: ComparisonTable) -> int:
    """A representative day: the median by return of ``opendss_controls``, or else of the first controller."""
    name = "opendss_controls" if "opendss_controls" in table.figures else next(iter(table.figures))
    return table.days[int(np.argsort(table.column(name, "team_return"))[len(table.days) // 2])]


def bands(controllers: Mapping[str, Controller], scenario: Scenario, day: int) -> tuple[dict[str, Array], GridState]:
    """(T, 3) lowest, mean and highest scored voltage over a day per controller; the last controller's state at noon."""
    result, noon = {}, None
    for name, controller in controllers.items():
        env = environment_for(controller, scenario, "test")
        scored_nodes = np.sort(np.concatenate([zone.scored_nodes for zone in env.task.zones]))
        states: list[GridState] = []
        run_day(env, controller, day, states.append)
        v = np.array(
            [state.solution.v_alive[scored_nodes] for state in states]
        )  # de-energised nodes do not widen the band
        result[name] = np.stack([v.min(1), v.mean(1), v.max(1)], axis=1)
        noon = min(states, key=lambda state: abs(state.hour - 12))
        env.close()
    assert noon is not None
    return result, noon


def draw(
    folder: Path, run: RunRecord, scenario: Scenario, controllers: Mapping[str, Controller], table: ComparisonTable
) -> None:
    """Three figures in the run's folder: feeder, voltage bands and learning curve; none without matplotlib."""
    try:
        from dss_marl import plots
    except ImportError:
        return
    day = telling_day(table)
    shown = {name: one for name, one in controllers.items() if name != "random"}
    voltage, noon = bands(shown, scenario, day)
    title = f"{scenario.name}, learned policy, test day {day}, noon"
    plots.save(plots.feeder_figure(build_task(scenario), noon, title), folder / "feeder.png")
    title = f"{scenario.name}, {table.split} day {day}: range of the scored voltages"
    plots.save(plots.voltage_band_figure(voltage, scenario.dt_h, title), folder / "voltages.png")
    steps = np.array([row["agent_steps"] for row in run.history])
    scores = np.array([row["score"] for row in run.history])
    levels = {
        name: float(np.mean(_validation(run, scenario, name, one)))
        for name, one in shown.items()
        if name != "learned" and not isinstance(one, PlanReplay)  # plans exist for test days only
    }
    plots.save(plots.learning_curve_figure(steps, scores, levels), folder / "learning.png")


def _validation(run: RunRecord, scenario: Scenario, name: str, controller: Controller) -> list[float]:
    """Team returns of a reference on the validation days that the learning curve was measured on."""
    env = environment_for(controller, scenario, "validation")
    count = int(run.settings["evaluation_days"])
    days = env.days[:: max(1, len(env.days) // count)][:count]
    result = [run_day(env, controller, day)["team_return"] for day in days]
    env.close()
    return result
