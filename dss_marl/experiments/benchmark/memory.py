"""Resident memory of one more copy, in a process of its own, where nothing else has left or freed any."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

from dss_marl.envs.batch_env import BatchZoneEnv
from dss_marl.envs.scenario import Scenario
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.benchmark.random_actions import RandomActions

_FURTHER = 2  # environments opened after the first one, which pays for what all share
_FEW = 8  # copies of the first batch, which pays for what all batches share
_STATM = Path("/proc/self/statm")  # resident pages, on Linux alone


def memory_of(scenario: Scenario, copies: int, engine: str = "opendss") -> float | None:
    """Memory of one more environment, or of one more copy of a batch [MB]; None where the system does not tell.

    Args:
        scenario, copies: what is opened.
        engine: of the batch.

    Raises:
        RuntimeError: the process that measures has failed.
    """
    if not _STATM.exists():
        return None
    command = [sys.executable, "-c", f"from {__name__} import main; main({copies}, {engine!r})"]
    done = subprocess.run(command, input=scenario.model_dump_json(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            f"the memory of {scenario.name!r} could not be measured: {done.stderr.strip().splitlines()[-1]}"
        )
    return float(done.stdout.splitlines()[-1])


def grown_mb(scenario: Scenario, copies: int, engine: str = "opendss") -> float:
    """What this process grows by for each further copy, after the first [MB]."""
    first = _open_one(scenario) if copies == 1 else _open_batch(scenario, min(copies, _FEW), engine)
    before = _resident_mb()
    further = [_open_one(scenario) for _ in range(_FURTHER)] if copies == 1 else [_open_batch(scenario, copies, engine)]
    grown = _resident_mb() - before
    for env in (first, *further):
        env.close()
    return grown / (_FURTHER if copies == 1 else copies)


def _open_one(scenario: Scenario) -> ZoneEnv:
    env = ZoneEnv(scenario)
    env.reset(seed=0)
    env.step({agent: env.action_space(agent).sample() for agent in env.agents})
    return env


def _open_batch(scenario: Scenario, copies: int, engine: str) -> BatchZoneEnv:
    env = BatchZoneEnv(scenario, copies, engine=engine)
    env.reset(seed=0)
    env.step(RandomActions(env).first(copies))
    return env


def _resident_mb() -> float:
    import resource  # on Unix alone

    gc.collect()
    return int(_STATM.read_text(encoding="ascii").split()[1]) * resource.getpagesize() / 1e6


def main(copies: int, engine: str) -> None:
    """The process that measures: reads the scenario as JSON, and prints the growth [MB]."""
    grown = grown_mb(Scenario.model_validate_json(sys.stdin.read()), copies, engine)
    sys.stdout.write(f"{grown:.4f}\n")
