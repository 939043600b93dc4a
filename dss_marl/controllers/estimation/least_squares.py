"""Weighted least squares with a prior: estimate, goodness of fit, and bad-data rejection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dss_marl.grid.state import Array, BoolArray

_BAD = 4.0  # normalised residual beyond which a measurement is rejected [1]


@dataclass(frozen=True)
class Fit:
    """Estimate of a state x from a prior N(x0, P) and measurements z = H x + e, e ~ N(0, R).

    It minimises (x - x0)' P^-1 (x - x0) + (z - H x)' R^-1 (z - H x): the prior is a pseudo-measurement of every entry.

    Attributes:
        x: (n) the estimate.
        used: (m) False where a measurement was rejected as bad data.
        misfit: weighted sum of squared residuals, including the prior's; chi-square distributed with one degree of
            freedom per used measurement if prior and noise are correct [1].
    """

    x: Array
    used: BoolArray
    misfit: float


def fit(x0: Array, covariance: Array, slopes: Array, z: Array, sigma: Array, bad: float = _BAD) -> Fit:
    """The estimate, with bad data rejected one by one by the largest normalised residual.

    The normalised residual is the measurement minus its prediction from all others, over the standard deviation:
    A. Abur, A. G. Exposito, "Power System State Estimation", 2004, chapter 5, with the prior as measurements.

    Args:
        x0: (n) mean of the prior.
        covariance: (n, n) of the prior.
        slopes: (m, n) H.
        z: (m) measurements.
        sigma: (m) standard deviation of each.
        bad: normalised residual beyond which a measurement is rejected; inf keeps all.
    """
    used = np.ones(len(z), bool)
    spread = slopes @ covariance  # (m, n)
    total = spread @ slopes.T + np.diag(sigma**2)
    surprise = z - slopes @ x0
    while used.any():
        inverse = np.linalg.inv(total[np.ix_(used, used)])
        pull = inverse @ surprise[used]
        normalised = np.abs(pull) / np.sqrt(np.diag(inverse))
        worst = int(np.argmax(normalised))
        if normalised[worst] <= bad:
            return Fit(x0 + spread[used].T @ pull, used, float(surprise[used] @ pull))
        used[np.flatnonzero(used)[worst]] = False
    return Fit(x0.copy(), used, 0.0)
