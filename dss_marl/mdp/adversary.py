"""Adversary: attacks on compromised agents."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dss_marl._plugins import imported
from dss_marl.devices import DeviceGroup, device_kind
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray

# (requested joint action (F), observed state, random generator) -> executed joint action (F)
Drive = Callable[[Array, GridState, np.random.Generator], Array]

_REACTIVE = ("reactive power", "power factor")  # words in the labels of entries that inject kvar where positive
_INVERTED_FULL_PU = 0.02  # half the dead band of the default curve of IEEE 1547-2018, category B


def opposite(requested: Array, state: GridState, rng: np.random.Generator) -> Array:
    """The negated request."""
    return -requested


def noise(requested: Array, state: GridState, rng: np.random.Generator) -> Array:
    """Uniform random actions."""
    return rng.uniform(-1, 1, requested.shape)


def full(requested: Array, state: GridState, rng: np.random.Generator) -> Array:
    """All entries at their upper end: full reactive power, taps up, banks closed."""
    return np.ones_like(requested)


def frozen(requested: Array, state: GridState, rng: np.random.Generator) -> Array:
    """The action of the previous interval, regardless of the request."""
    return state.action


def swinging(requested: Array, state: GridState, rng: np.random.Generator) -> Array:
    """Alternates between both ends at every step."""
    return np.full_like(requested, 1.0 if state.step % 2 else -1.0)


def erratic(requested: Array, state: GridState, rng: np.random.Generator) -> Array:
    """Stays at either end for one to four steps, then jumps to the other; start and lengths are drawn per episode.

    Unlike ``swinging`` it cannot be read from the clock.
    """
    first, lengths = rng.choice([-1.0, 1.0]), rng.integers(1, 5, int(state.step) + 1)
    jumps = int(np.searchsorted(np.cumsum(lengths), state.step, side="right"))
    return np.full_like(requested, first * (-1) ** jumps)


@dataclass(frozen=True)
class EntryPlaces:
    """Where in the grid the entries of the joint action are, for policies that look at their own voltage.

    Attributes:
        nodes, weight: (F, n) nodes that each entry's device connects to, and their weights, which sum to 1; to 0 for a
            device that is at no bus of the feeder.
        reactive: (F) True where an entry decides reactive power, + injects.
    """

    nodes: IntArray
    weight: Array
    reactive: BoolArray

    def v_pu(self, state: GridState) -> Array:
        """(..., F) mean voltage at each entry's device; 1 pu where de-energised, and of devices without a place."""
        off_pu = state.solution.v_alive[..., self.nodes] - 1.0
        return np.asarray(1.0 + (off_pu * self.weight).sum(axis=-1))

    @classmethod
    def build(cls, feeder: Feeder, groups: Sequence[DeviceGroup]) -> EntryPlaces:
        """The places of all devices: the nodes of their injections, or else of their buses."""
        found: list[Sequence[int]] = []
        reactive: list[bool] = []
        for group in groups:
            injections = getattr(group, "injections", ())
            for d, bus in enumerate(group.buses):
                own: Sequence[int] = (
                    feeder.injections[injections[d]].nodes
                    if np.shape(injections) == (group.size,)
                    else np.flatnonzero(feeder.node_bus == feeder.bus_index.get(bus, -1)).tolist()
                )
                found += [own] * len(group.action_labels)
                reactive += [any(word in label for word in _REACTIVE) for label in group.action_labels]
        shape = len(found), max(map(len, found))
        nodes, weight = np.zeros(shape, np.int64), np.zeros(shape)
        for k, own in enumerate(found):
            nodes[k, : len(own)], weight[k, : len(own)] = own, 1 / max(len(own), 1)
        return cls(nodes, weight, np.array(reactive, bool))


@dataclass(frozen=True)
class Inverted:
    """A volt-var curve of the wrong sign: injects kvar above 1 pu, absorbs below, in full from 0.02 pu off.

    Thus it is at its end before a curve by the default of IEEE 1547-2018, category B, begins to act. Other entries
    follow the request.

    Raises:
        ValueError: no affected entry decides reactive power.
    """

    places: EntryPlaces

    def __post_init__(self) -> None:
        if not self.places.reactive.any():
            raise ValueError(
                "attack: policy inverted needs devices with an entry for reactive power, such as inverters in mode "
                "share; use another policy, other kinds, or add such devices"
            )

    def __call__(self, requested: Array, state: GridState, rng: np.random.Generator) -> Array:
        """See Drive."""
        share = np.clip((self.places.v_pu(state) - 1) / _INVERTED_FULL_PU, -1.0, 1.0)
        return np.where(self.places.reactive, share, requested)


# A policy, or a class of policies that are made with the EntryPlaces.
DRIVES: dict[str, Drive | type] = {
    **{f.__name__: f for f in (opposite, noise, full, frozen, swinging, erratic)},
    "inverted": Inverted,
}
EPISODIC = ("erratic",)  # policies whose random generator begins anew in each step, as what they draw is the episode's
BLIND = ("noise", "full", "swinging", "erratic")  # policies that depend neither on the request nor on the grid


