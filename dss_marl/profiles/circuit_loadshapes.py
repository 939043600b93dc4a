"""Profiles from the LoadShapes defined in an OpenDSS circuit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from dss_marl.engines import read_load_shapes
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array
from dss_marl.profiles.measured import Measured, MeasuredData, check_minutes
from dss_marl.profiles.synthetic import Synthetic


class LoadshapeProfiles(MeasuredData):
    """The circuit's own shapes: each load's ``daily`` or ``yearly``; loads without one stay at nominal."""

    kind: Literal["loadshapes"]
    which: Literal["daily", "yearly"] = Field(default="daily", description="property of the loads that names the shape")

    def open(self, feeder: Feeder, minutes: int) -> Measured:
        """The days of the circuit's shapes, as many as the shortest shape has.

        Raises:
            ValueError: no load has a shape, or the shapes' intervals are uneven, of different length or do not fit.
        """
        shapes = read_load_shapes(feeder, self.which)
        if not shapes:
            raise ValueError(
                f"no load of feeder {feeder.name!r} has a {self.which} LoadShape; give the loads {self.which}=<shape>, "
                "or use profiles of kind synthetic"
            )
        uneven = sorted({shape.name for shape in shapes.values() if shape.minutes < 1})
        if uneven:
            raise ValueError(
                f"LoadShape {', '.join(uneven)} has no constant interval of a minute or more; set mininterval"
            )
        lengths = sorted({round(shape.minutes) for shape in shapes.values()})
        if len(lengths) > 1:
            raise ValueError(
                f"the LoadShapes of feeder {feeder.name!r} have intervals of {lengths} minutes; use the same for all"
            )
        check_minutes(f"feeder {feeder.name!r}: LoadShapes", lengths[0], minutes)
        days = min(len(shape.factors) for shape in shapes.values()) * lengths[0] // 1440
        if not days:
            raise ValueError(f"the LoadShapes of feeder {feeder.name!r} hold less than a day")
        powers = {
            name: shape.factors if shape.actual else shape.factors * _nominal(feeder, name)
            for name, shape in shapes.items()
        }
        kw = _columns(feeder, powers, days * 1440 // lengths[0])
        none = np.zeros(0)
        return Measured(kw, lengths[0], Synthetic(self.weather, feeder, minutes), none, none)


def _nominal(feeder: Feeder, name: str) -> float:
    return next(-row.kw for row in feeder.injections if row.name == name)


def _columns(feeder: Feeder, powers: Mapping[str, Array], rows: int) -> Array:
    """(rows, J) injections; loads without a shape at nominal, other units NaN."""
    kw = np.full((rows, len(feeder.injections)), np.nan)
    for j, row in enumerate(feeder.injections):
        if row.kind == "load":
            kw[:, j] = -powers[row.name][:rows] if row.name in powers else row.kw
    return kw
