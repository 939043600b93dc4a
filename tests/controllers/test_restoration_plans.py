"""Plans of restoration: sections, their radial configurations, and what is served part by part."""

import numpy as np
import pytest
from common import task_of

from dss_marl import ZoneEnv
from dss_marl.controllers.planning.restoration.action_entries import ActionEntries
from dss_marl.controllers.planning.restoration.cold_start import picked_up_kw, without_pickup
from dss_marl.controllers.planning.restoration.configuration_screening import ConfigurationScreening
from dss_marl.controllers.planning.restoration.section_pickup import SectionPickup
from dss_marl.controllers.planning.restoration.sections import FeederSections
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.devices import FeederTies, Generators
from dss_marl.grid.state import Setpoints
from dss_marl.grid.topology import Topology

NAME = "ieee123_restoration"
BEYOND = ("61s", "251", "451", "350", "195")  # behind lines that nobody moves and that are open, or behind the fault


@pytest.fixture(scope="module")
def env():
    env = ZoneEnv(task_of(NAME))
    yield env
    env.close()


@pytest.fixture(scope="module")
def sections(env):
    return FeederSections.build(env.task)


def begun(env, fault):
    env.reset(seed=0, options={"day": 20, "faults": fault.split("+")})
    return env.now


def pickup_of(env, sections):
    entries = ActionEntries.build(env.task, sections)
    return SectionPickup(TrialSolver(env.simulator), sections, entries, np.random.default_rng(0))


def drawn_tree(sections, now, rng):
    """A random way to feed all sections, edge after edge where it makes no loop; what feeds is one node."""
    faulted = set(sections.of_node[now.faulted])
    root = list(range(sections.count + 1))

    def top(k):
        while root[k] != k:
            k = root[k]
        return k

    closed, fed = now.setpoints.closed.copy(), sections.count
    fixed = [(s, *pair) for s, pair in sections.joins.items() if closed[s] and s not in sections.moved]
    free = [(s, *pair) for s, pair in sections.joins.items() if s in sections.moved & sections.whole]
    free += [(s, fed, k) for s, k in sections.feeder_ties.items()] + [(-1, fed, k) for k in sections.grid_forming_units]
    closed[[s for s, *_ in free if s >= 0]] = False
    ways = fixed + [(-1, fed, k) for k in sections.sources] + [free[k] for k in rng.permutation(len(free))]
    for s, a, b in ways:
        if not {a, b} & faulted and top(a) != top(b):
            root[top(a)] = top(b)
            if s >= 0:
                closed[s] = True
    return closed


def test_the_radial_configurations_are_all_that_there_are(env, sections, rng):
    now = begun(env, "l18+l97")
    found = {closed.tobytes() for closed in sections.radial(now)}
    assert found == {drawn_tree(sections, now, rng).tobytes() for _ in range(1500)}
    assert len(found) == 36


def test_radial_configurations_have_no_loop_and_feed_what_can_be_fed(env, sections):
    now = begun(env, "l58")
    topology, states = Topology.build(env.task.feeder), sections.radial(now)
    assert len(states) > 1000 and not topology.loops(states).any()
    faulted = set(sections.of_node[now.faulted])
    for closed in states[::100]:
        part, depth = sections.parts(closed), sections.depth(closed)
        feeding = [*sections.sources, *(k for s, k in sections.feeder_ties.items() if closed[s])]
        assert len(np.unique(part[feeding])) == len(feeding), "no part has two feeders"
        dark = {k for k in range(sections.count) if depth[k] == sections.count} - faulted
        assert dark == {int(sections.of_bus[env.task.feeder.bus_index[bus]]) for bus in BEYOND}


def test_sections_share_the_teams_reward(env, sections):
    now, pickup = begun(env, "l52"), pickup_of(env, sections)
    joint_action = env.task.default_action.copy()
    joint_action[pickup.entries.load_shedders[::2]] = 0.0
    after = pickup.trials.operate(now, joint_action)
    worth = pickup.section_rewards(now, after)
    assert worth.sum() == pytest.approx(pickup.trials.reward_model.team_reward(now, after), rel=1e-9)
    assert (worth < 0).sum() > 10


