"""Cold-load pickup: loads draw more than usual when they are re-energised after a long interruption."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, BoolArray, Setpoints
from dss_marl.grid.topology import Topology

_NOTHING = 1e-4  # lost diversity below which a load counts as normal


class ColdLoadSpec(BaseModel):
    """Cold-load pickup after an interruption, as a delayed exponential (IEEE 4113138).

    Measured factors of feeders lie between 1.3 and 3.3 (arXiv 1810.05734).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    factor: float = Field(default=2.0, gt=1, le=5, description="over the usual load, after a long interruption")
    rise_h: float = Field(default=1.0, gt=0, description="time constant with which diversity is lost [h]")
    hold_h: float = Field(
        default=0.25, ge=0, description="longest hold of the full factor [h]; half the interruption if shorter"
    )
    fall_h: float = Field(default=0.5, gt=0, description="time constant of the return to the usual load [h]")
    before_h: float = Field(default=0.5, ge=0, description="past interruption of loads dead at reset [h]")


class ColdLoad:
    """State of each load: its lost diversity (0 to 1), and how long that is still held [h].

    A second interruption during the return continues from the state reached. kW and kvar rise by the same factor. Loads
    that are not supplied demand their usual power, so that unserved energy does not include the pickup.

    Args:
        spec: parameters.
        feeder: its loads are modelled.
        topology: of that feeder.
    """

    def __init__(self, spec: ColdLoadSpec, feeder: Feeder, topology: Topology) -> None:
        self.spec = spec
        self.loads = feeder.loads
        self._topology = topology
        width = max(len(feeder.injections[j].nodes) for j in feeder.loads)
        nodes = [(feeder.injections[j].nodes * width)[:width] for j in feeder.loads]  # repeated where it has fewer
        self._blocks = topology.block[np.array(nodes)]

    @property
    def size(self) -> int:
        """Length of the state."""
        return 2 * len(self.loads)

    def supplied(self, setpoints: Setpoints, wanted: Array) -> BoolArray:
        """(..., L) which loads are connected, and energised on all their phases.

        Args:
            setpoints: of the interval, after all devices have acted: a load that is switched off is at 0.
            wanted: (..., J) injections before control [kW].
        """
        alive = self._topology.sourced(setpoints.closed)[..., self._blocks].all(axis=-1)
        off = (setpoints.kw[..., self.loads] == 0) & (wanted[..., self.loads] != 0)
        return np.asarray(alive & ~off)

    def start(self, supplied: BoolArray) -> Array:
        """(..., 2 L) initial state of an episode in which (..., L) loads are supplied."""
        nothing = np.zeros((*supplied.shape[:-1], self.size))
        return self.after(nothing, supplied | (self.spec.before_h == 0), self.spec.before_h)

    def factors(self, device_state: Array) -> Array:
        """(..., L) factor on the usual load of supplied loads."""
        return 1.0 + (self.spec.factor - 1.0) * device_state[..., : len(self.loads)]

    def after(self, device_state: Array, supplied: BoolArray, dt_h: float) -> Array:
        """(..., 2 L) state after an interval in which (..., L) loads were supplied."""
        spec, count = self.spec, len(self.loads)
        lost, left_h = device_state[..., :count], device_state[..., count:]
        if not lost.any() and supplied.all():
            return device_state
        off = 1 - (1 - lost) * np.exp(-dt_h / spec.rise_h)
        on = lost * np.exp(-np.maximum(dt_h - left_h, 0.0) / spec.fall_h)
        on = np.where(on > _NOTHING, on, 0.0)
        held = np.minimum(left_h + dt_h / 2, spec.hold_h)
        left = np.where(supplied, np.maximum(left_h - dt_h, 0.0), held)
        return np.concatenate([np.where(supplied, on, off), left], axis=-1)

    def raise_loads(self, device_state: Array, setpoints: Setpoints, supplied: BoolArray) -> None:
        """Multiply the set points of supplied loads by their pickup factors, in place."""
        if device_state.any():
            factor = np.where(supplied, self.factors(device_state), 1.0)
            setpoints.kw[..., self.loads] *= factor
            setpoints.kvar[..., self.loads] *= factor
