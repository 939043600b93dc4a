"""Gradients of a power flow by implicit differentiation, in NumPy, float64.

With the equations F(V, P, Q) = Y V + C^T I(C V, P, Q) - Isrc = 0 and g = df/dRe V + j df/dIm V of a number f,

    Y mu + C^T (A C mu + conj(B) conj(C mu)) = conj(g),   df/dP = direct part - Re(mu^T C^T dI/dP)

where dI = A dw + B conj(dw) are the laws of the loads at the phases' voltages w = C V. As Y is symmetric, the adjoint
mu takes the same factors as the power flow, and its iteration contracts alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dss_marl.engines.batched.gradients.ports import Ports
from dss_marl.engines.batched.load_models import factors_and_slopes
from dss_marl.engines.batched.network import Complex
from dss_marl.engines.batched.reference import Reference
from dss_marl.engines.batched.solver import Demand
from dss_marl.grid.state import Array

_AT_ONCE = 64  # copies, for the memory of their matrices
_MOST_DENSE = 600  # phases, to which dense matrices are faster than sparse substitutions
_DEPTH = 5  # of Anderson's acceleration: the adjoint is linear, so that more differences of it help
_ITERATIONS = 300
_CLOSE = 1e-12  # of the largest entry of the adjoint, that its last change may be
_ROUNDED = 1e-14  # of the trace of the accelerator's equations
_TINY = 1e-30


@dataclass(frozen=True)
class FlowSlopes:
    """Derivatives of one number of each of B copies with respect to what a Flow holds; None: it does not depend on it.

    Attributes:
        v_pu: (B, N) [1/pu].
        served_kw: (B, J) [1/kW].
        loss_kw: (B) [1/kW].
        source_kva: (B, K) with respect to kW, plus j times that with respect to kvar [1/kVA].
        volts: (B, 1 + Y) with respect to the real parts, plus j times that to the imaginary parts [1/V].
    """

    v_pu: Array | None = None
    served_kw: Array | None = None
    loss_kw: Array | None = None
    source_kva: Complex | None = None
    volts: Complex | None = None

    def rows(self, part: slice) -> FlowSlopes:
        """Those of some copies."""
        fields = self.v_pu, self.served_kw, self.loss_kw, self.source_kva, self.volts
        return FlowSlopes(*(None if x is None else x[part] for x in fields))  # type: ignore[arg-type]


class _Point(NamedTuple):
    """The laws of the loads at the voltages of b copies; see the module.

    Attributes:
        w: (b, E) voltages across the phases [V]; ``u`` over the rated ones, ``way`` of length 1 or 0.
        kw, kvar, kw_slope: (b, E) factors, and a derivative.
        real: (b, E) real part of the admittances at rated voltage [S].
        straight, crossed: (b, E) A and the conjugate of B [S].
    """

    w: Complex
    u: Array
    way: Complex
    kw: Array
    kvar: Array
    kw_slope: Array
    real: Array
    straight: Complex
    crossed: Complex


class Gradients:
    """Slopes with respect to injected kW and kvar, of any number whose slopes with respect to a flow are known.

    Args:
        reference: of the network.
    """

    def __init__(self, reference: Reference) -> None:
        self.reference, self.network = reference, reference.network
        self._ports = Ports.of(reference) if len(self.network.phases) <= _MOST_DENSE else None
        self._scale = 1000 * self.network.phases.share * reference.per_volt**2

    def __call__(self, demand: Demand, volts: Complex, slopes: FlowSlopes) -> tuple[Array, Array]:
        """(B, J) slopes with respect to ``demand.kw`` [1/kW] and ``demand.kvar`` [1/kvar].

        Args:
            demand: the power flows; ``which`` is not read.
            volts: (B, 1 + Y) their solution, earth first [V].
            slopes: of the number.

        Returns:
            both; NaN where the adjoint does not converge, as at the nose of the power flow.
        """
        kw, kvar = np.zeros(demand.kw.shape), np.zeros(demand.kw.shape)
        for start in range(0, len(kw), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            some = Demand(demand.kw[part], demand.kvar[part], demand.states[part])
            kw[part], kvar[part] = self._some(some, volts[part], slopes.rows(part))
        return kw, kvar

    def _some(self, demand: Demand, volts: Complex, slopes: FlowSlopes) -> tuple[Array, Array]:
        reference, injection = self.reference, self.network.phases.injection
        point = self._point(demand, volts[:, 1:])
        skeleton: Any = np.linalg.inv(reference.skeletons(demand.states))
        served = np.zeros(demand.kw.shape)
        if slopes.served_kw is not None:
            served = served + slopes.served_kw
        if slopes.loss_kw is not None:  # losses are what sources deliver and is not served
            served = served + slopes.loss_kw[:, None]
        by_phase = served[:, injection]
        right: Complex = self._node_slopes(volts, point, by_phase, slopes).conj()
        adjoint = self._adjoint(point, skeleton, self._across(right, skeleton))
        product = adjoint * point.w * self._scale
        kw_e = point.kw * (product.real + by_phase * self.network.phases.share * point.u**2)
        kvar_e = point.kvar * product.imag
        found = np.zeros((2, *demand.kw.shape))
        for sums, values in zip(found, (kw_e, kvar_e), strict=True):
            np.add.at(sums.T, injection, values.T)
        return found[0], found[1]

    def _across(self, injected: Complex, skeleton: Complex) -> Complex:
        """(b, E) voltages across the phases that currents into nodes (b, Y) cause."""
        if self._ports is None:
            return np.asarray((self.reference.across @ self.reference.voltages(injected, skeleton).T).T)
        p = self._ports
        outer = _each(skeleton, injected @ p.nodes_outer)
        return np.asarray(injected @ p.nodes_inner + outer @ p.outer.T)

    def _fall(self, drawn: Complex, skeleton: Complex) -> Complex:
        """(b, E) fall of the voltages across the phases by currents that they draw (b, E)."""
        if self._ports is None:
            return self._across((self.reference.into @ drawn.T).T, skeleton)
        p = self._ports
        return np.asarray(drawn @ p.inner + _each(skeleton, drawn @ p.outer) @ p.outer.T)

    def _point(self, demand: Demand, v: Complex) -> _Point:
        reference = self.reference
        w = (reference.across @ v.T).T
        size = np.abs(w)
        u, way = size * reference.per_volt, w / np.maximum(size, _TINY)
        kw, kvar, kw_slope, kvar_slope = factors_and_slopes(reference.laws, u)
        draw = reference.admittances(demand.kw, demand.kvar)
        bend = (kw_slope * draw.real + 1j * kvar_slope * draw.imag) * u / 2
        straight = kw * draw.real + 1j * kvar * draw.imag + bend
        return _Point(w, u, way, kw, kvar, kw_slope, draw.real, straight, (bend * way**2).conj())

    def _node_slopes(self, volts: Complex, point: _Point, served: Array, slopes: FlowSlopes) -> Complex:
        """(b, Y) slopes with respect to the node voltages at constant set points [1/V]."""
        network, reference = self.network, self.reference
        u, v = point.u, volts[:, 1:]
        # A phase is served -V0**2 u**2 kw(u) Re y / 1000, where V0 is 1 / per_volt.
        rise = -(2 * u * point.kw + u**2 * point.kw_slope) * point.real / (1000 * reference.per_volt)
        found: Complex = (reference.into @ (served * rise * point.way).T).T
        if slopes.volts is not None:
            found = found + slopes.volts[:, 1:]
        if slopes.source_kva is not None or slopes.loss_kw is not None:
            self._add_sources(v, slopes, found)
        if slopes.v_pu is not None:
            earthed = np.concatenate([v, np.zeros((len(v), 1))], axis=-1)
            seen = earthed[:, network.places] - earthed[:, network.neutrals]
            each = slopes.v_pu / network.volts[network.places] * seen / np.maximum(np.abs(seen), _TINY)
            padded = np.zeros(earthed.shape, complex)
            np.add.at(padded.T, network.places, each.T)
            np.add.at(padded.T, network.neutrals, -each.T)  # earth is the last
            found = found + padded[:, :-1]
        return found

    def _add_sources(self, v: Complex, slopes: FlowSlopes, found: Complex) -> None:
        """Add the slopes of S = V conj(amps - admittance V) at the sources' counted nodes."""
        start = 0
        for source in self.network.sources:
            end = start + len(source.nodes)
            weight = np.zeros((len(v), end - start), complex)
            if slopes.source_kva is not None:
                weight += slopes.source_kva[:, start:end]
            if slopes.loss_kw is not None:
                weight += slopes.loss_kw[:, None]
            weight *= source.counted / 1000
            own = v[:, source.nodes]
            here = weight * (source.amps - own @ source.admittance.T)
            here -= (weight.conj() * own) @ source.admittance.conj()
            np.add.at(found.T, source.nodes, here.T)
            start = end

    def _adjoint(self, point: _Point, skeleton: Complex, start: Complex) -> Complex:
        """(b, E) C mu, from its value without loads; NaN where it does not converge."""
        x, memory = start, _Differences()
        least = np.maximum(np.abs(start).max(axis=-1, initial=0.0), _TINY)
        open_ = np.ones(len(x), bool)
        for _ in range(_ITERATIONS):
            new = start - self._fall(point.straight * x + point.crossed * x.conj(), skeleton)
            change = np.abs(new - x).max(axis=-1, initial=0.0)
            ended = change <= _CLOSE * np.maximum(np.abs(new).max(axis=-1, initial=0.0), least)
            x = np.where(open_[:, None], np.where(ended[:, None], new, memory.accelerated(x, new)), x)
            open_ &= ~ended
            if not open_.any():
                break
        return np.where(open_[:, None], np.nan, x)


