"""Open points: the moves that they may make, against networkx; what is refused; and the trees of the 33-bus feeder."""

from functools import cache

import networkx as nx
import numpy as np
import pytest

import dss_marl
from dss_marl import OpenDSSEngine, read_feeder
from dss_marl.controllers.planning.reconfiguration.lindistflow_screening import LinDistFlowScreening
from dss_marl.controllers.search.spanning_trees import all_trees, ring_table
from dss_marl.devices import device_kind
from dss_marl.envs.task import build_task
from dss_marl.grid.state import Interval

LINES = {"case33": tuple(f"l{k}" for k in range(2, 33)), "ieee123": ("l13", "l45", "l67", "l101")}
TIES = {"case33": [], "ieee123": [{"name": "t48", "bus1": 48, "bus2": 25}, {"name": "t54", "bus1": 54, "bus2": 93}]}
NAMES = {"case33": "all", "ieee123": ["sw2", "sw3", "sw4", "sw5", "sw7"]}


@cache
def built(feeder="case33"):
    kind = device_kind("open_point")
    said = {"kind": "open_point", "lines": LINES[feeder], "ties": TIES[feeder], "names": NAMES[feeder]}
    specs = [kind.Spec.model_validate(said)]
    read = read_feeder(feeder, switches=kind.added_switches(specs))
    return kind.build(specs, read), read


def at(step=0):
    return Interval(step, 0.0, 1.0, None)


def is_radial_and_whole(feeder, closed):
    """On the buses: a forest, parallel one-phase regulators counted once; and every node is fed that was at first."""
    graph = nx.Graph()
    graph.add_nodes_from(bus.name for bus in feeder.buses)
    edges = {
        (branch.bus1, branch.bus2, branch.name if branch.switch >= 0 else "")
        for branch in feeder.branches
        if branch.switch < 0 or closed[branch.switch]
    }
    graph.add_edges_from(edge[:2] for edge in edges)
    return (
        len(edges) == graph.number_of_edges()
        and nx.is_forest(graph)
        and bool((feeder.energised(closed) == feeder.energised(feeder.setpoints().closed)).all())
    )


def wandered(group, feeder, rng, steps, requests=None):
    """Yield states of an episode in which every device asks for any place in each step."""
    device_state, points = group.initial(), feeder.setpoints()
    for step in range(steps):
        yield device_state, points
        goals = rng.integers(0, len(group.places), group.size) if requests is None else requests(device_state, points)
        device_state, _ = group.act(group.request(goals), device_state, points, at(step))


@pytest.mark.parametrize("name", ["case33", "ieee123"])
def test_whatever_is_asked_all_stays_fed_and_radial(name, rng):
    group, feeder = built(name)
    seen = set()
    for device_state, points in wandered(group, feeder, rng, 60):
        assert is_radial_and_whole(feeder, points.closed)
        here = group.here(device_state, points.closed)
        assert sorted(here) == np.flatnonzero(~points.closed[group.places]).tolist()
        seen.add(points.closed.tobytes())
    assert len(seen) > 20


@pytest.mark.parametrize("name", ["case33", "ieee123"])
def test_a_place_is_legal_exactly_where_the_exchange_leaves_a_fed_tree_and_then_it_is_done(name, rng):
    group, feeder = built(name)
    verdicts = []
    for device_state, points in wandered(group, feeder, rng, 6):
        levels = group.request(np.arange(len(group.places))[:, None] * np.ones(group.size, int))
        mask = group.feasible(levels, device_state, points, at())
        assert mask.shape == (len(group.places), group.size, 1)
        here = group.here(device_state, points.closed)
        for place in range(len(group.places)):
            for d in range(group.size):
                after = points.closed.copy()
                after[group.places[here[d]]], after[group.places[place]] = True, False
                fine = place == here[d] or (
                    bool(points.closed[group.places[place]]) and is_radial_and_whole(feeder, after)
                )
                assert mask[place, d, 0] == fine
                verdicts.append(fine)
                goals, done = here.copy(), points.copy()
                goals[d] = place
                _, limited = group.act(group.request(goals), device_state, done, at())
                assert limited.tolist() == [int(k == d and not fine) for k in range(group.size)]
                assert np.array_equal(done.closed, after if fine else points.closed)
    assert {True, False} == set(verdicts)


