"""Steps a second beside PowerGym's, on the same feeders and device sets: our ``*_legacy`` scenarios.

PowerGym pins versions that differ from ours (numpy 1.22, gym 0.18, dss_python 0.10), so it needs a Python of its own:

    git clone https://github.com/siemens/powergym
    python3.9 -m venv powergym/.venv && powergym/.venv/bin/pip install -r powergym/requirements.txt
    python benchmarks/against_powergym.py --powergym powergym --python powergym/.venv/bin/python

Both take random actions, one agent moving all devices, in days of 24 steps that alternate between the two processes;
CPU time; medians over days of our steps a second over PowerGym's. One column is without resets, one with a reset each
day. A step of ours is one power flow with ``observed_voltages: last``, which is what PowerGym observes, and two as the
scenarios are shipped.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SCENARIOS = {
    "13Bus": "ieee13_legacy",
    "34Bus": "ieee34_legacy",
    "123Bus": "ieee123_legacy",
    "8500Node": "ieee8500_legacy",
}
STEPS = 24
MARK = "measured"  # begins the lines that are ours: PowerGym and OpenDSS print too
HOW = """PowerGym could not be started: {why}
Get it with
    git clone https://github.com/siemens/powergym
    python3.9 -m venv powergym/.venv && powergym/.venv/bin/pip install -r powergym/requirements.txt
and name both:
    python benchmarks/against_powergym.py --powergym powergym --python powergym/.venv/bin/python"""


def serve(system: str) -> None:
    """PowerGym's side, in its own Python 3.8 or later: a day for each line read, CPU time of reset and steps [s]."""
    from powergym.env_register import make_env  # type: ignore[import-not-found]

    env = make_env(system)
    env.seed(0)
    print(MARK, "ready", flush=True)
    for line in sys.stdin:
        begun = time.process_time()
        env.reset(load_profile_idx=int(line) % env.num_profiles)
        reset = time.process_time() - begun
        actions = [env.random_action() for _ in range(STEPS)]
        begun = time.process_time()
        for action in actions:
            env.step(action)
        print(MARK, reset, time.process_time() - begun, flush=True)


class PowerGym:
    """The other process.

    Args:
        system: PowerGym's name of the feeder.
        python: the interpreter that has what PowerGym needs.
        checkout: PowerGym's folder.

    Raises:
        SystemExit: it does not start; says how to get it.
    """

    def __init__(self, system: str, python: str, checkout: Path) -> None:
        if not (checkout / "powergym").is_dir():
            raise SystemExit(HOW.format(why=f"{str(checkout)!r} is no folder with PowerGym in it"))
        command = [python, str(Path(__file__).resolve()), "--serve", system]
        pipes = subprocess.PIPE
        env = {**os.environ, "PYTHONPATH": str(checkout.resolve())}
        try:
            self._process = subprocess.Popen(command, stdin=pipes, stdout=pipes, stderr=pipes, text=True, env=env)
        except OSError as error:
            raise SystemExit(HOW.format(why=f"{python!r} does not run: {error}")) from None
        self._answer()

    def day(self, number: int) -> tuple[float, float]:
        """CPU time of a reset and of the day's steps [s]."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
        reset, steps = map(float, self._answer())
        return reset, steps

    def _answer(self) -> list[str]:
        assert self._process.stdout is not None and self._process.stderr is not None
        for line in self._process.stdout:
            if line.startswith(MARK):
                return line.split()[1:]
        raise SystemExit(HOW.format(why=self._process.stderr.read().strip()[-400:] or "it ended"))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def compare(system: str, python: str, checkout: Path, days: int) -> None:
    """Print the medians of a feeder."""
    import numpy as np

    import dss_marl

    theirs = PowerGym(system, python, checkout)
    ours = {
        flows: dss_marl.gym_env(dss_marl.load_scenario(SCENARIOS[system]).replace(observed_voltages=voltages))
        for flows, voltages in (("one flow", "last"), ("two flows", "coming"))
    }
    numbers = ours["one flow"].unwrapped.task.profiles.days("train")[: days + 1]
    rows: dict[str, list[tuple[float, float]]] = {flows: [] for flows in ours}
    for k, number in enumerate(numbers):
        reset, steps = theirs.day(k)
        for flows, env in ours.items():
            own_reset, own_steps = our_day(env, int(number))
            if k:  # the first opens circuits
                rows[flows].append((steps / own_steps, (steps + reset) / (own_steps + own_reset)))
    theirs.close()
    for flows, found in rows.items():
        bare, whole = np.median(found, axis=0)
        print(f"{system:9s} {flows:9s} {bare:8.2f} {whole:8.2f}", flush=True)


def our_day(env: Any, number: int) -> tuple[float, float]:
    """CPU time of a reset and of the day's steps [s]."""
    begun = time.process_time()
    env.reset(options={"day": number})
    reset = time.process_time() - begun
    actions = [env.action_space.sample() for _ in range(STEPS)]
    begun = time.process_time()
    for action in actions:
        env.step(action)
    return reset, time.process_time() - begun


def main() -> None:
    """Compare the feeders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", default=list(SCENARIOS), help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--powergym", type=Path, default=Path("powergym"), help="its checkout")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has what it needs")
    parser.add_argument("--days", type=int, default=15)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve)
        return
    unknown = [system for system in asked.systems if system not in SCENARIOS]
    if unknown:
        raise SystemExit(f"unknown feeder {unknown[0]!r}; known: {', '.join(SCENARIOS)}")
    print("our steps a second over PowerGym's (above 1: we are faster)")
    print(f"{'feeder':9s} {'a step':9s} {'no reset':>8s} {'resets':>8s}")
    for system in asked.systems:
        compare(system, asked.python, asked.powergym, asked.days)


if __name__ == "__main__":
    main()
