"""Restoration: priorities, cold load, other feeders' ties, load shedders, and regulators that are fed from behind."""

import math

import networkx as nx
import numpy as np
import pytest
from common import load_cached, task_of

from dss_marl import OpenDSSEngine, ZoneEnv, load_scenario, read_feeder
from dss_marl.controllers import reference
from dss_marl.controllers.planning.restoration import plan as restoration
from dss_marl.controllers.planning.solve import play_plan
from dss_marl.devices import FeederTies, LoadShedders, Switches, device_kind
from dss_marl.envs.cold_load_pickup import ColdLoad, ColdLoadSpec
from dss_marl.envs.task import build_task
from dss_marl.experiments.evaluation import run_day
from dss_marl.experiments.metrics import EpisodeFigures
from dss_marl.grid.load_priorities import CLASSES, Priorities, PrioritySpec
from dss_marl.grid.regulator_direction import RegulatorDirection
from dss_marl.grid.state import Interval
from dss_marl.grid.topology import Topology
from dss_marl.mdp.rewards import REWARDS

NAME = "ieee123_restoration"


# --- priorities ------------------------------------------------------------------------------------------------------


def test_classes_have_their_shares_and_the_draw_repeats():
    feeder = read_feeder("ieee123")
    spec = PrioritySpec(seed=4, critical={"weight": 8, "share": 0.2, "loads": ["s48"]})
    one, two = Priorities.build(spec, feeder), Priorities.build(spec, feeder)
    assert np.array_equal(one.of, two.of)
    kw = -feeder.nominal_kw
    shares = [kw[one.of == c].sum() / kw.sum() for c in range(len(CLASSES))]
    assert shares == pytest.approx([0.2, 0.25, 0.55], abs=0.012)
    assert one.of[[row.name for row in feeder.injections].index("load.s48")] == 0
    assert set(one.weight) == {8.0, 3.0, 1.0}
    other = Priorities.build(PrioritySpec(seed=5), feeder)
    assert not np.array_equal(one.of, other.of)


def test_what_cannot_be_a_class_is_explained():
    with pytest.raises(ValueError, match="load 'nothere' does not exist"):
        Priorities.build(PrioritySpec(critical={"weight": 2, "loads": ["nothere"]}), read_feeder("ieee123"))
    with pytest.raises(ValueError, match="add up to more than 1"):
        load_scenario(NAME).replace(priorities={"critical": {"weight": 2, "share": 0.9}})
    with pytest.raises(ValueError, match="'s1' is named as critical and as important"):
        PrioritySpec(critical={"weight": 9, "loads": ["s1"]}, important={"weight": 3, "loads": ["S1"]})


def test_unserved_energy_counts_by_its_priority_and_the_figures_are_plain():
    task = task_of(NAME)
    env, figures = ZoneEnv(task), EpisodeFigures(task)
    env.reset(seed=0, options={"day": 20, "faults": ["l52"]})
    env.step(task.encoding.encode(task.default_action))
    figures.add(env.before, env.after, env.team_reward)
    kwh = np.where(env.after.solution.served_kw[task.feeder.loads] == 0, -env.after.forecast[0, task.feeder.loads], 0)
    kwh *= env.after.dt_h
    of = task.priorities.of[task.feeder.loads]
    by_class = [kwh[of == c].sum() for c in range(3)]
    assert min(by_class) > 0
    found = figures.result()
    assert [found[f"unserved_{name}_kwh"] for name in CLASSES] == pytest.approx(by_class)
    assert found["unserved_kwh"] == pytest.approx(kwh.sum())
    weighted = -1000 * REWARDS["unserved"](task.all_zones, env.before, env.after).sum()
    assert weighted == pytest.approx(np.dot(by_class, [10, 3, 1]))
    assert found["restored_share"] == 0
    env.close()


# --- cold load -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cold():
    feeder = read_feeder("ieee123")
    spec = ColdLoadSpec(factor=2.5, rise_h=1.0, hold_h=0.25, fall_h=0.5)
    return ColdLoad(spec, feeder, Topology.build(feeder))


