"""The first intervals of a day, for what is measured, sent and attacked."""

import numpy as np
import pytest

from dss_marl import ZoneEnv, load_scenario

NAME = "ieee34_volt_var"


def states(count=6, **changes):
    """The first intervals of a day around noon under random actions."""
    env = ZoneEnv(load_scenario(NAME).replace(start_hour=10, **changes))
    env.reset(seed=0, options={"day": 172})
    rng = np.random.default_rng(0)
    result = [env.now]
    while len(result) < count:
        env.step(env.task.encoding.encode(rng.uniform(-1, 1, env.task.agents.action_layout.size)))
        result.append(env.now)
    env.close()
    return result


@pytest.fixture(scope="module")
def truth():
    return states()
