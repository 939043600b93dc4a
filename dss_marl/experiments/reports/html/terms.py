"""Reward terms and costs of the days played, by zone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dss_marl.experiments.recording import Recording
from dss_marl.grid.state import Array
from dss_marl.mdp.return_statistics import mean_interval


@dataclass(frozen=True)
class ZoneTerms:
    """Sums over a day of one kind of terms under one controller.

    Attributes:
        zones, terms: names.
        values: (days, Z, K) sum over the day.
    """

    zones: tuple[str, ...]
    terms: tuple[str, ...]
    values: Array

    def team(self, term: str) -> tuple[float, float, float]:
        """Mean over days of the sum over zones, with its 95 % interval."""
        return mean_interval(self.values[:, :, self.terms.index(term)].sum(1))

    def mean(self) -> Array:
        """(Z, K) mean over days."""
        return np.asarray(self.values.mean(0))


def zone_terms(table: str, recordings: Mapping[int, Recording], names: Sequence[str]) -> ZoneTerms | None:
    """The terms of a table by zone; None where a recording has no such table.

    Args:
        table: rewards or costs.
        recordings: by day.
        names: of the terms.
    """
    every = list(recordings.values())
    if not every or not names or table not in every[0].tables:
        return None
    columns = every[0][table].columns
    zones = tuple(dict.fromkeys(column.zone for column in columns))
    place = {column.name: k for k, column in enumerate(columns)}
    order = [[place[f"{zone}/{name}"] for name in names] for zone in zones]
    values = np.array([np.nansum(one[table].values, axis=0)[order] for one in every])
    return ZoneTerms(zones, tuple(names), values)