def test_cold_load_rises_in_the_dark_holds_and_falls(cold):
    """1 - exp(-u / rise) of the diversity is lost, held for half of u at most 0.25 h, then times exp(-t / fall)."""
    count = len(cold.loads)
    dark, lit = np.zeros(count, bool), np.ones(count, bool)
    device_state = np.zeros(cold.size)
    for _ in range(4):
        device_state = cold.after(device_state, dark, 0.25)
    lost = 1 - math.exp(-1)
    assert cold.factors(device_state) == pytest.approx(1 + 1.5 * lost)
    device_state = cold.after(device_state, lit, 0.25)
    assert cold.factors(device_state) == pytest.approx(1 + 1.5 * lost), "held for 0.25 h"
    device_state = cold.after(device_state, lit, 0.25)
    assert cold.factors(device_state) == pytest.approx(1 + 1.5 * lost * math.exp(-0.5))
    again = cold.after(device_state, dark, 0.25)
    assert (cold.factors(again) > cold.factors(device_state)).all(), "interrupted again it goes on from there"
    for _ in range(60):
        device_state = cold.after(device_state, lit, 0.25)
    assert (cold.factors(device_state) == 1).all(), "to the bit, in the end"


@pytest.mark.parametrize("dt_h", [0.05, 0.25, 0.5])
def test_cold_load_does_not_depend_on_the_interval(cold, dt_h):
    device_state = np.zeros(cold.size)
    for supplied, hours in ((False, 1.0), (True, 1.0)):
        for _ in range(round(hours / dt_h)):
            device_state = cold.after(device_state, np.full(len(cold.loads), supplied), dt_h)
    expected = 1 + 1.5 * (1 - math.exp(-1)) * math.exp(-0.75 / 0.5)
    assert cold.factors(device_state) == pytest.approx(expected)


def test_what_comes_back_draws_more_and_what_stays_lit_does_not():
    task = task_of(NAME)
    env = ZoneEnv(task)
    env.reset(seed=0, options={"day": 20, "faults": ["l52"]})
    dark = ~env.now.solution.energised
    group = next(group for group in task.device_groups if isinstance(group, Switches))
    joint_action = task.default_action.copy()
    entries = task.agents.action_layout.by_group(joint_action)[task.device_groups.index(group)]  # a view
    entries[group.names.index("sw7"), 0] = 1.0
    env.step(task.encoding.encode(joint_action))
    after, loads = env.after, task.feeder.loads
    ratio = after.setpoints.kw[loads] / after.forecast[0, loads]
    was_dark = np.array([dark[list(task.feeder.injections[j].nodes)].any() for j in loads])
    lit = np.array([after.solution.energised[list(task.feeder.injections[j].nodes)].all() for j in loads])
    assert (was_dark & lit).sum() > 20
    assert ratio[was_dark & lit] == pytest.approx(1 + 1.5 * (1 - math.exp(-1)))
    assert (ratio[~was_dark] == 1).all() and (ratio[was_dark & ~lit] == 1).all()
    env.close()


# --- ties to other feeders -------------------------------------------------------------------------------------------


def built(kva=900.0):
    specs = [device_kind("feeder_tie").Spec(kind="feeder_tie", bus=bus, kva=kva) for bus in ("250", "450")]
    feeder = read_feeder("ieee123", injections=FeederTies.added_units(specs))
    return FeederTies.build(specs, feeder), feeder, {row.name.split(".")[1]: s for s, row in enumerate(feeder.switches)}


def at(step=0, faulted=None):
    return Interval(step, 0.0, 0.25, faulted)


def test_a_feeder_tie_feeds_what_is_dark_and_nothing_that_is_fed():
    group, feeder, row = built()
    setpoints = feeder.setpoints()
    close = np.array([[0.0], [1.0]])
    assert not group.feasible(close, group.initial(), setpoints, at())[1, 0], "the feeder is fed"
    _, limited = group.act(close, group.initial(), setpoints, at())
    assert limited.tolist() == [0, 1] and not setpoints.closed[group.grid_forming_units].any()
    setpoints.closed[row["sw4"]] = False  # what 450 lies in
    held = setpoints.copy()
    faulted = np.isin(feeder.node_bus, [feeder.bus_index["76"]])
    assert not group.feasible(close, group.initial(), setpoints, at(faulted=faulted))[1, 0]
    _, limited = group.act(close, group.initial(), setpoints, at())
    assert limited.tolist() == [0, 0] and setpoints.closed[group.grid_forming_units].tolist() == [False, True]
    topology = Topology.build(feeder)
    assert not topology.may_close(setpoints.closed)[row["sw4"]], "two feeders must not meet"
    engine = OpenDSSEngine(feeder)
    dark, lit = engine.solve(held), engine.solve(setpoints)
    assert lit.energised.sum() > dark.energised.sum() + 80
    given = lit.grid_forming_kw[group.places[1]].sum()
    assert given > 900 and lit.source_kw == pytest.approx(dark.source_kw, abs=1)
    assert lit.loss_kw == pytest.approx(lit.served_kw.sum() + lit.source_kw, abs=0.1)


