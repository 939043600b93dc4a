"""Comparison of a run or a scenario's reference controllers, as a table and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dss_marl.controllers import (
    OPT_IN,
    REFERENCES,
    Controller,
    PlanReplay,
    own_variant,
    reference,
)
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import build_task
from dss_marl.envs.training_settings import TrainingSettings
from dss_marl.experiments.batch_evaluation import evaluate_on
from dss_marl.experiments.evaluation import (
    TRAINED_ON,
    ComparisonTable,
    available_controllers,
    environment_for,
    evaluate_all,
    run_day,
    variants_of,
)
from dss_marl.experiments.recording import Recording
from dss_marl.experiments.recording.record import record_controller
from dss_marl.experiments.runs.policies import load_policy
from dss_marl.experiments.runs.run_folder import check_days, clear_derived
from dss_marl.experiments.runs.run_record import OPENDSS, RunRecord, load_run
from dss_marl.experiments.runs.run_scenario import scenario_of_run
from dss_marl.grid.state import Array, BoolArray, GridState
from dss_marl.integrations.sb3.trained_policy import PolicyPerKind


def fitting_references(scenario: Scenario) -> tuple[dict[str, Controller], dict[str, str]]:
    """The reference controllers that apply to this scenario, and why each of the others is left out."""
    found, refused = available_controllers(scenario, [name for name in REFERENCES if name not in OPT_IN])
    return found, refused | dict.fromkeys(OPT_IN, "takes seconds for each day, or knows some days only: name it")


def compare(
    run_or_scenario: Path | Scenario,
    names: Sequence[str] | None = None,
    split: str = "test",
    most_days: int | None = None,
    progress: Callable[[Iterable[str]], Iterable[str]] = lambda items: items,
    trust: bool = False,
    allow_code: bool = False,
) -> ComparisonTable:
    """Reference controllers, and the policy of a run if one is given, on the same days.

    ``table.md``, ``table.json`` and, where matplotlib is installed, three figures are written to a run's folder, in
    place of those of an earlier comparison.

    Args:
        run_or_scenario: a run's folder, or a scenario.
        names: of reference controllers; None takes those that apply, and says why the others do not.
        split, most_days: days to evaluate.
        progress: wraps the controllers' names as they are evaluated.
        trust: see load_policy.
        allow_code: of a run: see load_scenario.

    Raises:
        ValueError: no run there, its policy or days are not those of its record, or an unknown controller.
    """
    scenario, controllers, left_out = compared_controllers(run_or_scenario, names, trust, allow_code)
    table = replace(evaluate_all(controllers, scenario, split, most_days, progress), left_out=left_out)
    if isinstance(run_or_scenario, Path):
        table = with_training_engine(table, load_run(run_or_scenario), scenario, controllers["learned"])
        clear_derived(run_or_scenario)  # an earlier comparison's, of which some might stay
        table.save(run_or_scenario, "learned")
        draw(run_or_scenario, load_run(run_or_scenario), scenario, controllers, table)
    return table


def with_training_engine(
    table: ComparisonTable, run: RunRecord, scenario: Scenario, policy: Controller
) -> ComparisonTable:
    """The table with the run's policy on the engine that it was trained on, where that is not OpenDSS.

    An engine that cannot be opened here, as one of another machine, is left out with its reason.
    """
    if run.engine == OPENDSS or not isinstance(policy, PolicyPerKind):
        return table
    name = f"learned{TRAINED_ON}{run.engine}"
    try:
        task = build_task(own_variant(policy, scenario))
        figures = evaluate_on(run.engine, policy, task, table.days, table.split)
    except (ValueError, ImportError) as error:
        return replace(table, left_out={**table.left_out, name: str(error)})
    return replace(table, trained_on={name: figures})


def compared_controllers(
    run_or_scenario: Path | Scenario,
    names: Sequence[str] | None = None,
    trust: bool = False,
    allow_code: bool = False,
) -> tuple[Scenario, dict[str, Controller], dict[str, str]]:
    """The scenario, the controllers by name, and why others are left out; a run's policy is called ``learned``.

    Args:
        run_or_scenario, names, trust, allow_code: as for ``compare``.

    Raises:
        ValueError: as ``compare``.
    """
    if isinstance(names, str):
        raise ValueError(f"names must be a list of controllers, such as [{names!r}]")
    learned: dict[str, Controller] = {}
    if isinstance(run_or_scenario, Path):
        run = load_run(run_or_scenario)
        scenario = scenario_of_run(run_or_scenario, run, allow_code)
        learned["learned"] = load_policy(run_or_scenario, trust)  # first, as it is quick to refuse
        check_days(run, scenario)
    else:
        scenario = run_or_scenario
    if names is None:
        controllers, left_out = fitting_references(scenario)
    else:
        controllers, left_out = {name: reference(name, scenario) for name in names}, {}
    return scenario, controllers | learned, left_out


def record_day(
    scenario: Scenario,
    controllers: Mapping[str, Controller],
    split: str,
    day: int,
    progress: Callable[[Iterable[str]], Iterable[str]] = lambda items: items,
) -> tuple[ComparisonTable, dict[str, Recording]]:
    """One day under each controller: their key figures, and all that the day held.

    Args:
        scenario, controllers: as ``compared_controllers`` gives them.
        split: of the environments.
        day: its number; it need not belong to the split.
        progress: as for ``compare``.

    Raises:
        ValueError: no such day, or a controller without a plan for it.
    """
    recordings = {}
    for name in progress(controllers):
        recordings[name] = record_controller(scenario, controllers[name], split, [day], name)
    figures = {name: [dict(own) for own in recording.figures] for name, recording in recordings.items()}
    names, best = variants_of(controllers), scenario.reference_controller
    return ComparisonTable(scenario.name, split, (day,), figures, best, acts_with=names), recordings


def telling_day(table: ComparisonTable) -> int:
    """A representative day: the median by return of ``opendss_controls``, or else of the first controller."""
    name = "opendss_controls" if "opendss_controls" in table.figures else next(iter(table.figures))
    return table.days[int(np.argsort(table.column(name, "team_return"))[len(table.days) // 2])]


def bands(
    controllers: Mapping[str, Controller], scenario: Scenario, day: int
) -> tuple[dict[str, Array], dict[str, BoolArray], GridState]:
    """A day's voltages by controller.

    Returns:
        (T, 3) lowest, mean and highest scored voltage [pu]; (T) in which intervals a node is outside its limits; the
        last controller's state at noon.
    """
    result, outside, noon = {}, {}, None
    for name, controller in controllers.items():
        env = environment_for(controller, scenario, "test")
        scored_nodes = np.sort(np.concatenate([zone.scored_nodes for zone in env.task.zones]))
        states: list[GridState] = []
        run_day(env, controller, day, states.append)
        v = np.array(
            [state.solution.v_alive[scored_nodes] for state in states]
        )  # de-energised nodes do not widen the band
        result[name] = np.stack([v.min(1), v.mean(1), v.max(1)], axis=1)
        outside[name] = np.asarray(env.task.band.at(scored_nodes).outside(v).any(1))
        noon = min(states, key=lambda state: abs(state.hour - 12))
        env.close()
    assert noon is not None
    return result, outside, noon


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
    voltage, outside, noon = bands(shown, scenario, day)
    task = build_task(scenario)
    title = f"{scenario.name}, learned policy, test day {day}, noon"
    plots.save(plots.feeder_figure(task, noon, title), folder / "feeder.png")
    title = f"{scenario.name}, {table.split} day {day}: range of the scored voltages"
    figure = plots.voltage_band_figure(voltage, scenario.dt_h, title, scenario.start_hour, task.band, outside)
    plots.save(figure, folder / "voltages.png")
    if not run.history:  # stopped before the first evaluation
        return
    steps = np.array([row["agent_steps"] for row in run.history])
    scores = np.array([row["score"] for row in run.history])
    levels = {
        name: float(np.mean(_validation(run, scenario, name, one)))
        for name, one in shown.items()
        if name != "learned" and not isinstance(one, PlanReplay)  # plans exist for test days only
    }
    plots.save(
        plots.learning_curve_figure(steps, scores, levels, title=f"{scenario.name}, seed {run.seed}"),
        folder / "learning.png",
    )


def _validation(run: RunRecord, scenario: Scenario, name: str, controller: Controller) -> list[float]:
    """Team returns of a reference on the validation days that the learning curve was measured on."""
    env = environment_for(controller, scenario, "validation")
    count = TrainingSettings.model_validate(run.settings).evaluation_days
    days = env.days[:: max(1, len(env.days) // count)][:count]
    result = [run_day(env, controller, day)["team_return"] for day in days]
    env.close()
    return result