def test_present_and_neutral_say_where_they_are_and_home(rng):
    group, feeder = built()
    for device_state, points in wandered(group, feeder, rng, 8):
        before = points.closed.copy()
        kept, limited = group.act(group.hold_action(device_state, points, at()), device_state, points, at())
        assert np.array_equal(points.closed, before) and not limited.any()
        assert np.array_equal(group.here(kept, before), group.here(device_state, before))
        assert (group.telemetry(kept, points, at()).argmax(-1) == group.here(kept, before)).all()
    points = feeder.setpoints()
    group.act(group.default_action(), group.initial(), points, at())
    assert np.array_equal(points.closed, feeder.setpoints().closed)


def test_two_that_want_one_place_take_turns():
    """Lines 9 to 11 are on the rings of ties 33, 34 and 35, so two devices may ask for one of them."""
    group, feeder = built()
    goals = group.home.copy()
    place = group.place_names.index("l11")
    rivals = [d for d in range(group.size) if group.feasible(
        group.request(np.where(np.arange(group.size) == d, place, group.home)), group.initial(), feeder.setpoints(),
        at())[d, 0]]  # fmt: skip
    assert len(rivals) >= 2
    goals[rivals] = place
    winners = set()
    for step in range(group.size):
        points = feeder.setpoints()
        kept, limited = group.act(group.request(goals), group.initial(), points, at(step))
        assert limited.sum() == len(rivals) - 1
        winners.add(int(np.flatnonzero(kept[:, 0] == place)[0]))
    assert winners == set(rivals)


def test_a_batch_acts_as_its_rows_do(rng):
    group, feeder = built()
    rows = [(m.copy(), p.copy()) for m, p in wandered(group, feeder, rng, 4)]
    batch = feeder.setpoints()
    batch.closed = np.stack([points.closed for _, points in rows])
    device_state = np.stack([m for m, _ in rows])
    action = group.request(rng.integers(0, len(group.places), (4, group.size)))
    feasible, present = (
        group.feasible(action, device_state, batch, at(2)),
        group.hold_action(device_state, batch, at(2)),
    )
    kept, limited = group.act(action, device_state, batch, at(2))
    for k, (own, points) in enumerate(rows):
        assert np.array_equal(feasible[k], group.feasible(action[k], own, points, at(2)))
        assert np.array_equal(present[k], group.hold_action(own, points, at(2)))
        one_kept, one_limited = group.act(action[k], own, points, at(2))
        assert np.array_equal(kept[k], one_kept) and np.array_equal(limited[k], one_limited)
        assert np.array_equal(batch.closed[k], points.closed)


def test_with_fewer_open_places_than_devices_some_have_none():
    """Row by row: all at home; the first two at the first places; one open place less, and one more elsewhere."""
    group, feeder = built()
    home = [group.place_names[k] for k in group.home]
    assert home == ["l33", "l34", "l35", "l36", "l37"]
    first, second, l7 = 0, 1, group.place_names.index("l7")
    state = np.tile(group.home.astype(float), (4, 1))[..., None]
    state[1, :2, 0] = first, second
    closed = np.ones((4, len(feeder.switches)), bool)
    for row, places in enumerate([group.home, [first, second, *group.home[2:]], group.home[1:], [l7, *group.home[1:]]]):
        closed[row, group.places[list(places)]] = False
    here = group.here(state, closed)
    assert here.tolist() == [
        group.home.tolist(), [first, second, *group.home[2:]], [-1, *group.home[1:]], [l7, *group.home[1:]],
    ]  # fmt: skip
    for row in range(4):
        assert np.array_equal(group.here(state[row], closed[row]), here[row])
    moved = closed[1].copy()  # the second device's place was closed and another opened: the first stays where it is
    moved[group.places[[second, l7]]] = True, False
    assert group.here(state[1], moved).tolist() == [first, l7, *group.home[2:]]


def test_a_device_without_an_open_place_stays_and_everything_else_is_refused():
    group, feeder = built()
    points = feeder.setpoints()
    points.closed[group.places[group.home[0]]] = True
    telemetry = group.telemetry(group.initial(), points, at())
    assert telemetry.sum(axis=-1).tolist() == [0, 1, 1, 1, 1]
    before = points.closed.copy()
    for goal, refused in ((group.home[0], 0), (0, 1)):
        asked = group.hold_action(group.initial(), points, at())
        asked[0] = group.request(np.array([goal]))[0]
        assert group.feasible(asked, group.initial(), points, at())[0, 0] == (not refused)
        kept, limited = group.act(asked, group.initial(), points, at())
        assert limited.tolist() == [refused, 0, 0, 0, 0]
        assert np.array_equal(points.closed, before) and np.array_equal(kept, group.initial())