def test_a_feeder_tie_that_gives_too_much_trips_and_waits():
    group, feeder, row = built(kva=900.0)
    setpoints = feeder.setpoints()
    setpoints.closed[row["sw4"]] = False
    device_state, _ = group.act(np.array([[0.0], [1.0]]), group.initial(), setpoints, at())
    solution = OpenDSSEngine(feeder).solve(setpoints)
    device_state, over = group.check(device_state, setpoints, solution)
    assert over.tolist() == [0, 1]
    again = np.array([[0.0], [1.0]])
    for step, possible in ((1, False), (2, False), (3, True)):
        assert group.feasible(again, device_state, setpoints, at(step))[1, 0] == possible
        tried = setpoints.copy()
        device_state, limited = group.act(again, device_state, tried, at(step))
        assert bool(limited[1]) != possible and tried.closed[group.grid_forming_units[1]] == possible


# --- load shedders ---------------------------------------------------------------------------------------------------


def test_load_shedders_shed_class_by_class(rng):
    feeder = read_feeder("ieee123")
    group = LoadShedders.build([device_kind("load_shedder").Spec(kind="load_shedder", buses=("7", "47"))], feeder)
    assert group.size == 2
    priorities = Priorities.build(PrioritySpec(seed=1), feeder)
    group = group.with_priorities(priorities)
    before = feeder.setpoints()
    for position, kept in ((-1.0, (0, 1, 2)), (0.0, (0, 1)), (1.0, (0,))):
        setpoints = before.copy()
        device_state, limited = group.act(np.full((group.size, 1), position), group.initial(), setpoints, at())
        own = np.isin(np.arange(len(before.kw)), group.injections)
        stays = ~own | np.isin(priorities.of, kept)
        assert np.array_equal(setpoints.kw, np.where(stays, before.kw, 0))
        assert np.array_equal(setpoints.kvar, np.where(stays, before.kvar, 0))
        shed = ((setpoints.kw - before.kw) * priorities.weight).sum() * 0.25
        assert group.unmet_kwh(group.initial(), device_state, at()).sum() == pytest.approx(shed)
        held = before.copy()
        group.hold(device_state, held, at())
        assert np.array_equal(held.kw, setpoints.kw) and not limited.any()
        assert np.array_equal(group.hold_action(device_state, before, at())[:, 0], np.full(group.size, position))


def test_load_shedders_name_sections_of_the_feeder():
    feeder, spec = read_feeder("ieee123"), device_kind("load_shedder").Spec
    every = LoadShedders.build([spec(kind="load_shedder")], feeder)
    assert len(every.injections) == len(feeder.loads)
    with pytest.raises(ValueError, match="is named twice"):
        LoadShedders.build([spec(kind="load_shedder", buses=("1", "7"))], feeder)
    with pytest.raises(ValueError, match=r"section of bus '610' .* has no load"):
        LoadShedders.build([spec(kind="load_shedder", buses=("610",))], feeder)


# --- regulators ------------------------------------------------------------------------------------------------------


def test_a_regulator_is_forward_where_a_source_is_on_its_first_side(rng):
    """Against networkx on the buses, for states without a loop."""
    task = task_of(NAME)
    feeder = task.feeder
    feeding, topology = RegulatorDirection.build(feeder), Topology.build(feeder)
    lines = np.array([s for s, row in enumerate(feeder.switches) if row.kind == "switch"])
    seen = set()
    for _ in range(30):
        closed, _ = topology.resolve(
            np.zeros(len(feeder.switches), bool), lines, np.where(rng.random(len(lines)) < 0.85, 1, 0), None,
            int(rng.integers(len(lines))),
        )  # fmt: skip
        graph = nx.Graph()
        graph.add_nodes_from(bus.name for bus in feeder.buses)
        for branch in feeder.branches:
            if branch.kind != "regulator" and (branch.switch < 0 or closed[branch.switch]):
                graph.add_edge(branch.bus1, branch.bus2)
        for r, tap in enumerate(feeder.taps):
            others = graph.copy()
            for other in feeder.taps:
                if {other.bus1, other.bus2} != {tap.bus1, tap.bus2}:
                    others.add_edge(other.bus1, other.bus2)
            # A one-phase tie reaches phase a only; the buses' graph does not know that.
            if closed[[row.name for row in feeder.switches].index("line.sw8")]:
                continue
            assert feeding.fed_forward(closed)[r] == nx.has_path(others, tap.bus1, feeder.source_bus)
            seen.add(bool(feeding.fed_forward(closed)[r]))
    assert seen == {True, False}


