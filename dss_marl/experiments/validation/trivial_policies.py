"""Trivial policies: constant actions and single devices must fall short, and every device must matter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dss_marl.controllers import Controller, place_of
from dss_marl.controllers.search.constant_search import climbed, constant_returns, constants
from dss_marl.experiments.validation.ablations import (
    ConstantController,
    PartialController,
    ReplayController,
    devices_of,
    extremes,
)
from dss_marl.experiments.validation.budget import ValidationBudget
from dss_marl.experiments.validation.check import CheckResult, format_interval
from dss_marl.experiments.validation.episodes import EpisodeCache
from dss_marl.experiments.validation.ranking import tied
from dss_marl.grid.state import Array
from dss_marl.mdp.return_statistics import mean_interval

CLEARLY = 0.1  # of the reference controller's gain on the controller that scores 0
_TOGETHER = 8  # changes of a constant tried at once
_SCREENED = 3  # single devices, the best on the first days, that run on all of the few days


def constants_fall_short(
    episodes: EpisodeCache, reference: str, zero: str, budget: ValidationBudget
) -> list[CheckResult]:
    """(b) The best constants of a grid, and of a search starting from the best of them.

    Args:
        episodes: to run days.
        reference, zero: the controllers that score 1 and 0.
        budget: days, and number of tries.
    """
    grid = constants(episodes.task)
    for name, joint_action in grid.items():
        episodes.run(name, ConstantController(joint_action), budget.few)
    means = {name: float(episodes.returns(name, budget.few).mean()) for name in grid}
    ranked = sorted(means, key=lambda name: -means[name])
    rows = [
        _short(episodes, f"constant {name}", episodes.returns(name, budget.few), reference, zero, budget)
        for name in ranked[:3]
    ]
    rows[0] = rows[0]._replace(note=f"{rows[0].note}; the best of {len(grid)} constants")
    best = _searched(episodes, grid, ranked[0], budget)
    episodes.run("constant found", ConstantController(best), budget.few)
    row = _short(
        episodes, "the best constant found", episodes.returns("constant found", budget.few), reference, zero, budget
    )
    return [*rows, row._replace(note=f"{row.note}; {budget.tries} changes of single entries tried")]


def _searched(episodes: EpisodeCache, grid: dict[str, Array], first: str, budget: ValidationBudget) -> Array:
    """(F) a constant at least as good on two days as the best of the grid and no control, found entry by entry."""
    task, days = episodes.task, budget.few[:2]
    start = {tuple(task.default_action): float(episodes.returns("no_control", days).mean())}
    start[tuple(grid[first])] = float(episodes.returns(first, days).mean())
    best = max(start, key=lambda joint_action: start[joint_action])

    def returns(rows: Array) -> Array:
        return np.asarray(constant_returns(task, rows, days, "test").mean(-1))

    return climbed(np.array(best), start[best], task, budget.tries, returns, _TOGETHER)


def single_devices(
    episodes: EpisodeCache, reference: str, controller: Controller, zero: str, budget: ValidationBudget
) -> tuple[list[CheckResult], list[CheckResult]]:
    """(b) no single device under the reference controller comes close to it; (d) each device affects the return.

    A device affects the return if, on any day, the return changes with the reference controller's requests for it while
    all others are neutral; or at an extreme action; or if the reference controller without it has a different return,
    as for a tie that may close only after another switch has opened. Where days are slow, all devices are screened on
    the requests recorded with full control, and the best ones are tested with requests made for them alone.

    Args:
        episodes: to run days.
        reference: name of the reference controller.
        controller: the reference controller.
        zero: the controller that scores 0.
        budget: days.
    """
    devices, first = devices_of(episodes.task), budget.few[: 2 if budget.slow else 1]
    returns, dead, ways = {}, [], dict.fromkeys(("alone", "at an extreme", "by its absence"), 0)
    asking, title = (controller, "only {}") if budget.slow else (ReplayController(controller), "only {}, as recorded")
    if not budget.slow:
        episodes.run("recorded", asking, first)
    for d, device in enumerate(devices):
        name = title.format(device[1])
        try:
            returns[device] = float(episodes.run(name, PartialController(asking, [device]), first).mean())
        except ValueError:
            episodes.results.pop(name, None)  # operated by the circuit's controls, not by this controller
        way = _way(episodes, d, name, reference, controller, budget)
        if way is None:
            dead.append(device[1])
        else:
            ways[way] += 1
    best = sorted(returns, key=lambda device: -returns[device])[:_SCREENED]
    rows = []
    for device in best:
        alone = episodes.run(f"only {device[1]}", PartialController(controller, [device]), budget.few)
        rows.append(_short(episodes, f"only {device[1]} as {reference} has it", alone, reference, zero, budget))
    if rows:
        rows[0] = rows[0]._replace(note=f"{rows[0].note}; best first, of {len(returns)} single devices")
    else:
        rows = [CheckResult("b", "single devices", "none", "", None, f"{reference} moves none of the devices")]
    if len(devices) == 1:
        rows = [CheckResult("b", "single devices", "1 device", "", None, "there is only one device")]
    how = ", ".join(f"{count} {way}" for way, count in ways.items() if count)
    measured = f"{len(devices) - len(dead)} of {len(devices)}"
    note = f"without effect: {', '.join(dead)}" if dead else how
    return rows, [CheckResult("d", "devices that move the return", measured, "all", not dead, note)]


def _way(
    episodes: EpisodeCache, d: int, name: str, reference: str, controller: Controller, budget: ValidationBudget
) -> str | None:
    """How a device was found to affect the return; None if it was not. ``name``: of its runs alone."""
    nothing, device = "no_control", devices_of(episodes.task)[d]
    alone = [] if any(place_of(controller, episodes.scenario)) else list(episodes.results.get(name, {}))
    if alone and _differs(episodes.returns(name, alone), episodes.returns(nothing, alone)):
        return "alone"
    for day in budget.few:
        for joint_action in extremes(episodes.task, d):
            earned = episodes.simulate(ConstantController(joint_action), day).figures["team_return"]
            if _differs(np.array([earned]), episodes.returns(nothing, [day])):
                return "at an extreme"
    for day in budget.days:
        try:
            earned = episodes.simulate(PartialController(controller, [device], without=True), day).figures[
                "team_return"
            ]
        except ValueError:
            return None
        if _differs(np.array([earned]), episodes.returns(reference, [day])):
            return "by its absence"
    return None


def _differs(one: Array, other: Array) -> bool:
    return bool((np.abs(one - other) > tied(other)).any())


def _short(
    episodes: EpisodeCache, what: str, returns: Array, reference: str, zero: str, budget: ValidationBudget
) -> CheckResult:
    """Whether returns on the few days fall clearly short of the reference controller's."""
    days: Sequence[int] = budget.few
    top = episodes.returns(reference, days)
    least = CLEARLY * max(float((top - episodes.returns(zero, days)).mean()), 0.0)
    mean, low, high = mean_interval(top - returns)
    passed = mean >= least and mean > 0 and (budget.quick or low > 0)
    demanded = f">= {least:.3g} ({CLEARLY:.0%} of the gain on {zero}), interval > 0"
    return CheckResult(
        "b", f"{what}: falls short by", format_interval(mean, low, high), demanded, bool(passed), f"{len(days)} days"
    )
