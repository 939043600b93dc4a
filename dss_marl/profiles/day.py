"""Day: what the grid meets on one day, before control."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from dss_marl.grid.state import Array


@dataclass(frozen=True)
class Day:
    """One day of injections before control, and the first intervals of the next: agents see what comes.

    Attributes:
        kw: (T + ahead, J) loads negative, available sun positive, other units 0 [kW].
        kvar: (T + ahead, J) loads negative [kvar].
        price: (T + ahead) of energy [currency/kWh].
        temperature_c: (T + ahead) of the air [degree C].
    """

    kw: Array
    kvar: Array
    price: Array
    temperature_c: Array

    def then(self, following: Day) -> Day:
        """This day with the rows of another after its own."""
        return Day(*(np.concatenate([getattr(day, field.name) for day in (self, following)]) for field in fields(Day)))
