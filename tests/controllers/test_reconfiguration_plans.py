"""Days of open points: what a configuration earns, and that no other sequence of configurations earns more."""

from functools import cache

import numpy as np
import pytest

import dss_marl
from dss_marl.controllers import reference
from dss_marl.controllers.planning.reconfiguration import plan as reconfiguration
from dss_marl.controllers.planning.solve import play_plan, solve_day
from dss_marl.controllers.search.radial_configurations import RadialConfigurations
from dss_marl.controllers.search.spanning_trees import all_trees, ring_table
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.engines.opendss import OpenDSSEngine
from dss_marl.envs.simulator import Simulator
from dss_marl.envs.task import build_task
from dss_marl.experiments import evaluate

SUMMER = 130
LINES = ["l6", "l7", "l8", "l9", "l10", "l11", "l14", "l28"]


def small(**changes):
    """Three hours of the 33-bus feeder, whose open points may be at eight lines and the ties."""
    base = dss_marl.load_scenario("case33_reconfiguration")
    devices = [{"kind": "open_point", "lines": LINES}, *base.devices[1:]]
    return base.replace(**{"devices": devices, "steps": 3, "dt_h": 2.0, "start_hour": 10, **changes})


@cache
def begun():
    task = build_task(small())
    trials = TrialSolver(Simulator(task, OpenDSSEngine(task.feeder, tolerance=1e-7)))
    first = trials.simulator.begin(SUMMER, task.start)
    states = [
        trials.simulator.observe(t, task.start, first.device_state, task.default_action.copy(), None) for t in range(3)
    ]
    search = RadialConfigurations(trials)
    return task, states, search, all_trees(ring_table(search.group, task.start.closed))


def test_no_sequence_earns_more_than_the_path():
    task, states, search, trees = begun()
    worth = np.array([[search.reward(state, tree) for tree in trees] for state in states])
    price = task.scenario.rewards["switch_moves"]
    open_at = np.zeros((len(trees), len(search.group.places)))
    np.put_along_axis(open_at, trees, 1, axis=1)
    between = price * np.abs(open_at[:, None] - open_at[None]).sum(-1)
    home = int(np.flatnonzero((trees == np.sort(search.group.home)).all(-1))[0])
    best = (worth[0] - between[home])[:, None, None] + (worth[1] - between)[:, :, None]
    best = (best.max(0) + worth[2][None] - between).max()
    requests, earned = solve_day(task, SUMMER)
    assert requests.shape == (3, 5)
    assert earned == pytest.approx(best, abs=1e-4)  # play_plan to a looser tolerance


def test_screening_finds_the_same_path(monkeypatch):
    task = begun()[0]
    _, exact = solve_day(task, SUMMER)
    monkeypatch.setattr(reconfiguration, "_SOLVES", 0)
    monkeypatch.setattr(reconfiguration, "_BEST", 3)
    assert solve_day(task, SUMMER)[1] == pytest.approx(exact, abs=1e-4)


def test_every_configuration_is_reached_in_one_interval_by_moves_that_masks_allow(rng):
    task, _, search, trees = begun()
    group, env = search.group, dss_marl.ZoneEnv(task)
    pairs = rng.integers(0, len(trees), (12, 2))
    for one, two in pairs:
        observations, _ = env.reset(options={"day": SUMMER})
        here = group.home
        for goal in (trees[one], trees[two]):
            here = search.move_targets(here, goal)
            actions = env.task.encoding.encode(search.requests(task.default_action, here))
            for agent, place in actions.items():
                assert observations[agent]["action_mask"][place]
            observations, _, _, _, infos = env.step(actions)
            assert np.array_equal(env.now.setpoints.closed, search.closed(goal))
            assert not any(info["refused"] or info["illegal"] for info in infos.values())


def test_prices_and_neighbours():
    task, states, search, trees = begun()
    assert np.allclose(search.prices(states[0]), task.scenario.rewards["switch_moves"])
    known = {tuple(tree) for tree in trees.tolist()}
    home = np.sort(search.group.home)
    around = {tuple(one.tolist()) for one in search.neighbours(home)}
    assert around == {one for one in known if len(set(one) - set(home.tolist())) == 1}


def test_branch_exchange_lies_between_doing_nothing_and_the_best():
    scenario = small()
    done = {
        name: evaluate(reference(name, scenario), scenario, [SUMMER])[0] for name in ("no_control", "branch_exchange")
    }
    best = play_plan(begun()[0], SUMMER, solve_day(begun()[0], SUMMER)[0])
    assert (
        done["no_control"]["team_return"] < done["branch_exchange"]["team_return"] <= best + 2e-4
    )  # the solver stops at 1e-5
    assert done["branch_exchange"]["switch_moves"] >= 2
    dear = small(rewards={"loss": 4, "switch_moves": 100})
    assert evaluate(reference("branch_exchange", dear), dear, [SUMMER])[0]["switch_moves"] == 0
    with pytest.raises(ValueError, match="branch_exchange moves open points"):
        evaluate(reference("branch_exchange", scenario), dss_marl.load_scenario("ieee13_volt_var"), [SUMMER])


def test_what_is_not_planned_is_said():
    battery = {"kind": "battery", "bus": 18, "kw": 100, "kwh": 400}
    for changes, problem in (
        ({"devices": [*small().devices, battery]}, "Batteries in addition to open points"),
        ({"reward_sharing": "zone"}, "reward_sharing 'zone'"),
        ({"faults": ["l12"]}, "attacks or faults"),
    ):
        assert problem in reconfiguration.unsupported_reason(build_task(small(**changes)))
