"""Fixtures: one of each shipped scenario, and random numbers that are the same in every run."""

import numpy as np
import pytest
from common import SCENARIOS, task_of


@pytest.fixture(params=SCENARIOS)
def scenario(request):
    """Name of each shipped scenario."""
    return request.param


@pytest.fixture
def task(scenario):
    """Each shipped scenario, built."""
    return task_of(scenario)


@pytest.fixture
def rng():
    return np.random.default_rng(7)