class _Differences:
    """The last iterates, and what Anderson's acceleration makes of them."""

    def __init__(self) -> None:
        self._last: tuple[Complex, Complex] | None = None
        self._bends: list[Complex] = []
        self._steps: list[Complex] = []

    def accelerated(self, x: Complex, new: Complex) -> Complex:
        """The next iterate, where ``new`` follows from ``x``; real weights for each copy."""
        change = new - x
        last, self._last = self._last, (new, change)
        if last is None:
            return new
        self._steps = [*self._steps[1 - _DEPTH :], new - last[0]]
        self._bends = [*self._bends[1 - _DEPTH :], change - last[1]]
        bends, steps = np.stack(self._bends, axis=1), np.stack(self._steps, axis=1)
        gram = (bends.conj() @ bends.swapaxes(1, 2)).real
        right = _each(bends.conj(), change).real
        trace = np.trace(gram, axis1=1, axis2=2)
        gram += (_ROUNDED * trace + _TINY**2)[:, None, None] * np.eye(gram.shape[-1])
        weights = np.linalg.solve(gram, right[..., None])[..., 0]
        return np.asarray(new - (weights[:, None] @ steps)[:, 0])


def _each(matrices: Complex, vectors: Complex) -> Complex:
    """(b, m) products of matrices (b, m, n) and vectors (b, n)."""
    return (matrices @ vectors[..., None])[..., 0]
