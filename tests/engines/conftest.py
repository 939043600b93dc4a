"""Engines of each kind, closed after the test."""

import pytest
from engine_cases import ENGINES, TIGHT


@pytest.fixture(params=ENGINES)
def kind(request):
    """Name of each engine."""
    return request.param


@pytest.fixture
def build(kind):
    """Makes engines of the kind, and closes them."""
    made = []

    def make(feeder, tolerance=TIGHT):
        if "batched" in kind and "generator.own" in feeder.uncontrolled:
            with pytest.raises(ValueError, match=r"cannot model: generator\.own; .* use the engine 'opendss'"):
                ENGINES[kind](feeder, tolerance=tolerance)
            pytest.skip("refused, by name")
        made.append(ENGINES[kind](feeder, tolerance=tolerance))
        return made[-1]

    yield make
    for engine in made:
        engine.close()