class AttackSpec(BaseModel):
    """Which agents are compromised, from which step, and by which policy."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    policy: str = Field(
        description="opposite, noise, full, frozen, swinging, erratic, inverted, or package.module:function"
    )
    agents: tuple[str, ...] = Field(default=(), description="compromised agents, the same in every episode")
    share: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="or the share of agents with affected devices to compromise, drawn at each reset",
    )
    from_step: int = Field(default=0, ge=0, description="step at which the attack begins")
    kinds: tuple[str, ...] = Field(
        default=(), description="kinds of device affected at a compromised agent; () for all"
    )
    false_data: bool = Field(
        default=False, description="messages from a compromised agent's zone are false, see Messages.falsified"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> AttackSpec:
        if bool(self.agents) == bool(self.share):
            raise ValueError("give either agents or a share above 0")
        return self

    def without(self, gone: Set[str]) -> AttackSpec | None:
        """The attack after removing these kinds of device from the agents; None if no affected kind is left."""
        left = tuple(kind for kind in self.kinds if kind not in gone)
        return self.model_copy(update={"kinds": left}) if left or not self.kinds else None


@dataclass(frozen=True)
class AttackState:
    """Who is compromised in an episode.

    Attributes:
        compromised: (A) True where an agent is.
        seed: of what a policy draws in each step.
    """

    compromised: BoolArray
    seed: int


class Attack:
    """An attack on a scenario's agents during an episode.

    The executed action is a function of the step, the state and the request, so it may be evaluated repeatedly.

    Args:
        spec: the attack.
        names: of all agents.
        entry_agent: (F) agent of each entry; only needed with ``open_entries``.
        open_entries: (F) True where an entry belongs to an affected kind of device, see ``open_to``; None: all do.
            Only agents with such entries are drawn.
        places: of the entries; only needed for policies that look at them.

    Attributes:
        state: of the running episode.

    Raises:
        ValueError: an unknown policy or agent, or the policy has nothing to act on.
    """

    def __init__(
        self,
        spec: AttackSpec,
        names: Sequence[str],
        entry_agent: IntArray | None = None,
        open_entries: BoolArray | None = None,
        places: EntryPlaces | None = None,
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
        drive = DRIVES.get(spec.policy) or imported(spec.policy, "attack policy", DRIVES)
        if isinstance(drive, type):
            if places is None:
                raise ValueError(f"attack: policy {spec.policy!r} needs the places of the entries")
            affected = places.reactive if open_entries is None else places.reactive & open_entries
            drive = drive(replace(places, reactive=affected))
        self.drive: Drive = drive
        self.reset(np.random.default_rng(0))

    def reset(self, rng: np.random.Generator) -> None:
        """Draw the compromised agents of this episode."""
        compromised = np.array([name in self.spec.agents for name in self.names])
        if self.spec.share:
            count = max(1, round(self.spec.share * len(self._exposed)))
            compromised[rng.choice(self._exposed, count, replace=False)] = True
        self.state = AttackState(compromised, int(rng.integers(2**63)))

    def compromised(self, step: int) -> BoolArray:
        """(A) which agents are compromised in this step."""
        return self.state.compromised & (step >= self.spec.from_step)

    def act(self, requested: Array, entry_agent: IntArray, state: GridState) -> Array:
        """(F) the request, with compromised entries replaced by the attack policy's, clipped to [-1, 1]."""
        seed = self.state.seed if self.spec.policy in EPISODIC else [self.state.seed, state.step]
        driven = np.clip(self.drive(requested.copy(), state, np.random.default_rng(seed)), -1.0, 1.0)
        return np.where(self.entries(entry_agent, state.step), driven, requested)

    def false_zones(self, step: int, agent_zone: IntArray, count: int) -> BoolArray | None:
        """(Z) which of ``count`` zones send false messages in this step; None if all tell the truth.

        Args:
            step: of the episode.
            agent_zone: (A) zone of each agent.
            count: number of zones Z.
        """
        compromised = self.compromised(step)
        if not (self.spec.false_data and compromised.any()):
            return None
        found = np.zeros(count, bool)
        found[agent_zone[compromised]] = True
        return found

    def open_elsewhere(self, places: IntArray, count: int) -> bool:
        """Whether any of ``count`` entries other than those at ``places`` can be compromised."""
        others = np.ones(count, bool) if self._open is None else self._open.copy()
        others[places] = False
        return bool(others.any())

    def entries(self, entry_agent: IntArray, step: int) -> BoolArray:
        """(F) which entries are compromised in this step."""
        taken = self.compromised(step)[entry_agent]
        return taken if self._open is None else taken & self._open


def open_to(spec: AttackSpec, groups: Sequence[DeviceGroup], parts: Sequence[slice]) -> BoolArray | None:
    """(F) entries of the kinds of device that an attack affects; None if it affects all.

    Args:
        spec: the attack.
        groups: the devices.
        parts: slice of each group's entries.

    Raises:
        ValueError: an unknown kind, or one without devices.
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
