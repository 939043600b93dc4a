"""Leading batch axes for functions that know one state: called state by state, or refused with a reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def by_state(of_one: Callable[..., np.ndarray], *arrays: np.ndarray | None) -> np.ndarray:
    """``of_one`` of each state of a batch.

    Once for each state, because a search through a graph has no vector form; ``of_one`` may remember its answers.

    Args:
        of_one: takes one row (X) of each array.
        arrays: (..., X), whose leading axes broadcast; None is passed on as it is.

    Raises:
        ValueError: the batch is empty, so that the answer's shape is unknown.
    """
    given = [x for x in arrays if x is not None]
    if all(x.ndim == 1 for x in given):
        return of_one(*arrays)
    batch = np.broadcast_shapes(*(x.shape[:-1] for x in given))
    rows = [None if x is None else np.broadcast_to(x, (*batch, x.shape[-1])) for x in arrays]
    answers = [np.asarray(of_one(*(None if x is None else x[state] for x in rows))) for state in np.ndindex(batch)]
    if not answers:
        raise ValueError(f"a batch of shape {batch} has no state to answer for")
    return np.array(answers).reshape(*batch, *answers[0].shape)


def check_one_state(x: np.ndarray, shape: Sequence[int], what: str) -> None:
    """For functions whose answer is no array, or goes to one solver, and so cannot have batch axes.

    Raises:
        ValueError: another shape; says which is expected and which came.
    """
    if x.shape != tuple(shape):
        raise ValueError(f"{what} must be of one state, shape {tuple(shape)}; got {x.shape}; take states one by one")
