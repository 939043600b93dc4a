"""Repair crews: times by hand, what is known and barred, and that nothing tells where the faults are."""

from dataclasses import replace

import numpy as np
import pytest
from common import task_of

from dss_marl import ZoneEnv, make_batch
from dss_marl.devices import Crews
from dss_marl.devices.crew import BUSY_H, CLEAR, COST, FAULTED, PLACE, TARGET, UNKNOWN, CrewSpec
from dss_marl.devices.outage_sections import OutageSections
from dss_marl.grid.state import Interval, Setpoints

NAME = "ieee123_crews"
NO_POINTS = Setpoints(np.zeros(1), np.zeros(1), np.zeros(0, int), np.zeros(0, bool))
FAR_KM, NEAR_KM = 4.0, 2.0


def two_sections():
    """Section 0 of 1 km and section 1 of 3 km behind it, and two depots 2 and 4 km from both."""
    return OutageSections(
        buses=("a", "b"),
        of_node=np.array([2, 0, 1]),
        line_km=np.array([1.0, 3.0]),
        dark=np.array([[True, True], [False, True]]),
        opened=np.array([[True, True], [False, True]]),
        travel_km=np.array([[0.0, 1.0], [1.0, 0.0], [NEAR_KM, NEAR_KM], [FAR_KM, FAR_KM]]),
    )


def crews(**changes):
    """Two at 20 km/h, with 15 minutes of setup and patrols at 2 km/h; the second does not repair."""
    given = {
        "sections": two_sections(), "loads": np.array([0]), "section_weight": np.array([[1.0, 0.0]]),
        "repairs": np.array([True, False]), "on_duty_h": np.zeros(2), "speed_kmh": np.full(2, 20.0),
        "setup_h": np.full(2, 0.25), "patrol_kmh": np.full(2, 2.0), "hour_cost": np.array([150.0, 75.0]),
        "km_cost": np.ones(2), "faults": (1, 2), "repair_h": 2.0, "repair_spread": 0.5,
    }  # fmt: skip
    return Crews(("c", "d"), ("x", "y"), **{**given, **changes})


def storm(group, *hours):
    """Both sections dark, with repairs of these hours."""
    state = group.with_repairs(group.initial(), np.array(hours))
    state[:, group._known] = UNKNOWN
    return state


def sent(group, state, *sections, steps=1, first=0):
    """The state after the crews were sent, and held in the steps after the first; and who was limited at first."""
    state, limited = group.act(
        np.array([[group.entry(q)] for q in sections]), state, NO_POINTS, Interval(first, 8, 0.25)
    )
    for k in range(1, steps):
        state, _ = group.act(group.hold_action(state, NO_POINTS, None), state, NO_POINTS, Interval(first + k, 8, 0.25))
    return state, limited


def test_a_patrol_takes_travel_setup_and_the_length_of_the_lines():
    """2 km at 20 km/h, 0.25 h, 1 km at 2 km/h: 0.85 h, done after the fourth quarter of an hour."""
    group = crews()
    state = storm(group, 0, 0)
    assert group.job_h(state)[0] == pytest.approx([0.85, 0.1 + 0.25 + 1.5])
    state, limited = sent(group, state, 0, -1)
    assert not limited.any()
    assert state[0, [PLACE, TARGET]].tolist() == [0, 0]
    assert state[0, BUSY_H] == pytest.approx(0.6)
    assert state[0, COST] == pytest.approx(0.25 * 150 + NEAR_KM)
    assert state[1, COST] == 0
    for left, paid in ((0.35, 0.25), (0.1, 0.25), (0.0, 0.1)):
        assert group.known(state)[0] == UNKNOWN
        state, _ = sent(group, state, -1, -1)
        assert state[0, BUSY_H] == pytest.approx(left)
        assert state[0, COST] == pytest.approx(paid * 150)
    assert group.known(state).tolist() == [CLEAR, UNKNOWN]
    assert state[0, TARGET] == -1


