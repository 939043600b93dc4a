"""What all copies of a network share, as the flat arrays that the compiled functions read."""

from __future__ import annotations

from typing import Any

import numpy as np

from dss_marl.engines.batched.compiled.laws import Laws, law_table
from dss_marl.engines.batched.compiled.sweeps import Active, Skeleton
from dss_marl.engines.batched.compiled.voltages import Ends
from dss_marl.engines.batched.factors import Factors
from dss_marl.engines.batched.network import Complex


class Rows:
    """The rows of voltages: active nodes in the order of elimination, the skeleton's, then the others in reverse order.

    Args:
        factors: of the network.

    Attributes:
        nodes: (Y) the network's node of each row; ``place`` is the inverse, -1 for earth at its end.
        active, passive: columns of L with and without a part in the iteration, in the order of their rows.
        iterated: number of rows that take part in it.
    """

    def __init__(self, factors: Factors) -> None:
        self.factors = factors
        split, count = factors.eliminated, factors.network.count
        self.active = np.flatnonzero(factors.needed)
        self.passive = np.flatnonzero(~factors.needed)[::-1]
        columns = np.concatenate([self.active, np.arange(split, count), self.passive])
        self.iterated = len(self.active) + count - split
        self.nodes = factors.order[columns]
        self.place = np.full(count + 1, -1, np.int64)
        self.place[self.nodes] = np.arange(count)

    def below(self, columns: Any, real: Any) -> tuple[Any, Any, Any]:
        """Starts, rows and values of some columns of L and Ld."""
        f = self.factors
        parts = [np.arange(f.starts[k], f.starts[k + 1]) for k in columns]
        entries = np.concatenate([*parts, np.zeros(0, np.int64)]).astype(np.int64)
        starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        return starts, self.place[f.order[f.rows[entries]]].astype(np.int32), _pairs(f.values[entries], real)


def active(rows: Rows, real: Any, start: Complex) -> Active:
    """See Active."""
    f = rows.factors
    starts, below, values = rows.below(rows.active, real)
    iterated = rows.nodes[: rows.iterated]
    return Active(
        starts=starts,
        rows=below,
        values=values,
        pivots=_pairs(f.pivots[rows.active], real),
        diagonal=f.skeleton_starts.astype(np.int64),
        skeleton_rows=f.skeleton_rows.astype(np.int32),
        per_base2=(1 / f.network.volts[iterated] ** 2).astype(real),
        start=_pairs(start[rows.nodes[: len(rows.active)]], real),
        laws=_laws(rows, real),
    )


def _laws(rows: Rows, real: Any) -> Laws:
    phases = rows.factors.network.phases
    return Laws(
        one=rows.place[phases.one].astype(np.int32),
        other=rows.place[phases.other].astype(np.int32),
        injection=phases.injection.astype(np.int32),
        model=phases.model.astype(np.int32),
        laws=law_table(phases).astype(real),
    )


def skeleton(f: Factors) -> Skeleton:
    """See Skeleton."""
    sizes = [len(values) for values in f.table]
    amps = f.network.source_amps()[f.order[f.eliminated :]]
    return Skeleton(
        entries=_pairs(f.skeleton, np.float64),
        table_starts=f.table_starts.astype(np.int64),
        table_entries=f.table_entries.astype(np.int64),
        table_at=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)[: len(sizes)],
        table=_pairs(np.concatenate([*f.table, np.zeros(1, complex)]), np.float64),
        updates=np.ascontiguousarray(f.updates, np.int64),
        update_starts=f.update_starts.astype(np.int64),
        diagonal=f.skeleton_starts.astype(np.int64),
        rows=f.skeleton_rows.astype(np.int32),
        amps=_pairs(amps, np.float64),
    )


def ends(rows: Rows, real: Any, times: float) -> Ends:
    """See Ends."""
    f, network = rows.factors, rows.factors.network
    starts, below, values = rows.below(rows.passive, real)
    sizes = np.array([len(source.nodes) for source in network.sources])
    first = np.cumsum(sizes) - sizes
    y = np.zeros((int(sizes.sum()), int(sizes.max())), complex)
    for source, k, size in zip(network.sources, first, sizes, strict=True):
        y[k : k + size, :size] = source.admittance
    nodes = rows.place[np.concatenate([source.nodes for source in network.sources])]
    return Ends(
        moving=f.moving.astype(np.int64),
        passive_starts=starts,
        passive_rows=below,
        passive_values=values,
        places=rows.place[network.places].astype(np.int32),
        neutrals=rows.place[network.neutrals].astype(np.int32),
        per_volt=1 / network.volts[network.places],
        skeleton=f.skeleton_size,
        source_nodes=nodes - len(rows.active),
        source_first=np.repeat(first, sizes),
        source_end=np.repeat(first + sizes, sizes),
        width=y.shape[1],
        source_y=_pairs(y.reshape(-1), np.float64),
        source_y_low=_pairs(y.reshape(-1), real),
        amps=_pairs(np.concatenate([source.amps for source in network.sources]), np.float64),
        counted=np.concatenate([source.counted for source in network.sources]),
        times=times,
    )


def _pairs(values: Any, real: Any) -> Any:
    """Complex numbers (n) as (n, 2)."""
    return np.ascontiguousarray(np.stack([values.real, values.imag], axis=-1), real)
