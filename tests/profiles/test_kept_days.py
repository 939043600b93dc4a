"""Days that are kept are what they were, and never more than fit."""

import pickle

import numpy as np
from common import task_of

from dss_marl.profiles import Profiles
from dss_marl.profiles.kept_days import KeptDays


def bits(value, count=10):
    return (np.full(count, value, np.uint16),)


def test_the_day_not_asked_for_the_longest_is_forgotten():
    kept, made = KeptDays(most_bytes=50), []  # two and a half of these days

    def get(key):
        return kept.get(key, lambda: made.append(key) or bits(key))[0][0]

    assert [get(key) for key in (1, 2, 1, 3, 1, 2)] == [1, 2, 1, 3, 1, 2]
    assert made == [1, 2, 3, 2]
    assert len(kept) == 2
    assert kept.get("large", lambda: bits(7, 1000))[0].size == 1000
    assert len(kept) == 1, "a day that does not fit is kept until the next"
    assert len(pickle.loads(pickle.dumps(kept))) == 0


def test_a_day_that_is_kept_is_bitwise_what_it_was():
    """With the rows of the next day, and after a day of another length."""
    task = task_of("ieee34_volt_var")
    fresh, used = (Profiles(task.scenario.profiles, task.feeder, 0.25) for _ in range(2))
    used.day(17, 96)
    for ahead in (1, 5, 1):
        one, other = fresh.day(17, ahead), used.day(17, ahead)
        for name in ("kw", "kvar", "price", "temperature_c"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
        one.kw[:] = np.nan  # what is handed out is not what is kept


def test_a_day_on_another_weekday_has_its_own_prices():
    """Kept under its number, length and weekday alike."""
    task = task_of("ieee13_microgrid")
    profiles, day = Profiles(task.scenario.profiles, task.feeder, 0.25), 17
    synthetic = profiles._sources("")
    working, free = synthetic.rows(day, 96, free=False), synthetic.rows(day, 96, free=True)
    assert not np.array_equal(working.price, free.price)
    assert np.array_equal(synthetic.rows(day, 96, free=False).price, working.price)
