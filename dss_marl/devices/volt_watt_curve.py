"""Volt-watt curves: the active power that an inverter may feed in, by the voltage of its own bus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dss_marl.grid.state import Array, BoolArray


class VoltWattSpec(BaseModel):
    """A volt-watt curve; the defaults are those of IEEE 1547-2018 for categories A and B.

    The standard's default for the second power is the lesser of 0.2 and the unit's minimum.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    v1_pu: float = Field(default=1.06, gt=0, description="voltage up to which all power is fed in [pu]")
    v2_pu: float = Field(default=1.10, gt=0, description="voltage from which p2 is fed in [pu]")
    p2: float = Field(default=0.2, ge=0, le=1, description="active power at v2_pu over peak power")

    @model_validator(mode="after")
    def _rises(self) -> VoltWattSpec:
        if self.v1_pu >= self.v2_pu:
            raise ValueError(f"volt_watt: v1_pu {self.v1_pu:g} is not below v2_pu {self.v2_pu:g}; raise v2_pu")
        return self


@dataclass(frozen=True)
class VoltWatt:
    """Curves of D inverters.

    Attributes:
        on: (D) False for those without one.
        v1_pu, v2_pu: (D) voltages between which the power decreases [pu].
        p2: (D) power from ``v2_pu`` on, over peak power [1].
        peak_kw: (D) peak power [kW].
        kva: (D) rating [kVA].
        rise: (D) approximate voltage change at each if all of them injected their rating in kW [pu].
    """

    on: BoolArray
    v1_pu: Array
    v2_pu: Array
    p2: Array
    peak_kw: Array
    kva: Array
    rise: Array

    @classmethod
    def of(cls, curves: Sequence[VoltWattSpec | bool], peak_kw: Array, kva: Array, rise: Array) -> VoltWatt:
        """Those of settings (D), with these peak powers, ratings and rises (D)."""
        known = [curve if isinstance(curve, VoltWattSpec) else VoltWattSpec() for curve in curves]
        v1_pu, v2_pu, p2 = np.array([(curve.v1_pu, curve.v2_pu, curve.p2) for curve in known]).T
        return cls(np.array([curve is not False for curve in curves]), v1_pu, v2_pu, p2, peak_kw, kva, rise)

    def most_kw(self, v_pu: Array) -> Array:
        """(..., D) maximum active power at these voltages (..., D) [kW]; inf without a curve."""
        along = np.clip((v_pu - self.v1_pu) / (self.v2_pu - self.v1_pu), 0.0, 1.0)
        return np.where(self.on, (1 - along * (1 - self.p2)) * self.peak_kw, np.inf)

    @cached_property
    def gain(self) -> Array:
        """(D) loop gain: the slope of the curve, over rating, times the voltage that all ratings would raise [1]."""
        slope = (1 - self.p2) / (self.v2_pu - self.v1_pu) * self.peak_kw / self.kva
        return np.where(self.on, slope * self.rise, 0.0)
