"""Cost of an environment step relative to OpenDSS's own solves: alternating blocks in one process, CPU time.

All agents act at random. The floor writes the same loads, reactive powers, taps and switches as the environment's
solves, two a step (the interval as operated, and the coming one), solves, and reads all voltages; nothing else.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

import dss_marl
from dss_marl.engines.opendss import OpenDSSEngine
from dss_marl.grid.state import Setpoints

Columns = tuple[str, ...]
COLUMNS: Columns = ("floor [us]", "engine / floor", "step / floor", "reset / step")


class Floor:
    """An engine's circuit, written and solved without the engine."""

    def __init__(self, engine: OpenDSSEngine) -> None:
        self.engine = engine

    def prepare(self, solved: list[Setpoints]) -> list[Callable[[], None]]:
        """What each of these solves writes, after a fresh solve of the first, which is left out."""
        self.engine.restart()
        self.engine.solve(solved[0])
        return [self._written(before, after) for before, after in pairwise(solved)]

    def _written(self, before: Setpoints, after: Setpoints) -> Callable[[], None]:
        engine = self.engine
        power = np.stack([after.kw, after.kvar]) * engine._sign
        power[:, engine._supply.of(after.closed)[1]] = 0.0
        ratios = (1.0 + after.tap * engine._step + engine._offset).tolist()
        taps = [(int(r), ratios[r]) for r in np.flatnonzero(after.tap != before.tap)]
        switches = (after.closed, before.closed) if (after.closed != before.closed).any() else ()

        def write() -> None:
            engine._power[:] = power
            for tap in taps:
                engine._taps.write(*tap)
            if switches:
                engine._switches.write(*switches)

        return write

    def run(self, writes: list[Callable[[], None]]) -> None:
        """Write, solve, and read all voltages."""
        calls, places = self.engine._calls, self.engine._places
        calls.set_options(3)
        for write in writes:
            write()
            calls.solve()
            np.abs(calls.voltages()[places])


def recorded(env: dss_marl.ZoneEnv, day: int) -> tuple[list[Any], list[Setpoints]]:
    """The random actions of a day, and all set points that the engine solves, that of the reset first."""
    solve, solved, actions = env.engine.solve, [], []

    def watched(setpoints: Setpoints, controls: bool = False) -> Any:
        solution = solve(setpoints, controls)
        solved.append(
            Setpoints(setpoints.kw.copy(), setpoints.kvar.copy(), solution.tap.copy(), solution.closed.copy())
        )
        return solution

    env.engine.solve = watched  # type: ignore[method-assign]
    env.reset(options={"day": day})
    first = len(solved) - 1
    while env.agents:
        actions.append({agent: env.action_space(agent).sample() for agent in env.agents})
        env.step(actions[-1])
    del env.engine.solve
    return actions, solved[first:]


def timed(block: Callable[[], object]) -> float:
    """CPU time [us]."""
    start = time.process_time()
    block()
    return (time.process_time() - start) * 1e6


def day_of(env: dss_marl.ZoneEnv, floor: Floor, day: int, reverse: bool) -> tuple[float, ...]:
    """COLUMNS of one day."""
    actions, solved = recorded(env, day)
    found: dict[str, float] = {}

    def bare() -> None:
        writes = floor.prepare(solved)
        found["floor"] = timed(lambda: floor.run(writes)) / len(actions)
        floor.engine._closed = solved[-1].closed.copy()  # as it was left

    def engine() -> None:
        floor.engine.restart()
        floor.engine.solve(solved[0])
        found["engine"] = timed(lambda: [floor.engine.solve(setpoints) for setpoints in solved[1:]]) / len(actions)

    def environment() -> None:
        found["reset"] = timed(lambda: env.reset(options={"day": day}))
        found["step"] = timed(lambda: [env.step(of_step) for of_step in actions]) / len(actions)

    blocks = [bare, engine, environment]
    for block in reversed(blocks) if reverse else blocks:
        block()
    per = found["floor"]
    return per, found["engine"] / per, found["step"] / per, found["reset"] / found["step"]


def main(name: str, days: int) -> None:
    """Print the medians over days."""
    env = dss_marl.make(name)
    floor = Floor(OpenDSSEngine(env.task.feeder))
    rows = [day_of(env, floor, day, k % 2 == 1) for k, day in enumerate(env.task.profiles.days("train")[:days])]
    medians = np.median(rows, axis=0)
    print(f"{name}: " + ", ".join(f"{label} {x:.3g}" for label, x in zip(COLUMNS, medians, strict=True)), flush=True)
    floor.engine.close()
    env.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", help="by default all")
    parser.add_argument("--days", type=int, default=15)
    options = parser.parse_args()
    for scenario in options.scenarios or dss_marl.list_scenarios():
        main(scenario, options.days)
