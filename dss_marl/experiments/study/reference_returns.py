"""Returns of the reference controllers on a scenario's test days: from committed results, else played."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dss_marl._assets import read_text, write_text
from dss_marl.controllers import reference
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import build_task
from dss_marl.experiments.comparison import fitting_references
from dss_marl.experiments.evaluation import evaluate
from dss_marl.experiments.validation.budget import MANY_DAYS, frozen_days
from dss_marl.experiments.validation.result_files import Result, load, plans_digest, results_folder, scenario_digest
from dss_marl.profiles.splits import spread_days

SPLIT = "test"
COMMITTED, PLAYED = "committed results", "played"
DIGITS = 6  # of figures
_OF_THE_SCORE = ("no_control", "opendss_controls")


@dataclass(frozen=True)
class ReferenceReturns:
    """Team returns of reference controllers.

    Attributes:
        days: the frozen test days, on which learned policies are played too.
        returns: controller to day to team return; some controllers played only some of the days.
        source: ``committed results`` or ``played``.
    """

    days: tuple[int, ...]
    returns: Mapping[str, Mapping[int, float]]
    source: str


def rounded(value: float) -> float:
    """A figure as files hold it."""
    return float(f"{value:.{DIGITS}g}")


def committed_result(scenario: Scenario) -> Result | None:
    """The committed results of exactly this scenario and its plans; None if there are none, or they are stale."""
    folder = results_folder(scenario.name)
    if folder is None:
        return None
    try:
        result = load(folder)
    except ValueError:
        return None
    fits = result.metadata["digest"] == scenario_digest(scenario)
    return result if fits and result.metadata.get("plans", "") == plans_digest(scenario) else None


def committed_returns(scenario: Scenario, days: tuple[int, ...]) -> ReferenceReturns | None:
    """The references' returns on these days from committed results; None if they have to be played."""
    result = committed_result(scenario)
    if result is None or not set(days) <= set(result.metadata["days"]):
        return None
    returns = {name: {day: value for day, value in own.items() if day in days} for name, own in result.returns.items()}
    return ReferenceReturns(days, {name: own for name, own in returns.items() if own}, COMMITTED)


def days_of_test(scenario: Scenario, most: int | None = None) -> tuple[int, ...]:
    """The frozen test days that policies are compared on: those with plans, else days spread over the split.

    Args:
        scenario: whose days.
        most: number of days at most, spread over them; None: all.
    """
    task = build_task(scenario)
    try:
        days = frozen_days(task)
    except ValueError:  # no plans
        every = task.profiles.days(SPLIT)
        days = spread_days(every, min(MANY_DAYS, len(every)))
    return tuple(spread_days(days, min(most or len(days), len(days))))


def play_references(scenario: Scenario, days: tuple[int, ...]) -> ReferenceReturns:
    """Play the references that are quick, and the one that scores 1, on these days.

    A controller that refuses one of the days is left out.
    """
    controllers, _ = fitting_references(scenario)
    with suppress(ValueError):  # no plans: there is no score then
        controllers.setdefault(scenario.reference_controller, reference(scenario.reference_controller, scenario))
    returns: dict[str, dict[int, float]] = {}
    for name, controller in controllers.items():
        if name == "random":
            continue
        try:
            figures = evaluate(controller, scenario, days, SPLIT)
        except ValueError:
            continue
        returns[name] = {day: rounded(own["team_return"]) for day, own in zip(days, figures, strict=True)}
    return ReferenceReturns(days, returns, PLAYED)


def save_returns(found: ReferenceReturns, scenario: Scenario, path: Path) -> None:
    """Write played returns into a file, with hashes of what they belong to."""
    controllers = {name: {"days": [*own], "team_return": [*own.values()]} for name, own in found.returns.items()}
    about = {"digest": scenario_digest(scenario), "plans": plans_digest(scenario), "days": list(found.days)}
    write_text(path, json.dumps({**about, "controllers": controllers}, indent=1) + "\n")


def kept_returns(scenario: Scenario, days: tuple[int, ...], path: Path) -> ReferenceReturns | None:
    """What ``save_returns`` wrote; None if there is nothing, or it is of another scenario, other plans or days."""
    if not path.is_file():
        return None
    try:
        data = json.loads(read_text(path, repr(str(path))))
        about = (data["digest"], data["plans"], tuple(data["days"]))
        returns = {
            name: dict(zip(own["days"], own["team_return"], strict=True)) for name, own in data["controllers"].items()
        }
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    if about != (scenario_digest(scenario), plans_digest(scenario), days):
        return None
    return ReferenceReturns(days, returns, PLAYED)


def ends_of_score(found: ReferenceReturns, one: str) -> tuple[str, str] | None:
    """The controllers that score 0 and 1 on all days: the circuit's own controls, else no control; and ``one``.

    None if they did not play all days, or the second does not have the higher mean.
    """
    whole = {name: own for name, own in found.returns.items() if set(found.days) <= set(own)}
    for name in reversed(_OF_THE_SCORE):
        if name in whole and one in whole:
            gain = np.mean([whole[one][day] - whole[name][day] for day in found.days])
            return (name, one) if gain > 0 else None
    return None
