"""Saved: a running episode, to go on from later."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from dss_marl.envs.scenario import Scenario


@dataclass(frozen=True)
class EnvState:
    """A running episode as ``ZoneEnv.save_state`` gives it; may be pickled."""

    scenario: Scenario
    fields: dict[str, Any]
    parts: dict[str, dict[str, Any]]


def kept_of(part: Any) -> dict[str, Any]:
    """What changes in a part through an episode; its arrays are replaced, never written, so they may be shared."""
    return {} if part is None else own_stream({name: vars(part)[name] for name in part.episode})


def own_stream(kept: dict[str, Any]) -> dict[str, Any]:
    """The same with a copy of the random stream, which does change in place."""
    return {name: copy.deepcopy(value) if name == "_rng" else value for name, value in kept.items()}
