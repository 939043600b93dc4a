"""Volt-var curves, and the damping of their fixed-point iteration with the power flow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, IntArray

PARAMETERS = ("reference voltage", "dead band", "slope")
MOST = 0.44  # IEEE 1547-2018: kvar limit of the default curve of category B, over rating [1]
_SLOPE = MOST / 0.06  # of category B: 0 at 0.98 pu, 0.44 at 0.92 pu [1/pu]


def kvar_share(entries: Array, v_pu: Array) -> Array:
    """(..., D) reactive power over rating of the curves at these voltages, + into the grid [1].

    All-zero entries are the default of IEEE 1547-2018, category B: 0.44 at 0.92 pu, 0 from 0.98 to 1.02, -0.44 at 1.08.
    The first entry sets the reference voltage, 0.95 to 1.05 pu, the second half the dead band, 0 to 0.03 pu (0.02 at
    zero), the third multiplies the slope by 1/3 to 3.

    Args:
        entries: (..., D, 3) in [-1, 1].
        v_pu: (..., D) mean voltage at each inverter [pu].
    """
    reference = 1.0 + 0.05 * entries[..., 0]
    half = 0.02 + np.where(entries[..., 1] < 0, 0.02, 0.01) * entries[..., 1]
    off = v_pu - reference
    beyond = np.sign(off) * np.maximum(np.abs(off) - half, 0.0)
    return np.clip(-slope(entries) * beyond, -MOST, MOST)


def slope(entries: Array) -> Array:
    """(..., D) slope outside the dead band, kvar over rating per voltage [1/pu]."""
    return _SLOPE * 3.0 ** entries[..., 2]


@dataclass(frozen=True)
class Places:
    """Measurement points of inverters, and their joint effect on the voltages.

    Attributes:
        nodes: (D, W) indices of the nodes of each, the first repeated where it has fewer than W.
        weights: (D, W) weights of the mean over them; rows sum to 1.
        rise: (D) approximate voltage change at each if all of them injected their rating in kvar [pu].
        rise_by_kw: (D) the same in kW [pu]; read by volt-watt curves alone.
    """

    nodes: IntArray
    weights: Array
    rise: Array
    rise_by_kw: Array | None = None

    def voltages(self, v_pu: Array) -> Array:
        """(..., D) mean voltage at each inverter, from (..., N)."""
        mean: Array = (v_pu[..., self.nodes] * self.weights).sum(-1)
        return mean

    def damping(self, entries: Array, gain: Array | float = 0.0) -> Array:
        """(..., D) step size of the fixed-point iteration, as a share of the mismatch.

        Args:
            entries: (..., D, 3) of the curves.
            gain: (D) loop gain of what else follows the voltage.

        With loop gain G, slope times sensitivity, a step of 1 / (1 + row sum of G) is a contraction: the eigenvalues of
        (1 + row sum)^-1 (1 + G) lie in (0, 1]; they stay below the limit of 2 even if the sum is off by a half.
        """
        return 1.0 / (1.0 + slope(entries) * self.rise + gain)


def places(feeder: Feeder, injections: Sequence[int], kva: Array) -> Places:
    """Measurement points of inverters with these ratings (D) at these injections."""
    rows = [feeder.injections[j].nodes for j in injections]
    width = max(map(len, rows))
    nodes = np.array([[*row, *[row[0]] * (width - len(row))] for row in rows], dtype=np.int64)
    weights = np.array([[1 / len(row) if k < len(row) else 0.0 for k in range(width)] for row in rows])
    return Places(nodes, weights, *(_rises(feeder, injections, kva, part) for part in ("x_ohm", "r_ohm")))


def joint_rises(feeder: Feeder, injections: Sequence[int], kva: Array) -> Array:
    """(D, D) approximate voltage change at each inverter if another injected its rating in kvar [pu].

    The sums over rows are the ``rise`` of ``places``, whose arguments and approximations are the same.
    """
    per_kva, pieces, phases = _ways(feeder, injections, "x_ohm")
    own = [dict.fromkeys(way) for way in pieces]
    found = np.zeros((len(pieces), len(pieces)))
    for i, way in enumerate(pieces):
        for j, rating in enumerate(kva):
            counts = 5 if phases[i] and phases[i] == phases[j] else 1
            found[i, j] = counts * rating * sum(per_kva[piece] for piece in way if piece in own[j])
    return found


def _rises(feeder: Feeder, injections: Sequence[int], kva: Array, part: str) -> Array:
    """(D) impedance of the path to the source, each branch weighted with all ratings behind it [pu].

    Args:
        feeder, injections, kva: as of ``places``.
        part: of the impedance, "x_ohm" for the effect of kvar or "r_ohm" for that of kW.

    A one-phase unit sees the loop impedance, about 1.7 times the positive-sequence one, with a third of the base power:
    it counts five times on its own phase. The path is the shortest; open switches are crossed only if unavoidable.
    """
    per_kva, pieces, phases = _ways(feeder, injections, part)
    behind: dict[tuple[Any, ...], float] = defaultdict(float)  # kVA, of all and of those on one phase
    for way, phase, rating in zip(pieces, phases, kva, strict=True):
        for piece in way:
            behind[piece] += rating
            behind[(*piece, *phase)] += 4 * rating if phase else 0.0
    return np.array(
        [
            sum(per_kva[p] * (behind[p] + (behind[(*p, *phase)] if phase else 0.0)) for p in way)
            for way, phase in zip(pieces, phases, strict=True)
        ],
        dtype=float,
    )


def _ways(
    feeder: Feeder, injections: Sequence[int], part: str
) -> tuple[dict[tuple[str, str], float], list[list[tuple[str, str]]], list[tuple[int, ...]]]:
    """Impedance of branches [pu/kVA], the branches from the source to each injection, and the phase of one-phase ones.

    Branches are pairs of buses; the phase is empty where there are more than one.
    """
    graph = feeder.graph()
    for bus1, _, facts in graph.edges(data=True):
        kv = graph.nodes[bus1]["kv_base"]
        facts["per_kva"] = max(facts[part], 0.0) / (3000 * kv**2) if kv > 0 else 0.0
    ways = nx.single_source_dijkstra_path(
        graph, feeder.source_bus, weight=lambda _1, _2, facts: facts["per_kva"] + (0.0 if facts["closed"] else 1e9)
    )
    rows = [feeder.injections[j] for j in injections]
    pieces = [list(pairwise(ways.get(row.bus, ()))) for row in rows]
    per_kva = {piece: graph.edges[piece]["per_kva"] for way in pieces for piece in way}
    return per_kva, pieces, [row.phases if len(row.phases) == 1 else () for row in rows]