def test_a_patrol_finds_the_fault_and_a_second_job_repairs_it():
    """The repair of 1.5 h takes 1.75 h with its setup, without travel: seven quarters of an hour."""
    group = crews()
    state, _ = sent(group, storm(group, 1.5, 0), 0, -1, steps=4)
    assert group.known(state).tolist() == [FAULTED, UNKNOWN]
    assert group.job_h(state)[0, 0] == pytest.approx(1.75)
    before, _ = sent(group, state, 0, -1, steps=6)
    assert group.known(before)[0] == FAULTED
    after, _ = sent(group, state, 0, -1, steps=7)
    assert group.known(after)[0] == CLEAR
    assert group.repairs_h(after)[0] == 0


def test_an_assessor_patrols_but_does_not_repair():
    group = crews()
    state, limited = sent(group, storm(group, 1.5, 0), -1, 0, steps=4)
    assert state[1, BUSY_H] == 0 or group.known(state)[0] == UNKNOWN  # 0.2 h longer on the way
    state, _ = sent(group, state, -1, -1)
    assert group.known(state)[0] == FAULTED
    action = np.full((2, 1), group.entry(0))
    assert group.feasible(action, state, NO_POINTS, None).tolist() == [[True], [False]]
    _, limited = group.act(action, state, NO_POINTS, Interval(0, 8, 0.25))
    assert limited.tolist() == [0, 1]


def test_a_section_takes_one_crew_and_the_order_rotates():
    group = crews()
    for first, limited in ((0, [0, 1]), (1, [1, 0])):
        assert sent(group, storm(group, 0, 0), 0, 0, first=first)[1].tolist() == limited


def test_a_crew_at_work_or_off_duty_can_only_wait():
    group = crews(on_duty_h=np.array([0.0, 0.5]))
    state = storm(group, 0, 0)
    every = np.stack([np.full((2, 1), group.entry(q)) for q in (-1, 0, 1)])
    assert group.feasible(every, state, NO_POINTS, None)[..., 0].tolist() == [
        [True, True],
        [True, False],
        [True, False],
    ]
    state, _ = sent(group, state, 0, -1)
    assert group.feasible(every, state, NO_POINTS, None)[..., 0].tolist() == [[True, True], [False] * 2, [False] * 2]
    state, _ = sent(group, state, -1, -1)
    assert state[1, COST] == 0
    assert group.feasible(every, state, NO_POINTS, None)[2, 1, 0]


def test_sections_are_barred_until_they_are_clear():
    group = crews()
    state = storm(group, 1.5, 0)
    assert group.barred(state).tolist() == [False, True, True]
    assert group.opened(state).tolist() == [True, True]
    assert group.opened(storm(group, 0, 1.0)).tolist() == [False, True]
    state, _ = sent(group, state, -1, 1, steps=8)
    assert group.barred(state).tolist() == [False, True, False]


def test_nothing_that_is_seen_depends_on_faults_that_are_not_found():
    """Two storms that leave the same sections dark look alike until the patrol ends after four steps."""
    group = crews()
    every = np.stack([np.full((2, 1), group.entry(q)) for q in (-1, 0, 1)])

    def seen(state):
        return group.telemetry(state, NO_POINTS, None), group.feasible(every, state, NO_POINTS, None)

    for steps, alike in ((1, True), (3, True), (4, False)):
        one, two = (sent(group, storm(group, *hours), 0, -1, steps=steps)[0] for hours in ((3.0, 0), (0, 1.0)))
        assert all(np.array_equal(a, b) for a, b in zip(seen(one), seen(two), strict=True)) == alike


# --- on the feeder ---------------------------------------------------------------------------------------------------


def crews_of(task):
    return next(group for group in task.device_groups if isinstance(group, Crews))


def state_of(env):
    k = env.task.device_groups.index(crews_of(env.task))
    return env.simulator.fleet.states(env.now.device_state)[k]


