"""Day: injections, price and temperature of one day, before control."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from dss_marl.grid.state import Array


@dataclass(frozen=True)
class Day:
    """One day of injections before control, and the first intervals of the next day for look-ahead.

    Attributes:
        kw: (T + ahead, J) loads negative, available PV positive, other units 0 [kW].
        kvar: (T + ahead, J) loads negative [kvar].
        price: (T + ahead) energy price [currency/kWh].
        temperature_c: (T + ahead) air temperature [degree C].
    """

    kw: Array
    kvar: Array
    price: Array
    temperature_c: Array

    def then(self, following: Day) -> Day:
        """This day followed by the rows of another."""
        return Day(*(np.concatenate([getattr(day, field.name) for day in (self, following)]) for field in fields(Day)))
