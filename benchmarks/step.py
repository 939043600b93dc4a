"""Cost of an environment step relative to OpenDSS's own solves: alternating blocks in one process, CPU time.

The floor writes the same loads and reactive powers through the same in-memory shapes and solves twice a step, as the
environment does (the interval as operated, and the coming one), and reads nothing.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import dss_marl
from dss_marl.devices import Inverters
from dss_marl.engines.opendss import OpenDSSEngine


def blocks(name: str, rounds: int) -> None:
    """Print the medians over rounds of one day each: bare solve, engine solve, environment step, and their ratios."""
    env = dss_marl.make(name)
    task = env.task
    rng = np.random.default_rng(0)
    moved = np.zeros(task.agents.action_layout.size, bool)  # reactive power only: a tap or a switch would rebuild Y
    for group, part in zip(task.device_groups, task.agents.action_layout.parts, strict=True):
        if isinstance(group, Inverters):
            moved[part.start : part.stop : len(group.action_labels)] = True
    first, nobody = round(task.scenario.start_hour / task.scenario.dt_h), np.empty(0, np.int64)
    bare = OpenDSSEngine(task.feeder)
    bare.solve(task.start)
    lib = bare._lib
    setpoints = task.start.copy()
    rows = []
    for number in range(rounds):
        day = task.profiles.day(task.profiles.days("train")[number], task.profiles.steps)
        shares = rng.uniform(-1, 1, (task.scenario.steps, len(moved)))
        actions = [task.encoding.encode(np.where(moved, row, task.default_action)) for row in shares]

        def floor() -> None:
            for t in range(task.scenario.steps):
                for k in (first + t, first + t + 1):
                    setpoints.kw, setpoints.kvar = day.kw[k], day.kvar[k]  # noqa: B023
                    bare._write(setpoints, nobody)
                    lib.Solution_InitSnap()
                    lib.Solution_SolveNoControl()

        def engine() -> None:
            for t in range(task.scenario.steps):
                for k in (first + t, first + t + 1):
                    setpoints.kw, setpoints.kvar = day.kw[k], day.kvar[k]  # noqa: B023
                    bare.solve(setpoints)

        def steps() -> None:
            for step_actions in actions:  # noqa: B023
                env.step(step_actions)

        env.reset(options={"day": task.profiles.days("train")[number]})
        row = []
        for block in (floor, engine, steps):
            start = time.process_time()
            block()
            row.append((time.process_time() - start) / task.scenario.steps * 1e6)
        rows.append(row)
    floor_us, engine_us, step_us = np.median(rows, axis=0)
    ratios = np.array(rows) / np.array(rows)[:, :1]
    print(
        f"{name}: two bare solves {floor_us:.0f} us; two engine solves {engine_us:.0f} us "
        f"(x{np.median(ratios[:, 1]):.2f}); environment step {step_us:.0f} us (x{np.median(ratios[:, 2]):.2f})"
    )
    bare.close()
    env.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    options = parser.parse_args()
    for scenario in dss_marl.list_scenarios():
        blocks(scenario, options.rounds)