def test_parts_that_no_line_joins_do_not_feel_each_other(env, sections):
    now, pickup = begun(env, "l52"), pickup_of(env, sections)
    closed = sections.radial(now)[40]
    there = now.replace(setpoints=Setpoints(now.setpoints.kw, now.setpoints.kvar, now.setpoints.tap, closed))
    part, held = sections.parts(closed), env.simulator.hold_action(there)
    held[pickup.entries.load_shedders] = 1.0
    held[pickup.entries.power] = 1.0
    fed = int(part[next(iter(sections.sources))])
    one = pickup.trials.operate(there, held)
    changed = held.copy()
    own = pickup.entries.load_shedders[part[pickup.entries.section[pickup.entries.load_shedders]] == fed]
    changed[own] = -1.0
    other = pickup.trials.operate(there, changed)
    before, now_worth = (pickup.sum_by_part(part, pickup.section_rewards(there, after)) for after in (one, other))
    assert abs(now_worth[fed] - before[fed]) > 0.1
    rest = np.arange(sections.count) != fed
    assert now_worth[rest] == pytest.approx(before[rest], abs=1e-6)


def sections_of(env, group, sections, part):
    """(D) the part in which each device lies."""
    return part[sections.of_bus[[env.task.feeder.bus_index[bus] for bus in group.buses]]]


def test_load_shedders_are_filled_within_what_a_tie_gives_and_critical_loads_first(env, sections):
    now, pickup = begun(env, "l52"), pickup_of(env, sections)
    group = next(group for group in env.task.device_groups if isinstance(group, FeederTies))
    kw, load_shedders, bound = picked_up_kw(env.simulator, now), pickup._load_shedders, 0
    home = pickup.entries.section[pickup.entries.load_shedders]
    for closed in sections.radial(now)[::60]:
        part, levels = sections.parts(closed), next(pickup.starting_values(now, env.task.default_action, closed, 1))
        levels = levels[pickup.entries.load_shedders]
        assert set(levels) <= {-1.0, 0.0, 1.0}
        served = load_shedders.of <= 1 - levels[load_shedders.owner]
        for s, k in sections.feeder_ties.items():
            own = np.isin(load_shedders.owner, np.flatnonzero(part[home] == part[k]))
            units = sum(
                group.kw[sections_of(env, group, sections, part) == part[k]].sum()
                for group in env.task.device_groups
                if isinstance(group, Generators)
            )
            given = 0.9 * group.kva[list(group.grid_forming_units).index(s)] + units
            asked = kw[load_shedders.injections][served & own & (load_shedders.of > 0)].sum()
            assert not closed[s] or asked <= given + 1e-6
            bound += bool(closed[s]) and bool((levels[part[home] == part[k]] > -1).any())
    assert bound > 5


def test_a_warm_state_draws_what_the_day_says(env):
    now = begun(env, "l52")
    loads, cold = env.task.feeder.loads, picked_up_kw(env.simulator, now)
    assert cold.max() > 0 and (cold[loads] > -1.5 * now.forecast[0, loads]).any()
    warm = without_pickup(env.simulator, now, 6)
    assert warm.step == 6 and (now.device_state != warm.device_state).any()
    assert picked_up_kw(env.simulator, warm)[loads] == pytest.approx(-env.simulator.observe(
        6, now.setpoints, warm.device_state, now.action, None).forecast[0, loads])  # fmt: skip


def test_the_best_of_an_interval_keeps_the_configuration_and_is_no_worse_than_its_start(env, sections):
    now, pickup = begun(env, "l52"), pickup_of(env, sections)
    wanted = env.simulator.hold_action(now)
    wanted[pickup.entries.switching] = np.where(sections.radial(now)[7][pickup.entries.switches], 1.0, -1.0)
    found = pickup.best(now, wanted, True, 60)
    assert np.array_equal(found[pickup.entries.switching], wanted[pickup.entries.switching])
    earned = [pickup.trials.reward(now, pickup.entries.request(env.simulator, now, one)) for one in (wanted, found)]
    assert earned[1] > earned[0] + 0.1
    assert pickup.trials.solves < 100


def test_screening_serves_every_part_as_well_as_it_can(env, sections):
    now, pickup = begun(env, "l18+l97"), pickup_of(env, sections)
    screening = ConfigurationScreening(pickup, now, 10_000)
    for closed, (early, _) in zip(screening.states[::5], screening.rewards[::5], strict=True):
        points = now.setpoints
        there = now.replace(setpoints=Setpoints(points.kw, points.kvar, points.tap, closed))
        flats = pickup.starting_values(there, env.simulator.hold_action(there), closed)
        assert early >= max(pickup.trials.reward(there, joint_action) for joint_action in flats) - 1e-6
    best = screening.best_configurations(3)
    top = screening.states[screening.rewards[:, 0].argmax()]
    assert 1 <= len(best) <= 3 and any(np.array_equal(closed, top) for closed in best)
    unknown = ConfigurationScreening(pickup_of(env, sections), now, 0)
    assert not len(unknown.best_configurations(3)), "what was never tried is not offered"
