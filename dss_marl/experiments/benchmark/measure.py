"""Measures scenarios: blocks that alternate in one process, CPU time, medians over days."""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version

import numpy as np

from dss_marl.envs.scenario import Scenario
from dss_marl.experiments.benchmark.figures import Benchmark, Measured
from dss_marl.experiments.benchmark.memory import memory_of
from dss_marl.experiments.benchmark.part_times import PartTimes
from dss_marl.experiments.benchmark.subjects import Batch, OneCopy, Solve, Subject

SCENARIOS = (
    "ieee34_volt_var",
    "ieee13_volt_var",
    "case141_volt_var",
    "ieee123_two_timescale",
    "ieee123_hybrid",
    "ieee123_legacy",
    "eulv_volt_var",
    "ieee8500_volt_var",
)
_RESETS = 3  # of a day
_OPENING = 8  # steps before the first that count


def benchmark(
    scenarios: Sequence[Scenario],
    batch: int | None = None,
    days: int = 7,
    steps: int = 48,
    memory: bool = True,
    after_each: Callable[[Measured], None] = lambda one: None,
) -> Benchmark:
    """Measure scenarios one after the other.

    Args:
        scenarios: to measure.
        batch: measure this number of copies as a batch too.
        days: of each scenario; the figures are medians over them.
        steps: of each day, or fewer where it ends.
        memory: measure that too, in a new process for each scenario.
        after_each: called with the figures of each scenario and number of copies.

    Raises:
        ValueError: fewer than one day, step or copy.
    """
    for name, value in (("batch", batch), ("days", days), ("steps", steps)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}")
    measured = []
    for scenario in scenarios:
        for copies in (1,) if batch is None else (1, batch):
            measured.append(measure(scenario, copies, days, steps, memory))
            after_each(measured[-1])
    return Benchmark(
        version=version("dss_marl"),
        opendss=version("opendssdirect.py"),
        python=platform.python_version(),
        platform=platform.platform(terse=True),
        measured=measured,
    )


def measure(scenario: Scenario, copies: int, days: int, steps: int, memory: bool = True) -> Measured:
    """The figures of one scenario, per step of one copy."""
    subject: Subject = OneCopy(scenario) if copies == 1 else Batch(scenario, copies)
    try:
        numbers = subject.env.task.profiles.days("train")[:days]
        measure_day(subject, int(numbers[0]), min(steps, _OPENING), reverse=False)  # opens circuits: not counted
        rows = [measure_day(subject, day, steps, reverse=k % 2 == 1) for k, day in enumerate(numbers)]
        shares = _parts(subject)
    finally:
        subject.close()
    floor, engine, step, reset = np.array(rows).T
    return Measured(
        scenario=scenario.name,
        copies=copies,
        days=len(rows),
        steps=subject.steps,
        solves_per_step=round(subject.solves / subject.steps / copies, 3),
        floor_us=round(float(np.median(floor)), 1),
        step_us=round(float(np.median(step)), 1),
        steps_per_s=round(1e6 / float(np.median(step)), 1),
        engine_over_floor=round(float(np.median(engine / floor)), 3),
        step_over_floor=round(float(np.median(step / floor)), 3),
        reset_over_step=round(float(np.median(reset / step)), 3),
        parts={part: round(share, 4) for part, share in shares.items()},
        memory_mb=memory_of(scenario, copies) if memory else None,
    )


def measure_day(subject: Subject, day: int, steps: int, reverse: bool) -> tuple[float, float, float, float]:
    """CPU time per step of one copy on a day [us]: floor, engine, step; and of a reset to it, once it has been played.

    Args:
        subject: what is measured.
        day: its number.
        steps: how many at most.
        reverse: run the blocks in reverse order, so that none is always the first.
    """
    subject.play(day, steps)
    gc.collect()  # of what was played
    per = subject.steps * subject.copies
    found: dict[str, float] = {}

    def floor() -> None:
        found["floor"] = _run(subject.floor()) / per

    def engine() -> None:
        found["engine"] = _run(subject.engine()) / per

    def environment() -> None:
        found["reset"] = _run([subject.reset] * _RESETS) / _RESETS / subject.copies
        found["step"] = _cpu_us(subject.replay) / per

    blocks = [floor, engine, environment]
    for block in reversed(blocks) if reverse else blocks:
        block()
    return found["floor"], found["engine"], found["step"], found["reset"]


def _run(solves: Sequence[Solve]) -> float:
    """CPU time of all of them [us]."""

    def block() -> None:
        for solve in solves:
            solve()

    return _cpu_us(block)


def _cpu_us(block: Callable[[], object]) -> float:
    """CPU time [us]."""
    start = time.process_time()
    block()
    return (time.process_time() - start) * 1e6


def _parts(subject: Subject) -> dict[str, float]:
    """Shares of the parts, on the day that was played last."""
    subject.reset()
    with PartTimes(subject.env) as times:
        subject.replay()
    return times.shares()
