"""Compiled: the power flow of many copies in machine code, by numba; groups of copies may be spread over threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from dss_marl.engines.batched import kernels
from dss_marl.engines.batched.factors import Factors
from dss_marl.engines.batched.kernels import Constants, W
from dss_marl.engines.batched.network import Complex
from dss_marl.engines.batched.reference import Reference
from dss_marl.engines.batched.solver import Demand, Flow
from dss_marl.grid.state import Array, BoolArray, IntArray



class Compiled:
    """See Solver; for a number of copies that is fixed.

    The iteration runs in float32 or float64, one more sweep in float64 makes the solution. Factors of copies whose
    taps and switches stand as in their last solve are kept.

    Args:
        factors: of the network.
        copies: their number B.
        single: iterate in float32.
        threads: to spread the groups over.
        start: (Y) complex voltages that every iteration starts from [V]; None: those without loads.
    """

    def __init__(
        self, factors: Factors, copies: int, single: bool = True, threads: int = 1, start: Complex | None = None
    ) -> None:
        self.factors, self.network, self.copies = factors, factors.network, copies
        self._real: Any = np.float32 if single else np.float64
        self._groups = -(-copies // W)
        self._threads = max(1, min(threads, self._groups))
        self._pool = ThreadPoolExecutor(self._threads) if self._threads > 1 else None
        self.start = _unloaded(factors) if start is None else start
        self._constants = _constants(factors, self._real, self.start)
        self._exact = _constants(factors, np.float64, self.start)
        self._table = _Table(factors)
        self._ends = _Ends(factors)
        self._allocate()

    def _allocate(self) -> None:
        f, network, groups = self.factors, self.network, self._groups

        def lanes(items: int, kind: Any = np.float64) -> Any:
            return np.zeros((groups, items, W), kind)

        entries, m, e = len(f.skeleton), f.skeleton_size, len(network.phases)
        self._states = np.full((groups, len(f.moving), W), -1, np.int64)
        self._factor, self._idle = (lanes(entries), lanes(entries)), (lanes(m), lanes(m))
        same = self._real is np.float64
        self._factor_low = self._factor if same else (lanes(entries, np.float32), lanes(entries, np.float32))
        self._idle_low = self._idle if same else (lanes(m, np.float32), lanes(m, np.float32))
        self._y = lanes(e, self._real), lanes(e, self._real)
        self._v = lanes(network.count, self._real), lanes(network.count, self._real)
        self._residual, self._count = np.zeros((groups, W)), np.zeros((groups, W), np.int64)

    def solve(self, demand: Demand, tolerance: float, iterations: int) -> Flow:
        """See Solver.solve; copies that are not wanted are solved with the others of their group."""
        network, groups = self.network, self._groups
        which = np.ones(self.copies, bool) if demand.which is None else demand.which
        wanted = np.flatnonzero(np.logical_or.reduceat(which, np.arange(0, self.copies, W)))
        self._refactor(demand.states, wanted)
        nodes, injections = len(network.places), demand.kw.shape[1]
        v_pu = np.ones((self.copies, nodes), self._real)
        served = np.zeros((self.copies, injections), self._real)
        loss_kw = np.zeros(self.copies)
        kva = np.zeros((self.copies, len(self._ends.nodes))), np.zeros((self.copies, len(self._ends.nodes)))
        volts = np.zeros((groups, network.count, W)), np.zeros((groups, network.count, W))
        kw, kvar = np.ascontiguousarray(demand.kw), np.ascontiguousarray(demand.kvar)

        def some(first: int, last: int) -> None:
            self._run(first, last, kw, kvar, tolerance, iterations, v_pu, served, loss_kw, kva, volts)

        self._spread(wanted, some)
        return Flow(
            v_pu=v_pu,
            served_kw=served,
            loss_kw=loss_kw,
            source_kva=kva[0] + 1j * kva[1],
            residual=np.where(which, self._residual.reshape(-1)[: self.copies], 0.0),
            iterations=self._count.reshape(-1)[: self.copies].copy(),
            volts=lambda: self._in_order(volts),
        )

    def _run(
        self, first: int, last: int, kw: Array, kvar: Array, tolerance: float, most: int, v_pu: Any, served: Any,
        loss_kw: Array, kva: Any, volts: Any,
    ) -> None:  # fmt: skip
        """Solve a range of groups."""
        c, split, ends = self._constants, self.factors.eliminated, self._ends
        kernels.pack()(kw, kvar, ends.injection, ends.scale, first, last, *self._y)
        kernels.iterate(self._real)(
            c, split, first, last, *self._factor_low, *self._idle_low, *self._y, tolerance, most, *self._v,
            self._residual, self._count,
        )  # fmt: skip
        kernels.finish()(
            self._exact, split, first, last, *self._factor, *self._idle, *self._y, *self._v, *volts, self._residual,
            ends.injection, ends.places, ends.neutrals, ends.per_volt, v_pu, served, loss_kw,
            ends.starts, ends.nodes, ends.y_re, ends.y_im, ends.amps_re, ends.amps_im, ends.counted, *kva,
        )  # fmt: skip

    def _spread(self, wanted: IntArray, some: Callable[[int, int], None]) -> None:
        """Call ``some`` for ranges of groups that hold all wanted ones, in threads if there are several."""
        if not wanted.size:
            return
        breaks = np.flatnonzero(np.diff(wanted) > 1) + 1
        ranges = [(int(part[0]), int(part[-1]) + 1) for part in np.split(wanted, breaks)]
        if self._pool is None:
            for first, last in ranges:
                some(first, last)
            return
        size = -(-len(wanted) // self._threads)
        pieces = [(a, min(a + size, last)) for first, last in ranges for a in range(first, last, size)]
        for done in [self._pool.submit(some, *piece) for piece in pieces]:
            done.result()

    def _refactor(self, states: IntArray, wanted: IntArray) -> None:
        """Factor the skeletons of the groups in which a state differs from the one before."""
        f, t = self.factors, self._table
        padded = np.concatenate([states, np.repeat(states[-1:], self._groups * W - self.copies, axis=0)])
        moving = padded[:, f.moving].reshape(self._groups, W, -1).transpose(0, 2, 1)
        moved = (moving != self._states).any(axis=(1, 2)) if f.moving.size else self._states_are_new()
        changed = np.intersect1d(wanted, np.flatnonzero(moved))
        if not changed.size:
            return
        self._states[changed] = moving[changed]
        kernels.factor()(
            changed, t.s_re, t.s_im, f.table_starts, f.table_entries, t.at, t.re, t.im, self._states, f.updates,
            f.update_starts, f.skeleton_starts, f.skeleton_rows, t.source_re, t.source_im, *self._factor, *self._idle,
        )  # fmt: skip
        if self._factor_low is not self._factor:
            for low, high in zip(self._factor_low + self._idle_low, self._factor + self._idle, strict=True):
                low[changed] = high[changed]

    def _states_are_new(self) -> Any:
        """Without anything that moves, one factorisation is enough."""
        new, self._factored = not getattr(self, "_factored", False), True
        return np.full(self._groups, new)

    def _in_order(self, volts: tuple[Any, Any]) -> Complex:
        """(B, 1 + Y) voltages in the network's order, earth first."""
        count = self.network.count
        found = np.zeros((self._groups * W, 1 + count), complex)
        lanes = (volts[0] + 1j * volts[1]).transpose(0, 2, 1).reshape(-1, count)
        found[:, 1 + self.factors.order] = lanes
        return found[: self.copies]

    def restart(self, which: BoolArray | None = None) -> None:
        """See Solver.restart: every solve starts flat."""

    def close(self) -> None:
        """See Solver.close."""
        if self._pool is not None:
            self._pool.shutdown()