def test_a_regulator_fed_from_behind_is_neutral_and_keeps_its_position():
    env = ZoneEnv(task_of(NAME))
    feeder = env.task.feeder
    env.reset(seed=0, options={"day": 20, "faults": ["l52"]})
    rule = reference("nearest_tie", env.task.scenario)
    rule.reset(env)
    turned = 0
    for _ in range(4):
        env.step(rule.act(env, {}))
        forward = RegulatorDirection.build(feeder).fed_forward(env.after.setpoints.closed)
        assert np.array_equal(env.after.solution.tap, np.where(forward, env.task.start.tap, 0))
        assert np.array_equal(env.after.setpoints.tap, env.task.start.tap)
        turned += int((~forward & (env.task.start.tap != 0)).sum())
    assert turned > 0
    env.close()


# --- the references --------------------------------------------------------------------------------------------------


def test_the_plan_of_a_day_beats_the_rule_and_doing_nothing(monkeypatch):
    """With few power flows; play_plan again it earns what the search says, to the bit of a plan."""
    monkeypatch.setattr(restoration, "_SOLVES", 700)
    monkeypatch.setattr(restoration, "_FEWEST", 700)
    task = load_cached(NAME, faults=("l7",))
    assert restoration.unsupported_reason(task) == ""
    env = ZoneEnv(task, "test")
    day = env.days[0]
    requests = restoration.plan_day(task, day)
    earned = play_plan(task, day, requests.astype(np.float16).astype(float))
    rule, still = (
        run_day(env, reference(name, task.scenario), day)["team_return"] for name in ("nearest_tie", "no_control")
    )
    assert earned > max(rule, still) + 10
    env.close()


def test_a_plan_of_restoration_says_what_it_does_not_move():
    assert "Inverters" in restoration.unsupported_reason(task_of("ieee123_hybrid"))
    alone = load_scenario(NAME).replace(
        devices=[{"kind": "load_shedder"}], faults=[], zones={"method": "balanced", "count": 1}
    )
    assert "no switch" in restoration.unsupported_reason(build_task(alone))
    assert "no faults" in restoration.unsupported_reason(load_cached(NAME, faults=()))


def test_several_branches_of_a_fault_break_at_once():
    env = ZoneEnv(load_cached(NAME, faults=("l18+l97",)))
    env.reset(seed=3)
    assert np.array_equal(env.now.faulted, env.task.feeder.at_ends(["l18", "l97"]))
    with pytest.raises(ValueError, match="branch 'l999' does not exist"):
        build_task(load_scenario(NAME).replace(faults=["l18+l999"]))
    env.close()


def test_in_the_season_of_outages_two_of_the_faults_come_at_once():
    task = load_cached(NAME, faults=("l22", "l43", "l104"))
    env, single = ZoneEnv(task, "outage_season"), [task.feeder.at_ends([name]) for name in ("l22", "l43", "l104")]
    seen = set()
    for seed in range(12):
        env.reset(seed=seed)
        broken = [k for k, nodes in enumerate(single) if (env.now.faulted & nodes).sum() == nodes.sum()]
        assert len(broken) == 2 and env.now.faulted.sum() == sum(single[k].sum() for k in broken)
        seen.add(tuple(broken))
    assert len(seen) == 3
    env.close()


@pytest.mark.parametrize("day", [121, 211])
def test_nearest_ties_close_a_repaired_section_that_islands_surround(day):
    """An island with a generator of its own may be joined to what is fed again; the rule has to see through that."""
    fuelled = [{k: v for k, v in spec.items() if k != "tank_l"} for spec in load_scenario(NAME).devices]
    faults = [
        "l22",
        "l18",
        "l38",
        "l43",
        "l104",
        "l69",
        "l74",
        "l87",
        "l52",
        "l7",
        "l58",
        "l18+l97",
        "l52+l90",
        "l69+l43",
        "l52+l87",
        "l38+l74",
        "l7+l103",
    ]
    changes = {"repair_h": (1.0, 1.5), "devices": fuelled, "faults": faults}  # the days meet l87, and l52 with l87
    env = ZoneEnv(build_task(load_scenario(NAME).replace(**changes)))
    rule = reference("nearest_tie", env.task.scenario)
    observations, _ = env.reset(seed=day, options={"day": day})
    rule.reset(env)
    while env.agents:
        observations = env.step(rule.act(env, observations))[0]
    assert env.after.faulted is None and env.after.solution.energised.mean() > 0.9
    env.close()