def test_what_cannot_be_is_explained():
    kind = device_kind("open_point")
    with pytest.raises(ValueError, match="no open switch that closes a ring"):
        kind.build([kind.Spec(kind="open_point")], read_feeder("ieee34"))
    group = kind.build([kind.Spec(kind="open_point")], read_feeder("ieee123"))
    assert "sw1" not in group.place_names and "sw7" in group.place_names
    with pytest.raises(ValueError, match=r"line\.sw1 .* is on no ring"):
        kind.build([kind.Spec(kind="open_point", names=("sw1", "sw7"))], read_feeder("ieee123"))
    scenario = dss_marl.load_scenario("case33_reconfiguration")
    with pytest.raises(ValueError, match="start at the circuit's own open switches"):
        build_task(scenario.replace(feeder={"closed": {"l33": True, "l7": False}}))


# --- the published configuration --------------------------------------------------------------------------------------


@cache
def trees_of_case33():
    group, feeder = built()
    return all_trees(ring_table(group, feeder.setpoints().closed))


@cache
def engine():
    return OpenDSSEngine(built()[1], tolerance=1e-8)


def losses_kw(open_lines):
    """At nominal load, and the lowest voltage."""
    group, feeder = built()
    points = feeder.setpoints()
    points.closed[group.places] = [name not in open_lines for name in group.place_names]
    solution = engine().solve(points)
    return float(solution.loss_kw), float(solution.v_pu.min())


def test_there_are_as_many_trees_as_kirchhoff_says(rng):
    group, feeder = built()
    graph = nx.Graph((branch.bus1, branch.bus2) for branch in feeder.branches)
    laplacian = nx.laplacian_matrix(graph).toarray()[1:, 1:].astype(float)
    trees = trees_of_case33()
    assert len(trees) == round(np.linalg.det(laplacian)) == 50_751
    assert len(np.unique(trees, axis=0)) == len(trees)
    for tree in rng.choice(trees, 20):
        closed = np.ones(len(feeder.switches), bool)
        closed[group.places[tree]] = False
        assert is_radial_and_whole(feeder, closed)


def test_the_published_configuration_is_the_best_of_all_50751():
    """The lossless flows' losses are a bound: flows leave out the losses downstream, and voltages are below 1 pu.

    Configuration and losses: Baran and Wu's feeder as solved since by many, 202.68 kW and 139.55 kW.
    """
    assert losses_kw(["l33", "l34", "l35", "l36", "l37"])[0] == pytest.approx(202.677, abs=2e-3)
    best_kw, lowest = losses_kw(["l7", "l9", "l14", "l32", "l37"])
    assert best_kw == pytest.approx(139.551, abs=2e-3) and lowest == pytest.approx(0.93782, abs=1e-4)
    group, _ = built()
    task = build_task(dss_marl.load_scenario("case33_reconfiguration").replace(
        feeder={"source_pu": 1.0}, rewards={"loss": 1.0}, devices=[{"kind": "open_point", "lines": LINES["case33"]}]
    ))  # fmt: skip
    trees = trees_of_case33()
    bounds = -1000 * LinDistFlowScreening(task, task.device_groups[0], trees).scores(task.sample)
    could_be = trees[bounds < best_kw]
    assert 10 < len(could_be) < 1000
    others = [losses_kw([group.place_names[k] for k in tree])[0] for tree in could_be]
    assert min(others) == pytest.approx(best_kw, abs=1e-3)
    assert (np.array(others) >= bounds[bounds < best_kw]).all()


# --- panels -----------------------------------------------------------------------------------------------------------


def test_panels_feed_all_their_sun_and_are_nobodys_device():
    env = dss_marl.ZoneEnv(dss_marl.load_scenario("case33_reconfiguration"))
    env.reset(options={"day": 175})
    task = env.task
    units = [j for j, row in enumerate(task.feeder.injections) if row.kind == "inverter"]
    assert len(units) == 3 and [type(group).__name__ for group in task.device_groups] == ["OpenPoints"]
    for _ in range(13):
        env.step(task.encoding.encode(task.default_action))
    after = env.after
    assert after.setpoints.kw[units].min() > 500
    assert np.array_equal(after.setpoints.kw[units], after.forecast[0, units])
    assert not after.setpoints.kvar[units].any()
    with pytest.raises(ValueError, match="no controllable device"):
        build_task(task.scenario.replace(devices=[{"kind": "pv", "bus": 18, "kw": 100}]))
