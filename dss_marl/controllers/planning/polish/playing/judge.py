"""Judge: plays few plans of a day on few copies and many on many."""

from __future__ import annotations

from dss_marl.controllers.planning.polish.playing.day_player import Course, DayPlayer
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, IntArray

_NARROW = 16


class Judge:
    """As DayPlayer; copies that are not needed cost time as well, so there are two of them.

    Attributes:
        many: plans that are played at once.
        shape, free: see DayPlayer.
    """

    def __init__(self, task: Task, day: int) -> None:
        self._wide = DayPlayer(task, day)
        self._narrow = DayPlayer(task, day, _NARROW) if self._wide.copies > _NARROW else self._wide
        self.many = self._wide.copies
        self.shape, self.free = self._wide.shape, self._wide.free

    @property
    def work(self) -> int:
        """See DayPlayer.work."""
        return self._wide.work + (self._narrow.work if self._narrow is not self._wide else 0)

    def play(self, plans: Array) -> Array:
        """See DayPlayer.play."""
        return (self._narrow if len(plans) <= 2 * _NARROW else self._wide).play(plans)

    def course(self, plan: Array) -> Course:
        """See DayPlayer.course."""
        return self._narrow.course(plan)

    def intervals(self, course: Course, steps: IntArray, requests: Array) -> Array:
        """See DayPlayer.intervals."""
        return (self._narrow if len(steps) <= 2 * _NARROW else self._wide).intervals(course, steps, requests)

    def close(self) -> None:
        """Release the engines."""
        self._wide.close()
        self._narrow.close()
