"""The guard of an inverter: a steep volt-var response beyond the edges of the band, on top of the share asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dss_marl.devices.volt_var_curve import Places
from dss_marl.grid.state import Array
from dss_marl.grid.voltage_band import VoltageBand

_SAME = 1e-5  # of reactive power over rating, above the rounding of single precision
_CAUTION = 1.25  # factor of the approximate voltage changes, so that steps do not overshoot
_MORE, _PATIENCE = 0.25, 4  # what a step adds to it, after so many steps


class GuardSpec(BaseModel):
    """A volt-var response near the limits of the voltage band, added to the reactive power that an agent asks for.

    With the defaults and a band of 0.95 to 1.05 pu the response begins at 0.9555 and 1.0445 pu, and within 0.0073 pu
    more it is the 0.44 of the rating that category B demands.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    margin_pu: float = Field(
        default=0.0055, ge=0, lt=0.1, description="the response begins so far inside the band's limits [pu]"
    )
    slope: float = Field(default=60.0, gt=0, le=1000, description="kvar per kVA of the rating per pu beyond the edge")

    @property
    def about(self) -> str:
        """Words for inverters that have it."""
        return (
            f"guarded inverters: {self.slope:g} kvar per kVA and pu from {self.margin_pu:g} pu inside the band's limits"
        )


@dataclass(frozen=True)
class Guard:
    """Guards of D inverters.

    Attributes:
        margin_pu: (D) distance of the edges from the limits of the band [pu].
        slope: (D) reactive power over rating per pu beyond an edge [1/pu]; 0 for those without a guard.
        low_pu, high_pu: (D) edges at which the response begins [pu].
        rises: (D, D) approximate voltage change at each if another injected its rating in kvar [pu].
    """

    margin_pu: Array
    slope: Array
    low_pu: Array
    high_pu: Array
    rises: Array

    @classmethod
    def of(cls, specs: Sequence[GuardSpec | bool], rises: Array) -> Guard:
        """Those of settings (D), in the default band."""
        known = [spec if isinstance(spec, GuardSpec) else GuardSpec() for spec in specs]
        margin, slope = np.array([(spec.margin_pu, spec.slope) for spec in known]).T
        band, on = VoltageBand(), np.array([spec is not False for spec in specs])
        return cls(margin, np.where(on, slope, 0.0), band.low + margin, band.high - margin, rises)

    def in_band(self, band: VoltageBand, places: Places) -> Guard:
        """The same with edges inside the band at the inverters' places.

        Raises:
            ValueError: the edges of an inverter meet.
        """
        low = places.voltages(np.broadcast_to(band.low, places.nodes.max() + 1) if band.uniform else band.low)
        high = places.voltages(np.broadcast_to(band.high, places.nodes.max() + 1) if band.uniform else band.high)
        wide = self.margin_pu >= (high - low) / 2
        if wide.any():
            k = int(np.argmax(wide))
            raise ValueError(
                f"guard: margin_pu {self.margin_pu[k]:g} is not below half of the band {low[k]:.4g} to {high[k]:.4g} "
                "pu; lower margin_pu"
            )
        return replace(self, low_pu=low + self.margin_pu, high_pu=high - self.margin_pu)

    def share(self, v_pu: Array) -> Array:
        """(..., D) reactive power over rating in addition to that asked for, + into the grid [1]."""
        above, below = np.maximum(v_pu - self.high_pu, 0.0), np.maximum(self.low_pu - v_pu, 0.0)
        return np.asarray(self.slope * (below - above))

    def step(self, v_pu: Array, asked: Array, given: Array, off: Array, so_far: Array) -> tuple[Array, Array, Array]:
        """Change of reactive powers on the way to where they agree with the voltages.

        A Newton step for all inverters whose response runs along its slope or that must move, with voltages that change
        as ``rises`` say. In the interval from which a response came onto its slope it stays on it, even if it
        overshoots; the bounds see to the rest.

        Args:
            v_pu: (..., D) voltages [pu].
            asked: (..., D) reactive power without the guard, over rating [1].
            given: (..., D) the present one, which ``v_pu`` results from [1].
            off: (..., D) what it lacks of the one called for [1].
            so_far: (..., D) number of steps in this interval; more of them say that ``rises`` are too small.

        Returns:
            (..., D) the change [1], and the least and the most that the reactive power may become [1].
        """
        middle = (self.low_pu + self.high_pu) / 2
        absorbs = np.where(np.abs(given - asked) < _SAME, v_pu > middle, given < asked)
        along = asked + self.slope * np.where(absorbs, self.high_pu - v_pu, self.low_pu - v_pu) - given
        moves = ((np.abs(along - off) < _SAME) | (np.abs(off) > _SAME)) & (self.slope > 0)
        gains = (self.slope * (_CAUTION + _MORE * np.maximum(so_far - _PATIENCE, 0)))[..., None] * self.rises
        matrix = np.eye(len(self.slope)) + gains * (moves[..., :, None] & moves[..., None, :])
        solved = np.linalg.solve(matrix, np.where(moves, along, 0.0)[..., None])[..., 0]
        change: Array = np.where(moves, solved, off)
        least: Array = np.where(absorbs, -np.inf, asked)
        most: Array = np.where(absorbs, asked, np.inf)
        return change, least, most
