"""Attack: agents whose devices somebody else drives."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dss_marl._plugins import imported
from dss_marl.devices import DeviceGroup, device_kind
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray

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
BLIND = ("noise", "full", "swinging")  # whose doings depend neither on what was asked nor on the grid


class AttackSpec(BaseModel):
    """Who is taken over, from when, and by what."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    policy: str = Field(description="opposite, noise, full, frozen, swinging, or package.module:function")
    agents: tuple[str, ...] = Field(default=(), description="these agents, in every episode")
    share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="or this share of the agents that have what is taken over, drawn at each reset",
    )
    from_step: int = Field(default=0, ge=0, description="step at which the attack begins")
    kinds: tuple[str, ...] = Field(
        default=(), description="kinds of device that are taken over of a hostile agent; () for all that it has"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> AttackSpec:
        if bool(self.agents) == bool(self.share):
            raise ValueError("give either agents or a share above 0")
        return self

    def without(self, gone: Set[str]) -> AttackSpec | None:
        """The same where these kinds of device are not the agents' any more; None where it took over no others."""
        left = tuple(kind for kind in self.kinds if kind not in gone)
        return self.model_copy(update={"kinds": left}) if left or not self.kinds else None


@dataclass(frozen=True)
class AttackState:
    """Who is compromised in an episode.

    Attributes:
        hostile: (A) True where an agent is.
        seed: of what a policy draws in each step.
    """

    hostile: BoolArray
    seed: int


class Attack:
    """An attack on a scenario's agents, through an episode.

    What is done in a step follows from the step, the state and what was asked, however often it is asked for.

    Args:
        spec: who, when and what.
        names: of all agents.
        entry_agent: (F) whose each entry is; only needed with ``open_entries``.
        open_entries: (F) True where an entry is of a kind of device that is taken over, see ``open_to``; None: all are.
            Only agents with such entries are drawn.

    Attributes:
        state: of the running episode.

    Raises:
        ValueError: an unknown policy or agent.
    """

    def __init__(
        self,
        spec: AttackSpec,
        names: Sequence[str],
        entry_agent: IntArray | None = None,
        open_entries: BoolArray | None = None,
    ) -> None:
        unknown = [agent for agent in spec.agents if agent not in names]
        if unknown:
            raise ValueError(f"attack: unknown agent {unknown[0]!r}; agents are {', '.join(names)}")
        self.spec = spec
        self.names = tuple(names)
        self._open = open_entries
        self._exposed = np.arange(len(names))
        if entry_agent is not None and open_entries is not None:
            self._exposed = np.unique(entry_agent[open_entries])
        self.drive: Drive = DRIVES.get(spec.policy) or imported(spec.policy, "attack policy", DRIVES)
        self.reset(np.random.default_rng(0))

    def reset(self, rng: np.random.Generator) -> None:
        """Draw the agents that are hostile in this episode."""
        hostile = np.array([name in self.spec.agents for name in self.names])
        if self.spec.share:
            count = max(1, round(self.spec.share * len(self._exposed)))
            hostile[rng.choice(self._exposed, count, replace=False)] = True
        self.state = AttackState(hostile, int(rng.integers(2**63)))

    def hostile(self, step: int) -> BoolArray:
        """(A) which agents somebody else drives in this step."""
        return self.state.hostile & (step >= self.spec.from_step)

    def act(self, asked: Array, entry_agent: IntArray, state: GridState) -> Array:
        """(F) what is asked for, with the hostile agents' entries driven by the policy, inside [-1, 1]."""
        driven = np.clip(
            self.drive(asked.copy(), state, np.random.default_rng([self.state.seed, state.step])), -1.0, 1.0
        )
        return np.where(self.entries(entry_agent, state.step), driven, asked)

    def open_elsewhere(self, places: IntArray, count: int) -> bool:
        """Whether entries beside these places, of so many, may be taken over."""
        others = np.ones(count, bool) if self._open is None else self._open.copy()
        others[places] = False
        return bool(others.any())

    def entries(self, entry_agent: IntArray, step: int) -> BoolArray:
        """(F) which entries somebody else drives in this step."""
        taken = self.hostile(step)[entry_agent]
        return taken if self._open is None else taken & self._open


def open_to(spec: AttackSpec, groups: Sequence[DeviceGroup], parts: Sequence[slice]) -> BoolArray | None:
    """(F) entries of the kinds of device that an attack takes over; None where it takes all.

    Args:
        spec: the attack.
        groups: the devices.
        parts: where each group's entries are.

    Raises:
        ValueError: an unknown kind, or one of which there is no device.
    """
    if not spec.kinds:
        return None
    result = np.zeros(parts[-1].stop, bool)
    for kind in spec.kinds:
        own = [part for group, part in zip(groups, parts, strict=True) if type(group) is device_kind(kind)]
        if not own:
            raise ValueError(f"attack: there is no {kind} among the devices; leave it out of kinds")
        for part in own:
            result[part] = True
    return result
