"""OpenDSS power flow of many copies of one circuit, each in a context of its own, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dss_marl.engines.base import PowerFlowError
from dss_marl.engines.engine_loop import EngineLoop, check_batch
from dss_marl.engines.opendss.branch_currents import Currents
from dss_marl.engines.opendss.context import check_thread
from dss_marl.engines.opendss.engine import OpenDSSEngine
from dss_marl.engines.opendss.solver_calls import REUSE_FACTORS
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, BoolArray, Setpoints, Solution, assembled


class OpenDSSBatch(EngineLoop):
    """Copies of a circuit, each in a context of the pool that is opened at its first solve; see BatchEngine.

    What is not a call of OpenDSS is done for all copies at once. Copies take the way of OpenDSSEngine instead after a
    restart or a failure, with the circuit's own controls, and where a circuit has sources, grid-forming units or
    branches whose powers are asked for one by one.

    Args:
        feeder: the circuit.
        copies: number of copies B.
        threads: 1. OpenDSS stays in the first thread of a process that uses it: a second one was seen to end the
            process. Spread copies over processes instead, with ``num_cpus``.
        options: of OpenDSSEngine.

    Raises:
        ValueError: no copies, or several threads.
    """

    engines: tuple[OpenDSSEngine, ...]

    def __init__(self, feeder: Feeder, copies: int, threads: int = 1, **options: Any) -> None:
        if copies < 1:
            raise ValueError(f"copies must be at least 1; got {copies}")
        if threads != 1:
            raise ValueError(
                f"threads must be 1, as OpenDSS works in one thread of a process only; got {threads}. Spread the "
                "copies over processes: num_cpus"
            )
        self._take([OpenDSSEngine(feeder, **options) for _ in range(copies)])

    @classmethod
    def of(cls, engines: Sequence[OpenDSSEngine]) -> OpenDSSBatch:
        """A batch of these engines, one for each copy."""
        batch = cls.__new__(cls)
        batch._take(engines)
        return batch

    def _take(self, engines: Sequence[OpenDSSEngine]) -> None:
        super().__init__(engines)
        shared = engines[0]._supply
        for engine in engines:
            engine._supply = shared  # what it remembers of one copy's switches holds for all
        self._floor = np.array([engine.floor_pu for engine in engines])
        self._ceiling = np.array([engine.ceiling_pu for engine in engines])
        self.tap, self.closed = _Rows(), _Rows()
        self.all_alive = False  # whether all nodes of all copies were energised in the last solve

    def solve(
        self, setpoints: Setpoints, controls: bool = False, wanted: BoolArray | None = None
    ) -> tuple[Solution, BoolArray]:
        """See BatchEngine.solve."""
        rows = range(self.copies) if wanted is None else np.flatnonzero(wanted).tolist()
        if controls or not all(_goes_on(self.engines[b]) for b in rows):
            found = super().solve(setpoints, controls, wanted)
            self._share()
            self.all_alive = False
            return found
        check_batch(setpoints, self.feeder, self.copies)
        check_thread()
        self.reasons = {}
        return _Step(self, setpoints, rows).solved()

    def _share(self) -> None:
        """Let the copies that are open hold what is the same in all of them once."""
        opened = [engine for engine in self.engines if engine._context is not None]
        for engine in opened[1:]:
            engine._flows, engine._jumps = opened[0]._flows, opened[0]._jumps

    def moves(self, setpoints: Setpoints) -> tuple[dict[int, list[int]], list[int]]:
        """The taps to move, by copy, and the copies whose switches differ from what is in their circuits."""
        taps: dict[int, list[int]] = {}
        if setpoints.tap.size:
            copies, rows = np.nonzero(setpoints.tap != self.tap.of([engine._tap for engine in self.engines]))
            for b, r in zip(copies.tolist(), rows.tolist(), strict=True):
                taps.setdefault(b, []).append(r)
        if not setpoints.closed.size:
            return taps, []
        closed = self.closed.of([engine._closed for engine in self.engines])
        return taps, np.flatnonzero((setpoints.closed != closed).any(axis=-1)).tolist()


def _goes_on(engine: OpenDSSEngine) -> bool:
    """Whether a solve may start from the last one, and needs nothing that is asked for element by element."""
    if engine._context is None or engine._fresh or engine._several:
        return False
    return engine._sums is None and not engine._grid_forming_rows and not engine._own


class _Rows:
    """Rows of all engines as one array, filled again only where an engine has replaced its own.

    Attributes:
        replaced: whether any had, when it was asked for last.
    """

    def __init__(self) -> None:
        self._rows: list[np.ndarray] = []
        self._stacked = np.zeros((0, 0))
        self.replaced = True

    def of(self, rows: list[np.ndarray]) -> np.ndarray:
        self.replaced = len(rows) != len(self._rows)
        if self.replaced:
            self._rows, self._stacked = rows, np.stack(rows)
        for b, row in enumerate(rows):
            if row is not self._rows[b]:
                self._stacked[b] = self._rows[b] = row
                self.replaced = True
        return self._stacked


class _Step:
    """One solve of the copies ``rows``, all of which go on from their last one."""

    def __init__(self, batch: OpenDSSBatch, setpoints: Setpoints, rows: Sequence[int]) -> None:
        self.batch, self.rows, first = batch, rows, batch.engines[rows[0]]
        self.first, copies, injections = first, batch.copies, setpoints.kw.shape[-1]
        self.power = np.empty((copies, 2, injections))
        np.multiply(setpoints.kw, first._sign, out=self.power[:, 0])
        np.multiply(setpoints.kvar, first._sign, out=self.power[:, 1])
        self.tap, self.closed = setpoints.tap.astype(np.int64), setpoints.closed.copy()
        self.setpoints = setpoints
        self.tap_moves, self.switched = batch.moves(setpoints)
        self.ratio: list[list[float]] = []
        if self.tap_moves:
            self.ratio = (1.0 + self.tap * first._step + first._offset).tolist()
        self.energised = self._energise()
        self.v = np.ones((copies, len(first._calls.voltages())), complex)
        self.served = self.power[:, 0].copy()
        self.source, self.converged = np.zeros((copies, 2)), np.zeros(copies, bool)

    def solved(self) -> tuple[Solution, BoolArray]:
        """The solution (B, ...), and (B) which copies have none."""
        self._solve_all()
        v_pu = self._v_pu()
        again = self._to_repeat(v_pu)
        if self.energised is not None:
            v_pu[~self.energised] = 0.0
        loss_kw = np.add.reduce(self.served, axis=-1) + self.source[:, 0]
        failed = np.zeros(self.batch.copies, bool)
        for b in again:
            failed[b] = not self._repeat(b, v_pu, loss_kw)
        return self._solution(v_pu, loss_kw), failed

    def _energise(self) -> BoolArray | None:
        """(B, N) which nodes are energised, None if all are; injections of dead ones get no power."""
        batch = self.batch
        if self.closed.size == 0 or (batch.all_alive and not self.switched and not batch.closed.replaced):
            return None
        found = [self.first._supply.of(row) for row in self.closed]
        whole = all(alive is None for alive, _ in found)
        batch.all_alive = whole and len(self.rows) == batch.copies
        for b, (_, dead) in enumerate(found):
            if dead.size:
                self.power[b, :, dead] = 0.0
        if whole:
            return None
        everything = np.ones(len(self.batch.feeder.nodes), bool)
        return np.array([everything if alive is None else alive for alive, _ in found])

    def _solve_all(self) -> None:
        engines, v, served, source = self.batch.engines, self.v, self.served, self.source
        taps, switched = self.tap_moves, set(self.switched)
        for b, power in zip(
            self.rows, self.power if len(self.rows) == len(self.power) else self.power[self.rows], strict=True
        ):
            engine = engines[b]
            calls = engine._calls
            engine._power[...] = power
            calls.set_options(REUSE_FACTORS)
            if b in taps:
                self._move_taps(engine, b)
            if b in switched:
                before, engine._closed = engine._closed, self.closed[b].copy()
                engine._switches.write(engine._closed, before)
            try:
                self.converged[b] = calls.solve()
            except Exception:
                engine.close()  # the circuit's state is unknown; it is compiled again, see OpenDSSEngine
                continue
            v[b] = calls.voltages()
            source[b] = calls.source_power()
            engine._draws.write(served[b])
            if b in switched:
                self._check_regular(engine, b)

    def _move_taps(self, engine: OpenDSSEngine, b: int) -> None:
        write, ratio = engine._taps.write, self.ratio[b]
        for r in self.tap_moves[b]:
            write(r, ratio[r])
        engine._tap = self.tap[b].copy()  # never changed in place

    def _check_regular(self, engine: OpenDSSEngine, b: int) -> None:
        try:
            engine._refuse_singular(engine._closed)
        except PowerFlowError:
            self.converged[b] = False

    def _v_pu(self) -> Array:
        first = self.first
        v = self.v[:, first._places]
        if first._neutrals is not None:
            v = v - self.v[:, first._neutrals]
        v_pu: Array = np.abs(v)
        v_pu *= first._per_volt
        return v_pu

    def _to_repeat(self, v_pu: Array) -> list[int]:
        """The copies that a flat start may help: see OpenDSSEngine.solve."""
        alive = v_pu if self.energised is None else np.where(self.energised, v_pu, 1.0)
        fine = self.converged & (alive.min(axis=-1) >= self.batch._floor) & (alive.max(axis=-1) <= self.batch._ceiling)
        if self.first._jumps is not None:
            fine &= ~self.first._jumps.are_near(self.v)
        if fine.all():
            return []
        return [b for b in self.rows if not fine[b]]

    def _repeat(self, b: int, v_pu: Array, loss_kw: Array) -> bool:
        """Solve one copy from a flat start; whether it has a solution."""
        engine, points = self.batch.engines[b], self.setpoints
        one = Setpoints(points.kw[b], points.kvar[b], points.tap[b], points.closed[b])
        if engine._context is None:
            engine._open()
        engine._fresh = True
        try:
            found = engine._attempt(one, False)
        except PowerFlowError as error:
            self.batch.reasons[b] = str(error)
            v_pu[b], self.v[b], self.served[b], self.source[b], loss_kw[b] = 1.0, 1.0, 0.0, 0.0, 0.0
            return False
        currents: Any = found.currents
        v_pu[b], self.v[b], self.served[b] = found.v_pu, currents.v, found.served_kw
        self.source[b], loss_kw[b] = (found.source_kw, found.source_kvar), found.loss_kw
        return True

    def _solution(self, v_pu: Array, loss_kw: Array) -> Solution:
        first, copies = self.first, self.batch.copies
        whole = self.energised is None
        none = np.zeros((copies, 0, 3))
        return assembled(
            Solution,
            v_pu=v_pu,
            loss_kw=loss_kw,
            source_kw=self.source[:, 0],
            source_kvar=self.source[:, 1],
            served_kw=self.served,
            energised=np.broadcast_to(first._all, v_pu.shape) if whole else self.energised,
            all_energised=whole,
            tap=self.tap,
            closed=self.closed,
            currents=Currents(
                first._flows, self.v, self.tap * first._step + first._offset, self.closed, first._node_places
            ),
            grid_forming_kw=none,
            grid_forming_kvar=none,
        )
