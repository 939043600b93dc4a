"""KeptDays: the generated days that were asked for last, in 16 bits a value."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bits = tuple[NDArray[np.uint16], ...]
MOST_BYTES = 4_000_000  # a year of 15-minute intervals of 50 injections, or two months of 5-minute intervals of 100


class KeptDays:
    """A memory of days, so that an episode on a day that was played before does not generate it again.

    Args:
        most_bytes: beyond which the day that was not asked for the longest is forgotten.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._bytes = most_bytes, 0
        self._days: OrderedDict[Hashable, Bits] = OrderedDict()

    def __len__(self) -> int:
        return len(self._days)

    def get(self, key: Hashable, make: Callable[[], Bits]) -> Bits:
        """The day of that key, which must say all that the day depends on; made if it is not kept."""
        found = self._days.get(key)
        if found is None:
            found = self._days[key] = make()
            self._bytes += _size(found)
            while self._bytes > self._most and len(self._days) > 1:
                self._bytes -= _size(self._days.popitem(last=False)[1])
        else:
            self._days.move_to_end(key)
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy starts empty: it can make the days again, and pickles stay small."""
        return KeptDays, (self._most,)


def _size(day: Bits) -> int:
    return sum(values.nbytes for values in day)
