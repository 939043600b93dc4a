"""Each shipped scenario whose actions are numbers, and environments of it that are closed after the test."""

import pytest
from common import SCENARIOS

from dss_marl import ZoneEnv, load_scenario


@pytest.fixture(params=[name for name in SCENARIOS if load_scenario(name).actions == "box"])
def scenario(request):
    """Name of each shipped scenario whose actions are numbers; test_conformance has the other encodings."""
    return request.param


@pytest.fixture
def env(task):
    made = ZoneEnv(task)
    yield made
    made.close()


@pytest.fixture
def new_env(task):
    """Makes environments of the scenario, and closes them."""
    made = []

    def make(**options):
        made.append(ZoneEnv(task, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
