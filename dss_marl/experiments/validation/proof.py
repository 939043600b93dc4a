"""Proof: all checks of a scenario, and the figures of every controller that was run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dss_marl.controllers import OPT_IN, REFERENCES, Controller
from dss_marl.envs.scenario import Scenario
from dss_marl.experiments.evaluation import ComparisonTable, available_controllers
from dss_marl.experiments.run_record import git_commit
from dss_marl.experiments.validation.ablations import constants
from dss_marl.experiments.validation.budget import ValidationBudget
from dss_marl.experiments.validation.check import CHECKS, CheckResult, failures
from dss_marl.experiments.validation.episodes import EpisodeCache
from dss_marl.experiments.validation.physics import physical
from dss_marl.experiments.validation.ranking import ZEROS, partial_observation, reference_wins
from dss_marl.experiments.validation.reward_terms import active_terms
from dss_marl.experiments.validation.stress_splits import stress_changes
from dss_marl.experiments.validation.trivial_policies import constants_fall_short, single_devices

Report = Callable[[str], None]


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
    """

    scenario: Scenario
    budget: ValidationBudget
    rows: tuple[CheckResult, ...]
    episodes: EpisodeCache
    controllers: dict[str, Controller]
    refused: dict[str, str]
    commit: str = ""

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
    episodes = EpisodeCache(scenario)
    reference = scenario.reference_controller
    budget = ValidationBudget.of(episodes.task, most_days, quick)
    names = [name for name in REFERENCES if name not in OPT_IN or name == reference or budget.slow]
    names += [] if reference in names else [reference]  # a user's, by package.module:name
    controllers, refused = available_controllers(scenario, names, budget.days[0])
    if reference in refused:
        raise ValueError(f"scenario {scenario.name!r}: its reference controller cannot run: {refused[reference]}")
    for name, controller in controllers.items():
        brief = name in OPT_IN and name != reference
        report(f"{name}: {len(budget.few if brief else budget.days)} days")
        episodes.run(name, controller, budget.few[:2], balance=True)
        episodes.run(name, controller, budget.few if brief else budget.days)
    zero = next(name for name in reversed(ZEROS) if name in controllers)
    rows = reference_wins(episodes, reference, controllers, budget)
    report("constants")
    rows += constants_fall_short(episodes, reference, zero, budget)
    report("single devices")
    short, moving = single_devices(episodes, reference, controllers[reference], zero, budget)
    rows += short
    rows += active_terms(episodes, [*controllers, *constants(episodes.task)], budget)
    rows += moving
    report("stress splits")
    looked = {name: controllers[name] for name in (ZEROS if zero != "no_control" else ZEROS[:1])}
    if reference not in OPT_IN:  # a fast controller that reveals more than no control
        looked[reference] = controllers[reference]
    rows += stress_changes(episodes, looked, budget)
    rows += partial_observation(episodes, reference, controllers, budget)
    rows += physical(episodes, controllers)
    episodes.close()
    return Proof(
        scenario, budget, tuple(sorted(rows, key=lambda row: row.check)), episodes, controllers, refused, commit
    )
