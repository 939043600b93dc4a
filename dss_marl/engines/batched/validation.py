"""Validation: random states of a feeder solved by an engine for many copies and by OpenDSS, and how far they are apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dss_marl.engines.base import PowerFlowError
from dss_marl.engines.batched.network import Network
from dss_marl.engines.batched.store import digest, recalled
from dss_marl.engines.opendss.engine import OpenDSSEngine
from dss_marl.grid.copies import rows_of
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import BoolArray, Setpoints, Solution

STATES = 32
_LEAST_PU = 1e-6  # below which differences are OpenDSS's own
_SHARE = 0.2  # of the tolerance that voltages may differ
_NEAR_PU = 0.002  # of a jump of a load's power, where there may be two solutions
_JUMPING = (3, 4, 5, 8)  # load models whose power jumps at a limit


@dataclass(frozen=True)
class Validation:
    """How far solutions are from OpenDSS's.

    Attributes:
        states: number of random states compared.
        ambiguous: further ones left out, as a load is so near to a jump of its power that there are two solutions.
        unsolved: further ones that OpenDSS does not solve either.
        v_pu: largest difference of a voltage [pu].
        node: where.
        loss, source: largest difference, over the power drawn from the source in the same state [1].
        loading: largest difference of a branch's loading [1].
    """

    states: int
    ambiguous: int
    unsolved: int
    v_pu: float
    node: str
    loss: float
    source: float
    loading: float

    def __str__(self) -> str:
        return f"{self.v_pu:.1e} pu from OpenDSS at most in {self.states} random states"


def validated(engine: Any, may_change: bool) -> tuple[str, Validation]:
    """The precision to use, and what the comparison found; kept by the circuit's content.

    Args:
        engine: a BatchedEngine.
        may_change: whether double may take the place of single precision.

    Raises:
        ValueError: the voltages of a state differ by more than a fifth of the tolerance, or 1e-6 pu.
    """
    precisions = [engine.precision] + (["double"] if may_change and engine.precision == "single" else [])
    allowed = max(_LEAST_PU, _SHARE * engine.tolerance)
    found = None
    for precision in precisions:
        key = f"validation-{engine.backend}-{precision}-{engine.tolerance:g}-{digest(engine.feeder)}"
        found = recalled(key, lambda precision=precision: compare(engine, precision))
        if found.v_pu <= allowed:
            return precision, found
    raise ValueError(
        f"feeder {engine.feeder.name!r}: the batched engine's voltage of node {found.node} differs from OpenDSS's by "
        f"{found.v_pu:.2g} pu in a random state, more than {allowed:.2g}; use the engine 'opendss', and please report "
        "this with the circuit"
    )


def compare(engine: Any, precision: str, count: int = STATES, seed: int = 0) -> Validation:
    """Solve random states with an engine like this one, and with OpenDSS."""
    feeder, network = engine.feeder, engine.network
    points = random_states(feeder, count, seed)
    batched = type(engine)(
        feeder, count, tolerance=engine.tolerance, precision=precision, backend=engine.backend, validate=False,
        max_iterations=engine.max_iterations,
    )  # fmt: skip
    found, failed = batched.solve(points)
    loading = found.loading
    batched.close()
    judge = OpenDSSEngine(feeder, tolerance=1e-9)
    rows, solutions, ambiguous, unsolved = [], [], 0, 0
    for b in range(count):
        judge.restart()
        try:
            solution = judge.solve(rows_of(points, b))
        except PowerFlowError:
            unsolved += 1
            continue
        if failed[b]:
            raise ValueError(
                f"feeder {feeder.name!r}: OpenDSS solves a state that the batched engine does not: "
                f"{batched.reasons.get(b, 'no convergence')}; use the engine 'opendss', and please report this"
            )
        currents: Any = solution.currents
        if _is_ambiguous(network, currents.v):
            ambiguous += 1
            continue
        rows.append(b)
        solutions.append(solution)
    result = _differences(feeder, found, loading, rows, solutions, (ambiguous, unsolved))
    judge.close()
    return result


def _differences(
    feeder: Feeder, found: Solution, loading: Any, rows: list[int], solutions: list[Solution], left_out: tuple[int, int]
) -> Validation:
    if not rows:
        return Validation(0, *left_out, 0.0, "", 0.0, 0.0, 0.0)
    apart = np.array([np.abs(found.v_pu[b] - one.v_pu) for b, one in zip(rows, solutions, strict=True)])
    least = 0.01 * np.abs(feeder.nominal_kw[feeder.loads]).sum() + 1e-9
    scale = np.array([max(least, np.hypot(one.source_kw, one.source_kvar)) for one in solutions])
    loss = np.array([found.loss_kw[b] - one.loss_kw for b, one in zip(rows, solutions, strict=True)])
    source = np.array([found.source_kw[b] - one.source_kw for b, one in zip(rows, solutions, strict=True)])
    flows = np.array([np.abs(loading[b] - one.loading) for b, one in zip(rows, solutions, strict=True)])
    return Validation(
        states=len(rows),
        ambiguous=left_out[0],
        unsolved=left_out[1],
        v_pu=float(apart.max(initial=0.0)),
        node=feeder.nodes[int(apart.max(axis=0).argmax())],
        loss=float((np.abs(loss) / scale).max()),
        source=float((np.abs(source) / scale).max()),
        loading=float(flows.max(initial=0.0)),
    )


def _is_ambiguous(network: Network, volts: Any) -> bool:
    """Whether the voltages (1 + Y) bring a load near a jump of its power."""
    phases = network.phases
    u = np.abs(volts[1 + phases.one] - volts[1 + phases.other]) / phases.volts
    near = (np.abs(u - phases.v_min) < _NEAR_PU) | (np.abs(u - phases.v_max) < _NEAR_PU)
    return bool((near & np.isin(phases.model, _JUMPING)).any())


def random_states(feeder: Feeder, count: int, seed: int) -> Setpoints:
    """(count, ...) loads at 0.3 to 1.2 times nominal, units within their ratings, any taps and banks, some switches.

    Lines that are open as compiled are closed, and others opened, each with a probability of a quarter; a grid-forming
    unit is on with the same probability, as long as no other source feeds its bus.
    """
    rng, given = np.random.default_rng(seed), feeder.setpoints()
    is_load = np.array([row.kind == "load" for row in feeder.injections], bool)
    nominal = np.stack([feeder.nominal_kw, feeder.nominal_kvar])
    shape = count, len(feeder.injections)
    level = rng.uniform(0.3, 1.2, (count, 1)) * (1 + 0.15 * rng.standard_normal(shape))
    kw = np.where(is_load, nominal[0] * level, nominal[0] * rng.uniform(-0.6, 0.9, shape))
    kvar = np.where(is_load, nominal[1] * level, nominal[0] * rng.uniform(-0.4, 0.4, shape))
    low = np.array([row.minimum for row in feeder.taps], np.int64)
    high = np.array([row.maximum for row in feeder.taps], np.int64)
    tap = rng.integers(low, high + 1, (count, len(low)))
    closed = np.array([_switch_state(feeder, given.closed, rng) for _ in range(count)], bool)
    return Setpoints(kw, kvar, tap, closed.reshape(count, len(feeder.switches)))


def _switch_state(feeder: Feeder, given: BoolArray, rng: np.random.Generator) -> BoolArray:
    """(S)"""
    closed = given.copy()
    for s, row in enumerate(feeder.switches):
        if row.kind == "capacitor":
            closed[s] = rng.random() < 0.5
        elif rng.random() < 0.25:
            closed[s] = not closed[s]
            try:
                feeder.energised(closed)
            except ValueError:  # sources in parallel
                closed[s] = given[s]
    return closed
