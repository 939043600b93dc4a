"""Table: one quantity of a recording, a row for each interval and a column for each element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np


class Column(NamedTuple):
    """What a column of a table is.

    Attributes:
        name: unique within the table.
        unit: of its values.
        kind: of the element, such as load, inverter, capacitor; "" where there is none.
        bus, zone: where the element lies; "" where it has no place.
    """

    name: str
    unit: str
    kind: str = ""
    bus: str = ""
    zone: str = ""

    @property
    def heading(self) -> str:
        """Name and unit, as files have it; "name" alone for a quantity without unit."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name


@dataclass(frozen=True)
class Table:
    """One quantity over time.

    Attributes:
        name: of the table.
        meaning: of its values.
        axis: what its columns stand for; tables with the same axis have the same columns.
        columns: (n).
        values: (T, n), NaN in an interval whose power flow failed; integers for positions, states and counts.
    """

    name: str
    meaning: str
    axis: str
    columns: tuple[Column, ...]
    values: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """(n) names of the columns."""
        return tuple(column.name for column in self.columns)

    def __getitem__(self, name: str) -> Any:
        """(T,) the values of one column; names of the circuit are in lower case, as OpenDSS keeps them, but ask in any.

        Raises:
            ValueError: no such column; the message lists some that exist.
        """
        found = name if name in self.names else str(name).lower()
        if found not in self.names:
            raise ValueError(f"table {self.name!r} has no column {name!r}; it has {_some(self.names)}")
        return self.values[:, self.names.index(found)]

    def at_bus(self, bus: str) -> Table:
        """The columns of one bus, in capitals or not: of ``voltages`` its phases, of ``kw_served`` its loads and units.

        Raises:
            ValueError: no column lies there; the message lists some buses.
        """
        rows = [k for k, column in enumerate(self.columns) if column.bus == str(bus).lower()]
        if not rows:
            buses = list(dict.fromkeys(column.bus for column in self.columns if column.bus))
            raise ValueError(f"table {self.name!r} has nothing at bus {bus!r}; it has {_some(buses) or 'no buses'}")
        return replace(self, columns=tuple(self.columns[k] for k in rows), values=self.values[:, rows])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
