"""Controls of many copies at once, tap by tap against OpenDSS's own."""

import os

import numpy as np
import pytest
from common import feeder_with_units
from control_cases import (
    CASES,
    FOUR,
    NEAR,
    ONE,
    TIGHT,
    WINDINGS,
    Copies,
    K,
    R,
    circuit,
    random_points,
    settings_of,
    stack,
    text_of,
)

import dss_marl
from dss_marl import OpenDSSEngine, read_feeder
from dss_marl.controllers.registry import reference
from dss_marl.engines.base import PowerFlowError
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.experiments.evaluation import environment_for, run_day

HALF = (
    "new line.h bus1=b bus2=q r1=0.3 x1=0.5 c1=9\n"
    + K.replace("line.a", "line.h")
    + "type=kvar\nset voltagebases=[12.47]\ncalcvoltagebases\nopen line.h 2"
)
COUNT = int(os.environ.get("DSS_MARL_RANDOM_CONTROLS", "12"))
DAYS = (
    "ieee13_volt_var",
    "ieee34_legacy",
    "ieee34_volt_var",
    "ieee123_hybrid",
    "ieee123_switching",
    pytest.param("ieee8500_legacy", marks=pytest.mark.slow),
)


def read(text, folder):
    path = folder / "controlled.dss"
    path.write_text(text)
    return read_feeder(path)


def truth_of(engine, points):
    """Taps and states as OpenDSS settles them; None where it fails."""
    try:
        solution = engine.solve(points, controls=True)
    except PowerFlowError:
        return None
    return solution.tap, solution.closed


def doubtful(settled, b, truth):
    """Whether copy b is where OpenDSS is, or else came as near another decision as the solvers differ."""
    if truth is None:
        assert settled.failed[b] or settled.margin[b] < NEAR
        return bool(not settled.failed[b])
    same = np.array_equal(settled.tap[b], truth[0]) and np.array_equal(settled.closed[b], truth[1])
    if same and not settled.failed[b]:
        return False
    assert settled.margin[b] < NEAR, f"copy {b}: taps {settled.tap[b]}, {settled.closed[b]}; in OpenDSS {truth}"
    return True


def compare_anew(feeder, seed, count):
    """Solve random set points at once, and each in a new engine of OpenDSS; the number of those that moved."""
    copies, points = Copies(feeder), list(random_points(feeder, seed, count))
    settled = copies.settle(stack(points))
    doubts = 0
    for b, one in enumerate(points):
        engine = OpenDSSEngine(feeder, tolerance=TIGHT)
        doubts += doubtful(settled, b, truth_of(engine, one))
        engine.close()
    copies.close()
    assert doubts <= 1
    return int((settled.solves > 1).sum())


class Judge(OpenDSSEngine):
    """Counts its attempts: where a warm start fails, a second one closes the terminals of all banks."""

    attempts = 0

    def _attempt(self, setpoints, controls):
        self.attempts += 1
        return super()._attempt(setpoints, controls)


def compare_in_turn(feeder, seed, count):
    """Solve set points one after the other, most from where the one before came to rest."""
    copies, engine, rng = Copies(feeder), Judge(feeder, tolerance=TIGHT), np.random.default_rng(seed)
    before, memory, doubts = None, None, 0
    for points in random_points(feeder, seed + 1000, count):
        if before is not None and rng.random() < 0.7:
            points.tap, points.closed = before
        memory = copies.controls.remember(points.closed[None]) if memory is None else memory
        settled = copies.settle(stack([points]), memory)
        engine.attempts = 0
        truth = truth_of(engine, points)
        again = truth is not None and engine.attempts > 1
        doubt = not again and doubtful(settled, 0, truth)
        doubts += doubt
        if truth is None or again or doubt:  # what OpenDSS remembers then is another story
            engine.close()
            engine, memory = Judge(feeder, tolerance=TIGHT), None
            continue
        before = truth
    copies.close()
    engine.close()
    assert doubts <= 1


