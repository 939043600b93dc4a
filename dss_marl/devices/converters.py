"""Converters of PV units and batteries: reactive capability of IEEE 1547-2018, and losses due to reactive power."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dss_marl.devices.base import DeviceSpec
from dss_marl.grid.state import Array, BoolArray, Setpoints

# IEEE 1547-2018, table 7: kvar over rating, injected and absorbed
_CAPABILITY = {"A": (0.44, 0.25), "B": (0.44, 0.44), "none": (np.inf, np.inf)}


class ConverterLossSpec(BaseModel):
    """Converter losses over rating, c0 + c1 s + c2 s^2 for apparent power s over rating.

    The defaults are medians over the 568 inverters with a European efficiency of 97 to 98 % in the list of the
    California Energy Commission, in the model of Driesse, Jain and Harrison (2008); see docs/reference/physics.md.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    standby: float = Field(default=0.0036, ge=0, le=0.2, description="c0, whenever the converter runs")
    proportional: float = Field(default=0.0078, ge=0, le=0.2, description="c1")
    quadratic: float = Field(default=0.0146, ge=0, le=0.2, description="c2")


class ConverterSpec(DeviceSpec):
    """Scenario settings of a device with a converter."""

    category: Literal["A", "B", "none"] = Field(
        default="B", description="reactive capability of IEEE 1547-2018, 0.44 of the rating (A absorbs 0.25)"
    )
    losses: ConverterLossSpec | Literal["none"] = Field(
        default=ConverterLossSpec(), description="of the converter, as shares of the rating; none: no losses"
    )


@dataclass(frozen=True)
class Converters:
    """Capability and losses of D converters.

    A profile's PV power is the AC power at unity power factor, hence contains the losses of that operation. Reactive
    power raises the apparent power from \\|P\\| to S; the difference between the losses at both is lost in addition.
    Without active power the converter runs for the reactive power alone, and all of its losses are additional.

    Attributes:
        kva: (D) rating [kVA].
        given, taken: (D) maximum injected and absorbed reactive power; inf: by the rating [kvar].
        standby_kw: (D) losses of a running converter without power [kW].
        proportional: (D) losses per apparent power [kW/kVA].
        quadratic: (D) losses per apparent power squared [kW/kVA^2].
    """

    kva: Array
    given: Array
    taken: Array
    standby_kw: Array
    proportional: Array
    quadratic: Array

    @classmethod
    def of(cls, specs: Sequence[ConverterSpec], kva: Array) -> Converters:
        """Those of specs with these ratings (D)."""
        given, taken = kva * np.array([_CAPABILITY[spec.category] for spec in specs]).T
        found = [(0.0, 0.0, 0.0) if spec.losses == "none" else _shares(spec.losses) for spec in specs]
        standby, proportional, quadratic = np.array(found).T
        lossy = cls(kva, given, taken, standby * kva, proportional, quadratic / kva)
        # At rating in kvar the losses are drawn as well: the kvar leave room for them.
        most = np.where(lossy._lossy, np.sqrt(kva**2 - lossy.losses_kw(kva) ** 2), np.inf)
        return replace(lossy, given=np.minimum(given, most), taken=np.minimum(taken, most))

    @classmethod
    def ideal(cls, kva: Array) -> Converters:
        """Lossless ones, limited by their rating (D) alone."""
        none, boundless = np.zeros(kva.shape), np.full(kva.shape, np.inf)
        return cls(kva, boundless, boundless, none, none, none)

    @cached_property
    def _lossy(self) -> BoolArray:
        return (self.standby_kw > 0) | (self.proportional > 0) | (self.quadratic > 0)

    @cached_property
    def any_losses(self) -> bool:
        """Whether any of them has losses."""
        return bool(self._lossy.any())

    @cached_property
    def _any_limit(self) -> bool:
        return bool(np.isfinite(self.given).any() or np.isfinite(self.taken).any())

    def losses_kw(self, kva: Array) -> Array:
        """(..., D) all losses of running converters with this apparent power [kW]."""
        return self.standby_kw + kva * (self.proportional + kva * self.quadratic)

    def added_kw(self, kw: Array, kvar: Array) -> Array:
        """(..., D) losses due to the reactive power, beside this active power [kW]."""
        active = np.abs(kw)
        grown = self.proportional * (np.hypot(kw, kvar) - active) + self.quadratic * kvar * kvar
        return grown + np.where((active == 0) & (kvar != 0), self.standby_kw, 0.0)

    def most_added_kw(self, kw: Array) -> Array:
        """(..., D) the most that reactive power within the rating adds to the losses beside this active power [kW]."""
        return self._losses_at_rating_kw - self.losses_kw(np.abs(kw))

    @cached_property
    def _losses_at_rating_kw(self) -> Array:
        return self.losses_kw(self.kva)

    def added_slope(self, kw: Array, kvar: Array) -> Array:
        """(..., D) derivative of ``added_kw`` with respect to kvar [kW/kvar]; 0 at the kink at 0."""
        kva = np.hypot(kw, kvar)
        share = np.divide(kvar, kva, out=np.zeros(np.broadcast(kw, kvar).shape), where=kva > 0)
        slope: Array = self.proportional * share + 2 * self.quadratic * kvar
        return slope

    def beside(self, part: Array) -> Array:
        """(..., D) the other component within the rating: kvar for given kW, or kW for given kvar."""
        return np.sqrt(np.maximum(self._kva_squared - part * part, 0.0))

    @cached_property
    def _kva_squared(self) -> Array:
        return self.kva**2

    def capability(self, sign: Array) -> Array:
        """(..., D) maximum kvar in the direction of the sign by category, within the rating."""
        return np.minimum(np.where(sign >= 0, self.given, self.taken), self.kva)

    def within(self, sign: Array, room: Array) -> Array:
        """(..., D) maximum kvar in the direction of the sign, not more than the room [kvar]."""
        return np.minimum(room, self.capability(sign)) if self._any_limit else room

    def reach(self, sign: Array, kw: Array) -> Array:
        """(..., D) maximum kvar in the direction of the sign, beside this active power [kvar]."""
        return self.within(sign, self.beside(kw))

    def write(self, rows: Any, kw: Array, kvar: Array, setpoints: Setpoints) -> None:
        """Write set points for active power (..., D) before the losses due to the reactive power, which are taken off.

        Args:
            rows: of the injections.
            kw, kvar: (..., D)
            setpoints: changed in place.
        """
        if self.any_losses:
            lost = self.added_kw(kw, kvar)
            kw = kw - lost
            setpoints.put_converter_kw(rows, lost)
        setpoints.kw[..., rows], setpoints.kvar[..., rows] = kw, kvar


def _shares(losses: Any) -> tuple[float, float, float]:
    return losses.standby, losses.proportional, losses.quadratic
