"""Power flows a second of the torch engine: ``python benchmarks/gpu.py``, on a GPU if there is one, else on the CPU.

Every copy has its own loads, and in "moving" its own taps and capacitor steps, which are factored anew in each call.
The arrays stay on the device. Each row is checked against the NumPy reference first, at a few copies.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from dss_marl import read_feeder
from dss_marl.engines.batched.factors import factorised
from dss_marl.engines.batched.reference import Reference
from dss_marl.engines.batched.solver import Demand
from dss_marl.engines.batched.store import network_of
from dss_marl.engines.batched.torch_backend.torch_solver import TorchSolver
from dss_marl.grid.feeder import Feeder

_CHECKED = 16  # copies
_MOST = 100  # iterations


def random_demand(feeder: Feeder, copies: int, moving: bool, rng: np.random.Generator) -> Demand:
    """Loads at 30 to 110 % with 15 % noise, taps within 6 steps of neutral, banks on or off, all lines closed."""
    network, shape = network_of(feeder), (copies, len(feeder.injections))
    scale = rng.uniform(0.3, 1.1, (copies, 1)) * (1 + 0.15 * rng.standard_normal(shape))
    tap = np.zeros((copies, len(feeder.taps)), np.int64)
    closed = np.array([row.closed for row in feeder.switches], bool) & np.ones((copies, 1), bool)
    if moving:
        tap = rng.integers(-6, 7, tap.shape)
        banks = np.array([row.kind == "capacitor" for row in feeder.switches], bool)
        closed = np.where(banks, rng.random(closed.shape) < 0.5, closed)
    return Demand(feeder.nominal_kw * scale, feeder.nominal_kvar * scale, network.states(tap, closed))


def solver_of(feeder: Feeder, single: bool, device: str | None, moving: bool, compiled: bool) -> TorchSolver:
    """For taps and banks that move, or for fixed ones; lines stay as they are."""
    network = network_of(feeder)
    still = random_demand(feeder, 1, False, np.random.default_rng(0)).states[0]
    fixed = {
        u: int(still[u])
        for u, row in enumerate(network.adjustables)
        if not moving or (row.switch >= 0 and feeder.switches[row.switch].kind != "capacitor")
    }
    return TorchSolver(factorised(network, fixed), single, device, compiled)


def measure(solver: TorchSolver, demand: Demand, tolerance: float, seconds: float) -> tuple[float, float, float, float]:
    """Solves a second, iterations, largest deviation from the reference [pu], and share of copies that converged."""
    device = solver.device

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    kw, kvar, states = (torch.as_tensor(x, device=device) for x in (demand.kw, demand.kvar, demand.states))
    with torch.no_grad():
        flow = solver.flow(kw, kvar, states, tolerance, _MOST)
        few = Demand(demand.kw[:_CHECKED], demand.kvar[:_CHECKED], demand.states[:_CHECKED])
        exact = Reference(factorised(solver.network)).solve(few, 1e-9, 300)
        off = float(np.abs(flow.v_pu[:_CHECKED].cpu().numpy() - exact.v_pu).max())
        wait()
        calls, start = 0, time.perf_counter()
        while not calls or time.perf_counter() - start < seconds:
            solver.flow(kw, kvar, states, tolerance, _MOST)
            wait()
            calls += 1
        rate = calls * len(kw) / (time.perf_counter() - start)
    converged = float((flow.residual < tolerance).double().mean())
    return rate, float(flow.iterations.double().mean()), off, converged


def main() -> None:
    """Measure and print a table; a row that does not fit into memory says so, and the others follow."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--feeder", default="ieee123")
    default = [4096, 16384, 65536, 131072] if cuda else [64, 256, 1024]
    parser.add_argument("--copies", type=int, nargs="*", default=default)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each row")
    parser.add_argument("--device", default=None, help="of torch; by default a GPU if there is one")
    parser.add_argument("--compile", action="store_true", help="also with the loads' laws compiled by torch.compile")
    asked = parser.parse_args()
    feeder, rng = read_feeder(asked.feeder), np.random.default_rng(0)
    name = torch.cuda.get_device_name() if cuda and asked.device != "cpu" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{asked.feeder}: {len(feeder.nodes)} nodes, {len(network_of(feeder).phases)} phases; {name}")
    print("| taps and banks | precision | laws | copies | solves/s | iterations | off [pu] | converged |")
    print("|---|---|---|---|---|---|---|---|")
    for moving in (False, True):
        for single, tolerance in ((True, 1e-4), (False, 1e-6)):
            for compiled in (False, True) if asked.compile else (False,):
                solver = solver_of(feeder, single, asked.device, moving, compiled)
                for copies in asked.copies:
                    print_row(solver, random_demand(feeder, copies, moving, rng), tolerance, asked.seconds, (
                        "moving" if moving else "fixed", "single" if single else "double",
                        "compiled" if compiled else "eager",
                    ))  # fmt: skip


def print_row(
    solver: TorchSolver, demand: Demand, tolerance: float, seconds: float, words: tuple[str, str, str]
) -> None:
    """One row of the table."""
    start = f"| {' | '.join(words)} | {len(demand.kw)} |"
    try:
        rate, iterations, off, converged = measure(solver, demand, tolerance, seconds)
    except (RuntimeError, MemoryError) as error:
        print(f"{start} {type(error).__name__}: {str(error).splitlines()[0]} | | | |", flush=True)
        return
    print(f"{start} {rate:,.0f} | {iterations:.1f} | {off:.1e} | {converged:.1%} |", flush=True)


if __name__ == "__main__":
    main()
