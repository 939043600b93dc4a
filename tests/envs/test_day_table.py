"""DayTable and what looks into it: the same numbers as one episode's conditions, whatever has been forgotten."""

import numpy as np
import pytest
from batch_engines import Still
from common import load_cached

from dss_marl.envs.batch_env import BatchZoneEnv
from dss_marl.envs.conditions import EpisodeConditions
from dss_marl.envs.day_table import DayTable
from dss_marl.envs.episode_draw import draw
from dss_marl.grid.copies import put_rows, rows_of, with_rows
from dss_marl.grid.deferred_state import DeferredState
from dss_marl.grid.state import GridState
from dss_marl.mdp.random_streams import copied

NAME = "ieee123_two_timescale"  # starts at 8 h, with forecasts


def table_of(task, most_bytes=10**9):
    table = DayTable(task, lambda number: np.full(2, float(number)), 2, most_bytes=most_bytes)
    table.derive("hour", lambda states: states.hour[:, None])
    return table


def test_days_are_those_of_an_episode():
    task = load_cached(NAME, steps=4)
    table = table_of(task)
    numbers = np.array([30, 7, 30])
    for place, number in zip(table.places(numbers), numbers.tolist(), strict=True):
        alone = EpisodeConditions.of_day(task, number, ())
        for step in range(5):
            assert np.array_equal(table.kw[place, step], alone.day.kw[alone.first_row + step])
            assert np.array_equal(table.kvar[place, step], alone.day.kvar[alone.first_row + step])
            assert table.derived["hour"][place, step] == alone.interval(step).hour
        assert table.start[place].tolist() == [number, number]
    assert len(set(table.numbers.tolist()) - {-1}) == 2


def test_days_that_are_not_played_are_forgotten_first_and_no_others():
    task = load_cached(NAME, steps=4)
    table = table_of(task, most_bytes=1)
    table.playing = np.arange(3)
    table.places(table.playing)
    for number in range(3, 30):
        table.places(np.array([number]))
    there = set(table.numbers.tolist())
    assert {0, 1, 2, 29} <= there
    assert 3 not in there
    assert len(table.kw) <= 8
    assert np.array_equal(of_day(table, 3), of_day(table_of(task), 3))


def of_day(table, number):
    (place,) = table.places(np.array([number]))
    return table.kw[place]


def test_more_days_than_fit_are_kept_while_all_are_played():
    task = load_cached(NAME, steps=4)
    table = table_of(task, most_bytes=1)
    table.playing = np.arange(20)
    places = table.places(table.playing)
    assert np.array_equal(table.numbers[places], table.playing)


def test_a_step_beyond_an_episode_is_refused():
    table = table_of(load_cached(NAME, steps=4))
    with pytest.raises(IndexError, match="step 5 lies beyond an episode's 4"):
        table.checked(np.array([0, 5]))


@pytest.fixture
def batch():
    task = load_cached(NAME, steps=4)
    made = BatchZoneEnv(task, 3, engine=Still(task.feeder, 3))
    made.reset(options=[{"day": 3}, {"day": 30}, {"day": 4}])
    yield made
    made.close()


def test_forecasts_and_prices_are_those_of_an_episode(batch):
    for _ in range(2):
        batch.step(np.zeros(batch.action_rows.shape, np.float32))
    now = batch.now
    assert isinstance(now, DeferredState)
    assert not {"forecast", "price"} & set(now.__dict__), "nothing has asked for them"
    for b, number in enumerate((3, 30, 4)):
        alone, own = EpisodeConditions.of_day(batch.task, number, ()), rows_of(now, b)
        assert type(own) is GridState
        for state, row in ((now, b), (own, ...)):
            assert np.array_equal(state.forecast[row], alone.forecast_kw(2))
            assert np.array_equal(state.price[row], alone.price(2))
            assert np.array_equal(state.available[row], alone.injections_kw(2))


@pytest.mark.parametrize("name", ["forecast", "price", "available"])
@pytest.mark.parametrize("full", [False, True])
def test_a_state_outlives_its_days_in_the_table(batch, full, name):
    """What it knows is looked up after other days have taken their places, also where all of these are needed."""
    now, table = batch.now, batch.simulator.table
    before = getattr(now, name).copy()
    now.__dict__.pop(name)
    now.__dict__.pop("forecast", None)
    table.playing = np.zeros(0, np.int64)
    table._most = 1
    for number in range(40, 80):
        table.places(np.array([number]))
    assert not {3, 30, 4} & set(table.numbers.tolist())
    if full:
        table.playing = table.numbers.copy()
    assert np.array_equal(getattr(now, name), before)


def test_copies_of_two_batches_are_mixed_with_their_forecasts(batch):
    one = batch.now
    batch.step(np.zeros(batch.action_rows.shape, np.float32))
    rows = np.array([True, False, True])
    mixed = with_rows(one, batch.now, rows)
    for name in ("forecast", "price", "available"):
        first, second = getattr(one, name), getattr(batch.now, name)
        assert np.array_equal(getattr(mixed, name), put_rows(first, second, rows))


def test_what_is_replaced_is_not_looked_up(batch):
    changed = batch.now.replace(forecast=np.ones_like(batch.now.forecast))
    assert (changed.available == 1).all()
    assert (rows_of(changed, np.array([1])).available == 1).all()


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.Philox])
def test_a_reset_draws_the_same_from_any_kind_of_stream(bits):
    task, rng = load_cached(NAME, steps=4), np.random.Generator(bits(5))
    days = np.arange(10, 60)
    for _ in range(20):
        alone = copied(rng)
        drawn = draw(task, days, rng, None)
        assert drawn.day == alone.choice(days)
        assert np.array_equal(drawn.streams, alone.integers(2**63, size=3))