def test_distances_and_sections_by_hand():
    """From bus 13 to 18 it is line l13 of 825 ft; section 86 is the lines l86 and l87 of 450 and 175 ft."""
    group = crews_of(task_of(NAME))
    sections = group.sections
    first, last = sections.buses.index("18"), sections.buses.index("86")
    assert sections.travel_km[sections.size, first] == pytest.approx(0.825 * 0.3048, rel=1e-6)
    assert sections.line_km[last] == pytest.approx(0.625 * 0.3048, rel=1e-6)
    tripped = {
        row.name for row, opened in zip(task_of(NAME).feeder.switches, sections.opened[last], strict=True) if opened
    }
    assert tripped == {"line.l67", "line.l77", "line.l88", "line.l92"}


def test_storms_are_those_of_the_day():
    task = task_of(NAME)
    env = ZoneEnv(task, "test")
    seen = {}
    for day in (4, 13, 4):
        env.reset(seed=day, options={"day": day})
        state = state_of(env)
        assert np.array_equal(seen.setdefault(day, state.copy()), state)
        struck = crews_of(task).repairs_h(state) > 0
        assert 2 <= struck.sum() <= 4
        assert np.array_equal(crews_of(task).known(state) > 0, crews_of(task).sections.dark[struck].any(axis=0))
    assert not np.array_equal(seen[4], seen[13])


def test_the_hours_of_repairs_have_the_mean_and_length_draws_the_sections():
    group = crews_of(task_of(NAME))
    rng = np.random.default_rng(0)
    hours = np.array([group.repairs_h(group.start(rng, False, 8.0)) for _ in range(3000)])
    assert hours[hours > 0].mean() == pytest.approx(2.5, rel=0.06)
    struck = (hours > 0).mean(axis=0)
    assert np.argmax(struck) == np.argmax(group.sections.line_km)


def test_random_play_energises_no_section_that_is_not_clear():
    env = ZoneEnv(task_of(NAME), "test")
    for seed in range(3):
        env.reset(seed=seed)
        for agent in env.agents:
            env.action_space(agent).seed(seed)
        while env.agents:
            barred = crews_of(env.task).barred(state_of(env))
            env.step({agent: env.action_space(agent).sample() for agent in env.agents})
            assert not (env.after.solution.energised & barred).any()


def test_copies_play_as_one_alone():
    batch, env = make_batch(NAME, copies=2), ZoneEnv(task_of(NAME), "train")
    batch.reset([3, 4])
    rng = np.random.default_rng(0)
    env.reset(seed=3)
    for _ in range(6):
        rows = rng.integers(0, 3, batch.action_rows.shape)
        result = batch.step(rows)
        env.step({agent: rows[0, a] for a, agent in enumerate(env.agents)})
        assert np.array_equal(batch.now.device_state[0], env.now.device_state)
        assert np.array_equal(batch.now.telemetry[0], env.now.telemetry)
        assert result.rewards[0] == pytest.approx(list(dict.fromkeys([env.team_reward])) * len(env.possible_agents))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([{"repairs": False}], "no crew repairs"),
        ([{}, {"name": "two", "repair_h": 3.0}], "must be the same for all crews"),
        ([{"reclosers": ("nowhere",)}], "nowhere"),
        ([{"reclosers": ("sw7",)}], "no recloser"),
        ([{"bus": "nowhere"}], "nowhere"),
    ],
)
def test_crews_that_cannot_be_built_say_why(changes, message):
    specs = [CrewSpec(kind="crew", **{"bus": "13", "reclosers": ("sw2",), **one}) for one in changes]
    with pytest.raises(ValueError, match=message):
        Crews.build(specs, task_of(NAME).feeder)


def test_faults_in_wrong_order_are_refused():
    with pytest.raises(ValueError, match="lower first"):
        CrewSpec(kind="crew", bus="13", reclosers=("sw2",), faults=(3, 2))


def test_priorities_weigh_the_load_of_sections():
    group = crews()
    assert group.telemetry(storm(group, 0, 0), replace(NO_POINTS, kw=np.array([-500.0])), None)[0, 5] == 0.5