@pytest.mark.parametrize("case", [*CASES, *WINDINGS])
def test_each_property_acts_as_in_opendss(case, tmp_path):
    feeder = read(text_of(case), tmp_path)
    moved = compare_anew(feeder, 1, 10)
    assert moved > 1 or case == "never"
    compare_in_turn(feeder, 2, 8)


@pytest.mark.parametrize("seed", range(COUNT))
def test_random_settings_act_as_in_opendss(seed, tmp_path):
    """A few in every run; ``DSS_MARL_RANDOM_CONTROLS=200`` tries so many."""
    try:
        feeder = read(settings_of(seed), tmp_path)
        Copies(feeder).close()
    except ValueError as error:
        assert "no second node" in str(error)
        return
    compare_anew(feeder, seed, 8)
    compare_in_turn(feeder, seed, 8)


# --- shipped feeders ---


@pytest.mark.parametrize("name", ["ieee13", "ieee34", "ieee37", "ieee123"])
def test_shipped_feeders_from_any_taps(name):
    feeder = feeder_with_units(name)
    assert compare_anew(feeder, 3, 16) > 8
    compare_in_turn(feeder, 4, 12)


@pytest.mark.slow
def test_a_large_feeder_from_any_taps_and_states():
    feeder = read_feeder("ieee8500")
    assert compare_anew(feeder, 3, 4) > 2
    compare_in_turn(feeder, 4, 5)


def test_parts_without_supply_and_open_lines():
    """Regulators on them see no voltage and run to their limit."""
    feeder = feeder_with_units("ieee123")
    copies, points, rng = Copies(feeder), list(random_points(feeder, 11, 10)), np.random.default_rng(5)
    lines = np.array([row.kind == "switch" for row in feeder.switches], bool)
    for one in points:
        one.closed = np.where(lines, rng.random(lines.size) < 0.6, one.closed)
    settled = copies.settle(stack(points))
    assert (settled.tap == 16).any()
    for b, one in enumerate(points):
        engine = OpenDSSEngine(feeder, tolerance=TIGHT)
        assert not doubtful(settled, b, truth_of(engine, one))
        engine.close()
    copies.close()


class Recorder(OpenDSSEngine):
    """Writes down what it is asked and answers; None where it is restarted."""

    def __init__(self, feeder):
        self.calls = []
        super().__init__(feeder, tolerance=TIGHT)

    def solve(self, setpoints, controls=False):
        solution = super().solve(setpoints, controls)
        self.calls.append((setpoints.copy(), controls, (solution.tap.copy(), solution.closed.copy())))
        return solution

    def restart(self):
        self.calls.append(None)
        super().restart()


def day_of(name):
    """A day under the circuit's own controls: the feeder, and what the engine was asked."""
    scenario = dss_marl.load_scenario(name)
    controller = reference("opendss_controls", scenario)
    task = environment_for(controller, scenario, "test").task
    recorder = Recorder(task.feeder)
    env = ZoneEnv(task, "test", engine=recorder)
    run_day(env, controller, env.days[0])
    env.close()
    return task.feeder, recorder.calls


@pytest.mark.parametrize("name", DAYS)
def test_whole_days_of_scenarios_tap_by_tap(name):
    """With what OpenDSS remembers of the banks from one interval to the next."""
    feeder, calls = day_of(name)
    copies, memory, solves, moves = Copies(feeder), None, 0, 0
    for call in calls:
        if call is None:
            memory = None
            continue
        points, controls, truth = call
        memory = copies.controls.remember(points.closed[None]) if memory is None else memory
        if not controls:
            copies.controls.observe(memory, points.closed[None])
            continue
        settled = copies.settle(stack([points]), memory)
        assert not doubtful(settled, 0, truth)
        solves, moves = solves + 1, moves + int(settled.solves[0]) - 1
    copies.close()
    assert solves >= 16 and moves > 5


# --- many copies ---


