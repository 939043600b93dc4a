"""The power flow of many copies in PyTorch: on a GPU where there is one, and differentiable.

The iteration is that of ``reference``, in the dense form of ``ports``; gradients reach the injected powers by the
adjoint of ``gradients``. BatchedEngine uses it as a Solver; ``torch_power_flow`` gives tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dss_marl.engines.batched.factors import Factors
from dss_marl.engines.batched.gradients.ports import Ports
from dss_marl.engines.batched.load_models import BETWEEN, INSIDE, LEAST_U, LOW, STEEP, Law, laws
from dss_marl.engines.batched.reference import Reference
from dss_marl.engines.batched.solver import Demand, Flow, with_volts
from dss_marl.engines.batched.torch_backend.torch_skeletons import Inverse, Skeletons
from dss_marl.grid.state import BoolArray

_PLAIN = 8  # iterations before acceleration, as in the reference
_AT_ONCE = {"cpu": 256, "cuda": 32768}  # copies, for caches and memory
_ADJOINT_ITERATIONS = 300
_TINY = 1e-30


class TorchFlow(NamedTuple):
    """Power flows as tensors; see Flow."""

    v_pu: Tensor
    served_kw: Tensor
    loss_kw: Tensor
    source_kva: Tensor
    residual: Tensor
    iterations: Tensor
    volts: Tensor


class TorchSolver:
    """See Solver.

    The iteration runs in float32 or float64; one more sweep in float64 makes the solution.

    Args:
        factors: of the network.
        single: iterate in float32.
        device: of torch; None: a GPU if there is one.
        compiled: compile the loads' laws by ``torch.compile``, which needs a compiler on this computer.
    """

    def __init__(
        self, factors: Factors, single: bool = True, device: str | None = None, compiled: bool = False
    ) -> None:
        self.factors, self.network = factors, factors.network
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        reference = Reference(factors)
        ports, phases, network = Ports.of(reference), self.network.phases, self.network
        self._outer = self._tensor(factors.order[factors.eliminated :])
        self.exact = _Sweep(self, ports, torch.complex128, compiled)
        self.quick = _Sweep(self, ports, torch.complex64, compiled) if single else self.exact
        self._source = self._tensor(network.source_amps()[factors.order[factors.eliminated :]])
        self._nodes_inner = self._tensor(np.ascontiguousarray(ports.nodes_inner.T))
        self._nodes_outer = self._tensor(np.ascontiguousarray(ports.nodes_outer.T))
        self._injection = self._tensor(phases.injection)
        self.scale = self._tensor(1000 * phases.share / phases.volts**2)
        self._places, self._neutrals = self._tensor(1 + network.places), self._tensor(1 + network.neutrals)
        self._per_base = self._tensor(1 / network.volts[network.places])
        self._skeletons = Skeletons(factors, self.device)
        self._sources = [
            (self._tensor(row.nodes), self._tensor(row.amps), self._tensor(row.admittance), self._tensor(row.counted))
            for row in network.sources
        ]

    def _tensor(self, values: Any) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), device=self.device)

    # --- a Solver of arrays --------------------------------------------------------------------------------------

    def solve(self, demand: Demand, tolerance: float, iterations: int) -> Flow:
        """See Solver.solve."""
        copies = len(demand.kw)
        wanted = np.arange(copies) if demand.which is None else np.flatnonzero(demand.which)
        parts, size = [], _AT_ONCE[self.device.type]
        with torch.no_grad():
            for start in range(0, len(wanted), size):
                rows = wanted[start : start + size]
                kw, kvar, states = (self._tensor(x[rows]) for x in (demand.kw, demand.kvar, demand.states))
                parts.append(self.flow(kw, kvar, states, tolerance, iterations))
        found = [self._rows(copies, wanted, [part[k] for part in parts]) for k in range(len(TorchFlow._fields))]
        v_pu, served, loss_kw, kva, residual, count, volts = found
        return with_volts(
            self.network, volts, demand.states, v_pu=v_pu, served_kw=served, loss_kw=loss_kw, source_kva=kva,
            residual=residual, iterations=count,
        )  # fmt: skip

    def _rows(self, copies: int, wanted: Any, parts: list[Tensor]) -> Any:
        """The rows of all copies as an array, 0 where they were not wanted."""
        if not parts:
            return np.zeros((copies, 1))
        values = torch.cat(parts).cpu().numpy()
        if len(wanted) == copies:
            return values
        found = np.zeros((copies, *values.shape[1:]), values.dtype)
        found[wanted] = values
        return found

    def restart(self, which: BoolArray | None = None) -> None:
        """See Solver.restart: every solve starts flat."""

    def close(self) -> None:
        """See Solver.close."""

    # --- tensors -------------------------------------------------------------------------------------------------

    def flow(self, kw: Tensor, kvar: Tensor, states: Tensor, tolerance: float, iterations: int) -> TorchFlow:
        """The power flows of tensors; differentiable with respect to the powers.

        Args:
            kw, kvar: (B, J) float64, + into the grid.
            states: (B, U) of all adjustable elements.
            tolerance, iterations: as of Solver.solve.
        """
        with _no_tf32():
            skeleton = self._skeletons.inverse(states)
            start = skeleton(self._source.expand(len(states), -1))
            job = _Job(self, skeleton, start, tolerance, iterations)
            phase_volts = _PhaseVoltages.apply(kw, kvar, job)  # type: ignore[no-untyped-call]
            return self._finished(kw, kvar, job, phase_volts)

    def admittances(self, kw: Tensor, kvar: Tensor) -> tuple[Tensor, Tensor]:
        """(B, E) real and imaginary parts of those that draw the powers (B, J) at rated voltage [S]."""
        return -kw[:, self._injection] * self.scale, kvar[:, self._injection] * self.scale

    def by_injection(self, values: Tensor, injections: int) -> Tensor:
        """(B, J) sums of values (B, E) of the phases."""
        zero = torch.zeros((len(values), injections), dtype=values.dtype, device=self.device)
        return zero.index_add(1, self._injection, values)

    def _finished(self, kw: Tensor, kvar: Tensor, job: _Job, phase_volts: Tensor) -> TorchFlow:
        real, imaginary = self.admittances(kw, kvar)
        current = self.exact.currents(phase_volts, real, imaginary)
        skeleton_volts = job.skeleton_volts(current, self.exact)
        v = skeleton_volts @ self._nodes_outer - current @ self._nodes_inner
        across = self.exact.across(skeleton_volts, current)
        taken = (across * self.exact.currents(across, real, imaginary).conj()).real
        served = self.by_injection(-taken / 1000, kw.shape[1])
        kva = torch.cat([self._delivered(v, *row) for row in self._sources], dim=1)
        volts = torch.cat([torch.zeros_like(v[:, :1]), v], dim=1)
        v_pu = (volts[:, self._places] - volts[:, self._neutrals]).abs() * self._per_base
        loss_kw = served.sum(1) + kva.real.sum(1)
        return TorchFlow(v_pu, served, loss_kw, kva, job.residual, job.count, volts)

    def _delivered(self, v: Tensor, nodes: Tensor, amps: Tensor, admittance: Tensor, counted: Tensor) -> Tensor:
        own = v[:, nodes]
        return own * (amps - own @ admittance.T).conj() * counted / 1000


class _Job:
    """One call: what is common to the forward iteration and the adjoint.

    Attributes:
        skeleton: of B copies.
        start: (B, m) voltages of the skeleton without loads [V].
        residual, count: (B) results of the iteration.
    """

    def __init__(
        self, solver: TorchSolver, skeleton: Inverse, start: Tensor, tolerance: float, iterations: int
    ) -> None:
        self.solver, self.skeleton, self.start = solver, skeleton, start
        self.tolerance, self.iterations = tolerance, iterations
        self.residual = self.count = torch.zeros(0)

    def skeleton_volts(self, current: Tensor, sweep: _Sweep) -> Tensor:
        """(B, m) from the currents that the phases draw."""
        drawn = current @ sweep.outer
        return self.start - self.skeleton(drawn)

    def response(self, current: Tensor, sweep: _Sweep) -> Tensor:
        """(B, E) fall of the phases' voltages by currents that they draw."""
        drawn = current @ sweep.outer
        return current @ sweep.inner + self.skeleton(drawn) @ sweep.outer.T

    def iterate(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """(B, E) phases' voltages; sets ``residual`` and ``count``."""
        sweep = self.solver.quick
        real, imaginary, own = real.to(sweep.real), imaginary.to(sweep.real), _Job(
            self.solver, self.skeleton.to(sweep.kind), self.start.to(sweep.kind), 0.0, 0
        )  # fmt: skip
        idle = own.start @ sweep.outer.T
        w, last = idle, None
        self.residual = torch.full((len(w),), torch.inf, dtype=torch.float64, device=w.device)
        self.count = torch.zeros(len(w), dtype=torch.int64, device=w.device)
        open_ = torch.ones(len(w), dtype=torch.bool, device=w.device)
        for turn in range(self.iterations):
            new = idle - own.response(sweep.currents(w, real, imaginary), sweep)
            change = new - w
            largest = (change.abs() * sweep.per_volt).amax(1).double().nan_to_num(torch.inf)
            self.residual = torch.where(open_, largest, self.residual)
            self.count += open_
            step, last = last, (new, change * sweep.per_volt)
            if turn >= _PLAIN and step is not None:
                new = _accelerated(new, last[1], *step)
            w = torch.where(open_[:, None], new, w)
            open_ = open_ & ~(self.residual < self.tolerance) & self.residual.isfinite()
            if not open_.any():
                break
        return torch.where(w.isfinite(), w, torch.zeros_like(w)).to(torch.complex128)


def _accelerated(new: Tensor, change: Tensor, before: Tensor, step: Tensor) -> Tensor:
    """Anderson's acceleration of depth one, with one number for each copy."""
    bend = change - step
    size = (bend.real**2 + bend.imag**2).sum(1)
    weight = (bend.conj() * change).real.sum(1) / size.clamp_min(_TINY)
    return new - weight[:, None] * (new - before)


class _PhaseVoltages(torch.autograd.Function):
    """The solution of the power flow as a function of the powers; backwards by its adjoint, see ``gradients``."""

    @staticmethod
    def forward(ctx: Any, kw: Tensor, kvar: Tensor, job: _Job) -> Tensor:
        real, imaginary = job.solver.admittances(kw, kvar)
        w = job.iterate(real, imaginary)
        ctx.save_for_backward(w, real, imaginary)
        ctx.job, ctx.injections = job, kw.shape[1]
        return w

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        w, real, imaginary = ctx.saved_tensors
        job, solver = ctx.job, ctx.job.solver
        with _no_tf32():
            drawn = _adjoint_currents(job, solver.exact, w, real, imaginary, grads[0].conj())
        kw, kvar = solver.exact.factors(w.abs() * solver.exact.per_volt)
        product = drawn * w * solver.scale
        return (
            solver.by_injection(kw * product.real, ctx.injections),
            solver.by_injection(kvar * product.imag, ctx.injections),
            None,
        )


def _adjoint_currents(job: _Job, sweep: _Sweep, w: Tensor, real: Tensor, imaginary: Tensor, right: Tensor) -> Tensor:
    """(B, E) response to the adjoint; NaN where it does not converge."""
    u = w.abs() * sweep.per_volt
    kw, kvar, kw_slope, kvar_slope = sweep.factors_and_slopes(u)
    bend = torch.complex(kw_slope * real, kvar_slope * imaginary) * u / 2
    straight = torch.complex(kw * real, kvar * imaginary) + bend
    crossed = (bend * (w / w.abs().clamp_min(_TINY)) ** 2).conj()
    x, last = right, None
    least = right.abs().amax(1).clamp_min(_TINY)
    open_ = torch.ones(len(x), dtype=torch.bool, device=x.device)
    for turn in range(_ADJOINT_ITERATIONS):
        fall = job.response(x, sweep)
        new = right - straight * fall - crossed * fall.conj()
        change = new - x
        ended = change.abs().amax(1) <= 1e-12 * torch.maximum(new.abs().amax(1), least)
        step, last = last, (new, change)
        if turn >= 2 and step is not None:
            new = torch.where(ended[:, None], new, _accelerated(new, change, *step))
        x = torch.where(open_[:, None], new, x)
        open_ = open_ & ~ended
        if not open_.any():
            break
    return torch.where(open_[:, None], torch.full_like(x, torch.nan), job.response(x, sweep))


class _Sweep:
    """The constants of an iteration in one precision.

    Attributes:
        kind, real: types of complex and real numbers.
        inner, outer: see Ports.
        per_volt: (E) one over the rated voltages.
    """

    def __init__(self, solver: TorchSolver, ports: Ports, kind: torch.dtype, compiled: bool) -> None:
        self.kind, self.real = kind, torch.float64 if kind == torch.complex128 else torch.float32
        phases, device = solver.network.phases, solver.device
        self.inner = torch.as_tensor(ports.inner, device=device).to(kind)
        self.outer = torch.as_tensor(ports.outer, device=device).to(kind)
        own = laws(phases)

        def real(values: Any) -> Tensor:
            return torch.as_tensor(values, device=device).to(self.real)

        self.per_volt = real(1 / phases.volts)
        self._ends = real(own.v_low), real(np.maximum(own.v_min, own.v_low)), real(own.v_max)
        self._laws = [Law(*(real(part) for part in law)) for law in (own.kw, own.kvar)]  # type: ignore[arg-type]
        self._by_exponent = torch.as_tensor(own.by_exponent, device=device) if own.by_exponent.size else None
        self._dropping = torch.as_tensor(own.dropping, device=device) if own.dropping.size else None
        self._limit = real(own.limit)
        self.factors: Callable[[Tensor], tuple[Tensor, Tensor]] = self._factors
        if compiled:
            self.factors = torch.compile(self._factors, dynamic=True)

    def across(self, skeleton_volts: Tensor, current: Tensor) -> Tensor:
        """(B, E) phases' voltages."""
        return skeleton_volts @ self.outer.T - current @ self.inner

    def currents(self, w: Tensor, real: Tensor, imaginary: Tensor) -> Tensor:
        """(B, E) that the phases draw at their voltages w."""
        kw, kvar = self.factors(w.abs() * self.per_volt)
        return torch.complex(kw * real, kvar * imaginary) * w

    def _factors(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """See ``load_models.factors``."""
        u = u.clamp_min(LEAST_U)
        low, minimum, inside = (u <= end for end in self._ends)
        found = []
        for law in self._laws:
            flat = _picked(law.flat, low, minimum, inside)
            current = torch.where(minimum, law.current[BETWEEN], law.current[INSIDE])
            power = torch.where(minimum, torch.zeros_like(u), law.power[INSIDE])
            within = ~low & inside
            value = flat + torch.where(within, (power / u + current) / u, torch.zeros_like(u))
            if self._by_exponent is not None:
                at = self._by_exponent
                raised = u[:, at] ** law.exponent[at]
                raised = torch.where((within & ~minimum)[:, at], raised, torch.zeros_like(raised))
                value = value.index_add(1, at, raised)
            if self._dropping is not None:
                left = torch.sigmoid(2 * STEEP * (u[:, self._dropping] - self._limit))
                left = torch.where(low[:, self._dropping], torch.ones_like(left), left)
                value = value * torch.ones_like(u).index_copy(1, self._dropping, left)
            found.append(value)
        return found[0], found[1]

    def factors_and_slopes(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The factors and their derivatives."""
        with torch.enable_grad():
            own = u.detach().requires_grad_()
            kw, kvar = self._factors(own)
            (kw_slope,) = torch.autograd.grad(kw.sum(), own, retain_graph=True)
            (kvar_slope,) = torch.autograd.grad(kvar.sum(), own)
        return kw.detach(), kvar.detach(), kw_slope, kvar_slope


def _picked(rows: Any, low: Tensor, minimum: Tensor, inside: Tensor) -> Tensor:
    """The coefficients (4, E) of the regions that voltages (B, E) lie in."""
    above = torch.where(inside, rows[INSIDE], rows[-1])
    return torch.where(low, rows[LOW], torch.where(minimum, rows[BETWEEN], above))


@contextmanager
def _no_tf32() -> Iterator[None]:
    """Products in full float32: TF32 has 10 bits, 1e-4 pu of a voltage."""
    flags = torch.backends.cuda.matmul
    before = flags.allow_tf32
    flags.allow_tf32 = False
    try:
        yield
    finally:
        flags.allow_tf32 = before
