"""Leading batch axes for functions of one state: called state by state, or refused with a clear error."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

_FEW = 8  # states that are answered for one by one


def by_state(of_one: Callable[..., np.ndarray], *arrays: np.ndarray | None) -> np.ndarray:
    """Apply ``of_one`` to each state of a batch.

    Called once per state, because a graph search has no vectorised form; ``of_one`` may cache its results.

    Args:
        of_one: takes one row (X) of each array.
        arrays: (..., X), whose leading axes broadcast; None is passed unchanged.

    Raises:
        ValueError: the batch is empty, so that the shape of the result is unknown.
    """
    given = [x for x in arrays if x is not None]
    if all(x.ndim == 1 for x in given):
        return of_one(*arrays)
    batch = np.broadcast_shapes(*(x.shape[:-1] for x in given))
    rows = [None if x is None else np.broadcast_to(x, (*batch, x.shape[-1])) for x in arrays]
    states = list(np.ndindex(batch))
    if not states:
        raise ValueError(f"a batch of shape {batch} has no state to answer for")
    kept, which = _distinct([x for x in rows if x is not None], len(states))
    first = [states[k] for k in kept]
    answers = np.array([np.asarray(of_one(*(None if x is None else x[state] for x in rows))) for state in first])
    return (answers if which is None else answers[which]).reshape(*batch, *answers[0].shape)


def _distinct(rows: Sequence[np.ndarray], count: int) -> tuple[Sequence[int], np.ndarray | None]:
    """Numbers of the states of which no two are equal, and (count) which of these each state equals; None: all differ.

    Copies of a feeder often have their switches alike, and a comparison of bytes costs less than a graph search.
    """
    if count < _FEW:
        return range(count), None
    flat = [np.ascontiguousarray(x).reshape(count, -1) for x in rows]
    if not any(x.size for x in flat):
        return [0], np.zeros(count, np.int64)
    keys = np.concatenate([x.view(np.uint8).reshape(count, -1) for x in flat if x.size], axis=1)
    _, kept, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return kept.tolist(), which.reshape(-1)


def counted(owner: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """(..., count) sums of the entries (..., n) of each owner.

    Args:
        owner: (n) from 0 to ``count`` - 1.
        weights: (..., n), numbers or flags.
        count: number of owners.
    """
    if weights.ndim == 1:
        return np.bincount(owner, weights, count)
    rows = weights.reshape(-1, weights.shape[-1])
    place = owner + count * np.arange(len(rows))[:, None]
    return np.bincount(place.ravel(), rows.ravel(), count * len(rows)).reshape(*weights.shape[:-1], count)


def check_one_state(x: np.ndarray, shape: Sequence[int], what: str) -> None:
    """Refuse batch axes, for functions whose result is not an array or that use one solver.

    Raises:
        ValueError: another shape; the message gives the expected and the actual one.
    """
    if x.shape != tuple(shape):
        raise ValueError(f"{what} must be of one state, shape {tuple(shape)}; got {x.shape}; pass states one by one")
