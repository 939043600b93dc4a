"""Pseudo-measurements: typical loads and PV power by time of day, from training days."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dss_marl.grid.state import Array
from dss_marl.profiles import Profiles

_AROUND = 1  # neighbouring intervals used to estimate the variance of injections
_FLOOR = 0.02, 0.1  # minimum standard deviation of an injection: relative to its mean [1], and [kW]


@dataclass(frozen=True)
class PseudoMeasurements:
    """Mean and covariance of the injections in every interval of a day, over past days.

    Attributes:
        kw: (days, T, J) injections [kW].
    """

    kw: Array

    @classmethod
    def from_training_days(cls, profiles: Profiles) -> PseudoMeasurements:
        """Pseudo-measurements from all days of the training split."""
        return cls(np.array([profiles.day(day, 0).kw for day in profiles.days("train")]))

    def mean(self, row: int) -> Array:
        """(J) mean injections in an interval of the day [kW]."""
        return np.asarray(self.kw[:, row].mean(axis=0))

    def covariance(self, row: int) -> Array:
        """(J, J) covariance of the injections, from the interval and its neighbours [kW^2].

        Loads and PV units are correlated by weather, so a measurement also carries information on remote injections.
        """
        off = [self.kw[:, r] - self.mean(r) for r in self._beside(row)]
        every = np.concatenate(off)
        least = np.maximum(_FLOOR[0] * np.abs(self.mean(row)), _FLOOR[1])
        return np.asarray(every.T @ every / max(len(every) - 1, 1) + np.diag(least**2))

    def _beside(self, row: int) -> range:
        return range(max(row - _AROUND, 0), min(row + _AROUND + 1, self.kw.shape[1]))