@pytest.mark.parametrize("case", ["two banks and a regulator", "turns", "two on one bank", "steps with override"])
def test_copies_do_not_see_each_other(case, tmp_path):
    """A copy among others ends as alone, and those that are not wanted stay."""
    copies = Copies(read(text_of(case), tmp_path))
    points = list(random_points(copies.feeder, 7, 12))
    wanted = np.arange(12) % 4 != 1
    together = copies.settle(stack(points), wanted=wanted)
    assert len({*together.solves.tolist()}) > 2
    for b, one in enumerate(points):
        if wanted[b]:
            alone = copies.settle(stack([one]))
            assert np.array_equal(alone.tap[0], together.tap[b]) and np.array_equal(alone.closed[0], together.closed[b])
            assert alone.solves[0] == together.solves[b]
        else:
            assert np.array_equal(one.tap, together.tap[b]) and np.array_equal(one.closed, together.closed[b])
            assert together.solves[b] == 0 and not together.failed[b]
    copies.close()


def test_only_copies_that_move_are_solved_again(tmp_path):
    copies = Copies(read(circuit(R), tmp_path))
    settled = copies.settle(stack(list(random_points(copies.feeder, 8, 10))))
    counts = np.sum(copies.asked, axis=0)
    assert np.array_equal(counts, settled.solves)
    assert all((later <= earlier).all() for earlier, later in zip(copies.asked, copies.asked[1:], strict=False))
    copies.close()


def test_a_copy_without_solution_fails_and_the_others_go_on(tmp_path):
    copies = Copies(read(circuit(R), tmp_path))
    points = list(random_points(copies.feeder, 9, 4))
    points[2].kw = np.full_like(points[2].kw, np.nan)
    settled = copies.settle(stack(points))
    assert settled.failed.tolist() == [False, False, True, False]
    assert not settled.unsettled.any()
    copies.close()


def test_controls_that_find_no_rest_are_told_apart(tmp_path):
    """Two controls of one winding whose bands do not meet."""
    feeder = read(circuit(R + "\nnew regcontrol.other transformer=t winding=2 vreg=125 band=2 ptratio=60"), tmp_path)
    copies, points = Copies(feeder), feeder.setpoints()
    settled = copies.settle(stack([points]))
    assert settled.failed.all() and settled.unsettled.all() and settled.solves[0] == 100
    with pytest.raises(PowerFlowError, match="Max Control Iterations"):
        OpenDSSEngine(feeder).solve(points, controls=True)
    copies.close()


def test_what_is_remembered_can_be_forgotten(tmp_path):
    copies = Copies(read(circuit(ONE + K + "type=kvar onsetting=700 offsetting=-100"), tmp_path))
    points = copies.feeder.setpoints()
    points.kvar = -points.kvar  # capacitive, so the bank opens
    memory = copies.controls.remember(np.ones((2, 1), bool))
    settled = copies.settle(stack([points, points]), memory)
    assert not settled.closed.any() and memory.terminal_open.all() and memory.opened.all()
    copies.controls.observe(memory, np.array([[True], [True]]), which=np.array([True, False]))
    assert memory.terminal_open[:, 0].tolist() == [False, True] and memory.last[:, 0].tolist() == [1, 0]
    copies.controls.forget(memory, settled.closed)
    assert not memory.terminal_open.any() and not memory.opened.any() and not memory.last.any()
    copies.close()


# --- what cannot be modelled ---


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        (ONE + K + "type=follow", r"capcontrol.k: type=Follow cannot"),
        (ONE + K.replace("line.a", "load.q") + "type=kvar", r"capcontrol.k: element=load.q is no line"),
        (FOUR + K.replace("line.a", "capacitor.s") + "type=current", r"capcontrol.k: element=capacitor.s is no line"),
        (R + "bus=q.2 ptphase=2", r"regcontrol.r: ptphase=2 is beyond"),
        (ONE + HALF, r"capcontrol.k: element=Line.h opens at one"),
        ("edit transformer.t wdg=2 maxtap=1.092\n" + R, r"regcontrol.r: transformer.t may have a ratio of"),
    ],
)
def test_what_cannot_be_modelled_is_refused_by_name(controls, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        Copies(read(circuit(controls), tmp_path))
