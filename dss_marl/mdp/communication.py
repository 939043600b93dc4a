"""Communication between zones over the zone graph, with message loss and delay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import networkx as nx
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray
from dss_marl.mdp.observer import Observer
from dss_marl.mdp.random_streams import copied
from dss_marl.zones import Zone, stack, zone_graph


class MessageSpec(BaseModel):
    """Range, content and quality of the communication."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    hops: int | Literal["all"] = Field(default=0, description="reach of messages in zone borders; or all")
    share: tuple[str, ...] = Field(
        default=("zone_voltage", "load"), min_length=1, description="features that a zone sends"
    )
    loss: float = Field(default=0.0, ge=0, le=1, description="share of messages lost in an interval")
    delay: int = Field(default=0, ge=0, le=1000, description="delay of a message [intervals]")


@dataclass
class MessageState:
    """What changes in the messages through an episode; arrays are replaced, never written, so copies may share them.

    Attributes:
        rng: of lost messages.
        heard: (Z, m, n) what each zone heard last of those around it.
        sent: (Z, n) of the last intervals, oldest first.
    """

    rng: np.random.Generator
    heard: Array
    sent: tuple[Array, ...] = ()

    def copy(self) -> MessageState:
        """The same with a random stream of its own."""
        return replace(self, rng=copied(self.rng))


class Messages:
    """Summaries of zones as received by the zones around them.

    Senders are sorted by distance, then by zone order. From each a zone receives the shared features and, if messages
    can be lost or late, a flag "received": 1 if one arrived in this interval, else 0; the last received values are then
    kept (0 before the first).

    Zones with compromised agents may send false messages, see ``falsified``.

    Args:
        spec: range, content and quality of the communication.
        feeder: of the zones.
        zones: of the feeder, in order.
        sample: a state, to determine the widths of the features; with the feeder at rest.

    Attributes:
        state: of the running episode.

    Raises:
        ValueError: ``hops`` is negative, or a feature is unknown or not defined for zones.
    """

    def __init__(self, spec: MessageSpec, feeder: Feeder, zones: Sequence[Zone], sample: GridState) -> None:
        self.spec = spec
        self.zones = tuple(zones)
        self.observer = Observer.build(spec.share, self.zones, stack(self.zones), sample)
        self._at_rest = self.observer.observe(sample)  # (Z, n)
        self.senders, self.present = _neighbours(spec.hops, feeder, zones)
        self._flagged = bool(spec.loss or spec.delay)
        self.width = self.senders.shape[1] * (len(self.observer.low) + self._flagged)
        self.reset(np.random.default_rng(0))

    @property
    def low(self) -> Array:
        """(n) lowest values."""
        return np.tile(np.append(self.observer.low, [0.0] * self._flagged), self.senders.shape[1])

    @property
    def high(self) -> Array:
        """(n) highest values."""
        return np.tile(np.append(self.observer.high, [1.0] * self._flagged), self.senders.shape[1])

    def reset(self, rng: np.random.Generator) -> None:
        """Forget all messages; losses are drawn from this stream from now on."""
        self.state = MessageState(rng, np.zeros((*self.senders.shape, len(self.observer.low))))

    def received(self, state: GridState, false: BoolArray | None = None) -> Array:
        """(..., Z, n) received by each zone from the others up to this interval; call it once per interval.

        Args:
            state: what the zones see.
            false: (Z) which zones send false messages; None: none does.
        """
        sent = self.observer.observe(state)
        return self.exchanged(sent if false is None else self.falsified(sent, false))

    def falsified(self, sent: Array, false: BoolArray) -> Array:
        """(..., Z, n) what is sent (..., Z, n), with the deviation from rest negated in zones (..., Z) that are false.

        At rest voltages are 1 pu, loads nominal, and devices as at the start: high voltage is told as low, light load
        as heavy. What is told stays within the features' ranges, so that a range check does not expose it.
        """
        wrong = np.clip(2 * self._at_rest - sent, self.observer.low, self.observer.high).astype(sent.dtype)
        return np.where(false[..., None], wrong, sent)

    @property
    def reliable(self) -> bool:
        """Whether every message arrives in the interval in which it is sent."""
        return not self._flagged

    def at_once(self, sent: Array) -> Array:
        """(..., Z, n) received where messages are reliable, from (..., Z, n) sent; nothing is remembered."""
        heard = np.where(self.present[..., None], sent[..., self.senders, :], 0.0)
        return heard.reshape(*sent.shape[:-2], len(self.zones), -1)

    def exchanged(self, sent: Array) -> Array:
        """(..., Z, n) received after the zones have sent (..., Z, n)."""
        own, delay = self.state, self.spec.delay
        own.sent = (*own.sent, sent)[-1 - delay :]
        arriving = len(own.sent) > delay
        batch = own.sent[0].shape[:-2]
        if not self._flagged:  # all that is sent is heard at once
            own.heard = np.where(self.present[..., None], own.sent[0].take(self.senders, axis=-2), 0.0)
            return own.heard.reshape(*batch, len(self.zones), -1)
        came = self.present & (own.rng.random((*batch, *self.senders.shape)) >= self.spec.loss) & arriving
        own.heard = np.where(came[..., None], own.sent[0][..., self.senders, :], own.heard)
        both = np.concatenate([own.heard, came[..., None]], axis=-1)
        return both.reshape(*batch, len(self.zones), -1)

    def labels(self, zone: int, feeder: Feeder) -> list[str]:
        """(n) label of each entry; "-" without a neighbour, or where the neighbour lacks the quantity."""
        result = []
        for sender, there in zip(self.senders[zone], self.present[zone], strict=True):
            other = self.zones[sender]
            own = [*self.observer.labels(other, feeder), *["received [0 or 1]"] * self._flagged]
            result += [f"{other.name}: {label}" if there and label != "-" else "-" for label in own]
        return result


def _neighbours(hops: int | str, feeder: Feeder, zones: Sequence[Zone]) -> tuple[IntArray, BoolArray]:
    """(Z, m) the zones that each zone receives from, nearest first, and whether the entry is used."""
    if isinstance(hops, int) and hops < 0:
        raise ValueError(f"messages: hops must be 0, 1, 2, ... or 'all'; got {hops}")
    graph = zone_graph(feeder.graph(), zones)
    rank = {zone.name: z for z, zone in enumerate(zones)}
    far = len(zones)
    rows = []
    for zone in zones:
        distance = nx.single_source_shortest_path_length(graph, zone.name)
        near = {rank[name]: d for name, d in distance.items() if name != zone.name}
        if hops == "all":
            near = {z: near.get(z, far) for z in range(len(zones)) if z != rank[zone.name]}
        reach = far if hops == "all" else int(hops)
        rows.append(sorted((z for z, d in near.items() if d <= reach), key=lambda z: (near[z], z)))
    width = max(map(len, rows), default=0)
    senders, present = np.zeros((len(zones), width), np.int64), np.zeros((len(zones), width), bool)
    for z, row in enumerate(rows):
        senders[z, : len(row)], present[z, : len(row)] = row, True
    return senders, present
