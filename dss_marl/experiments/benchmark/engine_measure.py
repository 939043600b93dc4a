"""Measures a batch engine beside OpenDSS: the same days and actions, in blocks that alternate in one process."""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np

from dss_marl.envs.batch_env import BatchZoneEnv
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.task import Task, build_task
from dss_marl.experiments.benchmark.engine_figures import EngineBenchmark, EngineMeasured
from dss_marl.experiments.benchmark.memory import memory_of
from dss_marl.experiments.benchmark.part_times import ENGINE_PARTS, ENGINE_PLACES, PartTimes
from dss_marl.experiments.benchmark.random_actions import RandomActions

ENGINE_SCENARIOS = ("ieee34_volt_var", "ieee123_legacy", "ieee123_hybrid", "case141_volt_var", "ieee8500_volt_var")
ENGINE_COPIES = (64, 256, 1024, 4096)
OPENDSS_COPIES = 16  # more are not faster for each, as their circuits share the caches
_BLOCK_S = 20.0  # CPU time that a block may take
_FEWEST = 2  # steps of a block


class Block(NamedTuple):
    """CPU time of a reset and of the steps after it [s]."""

    reset_s: float
    steps_s: float


def engine_benchmark(
    scenarios: Sequence[Scenario],
    engine: str = "batched",
    copies: Sequence[int] = ENGINE_COPIES,
    rounds: int = 5,
    steps: int = 96,
    memory: bool = True,
    after_each: Callable[[EngineMeasured], None] = lambda one: None,
) -> EngineBenchmark:
    """Measure scenarios and numbers of copies one after the other.

    Args:
        scenarios: to measure.
        engine: name of a batch engine.
        copies: numbers of copies.
        rounds: blocks of each engine.
        steps: of a block at most; fewer where the day ends, or where the block would take more than 20 s.
        memory: measure that too, in a new process each.
        after_each: called with the figures of each.

    Raises:
        ValueError: no copies, rounds or steps, or an engine that is unknown or refuses a feeder.
    """
    for name, value in (("copies", min(copies, default=0)), ("rounds", rounds), ("steps", steps)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {value}")
    tasks = [build_task(scenario) for scenario in scenarios]
    for task in tasks:
        BatchZoneEnv(task, 1, engine=engine).close()  # what the engine refuses, before the first is measured
    measured = []
    for task in tasks:
        for number in copies:
            measured.append(measure_engine(task, engine, number, rounds, steps, memory))
            after_each(measured[-1])
    return EngineBenchmark(
        version=version("dss_marl"),
        opendss=version("opendssdirect.py"),
        numba=_numba(),
        python=platform.python_version(),
        platform=platform.platform(terse=True),
        measured=measured,
    )


def measure_engine(
    task: Task, engine: str, copies: int, rounds: int, steps: int, memory: bool = True
) -> EngineMeasured:
    """The figures of one scenario and number of copies."""
    both = [_Player(task, "opendss", min(copies, OPENDSS_COPIES)), _Player(task, engine, copies)]
    try:
        length = max(_FEWEST, min(steps, *(player.affordable() for player in both)))
        pairs = []
        for k in range(rounds):
            first, second = both if k % 2 else both[::-1]
            blocks = [first.play(k, length), second.play(k, length)]
            pairs.append(blocks if k % 2 else blocks[::-1])
            _compare(*both)
        _, shares = [player.shares(rounds, length) for player in both]
        return _figures(task, both, pairs, shares, memory)
    finally:
        for player in both:
            player.close()


class _Player:
    """Copies on one engine, which play blocks of random actions.

    Attributes:
        engine, copies, steps: name of the engine, number of copies, steps of the last block.
        largest_off_pu, same: differences from the other engine's, see _compare.
        solves_per_step, solves_per_s: of the last ``shares``.
    """

    def __init__(self, task: Task, engine: str, copies: int) -> None:
        self.engine, self.copies, self.steps = engine, copies, 0
        self.batch = BatchZoneEnv(task, copies, engine=engine)
        self.horizon = task.scenario.steps
        self.largest_off_pu, self.same = 0.0, [1.0]
        self.solves_per_step = self.solves_per_s = 0.0

    def affordable(self) -> int:
        """Steps of a block: to the end of the day, where all copies would be reset, or as many as the time allows."""
        self.play(0, 1)  # opens circuits and compiles
        taken = max(self.play(0, 1).steps_s, 1e-6)
        return max(1, min(self.horizon - 1, int(_BLOCK_S / taken)))

    def play(self, seed: int, steps: int, *watching: AbstractContextManager[object]) -> Block:
        """Reset to the days of a seed, twice so that they are known, and play random actions of the same seed.

        Args:
            seed, steps: of the block.
            watching: entered for the steps.
        """
        self.steps = steps
        actions = RandomActions(self.batch, seed).next_steps(steps, self.copies)
        self.batch.reset(seed=seed)
        gc.collect()
        start = time.process_time()
        self.batch.reset(seed=seed)
        begun = time.process_time()
        with ExitStack() as stack:
            for one in watching:
                stack.enter_context(one)
            for rows in actions:
                self.batch.step(rows)
        return Block(begun - start, time.process_time() - begun)

    def shares(self, seed: int, steps: int) -> dict[str, float]:
        """Shares of a day's CPU time by part, resets among them; sets how often and how fast is solved."""
        self.batch.reset(seed=seed)
        counted = _Counted(self.batch.engine)
        times = PartTimes(self.batch, ENGINE_PLACES, time.process_time_ns)
        block = self.play(seed, steps, counted, times)
        parts = times.shares()
        self.solves_per_step = counted.solves / steps / self.copies
        self.solves_per_s = counted.solves / max(parts["solver"] * block.steps_s, 1e-9)
        stepping = block.steps_s / steps * self.horizon
        inside = stepping / (stepping + block.reset_s)
        return {**{part: inside * parts[part] for part in ENGINE_PARTS}, "resets": 1 - inside}

    def rate(self, block: Block) -> float:
        """Environment steps in a second, over a day and one reset."""
        return self.copies * self.horizon / (block.steps_s / self.steps * self.horizon + block.reset_s)

    def close(self) -> None:
        self.batch.close()


class _Counted:
    """Counts the power flows that an engine is asked for."""

    def __init__(self, engine: Any) -> None:
        self._engine, self.solves = engine, 0

    def __enter__(self) -> _Counted:
        solve, copies = self._engine.solve, self._engine.copies

        def counted(setpoints: Any, controls: bool = False, wanted: Any = None) -> Any:
            self.solves += copies if wanted is None else int(wanted.sum())
            return solve(setpoints, controls, wanted)

        vars(self._engine)["solve"] = counted
        return self

    def __exit__(self, *_: object) -> None:
        vars(self._engine).pop("solve", None)


def _compare(one: _Player, other: _Player) -> None:
    """Note how far the other's copies are from the one's after the same moves."""
    mine, theirs = one.batch.after, other.batch.after
    assert mine is not None
    assert theirs is not None
    n = one.copies
    same = (mine.setpoints.tap == theirs.setpoints.tap[:n]).all(-1)
    same &= (mine.setpoints.closed == theirs.setpoints.closed[:n]).all(-1)
    off = np.abs(mine.solution.v_pu - theirs.solution.v_pu[:n]).max(-1)
    other.same.append(float(same.mean()))
    if same.any():
        other.largest_off_pu = max(other.largest_off_pu, float(off[same].max()))


def _figures(
    task: Task,
    both: Sequence[_Player],
    pairs: Sequence[Sequence[Block]],
    shares: dict[str, float],
    memory: bool,
) -> EngineMeasured:
    opendss, fast = both
    rates = np.array([[player.rate(block) for player, block in zip(both, pair, strict=True)] for pair in pairs])
    known = memory_of(task.scenario, fast.copies, fast.engine) if memory else None
    return EngineMeasured(
        scenario=task.scenario.name,
        nodes=len(task.feeder.nodes),
        engine=fast.engine,
        copies=fast.copies,
        rounds=len(pairs),
        steps=fast.steps,
        env_steps_per_s=_rounded(np.median(rates[:, 1])),
        solves_per_s=_rounded(fast.solves_per_s),
        solves_per_step=round(fast.solves_per_step, 3),
        opendss_copies=opendss.copies,
        opendss_env_steps_per_s=_rounded(np.median(rates[:, 0])),
        opendss_solves_per_s=_rounded(opendss.solves_per_s),
        over_opendss=_rounded(np.median(rates[:, 1] / rates[:, 0])),
        parts={part: round(share, 4) for part, share in shares.items()},
        memory_kb=None if known is None else round(1000 * known, 1),
        largest_off_pu=float(f"{fast.largest_off_pu:.2g}"),
        same_positions=round(min(fast.same), 4),
    )


def _rounded(value: Any) -> float:
    """To four digits."""
    return float(f"{value:.4g}")


def _numba() -> str:
    try:
        return version("numba")
    except PackageNotFoundError:
        return ""
