"""Picture of a day: controllers side by side, from their recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dss_marl.controllers import OPT_IN, REFERENCES, Controller
from dss_marl.envs.scenario import Scenario
from dss_marl.experiments.evaluation import available_controllers
from dss_marl.experiments.one_day import LEARNED, middle_day, named_controller, scenario_of
from dss_marl.experiments.recording import Recording
from dss_marl.experiments.recording.record import record_controller

_PLAIN = ("tuned_droop", "droop", "opendss_controls")  # if no rule-based controller supports the task
_SLOW = ("greedy", "zone_greedy")  # minutes for a day of a large feeder


def picture(
    run_or_scenario: Path | Scenario,
    path: Path,
    names: Sequence[str] = (),
    day: int | None = None,
    trust: bool = False,
    progress: Callable[[Iterable[str]], Iterable[str]] = lambda items: items,
) -> Path:
    """Draw a test day under several controllers.

    Args:
        run_or_scenario: a run's folder, or a scenario.
        path: to write: .png, .pdf or .svg.
        names: of controllers, from left to right; "learned" is the run's policy. Without: no control, the policy of a
            run, a rule or droop, and the reference controller, those of them that can play the day.
        day: number; None takes a middle one of the test days with a plan, or of all test days.
        trust: see load_policy.
        progress: wraps the controllers' names as they play.

    Raises:
        ValueError: no run there, an unknown controller, or one that cannot play the day.
        ImportError: matplotlib is missing.
    """
    from dss_marl import plots

    recordings = record_side_by_side(run_or_scenario, names, day, trust, progress)
    return plots.save(plots.operation_figure(recordings), path)


def record_side_by_side(
    run_or_scenario: Path | Scenario,
    names: Sequence[str] = (),
    day: int | None = None,
    trust: bool = False,
    progress: Callable[[Iterable[str]], Iterable[str]] = lambda items: items,
) -> list[Recording]:
    """Record a test day under each of several controllers; as ``picture``."""
    scenario, folder = scenario_of(run_or_scenario)
    day = middle_day(scenario) if day is None else day
    if names:
        found = {name: named_controller(name, scenario, folder, trust) for name in names}
    else:
        found = telling_controllers(scenario, day)
        if folder is not None:
            learned = named_controller(LEARNED, scenario, folder, trust)
            others = [(name, one) for name, one in found.items() if name != "no_control"]
            found = dict([(LEARNED, learned), *others[-2:]])
    played = [record_controller(scenario, found[name], "test", [day], name) for name in progress(found)]
    return played if names else _different(played)


def _different(played: Sequence[Recording]) -> list[Recording]:
    """Without those that do the same as an earlier one, such as the circuit's controls where it has none."""
    returns = [recording.figures[0]["team_return"] for recording in played]
    return [one for k, one in enumerate(played) if not any(abs(returns[k] - other) < 1e-9 for other in returns[:k])]


def telling_controllers(scenario: Scenario, day: int) -> dict[str, Controller]:
    """No control, a rule-based controller or droop, and the reference controller: those that can play the day.

    Raises:
        ValueError: none can; the message says why the first one cannot.
    """
    best = scenario.reference_controller
    names = [name for name in REFERENCES if (name not in OPT_IN or name == best) and name not in _SLOW]
    found, refused = available_controllers(scenario, names if best in names else [*names, best], day)
    if not found:
        raise ValueError(f"scenario {scenario.name!r}, day {day}: {next(iter(refused.values()))}")
    rules = [name for name in found if name not in ("no_control", "random", best, *_PLAIN)]
    middle = [name for name in (*rules, *_PLAIN) if name in found and name != best][:1]
    return {name: found[name] for name in ("no_control", *middle, best) if name in found}
