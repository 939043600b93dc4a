"""Reading, solving and restarting small random circuits, against plain OpenDSS by text commands.

A few in every run; ``DSS_MARL_RANDOM_CIRCUITS=2000`` tries so many.
"""

import contextlib
import os

import numpy as np
import pytest
from opendssdirect import dss
from random_circuits import RandomCircuit

from dss_marl import OpenDSSEngine, read_feeder
from dss_marl.engines.base import PowerFlowError
from dss_marl.engines.opendss.script import quoted

COUNT = int(os.environ.get("DSS_MARL_RANDOM_CIRCUITS", "40"))
# Behind a delta winding, loads of constant power from phase to ground let the star point float to one of two places: a
# warm start would stay where it is.
TWO_SOLUTIONS = (661, 799)
LEFT_OUT = ("export", "set loadmodel", "set algorithm", "set normv", "set em")
_context = []


def compiled(path, commands=()):
    """A context of plain OpenDSS with the file; what the file solves through time is left out of it."""
    if not _context:
        dss.Basic.AllowChangeDir(False)
        _context.append(dss.NewContext())
    made = _context[0]
    lines = path.read_text().splitlines()
    if "set mode=daily number=24" in lines:  # then all solves that follow run through time
        at = lines.index("set mode=daily number=24")
        lines = lines[: at + 1] + [line for line in lines[at + 1 :] if line != "solve"]
    if "set mode=yearly" in lines:
        at = lines.index("set mode=yearly")
        lines = lines[:at] + [line for line in lines[at + 1 :] if line != "solve"]
    for line in ["clear", "set defaultbasefrequency=60", *lines, *commands]:
        if not line.startswith(LEFT_OUT):
            with contextlib.suppress(Exception) if line == "solve" else contextlib.nullcontext():
                made.Text.Command(line)
    return made


def snapshot(made):
    made.Text.Command("set mode=snapshot controlmode=off tolerance=1e-10 maxiterations=500 miniterations=2")
    made.Text.Command("set maxcontroliter=100")
    made.Solution.Solve()
    return made.Solution.Converged()


def voltages(made, feeder):
    flat = np.array(made.Circuit.AllBusVolts())
    names = [name.lower() for name in made.Circuit.AllNodeNames()]
    volts = dict(zip(names, flat[::2] + 1j * flat[1::2], strict=True))
    ends = zip(feeder.nodes, feeder.neutrals, strict=True)
    to_neutral = [volts.get(node, 0j) - volts.get(neutral, 0j) for node, neutral in ends]  # some are behind open lines
    return np.abs(to_neutral) / feeder.kv_base / 1000


def text_of(feeder, setpoints):
    """Commands that write set points, the slow and obvious way."""
    commands = ["set loadmult=1 year=0"]
    for row, kw, kvar in zip(feeder.injections, -setpoints.kw, -setpoints.kvar, strict=True):
        commands.append(f"edit {quoted(row.name)} kw={float(kw)!r} kvar={float(kvar)!r}")
    for row, position in zip(feeder.taps, setpoints.tap, strict=True):
        ratio = 1 + int(position) * row.step_pu + row.offset_pu
        commands.append(f"edit {quoted(row.element)} wdg={row.winding} tap={float(ratio)!r}")
    steps = {}
    for row, closed in zip(feeder.switches, setpoints.closed, strict=True):
        if row.kind == "capacitor":
            steps.setdefault(row.element, []).append(str(int(closed)))
        elif not closed:
            commands.append(f"edit {quoted(row.element)} enabled=no")
    return commands + [f"edit {quoted(element)} states=[{' '.join(on)}]" for element, on in steps.items()]


def varied(feeder, rng):
    setpoints = feeder.setpoints()
    scale = rng.uniform(0.5, 1.1, len(feeder.injections))
    setpoints.kw, setpoints.kvar = setpoints.kw * scale, setpoints.kvar * scale
    moves = rng.integers(-3, 4, len(feeder.taps))
    setpoints.tap = np.clip(
        setpoints.tap + moves, [t.minimum for t in feeder.taps], [t.maximum for t in feeder.taps]
    ).astype(np.int64)
    banks = np.array([row.kind == "capacitor" for row in feeder.switches], bool)
    setpoints.closed = np.where(banks, rng.random(banks.size) < 0.5, rng.random(banks.size) < 0.8)
    return setpoints


def check_solution(engine, setpoints, made, feeder):
    """Voltages and power of the source as in plain OpenDSS; a failure only where that has odd voltages itself."""
    converged = snapshot(made)
    v = voltages(made, feeder)
    alive = feeder.energised(setpoints.closed)
    # Beyond their limits loads of model 6 and 7 are not those that stand for them, as is noted.
    limits = (0.72, 1.28) if any("model 6 and 7" in note for note in feeder.notes) else (0.41, 1.59)
    usable = bool(converged and limits[0] < v[alive].min() and v[alive].max() < limits[1])
    try:
        solution = engine.solve(setpoints)
    except PowerFlowError:
        assert not usable, "fails where OpenDSS solves"
        return None
    if usable:
        dead = [row for row in feeder.injections if not alive[list(row.nodes)].all()]
        if dead:  # a load that floats on a dead phase is off in the engine
            return solution
        assert np.abs(solution.v_pu - v)[alive].max() < 1e-5
        assert solution.source_kw == pytest.approx(-made.Circuit.TotalPower()[0], abs=0.02)
        assert solution.source_kvar == pytest.approx(-made.Circuit.TotalPower()[1], abs=0.02)
    return solution


def numbers(solution):
    named = (solution.v_pu, solution.tap, solution.closed, solution.served_kw, solution.loading)
    return np.concatenate([*map(np.ravel, named), [solution.loss_kw, solution.source_kw]])


@pytest.mark.parametrize("seed", sorted({*range(COUNT), *TWO_SOLUTIONS}))
def test_a_random_circuit_is_read_solved_and_restarted(seed, tmp_path):
    rng = np.random.default_rng([seed, 11])
    path = tmp_path / "random.dss"
    path.write_text(RandomCircuit(rng).text())
    try:
        feeder = read_feeder(path)
    except ValueError as error:  # one-phase transformers behind a delta winding, for which OpenDSS answers zero
        assert "singular" in str(error)
        made = compiled(path)
        snapshot(made)
        assert made.YMatrix.SolveSystem() == 2
        return
    engine = OpenDSSEngine(feeder, tolerance=1e-9, max_iterations=500)
    first = check_solution(engine, feeder.setpoints(), compiled(path), feeder)
    for _ in range(2):
        setpoints = varied(feeder, rng)
        check_solution(engine, setpoints, compiled(path, text_of(feeder, setpoints)), feeder)
    if first is not None:
        with contextlib.suppress(PowerFlowError):
            engine.solve(setpoints, controls=True)
        engine.restart()
        assert np.array_equal(numbers(engine.solve(feeder.setpoints())), numbers(first))
    engine.close()
    assert list(tmp_path.iterdir()) == [path]
