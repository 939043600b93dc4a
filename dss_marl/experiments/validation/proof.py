"""Proof: all checks of a scenario, and the figures of every controller that was run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import process_time

from dss_marl.controllers import OPT_IN, REFERENCES, Controller, Greedy, ZoneGreedy
from dss_marl.controllers.planning.bounds import optimum_of
from dss_marl.controllers.search.branch_exchange import BranchExchange
from dss_marl.controllers.search.constant_search import constants
from dss_marl.envs.scenario import Scenario
from dss_marl.experiments.evaluation import ComparisonTable, available_controllers
from dss_marl.experiments.runs.run_record import git_commit
from dss_marl.experiments.validation.bound_stage import DayBounds, day_bounds
from dss_marl.experiments.validation.budget import ValidationBudget
from dss_marl.experiments.validation.capability import same_capability
from dss_marl.experiments.validation.check import CHECKS, CheckResult, failures
from dss_marl.experiments.validation.day_coverage import enough_days
from dss_marl.experiments.validation.episodes import EpisodeCache
from dss_marl.experiments.validation.headroom import headroom
from dss_marl.experiments.validation.physics import physical
from dss_marl.experiments.validation.plan_challenge import plan_holds
from dss_marl.experiments.validation.ranking import partial_observation, reference_wins
from dss_marl.experiments.validation.reward_terms import active_terms
from dss_marl.experiments.validation.standings import ZEROS, Standing, standings
from dss_marl.experiments.validation.stopwatch import Stopwatch
from dss_marl.experiments.validation.stress_splits import stress_changes
from dss_marl.experiments.validation.trivial_policies import constants_fall_short, single_devices

Report = Callable[[str], None]
AFFORDABLE_S = 40.0  # of computing, up to which a slow controller plays all days
FASTER: dict[str, Callable[[], Controller]] = {  # the same searches, with their trials on the batched engine
    "greedy": lambda: Greedy(batched=True),
    "zone_greedy": lambda: ZoneGreedy(batched=True),
    "branch_exchange": lambda: BranchExchange(batched=True),
}


@dataclass(frozen=True)
class Proof:
    """Results of the checks of a scenario.

    Attributes:
        scenario: validated.
        budget: days and trials.
        rows: results of all checks.
        episodes: results of days; ``results`` has the figures.
        controllers: name to each controller that was run.
        refused: name to reason of each reference controller that does not support the scenario.
        commit: of the code; "" outside a checkout.
        seconds: stage to its computing time [s].
        bounds: of the returns; None where no relaxation fits.
        optimum: over what the reference controller's plans are optimal; "" if they are the best found.
    """

    scenario: Scenario
    budget: ValidationBudget
    rows: tuple[CheckResult, ...]
    episodes: EpisodeCache
    controllers: dict[str, Controller]
    refused: dict[str, str]
    commit: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    bounds: DayBounds | None = None
    optimum: str = ""

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not failures(self.rows)

    def __str__(self) -> str:
        """The verdict of each check, with the measured and demanded values of what failed."""
        lines = [f"{self.scenario.name}: {'passed' if self.passed else 'failed'}, on {len(self.budget.days)} test days"]
        for key, question in CHECKS.items():
            own = [row for row in self.rows if row.check == key]
            failed = failures(own)
            asked = any(row.passed is not None for row in own)
            lines.append(f"{key}  {'FAIL' if failed else 'pass' if asked else '-   '}  {question}")
            lines += [f"         {row.what}: {row.measured}; demanded {row.demanded}" for row in failed]
        return "\n".join(lines)

    @property
    def standings(self) -> list[Standing]:
        """Every controller on the days that it played, the highest score first."""
        played = self.episodes.team_returns(self.budget.days)
        return standings({name: played[name] for name in self.controllers}, self.scenario.reference_controller)

    @property
    def table(self) -> ComparisonTable:
        """The controllers that ran on all days, the best last."""
        days, results = self.budget.days, self.episodes.results
        names = [name for name in self.controllers if all(day in results[name] for day in days)]
        names.sort(key=lambda name: name == self.scenario.reference_controller)
        figures = {name: [results[name][day].figures for day in days] for name in names}
        return ComparisonTable(self.scenario.name, "test", days, figures, self.scenario.reference_controller)


def prove(
    scenario: Scenario, most_days: int | None = None, quick: bool = False, report: Report = lambda text: None
) -> Proof:
    """Run a scenario's reference controllers, constants and single devices, and evaluate all checks.

    Args:
        scenario: to validate.
        most_days: of the frozen test days; None takes all.
        quick: two days, few trials, and no check of intervals.
        report: called with each stage.

    Raises:
        ValueError: the scenario does not support its reference controller.
    """
    commit = git_commit()  # read first: the checkout may change during the run
    episodes, clock = EpisodeCache(scenario), Stopwatch(report)
    reference = scenario.reference_controller
    budget = ValidationBudget.of(episodes.task, most_days, quick)
    names = [name for name in REFERENCES if budget.runs(name) or name == reference]
    names += [] if reference in names else [reference]  # a user's, by package.module:name
    clock.stage("controllers")
    controllers, refused = available_controllers(scenario, names, budget.days[0])
    if reference in refused:
        raise ValueError(f"scenario {scenario.name!r}: its reference controller cannot run: {refused[reference]}")
    controllers |= {name: faster() for name, faster in FASTER.items() if name in controllers}
    for name, controller in controllers.items():
        clock.stage(name)
        _play(episodes, name, controller, budget)
    per_day = clock.seconds.get(reference, 0.0) / len(budget.days)
    zero = next(name for name in reversed(ZEROS) if name in controllers)
    rows = reference_wins(episodes, reference, controllers, budget)
    clock.stage("constants")
    rows += constants_fall_short(episodes, reference, zero, budget)
    clock.stage("single devices")
    short, moving = single_devices(episodes, reference, controllers[reference], zero, budget)
    rows += [*short, *moving, *active_terms(episodes, [*controllers, *constants(episodes.task)], budget)]
    clock.stage("stress splits")
    rows += stress_changes(episodes, _compared_under_stress(controllers, reference, zero), budget)
    rows += partial_observation(episodes, reference, controllers, budget)
    rows += physical(episodes, controllers)
    rows += headroom(episodes, reference, controllers, budget)
    rows += enough_days(episodes, reference, controllers[reference], zero, per_day, budget)
    rows += same_capability(episodes.uses(), controllers)
    clock.stage("challenge of plans")
    rows += plan_holds(episodes, controllers[reference], zero, budget)
    clock.stage("bound")
    bounds, optimum = None if quick else day_bounds(episodes.task, budget.few, budget.days), optimum_of(episodes.task)
    clock.stage("")
    episodes.close()
    checked = tuple(sorted(rows, key=lambda row: row.check))
    return Proof(scenario, budget, checked, episodes, controllers, refused, commit, clock.seconds, bounds, optimum)


def _play(episodes: EpisodeCache, name: str, controller: Controller, budget: ValidationBudget) -> None:
    """Run a controller on all days; one that is slow on the few days, and on all if that is affordable."""
    episodes.run(name, controller, budget.few[:2], balance=True)
    if name not in OPT_IN or name == episodes.task.scenario.reference_controller:
        episodes.run(name, controller, budget.days)
        return
    started = process_time()
    episodes.run(name, controller, budget.few)
    a_day = (process_time() - started) / max(len(budget.few) - 2, 1)
    if len(budget.few) > 2 and a_day * (len(budget.days) - len(budget.few)) <= AFFORDABLE_S:
        episodes.run(name, controller, budget.days)


def _compared_under_stress(controllers: dict[str, Controller], reference: str, zero: str) -> dict[str, Controller]:
    """No control, the circuit's own, and a fast reference, which reveals more than they do; the cheapest first."""
    looked = {name: controllers[name] for name in (ZEROS if zero != "no_control" else ZEROS[:1])}
    return looked if reference in OPT_IN else looked | {reference: controllers[reference]}