class _Table:
    """The tables of Factors as flat arrays of real and imaginary parts."""

    def __init__(self, f: Factors) -> None:
        self.s_re, self.s_im = f.skeleton.real.copy(), f.skeleton.imag.copy()
        sizes = [len(values) for values in f.table]
        self.at = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)[: len(sizes)]
        flat = np.concatenate([*f.table, np.zeros(1, complex)])
        self.re, self.im = flat.real.copy(), flat.imag.copy()
        amps = f.network.source_amps()[f.order[f.eliminated :]]
        self.source_re, self.source_im = amps.real.copy(), amps.imag.copy()


class _Ends:
    """What becomes of set points and voltages: indices and factors of the first and last step."""

    def __init__(self, f: Factors) -> None:
        network, place = f.network, np.append(f.place, f.network.count)  # earth last
        phases = network.phases
        self.injection = phases.injection
        self.scale = 1000 * phases.share / phases.volts**2
        self.places, self.neutrals = place[network.places], place[network.neutrals]
        self.per_volt = 1 / network.volts[network.places]
        sizes = [len(row.nodes) for row in network.sources]
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        self.nodes = place[np.concatenate([row.nodes for row in network.sources])]
        self.y_re = np.zeros((len(self.nodes), max(sizes)))
        self.y_im = np.zeros((len(self.nodes), max(sizes)))
        for row, start in zip(network.sources, self.starts, strict=False):
            k = len(row.nodes)
            self.y_re[start : start + k, :k] = row.admittance.real
            self.y_im[start : start + k, :k] = row.admittance.imag
        amps = np.concatenate([row.amps for row in network.sources])
        self.amps_re, self.amps_im = amps.real.copy(), amps.imag.copy()
        self.counted = np.concatenate([row.counted for row in network.sources])


def _unloaded(factors: Factors) -> Complex:
    """(Y) voltages without loads, everything that moves in its middle position [V]."""
    network = factors.network
    phases = network.phases
    injections = int(phases.injection.max(initial=-1)) + 1
    states = np.array([[len(row.admittance) // 2 for row in network.adjustables]], np.int64)
    none = np.zeros((1, injections))
    solver = Reference(factors)
    return solver.solve(Demand(none, none, states), 1e-6, 50).volts()[0, 1:]


def _constants(f: Factors, real: Any, start: Complex) -> Constants:
    network, phases, split = f.network, f.network.phases, f.eliminated
    place = np.append(f.place, network.count)

    def r(values: Any) -> Any:
        return np.ascontiguousarray(values, real)

    kept = f.needed
    return Constants(
        starts=f.starts,
        rows=f.rows,
        l_re=r(f.values.real),
        l_im=r(f.values.imag),
        d_re=r(f.pivots.real),
        d_im=r(f.pivots.imag),
        injected=np.flatnonzero(f.injected[:split]),
        needed=np.flatnonzero(kept),
        passive=np.flatnonzero(~kept),
        diagonal=f.skeleton_starts,
        s_rows=f.skeleton_rows,
        one=place[phases.one],
        other=place[phases.other],
        model=phases.model,
        per_volt2=r(1 / phases.volts**2),
        v_min=r(phases.v_min),
        v_max=r(phases.v_max),
        v_low=r(phases.v_low),
        low=r(phases.low),
        exponents=r(phases.exponents),
        zip=r(phases.zip),
        per_base2=r(1 / network.volts[f.order] ** 2),
        idle_re=r(start[f.order].real),
        idle_im=r(start[f.order].imag),
    )
