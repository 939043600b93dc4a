"""Compiled: the power flow of many copies in machine code, by numba; groups of copies may be spread over threads."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from dss_marl.engines.batched import constants, groups
from dss_marl.engines.batched.factors import Factors
from dss_marl.engines.batched.groups import Kept, Results, Scratch
from dss_marl.engines.batched.lanes import W
from dss_marl.engines.batched.network import Complex
from dss_marl.engines.batched.reference import Reference
from dss_marl.engines.batched.solver import Demand, Flow
from dss_marl.grid.state import IntArray

_LINE = 64  # bytes of a cache line


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
        self._rows = rows = constants.Rows(factors)
        self._active = constants.active(rows, self._real, self.start)
        self._exact = constants.active(rows, np.float64, self.start)
        self._skeleton = constants.skeleton(factors)
        self._ends, self._ends_exact = constants.ends(rows, self._real), constants.ends(rows, np.float64)
        self._allocate()

    def _allocate(self) -> None:
        f, network, rows, real = self.factors, self.network, self._rows, self._real
        entries, m, n, size = len(f.skeleton), f.skeleton_size, rows.iterated, network.count
        nodes, phases = len(network.places), len(network.phases)
        self._sources = len(self._ends.source_nodes)
        self._injections = int(network.phases.injection.max(initial=-1)) + 1

        def lanes(*shape: int, kind: Any = np.float64) -> Any:
            return aligned((*shape, W), kind)

        factor, idle = lanes(self._groups, entries, 2), lanes(self._groups, m, 2)
        same = real is np.float64
        states = np.full((self._groups, max(len(f.moving), 1), W), -1, np.int32)
        low = (factor, idle) if same else (lanes(self._groups, entries, 2, kind=real), lanes(self._groups, m, 2, kind=real))
        self._kept = Kept(states, factor, idle, *low)
        self._volts = _Recycled(lambda: lanes(self._groups, n, 2))
        self._v_pu = _Recycled(lambda: np.zeros((self.copies, nodes), real))
        self._row_count, self._size, self._phases = max(nodes, 1), size, phases

    def _scratch(self, injections: int) -> Scratch:
        n, real = self._rows.iterated, self._real

        def lanes(*shape: int, kind: Any = real) -> Any:
            return aligned((*shape, W), kind)

        iterated = (lanes(n, 2) for _ in range(4))
        return Scratch(
            lanes(injections, 2), *iterated, lanes(n, 2, kind=np.float64), lanes(self._phases, 2, kind=np.float64),
            lanes(self._size, 2), lanes(max(self._row_count, injections)), lanes(1, 2, kind=np.float64),
        )  # fmt: skip

    def solve(self, demand: Demand, tolerance: float, iterations: int) -> Flow:
        """See Solver.solve."""
        copies, injections = demand.kw.shape
        kw, kvar = _whole(demand.kw), _whole(demand.kvar)
        which = np.ones(copies, bool) if demand.which is None else np.ascontiguousarray(demand.which)
        states = np.ascontiguousarray(demand.states)
        out = Results(
            self._volts.take(), self._v_pu.take(), np.zeros((copies, injections), self._real), np.zeros(copies),
            np.zeros((copies, self._sources, 2)), np.zeros((self._groups, W)), np.zeros((self._groups, W)),
        )  # fmt: skip

        def some(first: int, last: int) -> None:
            groups.solve_groups(
                self._active, self._exact, self._skeleton, self._ends, first, last, kw, kvar, states, which, tolerance,
                iterations, self._kept, self._scratch(injections), out,
            )  # fmt: skip

        self._spread(some)
        return Flow(
            v_pu=out.v_pu,
            served_kw=out.served,
            loss_kw=out.loss_kw,
            source_kva=out.kva.view(complex)[..., 0],
            residual=np.where(which, out.residual.reshape(-1)[:copies], 0.0),
            iterations=out.count.reshape(-1)[:copies].astype(np.int64),
            volts=lambda: self._in_order(out),
        )

    def _spread(self, some: Callable[[int, int], None]) -> None:
        """Call ``some`` for ranges of groups, in threads if there are several."""
        if self._pool is None:
            some(0, self._groups)
            return
        ends = [self._groups * k // self._threads for k in range(self._threads + 1)]
        for done in [self._pool.submit(some, a, b) for a, b in zip(ends, ends[1:], strict=False)]:
            done.result()

    def _in_order(self, out: Results) -> Complex:
        """(B, 1 + Y) voltages in the network's order, earth first."""
        count = self.network.count
        found = np.zeros((self.copies, 1 + count), complex)
        lanes = np.empty((self.copies, 2 * count))
        groups.spread_groups(self._ends_exact, out.v, aligned((count, 2, W), np.float64), lanes)
        found[:, 1 + self._rows.nodes] = lanes.view(complex)
        return found

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


class _Recycled:
    """Arrays that are used again as soon as nobody refers to them: fresh memory costs more than what is written to it.

    Args:
        create: makes one.
    """

    def __init__(self, create: Callable[[], Any]) -> None:
        self._create = create
        self._arrays: list[Any] = [create()]
        self._free = self._references(0)

    def _references(self, k: int) -> int:
        return sys.getrefcount(self._arrays[k])

    def take(self) -> Any:
        """An array whose content is anything."""
        for k in range(len(self._arrays)):
            if self._references(k) <= self._free:
                return self._arrays[k]
        if len(self._arrays) < _MOST_RECYCLED:
            self._arrays.append(self._create())
            return self._arrays[-1]
        return self._create()


_MOST_RECYCLED = 4


def aligned(shape: tuple[int, ...], kind: Any) -> Any:
    """Zeros that begin where a line of the cache does."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    room = np.zeros(size + _LINE, np.uint8)
    first = -room.ctypes.data % _LINE
    return room[first : first + size].view(kind).reshape(shape)


def _whole(values: Any) -> Any:
    """Set points as contiguous float32 or float64."""
    kind = np.float32 if values.dtype == np.float32 else np.float64
    return np.ascontiguousarray(values, kind)


def _unloaded(factors: Factors) -> Complex:
    """(Y) voltages without loads, everything that moves in its middle position [V]."""
    network = factors.network
    phases = network.phases
    injections = int(phases.injection.max(initial=-1)) + 1
    states: IntArray = np.array([[len(row.admittance) // 2 for row in network.adjustables]], np.int64)
    none = np.zeros((1, injections))
    solver = Reference(factors)
    return solver.solve(Demand(none, none, states), 1e-6, 50).volts()[0, 1:]
