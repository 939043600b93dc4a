"""Observer: the features of all zones as rows, whole, or in a part that is looked up and one that is completed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from dss_marl.grid.compiled import kernels_for
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, GridState
from dss_marl.mdp.column_writer import ColumnWriter
from dss_marl.mdp.linear_features import Function, LinearColumns, array_of
from dss_marl.mdp.observations import Feature, named_feature, zone_voltage
from dss_marl.zones import ROW_KINDS, Zone, zone_batched


@dataclass(frozen=True)
class Observer:
    """All features of all zones (or agents' views of them), concatenated, with the same columns for each.

    Entries that a zone lacks are 0.

    Attributes:
        features: in order.
        zones, stacked: the zones individually and all as one.
        widths: columns of each feature.
        low, high: (n) ranges.
        sample: a state of the right shapes.
    """

    features: tuple[Feature, ...]
    zones: tuple[Zone, ...]
    stacked: Zone
    widths: tuple[int, ...]
    low: Array
    high: Array
    sample: GridState

    @classmethod
    def build(cls, names: Sequence[str], zones: tuple[Zone, ...], stacked: Zone, sample: GridState) -> Observer:
        """Look up the features and determine their widths on a sample state.

        Raises:
            ValueError: an unknown feature, or one that fails or returns non-finite values.
        """
        features = tuple(named_feature(name) for name in names)
        widths = []
        for name, one in zip(names, features, strict=True):
            try:
                values = [np.asarray(one.function(zone, sample), float) for zone in zones]
            except Exception as error:
                raise ValueError(f"observation {name!r} fails on the first state: {error!r}") from error
            if any(v.ndim != 1 for v in values) or not all(np.isfinite(v).all() for v in values):
                shapes = sorted({v.shape for v in values})
                raise ValueError(f"observation {name!r} must return a finite vector for each zone; got shapes {shapes}")
            widths.append(max(len(v) for v in values))
        low = np.concatenate([np.full(w, min(f.low, 0.0)) for f, w in zip(features, widths, strict=True)])
        high = np.concatenate([np.full(w, max(f.high, 0.0)) for f, w in zip(features, widths, strict=True)])
        return cls(features, zones, stacked, tuple(widths), low, high, sample)

    @cached_property
    def _linear_columns(self) -> LinearColumns:
        functions, constant = [one.function for one in self.features], [one.constant for one in self.features]
        return LinearColumns(functions, constant, self.widths, self.stacked, self.sample)

    @cached_property
    def _others(self) -> list[tuple[Function, slice]]:
        """The features that are functions of the state, with their columns."""
        ends = np.cumsum(self.widths).tolist()
        others = self._linear_columns.others
        return [(self.features[k].function, slice(ends[k] - self.widths[k], ends[k])) for k in others]

    def observe(self, state: GridState) -> np.ndarray:
        """(..., Z, n) float32, inside the range."""
        rows = self._linear_columns(state)
        self._write_others(rows, state, self._others)
        np.maximum(rows, self.low, out=rows)
        np.minimum(rows, self.high, out=rows)
        return rows.astype(np.float32)

    def _write_others(self, rows: np.ndarray, state: GridState, others: Sequence[tuple[Function, slice]]) -> None:
        for function, columns in others:
            if getattr(function, "zone_batched", False):
                rows[..., columns] = function(self.stacked, state)
            else:
                for z, zone in enumerate(self.zones):
                    _write(rows[..., z, columns], function(zone, state), function.__name__)

    # --- in two parts: many copies look up what follows from the day and the step ------------------------------------

    @cached_property
    def _looked_up(self) -> Observer:
        """The features that follow from the day and the step alone, or are constant; the others give zeros."""
        features = tuple(one if one.is_exogenous else replace(one, function=_zeros) for one in self.features)
        return replace(self, features=features)

    @cached_property
    def _acted_on(self) -> tuple[ColumnWriter, list[tuple[Function, slice]]]:
        """The other features: linear ones, and the rest with their columns."""
        starts = np.cumsum((0, *self.widths)).tolist()
        own = [(one, starts[k]) for k, one in enumerate(self.features) if not one.is_exogenous]
        sums = [(one.function, start) for one, start in own if array_of(one.function)]
        kept = {start for one, start in own if not array_of(one.function)}
        others = [(function, columns) for function, columns in self._others if columns.start in kept]
        return ColumnWriter(sums, self.low, self.high, self.stacked, self.sample), others

    def begun(self, states: GridState) -> np.ndarray:
        """(..., Z, n) float32: what ``observe`` gives for exogenous and constant features, 0 for the others."""
        return self._looked_up.observe(states)

    def completed(self, rows: np.ndarray, state: GridState) -> np.ndarray:
        """What ``observe`` gives, from what ``begun`` has given for states of the same days and steps.

        Args:
            rows: (B, Z, n) float32; written in place and returned.
            state: (B, ...)
        """
        writer, others = self._acted_on
        writer.write(state, rows.reshape(len(rows), -1))
        kernels = kernels_for(state.solution.v_pu)
        for function, columns in others:
            own, limits = rows[..., columns], (self._limits[0][columns], self._limits[1][columns])
            if kernels is not None and function is zone_voltage:
                self.stacked.write_voltage_spread(kernels, state.solution, limits, own)
                continue
            self._write_others(rows, state, [(function, columns)])
            np.clip(own, *limits, out=own)
        return rows

    @cached_property
    def _limits(self) -> tuple[np.ndarray, np.ndarray]:
        return self.low.astype(np.float32), self.high.astype(np.float32)

    def labels(self, zone: Zone, feeder: Feeder) -> list[str]:
        """(n) label and unit of each entry of a zone's observation; "-" for padding."""
        result: list[str] = []
        for one, width in zip(self.features, self.widths, strict=True):
            plain = not one.per and not one.labels
            names = (
                [f"{one.function.__name__} {k}" for k in range(width)]
                if plain
                else _entry_names(one, zone, feeder, width)
            )
            shown = [name if name == "-" else f"{name} [{one.unit}]" for name in names]
            result += shown + ["-"] * (width - len(names))
        return result


def _entry_names(one: Feature, zone: Zone, feeder: Feeder, width: int) -> list[str]:
    if not one.per:
        return list(one.labels)
    if one.per == "hours":
        return [f"{one.labels[0]} {h}" for h in range(width)]
    if one.per in zone.entries:
        return [name if name == "-" else f"{one.labels[0]} {name}" for name in zone.entries[one.per]]
    of = ROW_KINDS[one.per].of
    named = feeder.nodes if of == "nodes" else [row.name.split(".", 1)[-1] for row in getattr(feeder, of)]
    return [f"{one.labels[0]} {named[i]}" for i in zone.rows[one.per].index]


def _write(row: Array, given: Any, name: str) -> None:
    """One zone's values (..., at most n) of a feature into its row (..., n)."""
    values = np.asarray(given, float)
    width, batch = row.shape[-1], row.shape[:-1]
    shaped = values.ndim == 1 or (values.ndim > 1 and values.shape[:-1] == batch)
    if not shaped or values.shape[-1] > width or not np.isfinite(values).all():
        several = f", or shape {(*batch, width)}" if batch else ""
        raise ValueError(
            f"observation {name!r} must give at most {width} finite numbers, as at the start{several}; got {given!r}"
        )
    row[..., : values.shape[-1]] = values


@zone_batched
def _zeros(zone: Zone, state: GridState) -> float:
    return 0.0
