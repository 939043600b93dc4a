"""The content of a replay buffer as plain data, each observation once.

SB3 keeps the observations before and after each step, and can leave out the latter only where no time limit cuts
episodes. In a file they are needed only where the next step did not begin with them: at the end of an episode or of a
section, and at the step that was written last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch as th

_BEFORE, _AFTER = "observations/", "next_observations/"


def contents(buffer: Any) -> dict[str, Any]:
    """The rows of a replay buffer that are filled, and where the next goes."""
    filled = buffer.buffer_size if buffer.full else buffer.pos
    rows = {name: array[:filled] for name, array in _arrays(buffer).items()}
    found: dict[str, Any] = {"pos": buffer.pos, "full": buffer.full}
    if _AFTER in rows:
        after = rows.pop(_AFTER)
        other = _differ(after, _following(rows[_BEFORE]))
        found["ends"] = th.from_numpy(np.flatnonzero(other))
        found["last"] = th.from_numpy(after[other])
    found["rows"] = {name: th.from_numpy(array) for name, array in rows.items()}
    return found


def fill(buffer: Any, found: Mapping[str, Any]) -> None:
    """Put contents into a buffer of the same size.

    Raises:
        KeyError, ValueError: they are of another buffer.
    """
    arrays = _arrays(buffer)
    filled = buffer.buffer_size if found["full"] else found["pos"]
    for name, rows in found["rows"].items():
        arrays[name][:filled] = rows.numpy()
    if "ends" in found:
        after = arrays[_AFTER][:filled]
        after[:] = _following(arrays[_BEFORE][:filled])
        after[np.unravel_index(found["ends"].numpy(), after.shape[:2])] = found["last"].numpy()
    buffer.pos, buffer.full = found["pos"], found["full"]


def _following(observations: np.ndarray) -> np.ndarray:
    """(R, rows, ...) the observations of the next step; the first ones after the last."""
    return np.roll(observations, -1, axis=0)


def _differ(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(R, rows) where observations are not the same to the last bit."""
    bits = [np.ascontiguousarray(array).view(f"u{array.itemsize}") for array in (one, other)]
    unequal: np.ndarray = (bits[0] != bits[1]).reshape(*one.shape[:2], -1).any(axis=-1)
    return unequal


def _arrays(buffer: Any) -> dict[str, np.ndarray]:
    """Arrays of a replay buffer by name, also those of each part of an observation."""
    found: dict[str, np.ndarray] = {}
    for name, value in vars(buffer).items():
        parts = value.items() if isinstance(value, dict) else (("", value),)
        found |= {f"{name}/{key}": part for key, part in parts if isinstance(part, np.ndarray)}
    return found
