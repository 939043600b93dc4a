"""What the tests share: circuits and tasks read once, random set points, and new processes."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np

from dss_marl._assets import known_names
from dss_marl.engines.opendss import read_feeder
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.envs.task import build_task
from dss_marl.grid.feeder import AddedUnit

ROOT = Path(__file__).resolve().parents[1]
EVERY = known_names("scenarios")
# Seconds to build and a tenth of a second a step: test_large.py has what they are tested for.
LARGE = [name for name in EVERY if name.startswith(("ieee8500", "synthetic", "powergym_8500"))]
QUICK = [name for name in EVERY if name not in LARGE]
# On these run all tests that take a scenario: every kind of device, of agents and of actions. test_suite.py has QUICK.
SCENARIOS = [
    "case33_reconfiguration",
    "ieee123_hybrid",
    "ieee123_restoration",
    "ieee123_state_estimation",
    "ieee123_switching",
    "ieee13_legacy",
    "ieee13_volt_var",
    "ieee34_volt_var",
    "powergym_34",
]

# Units that tests add to a feeder, so that every kind of injection is there: (bus, kW, phases).
UNITS = {
    "ieee13": [("675", 400, ()), ("611", 60, (3,)), ("634", 90, ())],
    "ieee34": [("890", 150, ()), ("848", 200, ()), ("822", 50, (1,)), ("810", 40, (2,))],
    "ieee123": [("83", 200, ()), ("151", 150, ()), ("114", 40, (1,)), ("65", 90, ())],
    "case33": [("18", 300, ()), ("25", 400, ())],
}


@cache
def feeder_with_units(name):
    """A shipped feeder with a few units added, and loads that keep their model as in the scenarios.

    In ieee37 some loads jump where they turn into impedances, so that a power flow can have two solutions.
    """
    units = [AddedUnit(f"unit{i}", bus, kw, phases) for i, (bus, kw, phases) in enumerate(UNITS.get(name, []))]
    return read_feeder(name, ["batchedit load..* vminpu=0.8 vmaxpu=1.2"], units)


@cache
def task_of(name):
    """The scenario of ``scenario_of``, built; a Task is frozen, so tests share it."""
    return build_task(scenario_of(name))


def scenario_of(name):
    """A shipped scenario, or one of tests/data."""
    own = ROOT / "tests" / "data" / f"{name}.yaml"
    return load_scenario(own if own.is_file() else name)


@cache
def _changed(name, changes):
    return build_task(load_scenario(name).replace(**dict(changes)))


def load_cached(name, **changes):
    """A shipped scenario with plain changes, built once."""
    return _changed(name, tuple(sorted(changes.items())))


def random_setpoints(feeder, rng, capacitors=True):
    """Plausible set points: loads at 30 to 110 %, units anywhere in their circle, taps within 6 steps of neutral."""
    setpoints = feeder.setpoints()
    loads = np.isin(np.arange(len(feeder.injections)), feeder.loads)
    scale = rng.uniform(0.3, 1.1, loads.size)
    setpoints.kw = np.where(loads, feeder.nominal_kw * scale, feeder.nominal_kw * rng.uniform(0, 1, loads.size))
    setpoints.kvar = np.where(
        loads, feeder.nominal_kvar * scale * rng.uniform(0.7, 1.3, loads.size),
        feeder.nominal_kw * rng.uniform(-0.6, 0.6, loads.size),
    )  # fmt: skip
    setpoints.tap = rng.integers(-2, 7, len(feeder.taps))
    if capacitors:
        banks = np.array([row.kind == "capacitor" for row in feeder.switches], bool)
        setpoints.closed = np.where(banks, rng.random(banks.size) < 0.5, setpoints.closed)
    return setpoints


def in_new_process(expression, module):
    """What ``module.expression`` prints in a new Python with another hash seed."""
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    folders = [ROOT, ROOT / "tests", *sorted(path for path in (ROOT / "tests").iterdir() if path.is_dir())]
    paths = os.pathsep.join(map(str, folders))
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}; print({module}.{expression})"],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]
