"""Compiled: the power flow of many copies in machine code, by numba; groups of copies may be spread over threads."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from dss_marl.engines.batched.compiled import constants, groups, loading, voltages
from dss_marl.engines.batched.compiled.groups import Kept, Results, Scratch
from dss_marl.engines.batched.compiled.lanes import W
from dss_marl.engines.batched.compiled.symmetry import third
from dss_marl.engines.batched.factors import Factors, factorised
from dss_marl.engines.batched.network import Complex
from dss_marl.engines.batched.reference import Reference
from dss_marl.engines.batched.solver import Demand, Flow
from dss_marl.grid.state import BoolArray, IntArray

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
        self.start = unloaded(factors) if start is None else start
        self._third = third(factors.network, self.start)
        one_phase, times = factors, 1.0
        if self._third is not None:
            one_phase, times = factorised(self._third.network, factors.fixed), 3.0
        self._solved = one_phase
        begin = self.start if self._third is None else self.start[self._third.turn == 1]
        self._rows = rows = constants.Rows(one_phase)
        self._active = constants.active(rows, self._real, begin)
        self._exact = constants.active(rows, np.float64, begin)
        self._skeleton = constants.skeleton(one_phase)
        self._ends, self._ends_exact = (constants.ends(rows, kind, times) for kind in (self._real, np.float64))
        self._allocate()

    def _allocate(self) -> None:
        f, rows, real, count = self._solved, self._rows, self._real, self._groups
        m, sources = f.skeleton_size, len(self._ends.source_nodes)
        self._kept = Kept(
            states=np.full((count, max(len(f.moving), 1), W), -1, np.int32),
            factor=_lanes(count, len(f.skeleton), 2, kind=real),
            idle=_lanes(count, m, 2, kind=real),
            surplus=_lanes(count, sources, 2, kind=real),
        )
        nodes = len(f.network.places)
        self._injected = _Recycled(lambda: _lanes(count, rows.iterated, 2, kind=real))
        self._v_pu = _Recycled(lambda: np.zeros((self.copies, nodes), real))
        self._served: _Recycled | None = None
        self._memory: list[Scratch] = []

    def _scratch(self, injections: int) -> Scratch:
        n, real, network = self._rows.iterated, self._real, self._solved.network
        return Scratch(
            powers=_lanes(injections, 2, kind=real),
            v=_lanes(n, 2, kind=real),
            x=_lanes(n, 2, kind=real),
            last=_lanes(n, 2, kind=real),
            bend=_lanes(n, 2, kind=real),
            change=_lanes(self._solved.skeleton_size, 2, kind=real),
            currents=_lanes(len(network.phases), 2, kind=real),
            nodes=_lanes(network.count, 2, kind=real),
            factor=_lanes(len(self._solved.skeleton), 2),
            idle=_lanes(self._solved.skeleton_size, 2),
            rows=_lanes(max(len(network.places), injections), kind=real),
            sums=_lanes(1, 2, kind=real),
        )

    def solve(self, demand: Demand, tolerance: float, iterations: int) -> Flow:
        """See Solver.solve."""
        copies, injections = demand.kw.shape
        kw, kvar = _whole(demand.kw), _whole(demand.kvar)
        which = np.ones(copies, bool) if demand.which is None else np.ascontiguousarray(demand.which)
        states = np.array(demand.states, np.int32, order="C")  # the Flow keeps them
        sources = len(self._ends.source_nodes)
        if self._served is None:
            self._served = _Recycled(lambda: np.zeros((copies, injections), self._real))
            self._memory = [self._scratch(injections) for _ in range(self._threads)]
        out = Results(
            injected=self._injected.take(),
            v_pu=self._v_pu.take(),
            served=self._served.take(),
            loss_kw=np.zeros(copies),
            kva=np.zeros((copies, sources, 2)),
            residual=np.zeros((self._groups, W)),
            count=np.zeros((self._groups, W)),
        )

        def some(thread: int, first: int, last: int) -> None:
            groups.solve_groups(
                self._active, self._skeleton, self._ends, first, last, kw, kvar, states, which, tolerance,
                iterations, self._kept, self._memory[thread], out,
            )  # fmt: skip

        self._spread(some)
        return Flow(
            v_pu=out.v_pu,
            served_kw=out.served,
            loss_kw=out.loss_kw,
            source_kva=self._all_sources(out.kva.view(complex)[..., 0]),
            residual=np.where(which, out.residual.reshape(-1)[:copies], 0.0),
            iterations=out.count.reshape(-1)[:copies].astype(np.int64),
            volts=lambda: self._in_order(out, states),
            loading=lambda: self._loading(out, states, True),
            highest=lambda: self._loading(out, states, False),
        )

    def _spread(self, some: Callable[[int, int, int], None]) -> None:
        """Call ``some`` for ranges of groups, by one thread for each."""
        if self._pool is None:
            some(0, 0, self._groups)
            return
        ends = [self._groups * k // self._threads for k in range(self._threads + 1)]
        for done in [self._pool.submit(some, k, *pair) for k, pair in enumerate(pairwise(ends))]:
            done.result()

    def _all_sources(self, kva: Complex) -> Complex:
        return kva if self._third is None else kva[:, self._third.source_nodes]

    def _exactly(self) -> voltages.Exact:
        f = self._solved
        return voltages.Exact(
            self._exact, self._skeleton, self._ends_exact, np.zeros((max(len(f.moving), 1), W), np.int32),
            _lanes(len(f.skeleton), 2), _lanes(f.skeleton_size, 2), _lanes(self._rows.iterated, 2),
            _lanes(f.network.count, 2),
        )  # fmt: skip

    def _in_order(self, out: Results, states: Any) -> Complex:
        """(B, 1 + Y) voltages in the network's order, earth first."""
        count = self._solved.network.count
        found = np.zeros((self.copies, 1 + count), complex)
        lanes = np.empty((self.copies, 2 * count))
        voltages.spread_groups(self._exactly(), out.injected, states, lanes)
        found[:, 1 + self._rows.nodes] = lanes.view(complex)
        if self._third is None:
            return found
        phases = found[:, 1 + self._third.node] * self._third.turn
        return np.concatenate([found[:, :1], phases], axis=-1)

    @cached_property
    def _branches(self) -> loading.Branches:
        whole = self.network.count
        node = np.arange(whole) if self._third is None else self._third.node
        turn = np.ones(whole, complex) if self._third is None else self._third.turn
        return loading.branches_of(self.network, self._rows.place, node, turn)

    def _loading(self, out: Results, states: Any, each: bool) -> Any:
        """(B, M) loading of each branch, or (B) the highest."""
        b = self._branches
        branches = len(b.starts) - 1
        found = np.zeros((self.copies if each else 0, branches), self._real)
        highest = np.zeros((self.copies, 1), self._real)
        rows = _lanes(branches + 1, kind=self._real)
        factors = _lanes(len(b.divisors))
        loading.load_groups(b, self._exactly(), out.injected, states, factors, rows, found, highest)
        return found if each else highest[:, 0]

    def restart(self, which: BoolArray | None = None) -> None:
        """See Solver.restart: every solve starts flat."""

    def close(self) -> None:
        """See Solver.close."""
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


def _lanes(*shape: int, kind: Any = np.float64) -> Any:
    """Zeros (..., W) that begin where a line of the cache does."""
    size = int(np.prod(shape)) * W * np.dtype(kind).itemsize
    room = np.zeros(size + _LINE, np.uint8)
    first = -room.ctypes.data % _LINE
    return room[first : first + size].view(kind).reshape(*shape, W)


def _whole(values: Any) -> Any:
    """Set points as contiguous float32 or float64."""
    kind = np.float32 if values.dtype == np.float32 else np.float64
    return np.ascontiguousarray(values, kind)


def unloaded(factors: Factors) -> Complex:
    """(Y) voltages without loads, everything that moves in its middle position [V]."""
    network = factors.network
    phases = network.phases
    injections = int(phases.injection.max(initial=-1)) + 1
    states: IntArray = np.array([[len(row.admittance) // 2 for row in network.adjustables]], np.int64)
    none = np.zeros((1, injections))
    solver = Reference(factors)
    return solver.solve(Demand(none, none, states), 1e-6, 50).volts()[0, 1:]
