"""Budget: number of days and trials of a validation, by the cost of a day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dss_marl.controllers import OPT_IN, load_plans
from dss_marl.envs.task import Task
from dss_marl.profiles.splits import spread_days

DAYS, MANY_DAYS = 10, 30  # numbers of test days; many where the reference controller takes seconds per day
TOO_SLOW = ("greedy", "zone_greedy", "best_constant")  # on large feeders
LARGE = 100_000  # nodes times steps of a day: above, a day takes seconds and a one-step search minutes


@dataclass(frozen=True)
class ValidationBudget:
    """Days, and number of trials.

    Attributes:
        days: the frozen test days: those with plans, or ten or thirty spread over the split.
        few: the first of these, on which constants, single devices and slow controllers run.
        slow: whether controllers that take seconds per day on small feeders run at all.
        stress: numbers of days of each stress split and of the test split, in a first and a second comparison.
        tries: constants tried by the search.
        quick: two days only, which are too few for intervals.
    """

    days: tuple[int, ...]
    few: tuple[int, ...]
    slow: bool
    stress: tuple[int, int]
    tries: int
    quick: bool

    def runs(self, controller: str) -> bool:
        """Whether a reference controller plays at all: without the slow ones, in a quick proof or on a large feeder."""
        return controller not in OPT_IN or not (self.quick or (not self.slow and controller in TOO_SLOW))

    @classmethod
    def of(cls, task: Task, most: int | None = None, quick: bool = False) -> ValidationBudget:
        """The budget of a task.

        Args:
            task: of the scenario.
            most: maximum number of days; None: all that have plans.
            quick: two days and few trials.

        Raises:
            ValueError: the reference controller replays plans, and there are none.
        """
        days = frozen_days(task)
        if most is not None and most < 2:
            raise ValueError(f"--days must be 2 or more, for an interval over days; got {most}")
        most = 2 if quick else most
        days = spread_days(days, min(most or len(days), len(days)))
        large = len(task.feeder.nodes) * task.scenario.steps > LARGE
        if quick:
            return cls(tuple(days), tuple(days[:1]), slow=False, stress=(2, 2), tries=2, quick=True)
        few = spread_days(days, 3 if large else 4)
        return cls(tuple(days), tuple(few), not large, (8, 24) if large else (16, 41), 10 if large else 40, quick=False)


def frozen_days(task: Task) -> Sequence[int]:
    """The test days on which results of a scenario are reported."""
    test = task.profiles.days("test")
    if task.scenario.reference_controller != "best_known":
        return spread_days(test, DAYS if task.scenario.reference_controller in OPT_IN else MANY_DAYS)
    solved = load_plans(task.scenario).requests
    days = [day for day in test if day in solved]
    if len(days) < 2:
        raise ValueError(
            f"scenario {task.scenario.name!r} has plans of {len(days)} test days, too few for a proof; "
            f"run 'dss-marl solve {task.scenario.name}'"
        )
    return days
