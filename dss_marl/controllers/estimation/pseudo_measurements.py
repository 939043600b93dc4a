"""Pseudo-loads: what loads and sun typically are at a time of day, known from the training days."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dss_marl.grid.state import Array
from dss_marl.profiles import Profiles

_AROUND = 1  # intervals before and after that also tell of how injections vary
_FLOOR = 0.02, 0.1  # least standard deviation of an injection: of its mean [1], and [kW]


@dataclass(frozen=True)
class PseudoMeasurements:
    """Mean and spread of every injection in every interval of a day, over days that are past.

    Attributes:
        kw: (days, T, J) injections [kW].
    """

    kw: Array

    @classmethod
    def from_training_days(cls, profiles: Profiles) -> PseudoMeasurements:
        """Those of all days of the training split."""
        return cls(np.array([profiles.day(day, 0).kw for day in profiles.days("train")]))

    def mean(self, row: int) -> Array:
        """(J) typical injections in an interval of the day [kW]."""
        return np.asarray(self.kw[:, row].mean(axis=0))

    def covariance(self, row: int) -> Array:
        """(J, J) of the injections around that, from the interval and those beside it [kW^2].

        Loads go up together in the heat, and panels under one cloud: the correlation lets a meter tell of what is far.
        """
        off = [self.kw[:, r] - self.mean(r) for r in self._beside(row)]
        every = np.concatenate(off)
        least = np.maximum(_FLOOR[0] * np.abs(self.mean(row)), _FLOOR[1])
        return np.asarray(every.T @ every / max(len(every) - 1, 1) + np.diag(least**2))

    def _beside(self, row: int) -> range:
        return range(max(row - _AROUND, 0), min(row + _AROUND + 1, self.kw.shape[1]))
