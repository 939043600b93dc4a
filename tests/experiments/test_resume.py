"""Runs that are killed, stopped early or finished, and go on."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from common import ROOT

import dss_marl
from dss_marl._assets import PART
from dss_marl.experiments import load_policy, load_run, reproduce, resume, train

pytest.importorskip("stable_baselines3")

SMALL = {
    "agent_steps": 600, "n_envs": 2, "n_steps": 4, "evaluations": 10, "evaluation_days": 1, "n_epochs": 1,
    "checkpoint_episodes": 2,
}  # fmt: skip
SHARED = ({}, {}, "opendss")
BATCHED = ({}, {"n_envs": 4, "agent_steps": 1000}, "batched")
PER_KIND = (
    {"agents": "device", "actions": "native"},
    {"sharing": "per_kind", "algorithm": "maskable_ppo", "agent_steps": 2500, "evaluations": 4},
    "opendss",
)


def scenario(changes=(), **training):
    base = dss_marl.load_scenario("ieee13_volt_var")
    return base.replace(steps=4, start_hour=10.0, training={**SMALL, **training}, **dict(changes))


def run_of(folder, one, engine, moment="never", number=1):
    """Train or resume in a process that dies at a moment; its exit status."""
    path = folder.with_suffix(".json")
    path.write_text(json.dumps(one.model_dump(mode="json")))
    arguments = [ROOT / "tests" / "killed_training.py", folder, path, engine, moment, number]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode


def content(folder):
    """What must not depend on whether the run was stopped."""
    record = load_run(folder)
    assert record.status == "finished"
    return record.history, record.files, record.validation, record.agent_steps


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "deaths"),
    [
        (SHARED, [("rollout", 1), ("record", 10), ("checkpoint", 2)]),
        (BATCHED, [("evaluation", 6)]),
        (PER_KIND, [("checkpoint", 2)]),
    ],
    ids=["shared", "batched", "per_kind"],
)
def test_a_killed_run_ends_as_one_that_was_not(tmp_path, case, deaths):
    changes, training, engine = case
    if engine == "batched":
        pytest.importorskip("numba")
    one = scenario(changes, **training)
    whole = train(one, tmp_path / "whole", seed=3, engine=engine)
    folder = tmp_path / "killed"
    for moment, number in deaths:
        assert run_of(folder, one, engine, moment, number) == -9, "it was to die"
        assert load_run(folder).status == "running"
    assert run_of(folder, one, engine) == 0
    assert content(folder) == content(tmp_path / "whole")
    assert len(whole.history) > 3 and len({row["score"] for row in whole.history}) > 3
    record = load_run(folder)
    assert len(record.resumptions) == len(deaths) and record.resumptions[-1].agent_steps > 0
    assert [path.name for path in folder.iterdir() if path.name.startswith(PART)] == []
