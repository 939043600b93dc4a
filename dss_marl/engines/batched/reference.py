"""Reference: the power flow of many copies in NumPy, float64; what the compiled solvers are checked with.

Loads and units are currents I(V) that leave the nodes; with the factors of ``factors.py`` an iteration is

    x = -C^T I(V),  Vd = S^-1 (Isrc + xd - Yds Yss^-1 xs),  Vs = Yss^-1 (xs - Ysd Vd)

It contracts by the ratio of load to short-circuit power, about 0.1 on a loaded feeder. Where it is slow, Anderson's
acceleration of depth one, with one number for each copy, makes it converge.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sl

from dss_marl.engines.batched.factors import Factors
from dss_marl.engines.batched.load_models import factors as load_factors
from dss_marl.engines.batched.load_models import laws
from dss_marl.engines.batched.network import Complex
from dss_marl.engines.batched.solver import Demand, Flow, with_volts
from dss_marl.grid.state import Array, BoolArray, IntArray

_PLAIN = 8  # iterations before acceleration
_AT_ONCE = 64  # copies, for the memory of their matrices


class Reference:
    """See Solver.

    Args:
        factors: of the network.

    Attributes:
        across, into: scipy.sparse, (E, Y) from node voltages to those across the phases, and its transpose.
        per_volt: (E) one over the phases' rated voltages [1/V].
        laws: of the loads.
    """

    def __init__(self, factors: Factors) -> None:
        self.factors, self.network = factors, factors.network
        split, network = factors.eliminated, factors.network
        self._inner, self._outer = factors.order[:split], factors.order[split:]
        m = factors.skeleton_size
        lower = sp.csc_matrix((factors.values, factors.rows, factors.starts), shape=(network.count, split))
        unit = sp.identity(split, dtype=complex)
        self._lower = (lower[:split] + unit).tocsr() if split else sp.csr_matrix((0, 0), dtype=complex)
        self._below = lower[split:]  # Ld
        self._size = m
        amps = network.source_amps()
        self._source = amps[self._outer]
        phases = network.phases
        e, count = len(phases), network.count
        back = np.flatnonzero(phases.other >= 0)
        entries = np.concatenate([np.ones(e), -np.ones(len(back))])
        at = np.concatenate([np.arange(e), back]), np.concatenate([phases.one, phases.other[back]])
        self.across = sp.csr_matrix((entries, at), shape=(e, count))  # C
        self.into = self.across.T.tocsr()
        self.per_volt, self.laws = 1 / phases.volts, laws(phases)

    def solve(self, demand: Demand, tolerance: float, iterations: int) -> Flow:
        """See Solver.solve."""
        copies = len(demand.kw)
        wanted = np.arange(copies) if demand.which is None else np.flatnonzero(demand.which)
        v = np.tile(self.network.volts.astype(complex), (copies, 1))
        residual, count = np.zeros(copies), np.zeros(copies, np.int64)
        for start in range(0, len(wanted), _AT_ONCE):
            rows = wanted[start : start + _AT_ONCE]
            v[rows], residual[rows], count[rows] = self._solve(demand, rows, tolerance, iterations)
        return self._flow(demand, v, residual, count)

    def restart(self, which: BoolArray | None = None) -> None:
        """See Solver.restart: every solve starts flat."""

    def close(self) -> None:
        """See Solver.close."""

    def _solve(
        self, demand: Demand, rows: IntArray, tolerance: float, iterations: int
    ) -> tuple[Complex, Array, IntArray]:
        """(b, Y) voltages of some copies, their residuals, and the iterations each took."""
        phases = self.network.phases
        draw = self.admittances(demand.kw[rows], demand.kvar[rows])
        skeleton: Any = np.linalg.inv(self.skeletons(demand.states[rows]))
        idle: Complex = np.einsum("bij,j->bi", skeleton, self._source)
        v = self._spread(np.zeros((len(rows), self.network.count), complex), idle)
        residual, count = np.full(len(rows), np.inf), np.zeros(len(rows), np.int64)
        open_ = np.ones(len(rows), bool)
        memory = _Memory(self.across, phases.volts)
        with np.errstate(all="ignore"):  # copies that collapse are found by their residual
            for turn in range(iterations):
                new = self._iterate(v, draw, skeleton, idle)
                change = np.abs((self.across @ (new - v).T).T) * self.per_volt
                largest = change.max(axis=-1, initial=0.0)
                residual = np.where(open_, np.where(np.isfinite(largest), largest, np.inf), residual)
                count += open_
                new = memory.accelerated(v, new, turn >= _PLAIN)
                v = np.where(open_[:, None], new, v)
                open_ &= ~(residual < tolerance) & np.isfinite(residual)
                if not open_.any():
                    break
        return np.where(np.isfinite(v), v, 0j), residual, count

    def _iterate(self, v: Complex, draw: Complex, skeleton: Complex, idle: Complex) -> Complex:
        return self.voltages(-(self.into @ self.currents(v, draw).T).T, skeleton, idle)

    def voltages(self, injected: Complex, skeleton: Complex, idle: Complex | float = 0.0) -> Complex:
        """(b, Y) node voltages where currents are injected [V].

        Args:
            injected: (b, Y) [A]; overwritten.
            skeleton: (b, m, m) the inverse of its matrix [ohm].
            idle: (b, m) its voltages without these currents [V].
        """
        inner = self._forward(injected[:, self._inner])
        right = injected[:, self._outer] - (self._below @ inner.T).T
        injected[:, self._inner] = inner
        return self._spread(injected, idle + np.einsum("bij,bj->bi", skeleton, right))

    def currents(self, v: Complex, draw: Complex) -> Complex:
        """(b, E) currents that the phases draw at node voltages (b, Y) [A]."""
        across = (self.across @ v.T).T
        kw, kvar = load_factors(self.laws, np.abs(across) * self.per_volt)
        return (kw * draw.real + 1j * kvar * draw.imag) * across

    def admittances(self, kw: Array, kvar: Array) -> Complex:
        """(B, E) admittances that draw the powers (B, J) at rated voltage [S]."""
        phases = self.network.phases
        scale = 1000 * phases.share * self.per_volt**2
        drawn: Complex = -kw[:, phases.injection] + 1j * kvar[:, phases.injection]
        return drawn * scale

    def skeletons(self, states: IntArray) -> Complex:
        """(b, m, m) the skeleton's matrix in states (b, U) [S]."""
        f = self.factors
        entries = np.tile(f.skeleton, (len(states), 1))
        for k, u in enumerate(f.moving):
            for q in range(f.table_starts[k], f.table_starts[k + 1]):
                entries[:, f.table_entries[q]] += f.table[q][states[:, u]]
        full = np.zeros((len(states), self._size, self._size), complex)
        full[:, f.skeleton_rows, f.skeleton_columns] = entries
        full[:, f.skeleton_columns, f.skeleton_rows] = entries
        return full

    def _forward(self, x: Complex) -> Complex:
        """L^-1 x for rows (b, s)."""
        if not x.shape[1]:
            return x
        return sl.spsolve_triangular(self._lower, x.T, lower=True, unit_diagonal=True).T

    @cached_property
    def _upper(self) -> Any:
        return self._lower.T.tocsr()

    def _spread(self, x: Complex, outer: Complex) -> Complex:
        """(b, Y) all voltages from the skeleton's (b, m), and L^-1 xs in ``x`` at the other nodes."""
        v = np.empty_like(x)
        v[:, self._outer] = outer
        if len(self._inner):
            right = x[:, self._inner] * self.factors.pivots - (self._below.T @ outer.T).T
            v[:, self._inner] = sl.spsolve_triangular(self._upper, right.T, lower=False, unit_diagonal=True).T
        return v

    def _flow(self, demand: Demand, v: Complex, residual: Array, count: IntArray) -> Flow:
        network = self.network
        padded = np.concatenate([v, np.zeros((len(v), 1), complex)], axis=-1)  # earth last, at index -1
        v_pu = np.abs(padded[:, network.places] - padded[:, network.neutrals]) / network.volts[network.places]
        taken = (self.across @ v.T).T * self.currents(v, self.admittances(demand.kw, demand.kvar)).conj()
        served = np.zeros(demand.kw.shape)
        np.add.at(served.T, network.phases.injection, -taken.real.T / 1000)
        earth_first = np.concatenate([padded[:, -1:], v], axis=-1)
        kva = self._source_kva(v)
        loss_kw = served.sum(axis=-1) + kva.real.sum(axis=-1)
        return with_volts(
            network, earth_first, demand.states, v_pu=v_pu, served_kw=served, loss_kw=loss_kw, source_kva=kva,
            residual=residual, iterations=count,
        )  # fmt: skip

    def _source_kva(self, v: Complex) -> Complex:
        parts = [
            v[:, row.nodes] * (row.amps - v[:, row.nodes] @ row.admittance.T).conj() * row.counted / 1000
            for row in self.network.sources
        ]
        return np.concatenate(parts, axis=-1)


class _Memory:
    """The iterate before, and what Anderson's acceleration makes of two.

    Args:
        across: node voltages to phase voltages, in which distances are measured.
        volts: (E) rated voltages of the phases [V].
    """

    def __init__(self, across: Any, volts: Array) -> None:
        self._across, self._per_volt = across, 1 / volts
        self._last: tuple[Complex, Complex] | None = None

    def accelerated(self, v: Complex, new: Complex, use: bool) -> Complex:
        """The next iterate, from the last two where ``use``; one number for each copy weighs them."""
        change = (self._across @ (new - v).T).T * self._per_volt
        last, self._last = self._last, (new, change)
        if not use or last is None:
            return new
        before, step = last
        bend = change - step
        size = (np.abs(bend) ** 2).sum(axis=-1)
        weight = (bend.conj() * change).real.sum(axis=-1) / np.maximum(size, 1e-300)
        return new - weight[:, None] * (new - before)
