"""Attack: agents whose devices somebody else drives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dss_marl.state import Array, BoolArray, GridState, IntArray
from dss_marl.zones import imported

# (what the agents asked for (F), the state that they saw, random numbers) -> what is done instead (F)
Drive = Callable[[Array, GridState, np.random.Generator], Array]


def opposite(asked: Array, state: GridState, rng: np.random.Generator) -> Array:
    """The reverse of what the agent asked for."""
    return -asked


def noise(asked: Array, state: GridState, rng: np.random.Generator) -> Array:
    """Anything, uniformly."""
    return rng.uniform(-1, 1, asked.shape)


def full(asked: Array, state: GridState, rng: np.random.Generator) -> Array:
    """Everything at its upper end: all reactive power, all taps up, all banks in."""
    return np.ones_like(asked)


def frozen(asked: Array, state: GridState, rng: np.random.Generator) -> Array:
    """What the devices did in the interval before, whatever is asked."""
    return state.action


def swinging(asked: Array, state: GridState, rng: np.random.Generator) -> Array:
    """From one end to the other at every step."""
    return np.full_like(asked, 1.0 if state.step % 2 else -1.0)


DRIVES: dict[str, Drive] = {f.__name__: f for f in (opposite, noise, full, frozen, swinging)}


class AttackSpec(BaseModel):
    """Who is taken over, from when, and by what."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    policy: str = Field(description="opposite, noise, full, frozen, swinging, or package.module:function")
    agents: tuple[str, ...] = Field(default=(), description="these agents, in every episode")
    share: float = Field(default=0.0, ge=0, le=1, description="or this share of all agents, drawn at each reset")
    from_step: int = Field(default=0, ge=0, description="step at which the attack begins")

    @model_validator(mode="after")
    def _one_of_both(self) -> AttackSpec:
        if bool(self.agents) == bool(self.share):
            raise ValueError("give either agents or a share above 0")
        return self


class Attack:
    """An attack on a scenario's agents, through an episode.

    Args:
        spec: who, when and what.
        names: of all agents.

    Raises:
        ValueError: an unknown policy or agent.
    """

    episode = ("_rng", "_hostile")

    def __init__(self, spec: AttackSpec, names: Sequence[str]) -> None:
        unknown = [agent for agent in spec.agents if agent not in names]
        if unknown:
            raise ValueError(f"attack: unknown agent {unknown[0]!r}; agents are {', '.join(names)}")
        self.spec = spec
        self.names = tuple(names)
        self.drive: Drive = DRIVES.get(spec.policy) or imported(spec.policy, "attack policy", DRIVES)
        self.reset(np.random.default_rng(0))

    def reset(self, rng: np.random.Generator) -> None:
        """Draw the agents that are hostile in this episode."""
        self._rng = rng
        hostile = np.array([name in self.spec.agents for name in self.names])
        if self.spec.share:
            count = max(1, round(self.spec.share * len(self.names)))
            hostile[rng.choice(len(self.names), count, replace=False)] = True
        self._hostile = hostile

    def hostile(self, step: int) -> BoolArray:
        """(A) which agents somebody else drives in this step."""
        return self._hostile & (step >= self.spec.from_step)

    def act(self, asked: Array, entry_agent: IntArray, state: GridState) -> Array:
        """(F) what is asked for, with the hostile agents' entries driven by the policy, inside [-1, 1]."""
        driven = np.clip(self.drive(asked.copy(), state, self._rng), -1.0, 1.0)
        return np.where(self.hostile(state.step)[entry_agent], driven, asked)
