"""The skeletons of many copies factored side by side in PyTorch; see ``factors``.

Pivots that do not depend on one another are eliminated in one step, for all copies, so that a GPU has few, wide steps.
Sums are taken over padded lists in a fixed order: additions by atomic operations would differ from call to call.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dss_marl.engines.batched.factors import Factors
from dss_marl.grid.state import IntArray


class Inverse(NamedTuple):
    """S^-1 = X^T diag(pivots) X of B copies.

    Attributes:
        lower: (B, m, m) X, the inverse of the unit lower factor.
        pivots: (B, m) one over the pivots [ohm].
    """

    lower: Tensor
    pivots: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """(B, m) S^-1 x."""
        inner = torch.matmul(self.lower, x[..., None]) * self.pivots[..., None]
        return torch.matmul(self.lower.transpose(1, 2), inner)[..., 0]

    def to(self, kind: torch.dtype) -> Inverse:
        """In another precision."""
        return Inverse(self.lower.to(kind), self.pivots.to(kind))


class _Elimination(NamedTuple):
    """A step of the factorisation: columns to scale, then entries to reduce by products of others, padded."""

    scaled: Tensor
    by: Tensor
    reduced: Tensor
    one: Tensor
    other: Tensor


class _Substitution(NamedTuple):
    """A step of inverting L: rows that become what they were minus products of entries and earlier rows, padded."""

    rows: Tensor
    entries: Tensor
    earlier: Tensor


class Skeletons:
    """Factors the skeletons of states; one that all copies share is factored once.

    Args:
        factors: of the network.
        device: of torch.
    """

    def __init__(self, factors: Factors, device: torch.device) -> None:
        f, self._device = factors, device
        self._size, self._count = f.skeleton_size, len(f.skeleton)
        self._entries = self._tensor(f.skeleton)
        self._moving = self._tensor(f.moving)
        counts = np.diff(f.table_starts)
        self._element = self._tensor(np.repeat(np.arange(len(f.moving)), counts))
        sizes = np.array([len(values) for values in f.table], np.int64)
        self._first = self._tensor(np.cumsum(sizes) - sizes)
        self._values = self._tensor(np.concatenate([*f.table, np.zeros(1, complex)]))
        changed, own = _padded(f.table_entries, np.arange(len(f.table_entries)), len(f.table_entries))
        self._changed, self._own = self._tensor(changed), self._tensor(own)
        self._diagonal = self._tensor(f.skeleton_starts[:-1])
        self._eliminations, self._substitutions = self._steps(f)

    def _tensor(self, values: Any) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), device=self._device)

    def _steps(self, f: Factors) -> tuple[list[_Elimination], list[_Substitution]]:
        """Both lists; a column can be eliminated after all that reduce it, as a row of L^-1 follows its others."""
        starts, rows = f.skeleton_starts, f.skeleton_rows
        column = np.repeat(np.arange(self._size), np.diff(starts))
        level = np.zeros(self._size, np.int64)
        for k in range(self._size):
            below = rows[starts[k] + 1 : starts[k + 1]]
            level[below] = np.maximum(level[below], level[k] + 1)
        pivot_of = np.repeat(np.arange(self._size), np.diff(f.update_starts))
        eliminations, substitutions = [], []
        beside = rows != column
        for step in range(int(level.max(initial=-1)) + 1):
            scaled = np.flatnonzero(beside & (level[column] == step))
            own = np.flatnonzero(level[pivot_of] == step)
            reduced, which = _padded(f.updates[own, 0], own, len(f.updates))
            pairs = np.concatenate([f.updates[:, 1:], [[self._count, self._count]]])  # padding: an entry that is 0
            parts = scaled, starts[column[scaled]], reduced, pairs[which, 0], pairs[which, 1]
            eliminations.append(_Elimination(*map(self._tensor, parts)))
            entries = np.flatnonzero(beside & (level[rows] == step))
            followed, which = _padded(rows[entries], entries, self._count)
            earlier = np.append(column, 0)[which]
            if len(followed):
                substitutions.append(_Substitution(*map(self._tensor, (followed, which, earlier))))
        return eliminations, substitutions

    def inverse(self, states: Tensor) -> Inverse:
        """Of the skeletons in states (B, U) of all adjustable elements, in float64."""
        moving = states[:, self._moving]
        if len(moving) > 1 and (not moving.shape[1] or bool((moving == moving[:1]).all())):
            shared = self._inverse(moving[:1])
            return Inverse(shared.lower.expand(len(states), -1, -1), shared.pivots.expand(len(states), -1))
        return self._inverse(moving)

    def _inverse(self, moving: Tensor) -> Inverse:
        copies, m = len(moving), self._size
        s = torch.zeros((self._count + 1, copies), dtype=torch.complex128, device=self._device)
        s[: self._count] = self._entries[:, None]
        if len(self._changed):
            added = self._values[self._first[:, None] + moving.T[self._element]]
            padded = torch.cat([added, torch.zeros_like(added[:1])])
            s[self._changed] += padded[self._own].sum(1)
        ratio = torch.zeros_like(s)
        for step in self._eliminations:
            ratio[step.scaled] = s[step.scaled] / s[step.by]
            if len(step.reduced):
                s[step.reduced] -= (s[step.one] * ratio[step.other]).sum(1)
        lower = torch.zeros((m, m, copies), dtype=torch.complex128, device=self._device)
        lower[torch.arange(m), torch.arange(m)] = 1.0
        for row in self._substitutions:
            lower[row.rows] -= (ratio[row.entries][:, :, None] * lower[row.earlier]).sum(1)
        return Inverse(lower.permute(2, 0, 1).contiguous(), (1 / s[self._diagonal]).T.contiguous())


def _padded(keys: IntArray, values: IntArray, filler: int) -> tuple[IntArray, IntArray]:
    """(n) different keys, and (n, k) the values of each, filled up."""
    found, which, counts = np.unique(keys, return_inverse=True, return_counts=True)
    table = np.full((len(found), int(counts.max(initial=0))), filler, np.int64)
    order = np.argsort(which, kind="stable")
    place = np.arange(len(keys)) - np.repeat(np.cumsum(counts) - counts, counts)
    table[which[order], place] = values[order]
    return found.astype(np.int64), table
