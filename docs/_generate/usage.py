"""Which shipped scenarios use an observation, a term or a kind of device."""

from __future__ import annotations

from functools import cache

import dss_marl
from dss_marl.envs.scenario import Scenario


@cache
def scenarios() -> dict[str, Scenario]:
    """All shipped scenarios by name."""
    return {name: dss_marl.load_scenario(name) for name in dss_marl.list_scenarios()}


def used_in(key: str, name: str) -> list[str]:
    """Scenarios whose ``key`` (observations, rewards, costs or devices) names it."""
    if key == "devices":
        return [s for s, one in scenarios().items() if any(spec["kind"] == name for spec in one.devices)]
    return [s for s, one in scenarios().items() if name in getattr(one, key)]
