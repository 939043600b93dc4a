"""``record``: play days under a controller and keep everything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dss_marl.controllers import (
    REFERENCES,
    Controller,
    PlanReplay,
    own_variant,
    reference,
    uses_circuit_controls,
)
from dss_marl.envs.central_env import CentralEnv
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.evaluation import environment_for
from dss_marl.experiments.metrics import EpisodeFigures
from dss_marl.experiments.recording.agent_quantities import agent_quantities, zone_quantities
from dss_marl.experiments.recording.grid_quantities import device_quantities, grid_quantities
from dss_marl.experiments.recording.quantity import Quantity, Step
from dss_marl.experiments.recording.recording import Recording
from dss_marl.experiments.recording.table import Table
from dss_marl.experiments.runs.policies import load_policy
from dss_marl.experiments.runs.run_record import FILE
from dss_marl.profiles.splits import seed_of


def record(
    env: ZoneEnv | CentralEnv,
    controller: Controller | str | Path,
    days: int | Sequence[int] | None = None,
    name: str | None = None,
) -> Recording:
    """Play days under a controller and keep everything that they hold; see Recording.

    Days, noise and faults are those of ``dss-marl evaluate``, so the figures are the same. The environment is left at
    the end of the last day. A controller that relies on the circuit's own controls, such as ``opendss_controls`` or
    ``droop``, or acts in another variant of the scenario, plays in an environment of its own that has it.

    Args:
        env: from ``make`` or ``gym_env``.
        controller: a reference's name, ``package.module:name``, a run's folder, or an object with
            ``reset`` and ``act`` (see ``controllers.Controller``).
        days: a day's number or several; None: all days of the environment's split, or those of them with a plan.
        name: what the recording calls the controller; None takes the name given, or the object's class.

    Raises:
        ValueError: no such environment, controller or day, or the controller does not fit the scenario.

    >>> import dss_marl
    >>> env = dss_marl.make("ieee13_volt_var", split="test")
    >>> recording = dss_marl.record(env, "no_control", days=17)
    >>> recording["voltages"]["671.1"].shape
    (96,)
    >>> env.close()
    """
    inner = _zone_env(env)
    scenario = inner.task.scenario
    player = find_controller(controller, scenario)
    if name is None:
        name = str(controller) if isinstance(controller, str | Path) else type(controller).__name__
    needs_own = (uses_circuit_controls(player) and not scenario.circuit_controls) or (
        own_variant(player, scenario) != scenario
    )
    played = environment_for(player, scenario, inner.split) if needs_own else inner
    try:
        return _recorded(played, player, name, _chosen(played, player, days))
    finally:
        if needs_own:
            played.close()


def record_controller(
    scenario: Scenario, controller: Controller, split: str, days: Sequence[int] | None, name: str
) -> Recording:
    """As ``record``, in an environment of the scenario as the controller uses it."""
    env = environment_for(controller, scenario, split)
    try:
        return record(env, controller, days, name)
    finally:
        env.close()


def _zone_env(env: Any) -> ZoneEnv:
    inner = getattr(env, "unwrapped", env)
    inner = inner.env if isinstance(inner, CentralEnv) else inner
    if not isinstance(inner, ZoneEnv):
        raise ValueError(f"record plays a ZoneEnv or a CentralEnv, got {type(env).__name__}; use make or gym_env")
    return inner


def find_controller(controller: Controller | str | Path, scenario: Scenario) -> Controller:
    """The controller that a name, a run's folder or the object itself stands for.

    Raises:
        ValueError: unknown, or the scenario lacks what it needs.
    """
    if not isinstance(controller, str | Path):
        return controller
    if str(controller) not in REFERENCES and (Path(controller) / FILE).is_file():
        return load_policy(Path(controller))
    return reference(str(controller), scenario)


def days_of(env: ZoneEnv, controller: Controller) -> list[int]:
    """The days of the environment's split, of a controller that replays plans those that have one."""
    known = controller.days if isinstance(controller, PlanReplay) else env.days
    return [day for day in env.days if day in known]


def _chosen(env: ZoneEnv, controller: Controller, days: int | Sequence[int] | None) -> list[int]:
    if days is None:
        days = days_of(env, controller)
    chosen = [int(days)] if isinstance(days, int | np.integer) else [int(day) for day in days]
    if not chosen:
        raise ValueError(f"no day to record; days of split {env.split!r}: {', '.join(map(str, env.days[:8]))}, ...")
    return chosen


def _recorded(env: ZoneEnv, controller: Controller, name: str, days: Sequence[int]) -> Recording:
    kept = _quantities(env)
    rows: list[list[np.ndarray]] = [[] for _ in kept]
    times: list[tuple[int, int, float]] = []
    figures = []
    for day in days:
        summary = EpisodeFigures(env.task)
        for step in play_day(env, controller, day):
            if step.after is None:
                summary.fail(step.team_reward)
            else:
                summary.add(step.before, step.after, step.team_reward)
            times.append((day, step.before.step, step.before.hour))
            for own, quantity in zip(rows, kept, strict=True):
                own.append(quantity.row(step))
        figures.append(summary.result())
    return Recording(
        scenario=env.task.scenario,
        controller=name,
        split=env.split,
        days=tuple(days),
        day=np.array([time[0] for time in times]),
        step=np.array([time[1] for time in times]),
        hour=np.array([time[2] for time in times]),
        dates=tuple(env.task.profiles.calendar.date(day) for day in days),
        tables={one.name: _table(one, own) for one, own in zip(kept, rows, strict=True)},
        figures=tuple(figures),
    )


def play_day(env: ZoneEnv, controller: Controller, day: int) -> Iterator[Step]:
    """The steps of one day, as ``run_day`` plays it."""
    observations, _ = env.reset(seed=seed_of(day), options={"day": day})
    controller.reset(env)
    while env.agents:
        before = env.now
        assert before is not None
        actions = controller.act(env, observations)
        coming, rewards, terminations, _, infos = env.step(actions)
        after = None if any(terminations.values()) else env.after
        yield Step(before, after, observations, actions, rewards, infos, env.team_reward)
        observations = coming


def _quantities(env: ZoneEnv) -> list[Quantity]:
    """The tables of an environment's recordings; what the feeder or its devices lack has none."""
    task = env.task
    every = [*grid_quantities(task), *device_quantities(task), *agent_quantities(env), *zone_quantities(task)]
    return [quantity for quantity in every if quantity.columns]


def _table(quantity: Quantity, rows: Sequence[np.ndarray]) -> Table:
    return Table(quantity.name, quantity.meaning, quantity.axis, quantity.columns, np.array(rows))
