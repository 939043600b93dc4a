"""Colours of zones: neighbours differ for every reader, a colour-blind one too."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import numpy as np
from matplotlib.colors import to_rgb

from dss_marl.grid.state import Array, BoolArray, IntArray
from dss_marl.plots.style import PALETTE, mixed

STARTS = 8
TINT = 0.72  # share of white in the tint of a zone, in which colours are hardest to tell apart
_SHADES = (("black", 0.0), ("black", 0.4), ("white", 0.4), ("black", 0.65), ("white", 0.65))

# linear RGB to what a deuteranope sees (Machado, Oliveira and Fernandes 2009, severity 1)
_DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
)
# linear RGB to Oklab (Ottosson 2020), whose distances are close to perceived ones
_LMS = np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                 [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
_LAB = np.array([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
                 [0.0259040371, 0.7827717662, -0.8086757660]])  # fmt: skip


def zone_colours(count: int, borders: Iterable[tuple[int, int]] = ()) -> list[str]:
    """A different colour for each zone: those of the palette, then its darker and lighter shades.

    Zones that border on each other get colours that are far apart, as tints too, with normal vision and with
    deuteranopia, the most frequent colour blindness.

    Args:
        count: number of zones.
        borders: pairs of neighbouring zones.
    """
    colours = _candidates(count)
    near = np.zeros((len(colours), len(colours)))
    for a, b in {(min(pair), max(pair)) for pair in borders if pair[0] != pair[1]}:
        near[a, b] = near[b, a] = 1.0
    chosen = _assigned(near, _distances(colours) ** -4.0)  # the most alike neighbours decide
    return [colours[c] for c in chosen[:count]]


def _candidates(count: int) -> list[str]:
    """Whole rounds of the palette, at least one, as many as give each zone its own colour and a quarter to spare."""
    rounds = max(1, -(-5 * count // (4 * len(PALETTE))))
    shades = [*_SHADES[:rounds]]
    while len(shades) < rounds:
        shades.append((("black", "white")[len(shades) % 2], 0.75 * len(shades) / rounds))
    return [mixed(colour, *shade) for shade in shades for colour in PALETTE]


def _assigned(near: Array, likeness: Array) -> IntArray:
    """(n) the candidate of each zone: the best of several starts, each improved by swaps in pairs."""
    rng, count = np.random.default_rng(0), len(near)
    best, lowest = np.arange(count), np.inf
    for start in range(STARTS):
        chosen = np.arange(count) if start == 0 else rng.permutation(count)
        _improve(chosen, near, likeness)
        cost = float((near * likeness[np.ix_(chosen, chosen)]).sum())
        if cost < lowest - 1e-9:
            best, lowest = chosen, cost
    return best


def _improve(chosen: IntArray, near: Array, likeness: Array) -> None:
    """Swap candidates of two zones while that makes neighbours less alike."""

    def cost(a: int, b: int) -> float:
        return sum(float(near[zone] @ likeness[chosen[zone], chosen]) for zone in (a, b))

    bordering: BoolArray = np.asarray(near.any(1))
    pairs = [(a, b) for a, b in combinations(range(len(near)), 2) if bordering[a] or bordering[b]]
    changed = True
    while changed:  # ends: each swap lowers the sum
        changed = False
        for a, b in pairs:
            before = cost(a, b)
            chosen[[a, b]] = chosen[[b, a]]
            if cost(a, b) < before * (1 - 1e-9):
                changed = True
            else:
                chosen[[a, b]] = chosen[[b, a]]


def _distances(colours: list[str]) -> Array:
    """(n, n) smallest distance of two colours' tints over both kinds of vision; infinite on the diagonal."""
    rgb: Array = np.array([to_rgb(mixed(colour, "white", TINT)) for colour in colours])
    linear: Array = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = (linear, np.clip(linear @ _DEUTERANOPIA.T, 0, 1))
    labs = [np.cbrt(one @ _LMS.T) @ _LAB.T for one in seen]
    apart: Array = np.min([np.linalg.norm(lab[:, None] - lab[None], axis=-1) for lab in labs], axis=0)
    np.fill_diagonal(apart, np.inf)
    return np.maximum(apart, 1e-6)
