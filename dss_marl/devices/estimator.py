"""Voltage estimators: agents estimate voltages of unmetered nodes. They do not affect the power flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field

from dss_marl.devices.base import DeviceGroup, DeviceSpec, act_periods, unique_names
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, IntArray, Interval, Setpoints


class EstimatorSpec(DeviceSpec):
    """Locations of voltage meters, and the nodes to estimate."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    meters: tuple[str, ...] = Field(min_length=1, description="buses with a voltage meter on each phase")
    nodes: Literal["all", "loads"] | tuple[str, ...] = Field(
        default="all", description="nodes to estimate: all unmetered ones, those with loads, or those of named buses"
    )
    v_centre_pu: float = Field(default=1.0, gt=0, lt=2, description="estimate for an entry of 0 [pu]")
    span_pu: float = Field(default=0.1, gt=0, le=1, description="added by an entry of 1 [pu]")


@dataclass(frozen=True)
class Estimators(DeviceGroup):
    """One device per estimated node: v = v_centre + a * span, for the state that agents observed before acting.

    The estimate does not affect the power flow. Device state: the estimate [pu].

    Attributes:
        nodes: (D) index of the node that each estimates.
        metered: (M) indices of the metered nodes.
        v_centre_pu, span_pu: (D) scaling of each estimate.
    """

    nodes: IntArray
    metered: IntArray
    v_centre_pu: Array
    span_pu: Array

    action_labels: ClassVar[tuple[str, ...]] = ("estimated voltage",)
    state_size: ClassVar[int] = 1
    Spec: ClassVar[type[DeviceSpec]] = EstimatorSpec

    def initial(self) -> Array:
        """See DeviceGroup.initial."""
        return self.v_centre_pu[:, None].copy()

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; writes no set point."""
        estimate = self.v_centre_pu + self.span_pu * action[..., 0]
        return estimate[..., None], np.zeros(estimate.shape, np.int64)

    def hold_action(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.hold_action."""
        return self.entries(state[..., 0])[..., None]

    def entries(self, v_pu: Array) -> Array:
        """(..., D) the action entries for these voltages (..., D), clipped to the span."""
        return np.clip((v_pu - self.v_centre_pu) / self.span_pu, -1.0, 1.0)

    @classmethod
    def build(cls, specs: Sequence[EstimatorSpec], feeder: Feeder) -> Estimators:
        """See DeviceGroup.build.

        Raises:
            ValueError: no such bus, a node that is metered and estimated, or nothing to estimate.
        """
        metered = {node for spec in specs for bus in spec.meters for node in _nodes_of(feeder, bus)}
        nodes: list[int] = []
        said: list[EstimatorSpec] = []
        for spec in specs:
            own = [node for node in _asked(spec, feeder) if node not in metered or not isinstance(spec.nodes, str)]
            both = [feeder.nodes[node] for node in own if node in metered]
            if both:
                raise ValueError(f"estimator: node {both[0]!r} is metered; estimate unmetered buses")
            if not own:
                raise ValueError(f"estimator: no node of feeder {feeder.name!r} is left to estimate; use fewer meters")
            nodes += own
            said += [spec] * len(own)
        names = [f"v_{feeder.nodes[node]}" for node in nodes]
        return cls(
            names=unique_names(names, "estimator of node"),
            buses=tuple(feeder.buses[feeder.node_bus[node]].name for node in nodes),
            act_every=act_periods([spec.act_every for spec in said]),
            nodes=np.array(nodes, np.int64),
            metered=np.array(sorted(metered), np.int64),
            v_centre_pu=np.array([spec.v_centre_pu for spec in said]),
            span_pu=np.array([spec.span_pu for spec in said]),
        )


def _nodes_of(feeder: Feeder, bus: str) -> list[int]:
    name = feeder.bus(bus).name
    return np.flatnonzero(feeder.node_bus == feeder.bus_index[name]).tolist()


def _asked(spec: EstimatorSpec, feeder: Feeder) -> list[int]:
    """Nodes selected by a spec; ``all`` excludes the source and initially de-energised nodes."""
    if not isinstance(spec.nodes, str):
        return [node for bus in spec.nodes for node in _nodes_of(feeder, bus)]
    alive = feeder.energised(feeder.setpoints().closed)
    alive[feeder.source_nodes] = False
    if spec.nodes == "loads":
        with_load = np.zeros(len(alive), bool)
        for load in feeder.loads:
            with_load[list(feeder.injections[load].nodes)] = True
        alive &= with_load
    return np.flatnonzero(alive).tolist()
