"""Profiles from the LoadShapes defined in an OpenDSS circuit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from dss_marl.engines import LoadShape, read_load_shapes
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array
from dss_marl.profiles.measured import Measured, check_minutes
from dss_marl.profiles.own_days import MeasuredData
from dss_marl.profiles.own_power import feeds_in
from dss_marl.profiles.synthetic import Synthetic


class LoadshapeProfiles(MeasuredData):
    """The circuit's own shapes: each load's ``daily``, ``yearly`` or ``duty``; loads without one stay at nominal."""

    kind: Literal["loadshapes"] = Field(description="kind of profiles")
    which: Literal["daily", "yearly", "duty"] = Field(
        default="daily", description="property that names the shape; daily stands in for yearly and duty"
    )

    def open(self, feeder: Feeder, minutes: int) -> Measured:
        """The days of the circuit's shapes; the longest tells how many there are, shorter ones repeat.

        Raises:
            ValueError: no load has a shape, or the shapes' intervals are uneven, do not divide a day, or do not fit.
        """
        shapes = read_load_shapes(feeder, self.which)
        if not shapes:
            raise ValueError(
                f"no load of feeder {feeder.name!r} has a {self.which} LoadShape; give the loads {self.which}=<shape>, "
                "or use profiles of kind synthetic"
            )
        native = common_minutes(shapes)
        check_minutes(f"feeder {feeder.name!r}: LoadShapes", native, minutes)
        rows = max(len(shape.factors) * round(shape.minutes) for shape in shapes.values()) // 1440 * 1440 // native
        if not rows:
            raise ValueError(f"the LoadShapes of feeder {feeder.name!r} hold less than a day")
        kw, kvar = np.full((2, rows, len(feeder.injections)), np.nan)
        for j in feeder.loads:
            load = feeder.injections[j]
            shape = shapes.get(load.name)
            if shape is None and feeds_in(load):
                continue  # follows the sun
            if shape is None:
                kw[:, j], kvar[:, j] = load.kw, load.kvar
            else:
                kw[:, j] = repeated(-shape.kw(-load.kw), shape, native, rows)
                kvar[:, j] = repeated(-shape.kvar(-load.kvar), shape, native, rows)
        weather = Synthetic(self.weather, feeder, minutes)
        return Measured(kw, native, weather, kvar=kvar, calendar=self.dated("the circuit's LoadShapes"))


def common_minutes(shapes: Mapping[str, LoadShape]) -> int:
    """The longest interval that all shapes' intervals are multiples of [min].

    Raises:
        ValueError: a shape has no constant interval of whole minutes, or the intervals do not divide a day.
    """
    uneven = {shape.name for shape in shapes.values() if shape.minutes < 1 or shape.minutes % 1 > 1e-6}
    if uneven:
        raise ValueError(
            f"LoadShape {', '.join(sorted(uneven))} has no constant interval of whole minutes, 1 or more; "
            "set mininterval"
        )
    native = math.gcd(*(round(shape.minutes) for shape in shapes.values()))
    if 1440 % native:
        raise ValueError(f"LoadShapes with intervals of {native} minutes do not divide a day; resample them")
    return native


def repeated(values: Array, shape: LoadShape, native: int, rows: int) -> Array:
    """(rows) a shape's values held over shorter intervals and repeated, as OpenDSS repeats them."""
    return np.resize(np.repeat(values, round(shape.minutes) // native), rows)
