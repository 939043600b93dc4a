"""SharedArrays: memory of two processes, through which large arrays pass instead of through a pipe."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

_SIZE = 1 << 22  # bytes; what does not fit goes with the message
_ALIGNED = 64


class SharedArrays:
    """A shelf for the arrays of one message at a time: put into it in one process, taken out in the other.

    Args:
        context: of multiprocessing; the object goes to the other process as an argument when that is started.
    """

    def __init__(self, context: Any) -> None:
        self._memory = context.RawArray("b", _SIZE)

    def put(self, message: Any) -> bytes:
        """The pickled message, without the arrays that now lie in the shared memory."""
        kept: list[pickle.PickleBuffer] = []
        shelf, places, end = memoryview(self._memory).cast("B"), [], 0

        def fits(buffer: pickle.PickleBuffer) -> bool:
            nonlocal end
            size = buffer.raw().nbytes
            if end + size > _SIZE:
                return True  # pickled with the message
            places.append((end, size))
            kept.append(buffer)
            end += -(-size // _ALIGNED) * _ALIGNED
            return False

        data = pickle.dumps(message, protocol=5, buffer_callback=fits)
        for (start, size), buffer in zip(places, kept, strict=True):
            shelf[start : start + size] = buffer.raw()
        return pickle.dumps((data, places))

    def take(self, packed: bytes) -> Any:
        """The message; its arrays are copies, as the memory is used again for the next one."""
        data, places = pickle.loads(packed)
        return pickle.loads(data, buffers=self._copies(places))

    def _copies(self, places: Sequence[tuple[int, int]]) -> list[bytearray]:
        shelf = memoryview(self._memory).cast("B")
        return [bytearray(shelf[start : start + size]) for start, size in places]
