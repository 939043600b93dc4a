"""Sensitivity-based control: a central controller for large feeders, by quadratic programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from dss_marl.controllers.optimization.converter_kinks import ConverterKinks
from dss_marl.controllers.optimization.interval_qp import LocalModel, solve_miqp, solve_qp
from dss_marl.controllers.search.trial_solves import TrialSolver
from dss_marl.devices import Inverters, Regulators
from dss_marl.engines import open_engine
from dss_marl.envs.task import Task
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray, Setpoints
from dss_marl.mdp.rewards import loss, tap_moves

_TOLERANCE = 1e-7  # of the power flow: slopes are differences of solutions
_STEP = 0.3  # of a rating, for slopes
_MARGIN = 5e-4  # of the program from the ends of the band [pu]
_ALIKE = 0.004  # nodes so near to the worst of their group go with it [pu]
_PATIENCE = 8.0  # intervals over which a tap move is paid


class _BestSoFar(NamedTuple):
    """Best solution so far: reward, kvar (n), moves (R) and resulting state."""

    earned: float
    kvar: Array
    moves: IntArray
    after: GridState


class SensitivityControl:
    """Observes the whole feeder and sets every inverter's kvar, and taps, for the lowest cost of the interval.

    A quadratic program per interval: voltages are linear in kvar and taps, with sensitivities measured once on the
    engine; losses are quadratic in kvar as in the linearised branch-flow equations, where the sensitivity of the
    voltage at k to the power at j is the resistance common to both paths to the source (Baran and Wu 1989,
    10.1109/61.25627). The losses of converters are those of the devices. A solution is accepted only if it improves the
    scenario's reward on the engine; further programs start from there, and finally single taps are tried. It knows the
    compromised inverters, and load and PV power of the coming interval only.

    Args:
        rounds: maximum number of programs per interval.
    """

    circuit_controls = False

    def __init__(self, rounds: int = 4) -> None:
        if rounds < 1:
            raise ValueError(f"linear needs at least one program per interval; got {rounds}")
        self.rounds = rounds
        self._slopes: _Slopes | None = None

    def reset(self, env: ZoneEnv) -> None:
        """Measure the sensitivities, on the first day of a task.

        Raises:
            ValueError: no inverters, or some whose entry is not a share of the available kvar.
        """
        if self._slopes is None or self._slopes.task is not env.task:
            self._slopes = _Slopes.measure(env.task)
        self._kvar = np.zeros(len(self._slopes.inverters.injections))

    def act(self, env: ZoneEnv, observations: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """The best solution of the programs."""
        assert env.now is not None and self._slopes is not None
        slopes, now, trials = self._slopes, env.now, TrialSolver(env.simulator, env.attack)
        reach = _reach(slopes.inverters, now)
        kvar = np.clip(self._kvar, -reach, reach)
        moves = np.zeros(len(slopes.tap_price), np.int64)
        after = trials.operate(now, slopes.requests(env, kvar, reach, moves))
        if after is None:
            self._kvar = kvar
            return env.task.encoding.encode(slopes.requests(env, kvar, reach, moves))
        here = _BestSoFar(trials.reward_model.team_reward(now, after), kvar, moves, after)
        for turn in range(2):
            here = self._solve_programs(env, trials, here, reach, taps=not turn)
            nudged = self._nudge_taps(env, trials, here, reach)
            if nudged is here:
                break
            here = nudged
        if len(self._slopes.kinks.at_night(here.after)):
            here = self._switch_off(env, trials, here, reach)
            here = self._solve_programs(env, trials, here, reach, taps=False, settled=True)
        self._kvar = here.kvar
        return env.task.encoding.encode(slopes.requests(env, here.kvar, reach, here.moves))

    def _solve_programs(
        self, env: ZoneEnv, trials: TrialSolver, here: _BestSoFar, reach: Array, taps: bool, settled: bool = False
    ) -> _BestSoFar:
        """Successive programs, each from the previous solution; with ``taps`` the first one also moves taps.

        If ``settled``, converters that are off at night stay off, and those that run may run on.
        """
        assert self._slopes is not None
        slopes = self._slopes
        low_room, high_room = slopes.move_limits(env)
        compromised, n = slopes.compromised(env), len(here.kvar)
        for number in range(self.rounds):
            local = slopes.linearise(here.after, here.kvar, settled)
            low = np.append(-reach - here.kvar, low_room - here.moves)
            high = np.append(reach - here.kvar, high_room - here.moves)
            low[:n][compromised] = high[:n][compromised] = 0.0
            if settled:
                off = slopes.kinks.at_night(here.after, running=False)
                low[off] = high[off] = 0.0
            if number or not taps:
                low[n:] = high[n:] = 0.0
                change = solve_qp(local, low, high)
            else:
                change = solve_miqp(local, low, high, np.arange(n, len(low)))
            found = None if change is None else self._take_step(env, trials, here, reach, change)
            if found is None:
                break
            here = found
        return here

    def _take_step(
        self, env: ZoneEnv, trials: TrialSolver, here: _BestSoFar, reach: Array, change: Array
    ) -> _BestSoFar | None:
        """The longest of three step lengths that improves the reward; taps move fully or not at all."""
        n = len(here.kvar)
        for part in (1.0, 0.4, 0.1):
            kvar = np.clip(here.kvar + part * change[:n], -reach, reach)
            moves = here.moves + (np.rint(change[n:]).astype(np.int64) if part == 1.0 else 0)
            found = self._try(env, trials, here, kvar, moves, reach)
            if found is not None:
                return found
        return None

    def _nudge_taps(self, env: ZoneEnv, trials: TrialSolver, here: _BestSoFar, reach: Array) -> _BestSoFar:
        """Move one regulator at a time by a step, if that improves the reward: a program may misplace several."""
        assert self._slopes is not None
        low, high = self._slopes.move_limits(env)
        for r, way in product(range(len(low)), (-1, 1)):
            moves = here.moves.copy()
            moves[r] += way
            if low[r] <= moves[r] <= high[r]:
                here = self._try(env, trials, here, here.kvar, moves, reach) or here
        return here

    def _switch_off(self, env: ZoneEnv, trials: TrialSolver, here: _BestSoFar, reach: Array) -> _BestSoFar:
        """Without those converters whose standby losses at night are not worth their reactive power, if any."""
        assert self._slopes is not None
        running = self._slopes.kinks.at_night(here.after)
        order = running[np.argsort(np.abs(here.kvar[running]))]
        for off in [order, *(order[k : k + 1] for k in range(len(order)))] if running.size else []:
            kvar = here.kvar.copy()
            kvar[off] = 0.0
            here = self._try(env, trials, here, kvar, here.moves, reach) or here
        return here

    def _try(
        self, env: ZoneEnv, trials: TrialSolver, here: _BestSoFar, kvar: Array, moves: IntArray, reach: Array
    ) -> _BestSoFar | None:
        """The interval with these kvar and moves, if it is better; the cost of a move is spread over intervals."""
        assert env.now is not None and self._slopes is not None
        after = trials.operate(env.now, self._slopes.requests(env, kvar, reach, moves))
        if after is None:
            return None
        earned = trials.reward_model.team_reward(env.now, after)
        earned += float(np.abs(moves) @ self._slopes.tap_price) * (1 - 1 / _PATIENCE)
        return _BestSoFar(earned, kvar, moves, after) if earned > here.earned + 1e-6 else None


def _reach(inverters: Inverters, now: GridState) -> Array:
    """(n) maximum kvar in either direction given the coming PV power."""
    sun, ones = np.minimum(now.forecast[..., 0, inverters.injections], inverters.kva), np.ones(inverters.size)
    return inverters.action_scale * np.minimum(inverters.reach(ones, sun), inverters.reach(-ones, sun))


@dataclass(frozen=True)
class _Slopes:
    """Sensitivities of the power flow to kvar of n inverters and to moves of R regulators.

    Attributes:
        task: that it was measured for.
        inverters, regulators: its groups; None without regulators.
        volts: (J, n + R) of the scored nodes' voltages [pu/kvar, pu/move].
        by_kw: (I, n) of the mean voltage at each injection to the inverters' power [pu/kW].
        offset: (n) of the losses, contribution of capacitors and transformers [kW/kvar].
        by_move: (R) of the losses [kW/move].
        group: (J) group number: nodes on the same phase with the same most influential inverter.
        tap_price: (R) reward of one move.
        kinks: of the losses of the inverters' converters.
    """

    task: Task
    inverters: Inverters
    regulators: Regulators | None
    volts: Array
    by_kw: Array
    offset: Array
    by_move: Array
    group: IntArray
    tap_price: Array
    kinks: ConverterKinks

    @classmethod
    def measure(cls, task: Task) -> _Slopes:
        """By finite differences at nominal load with half the PV power."""
        inverters = next((g for g in task.device_groups if isinstance(g, Inverters)), None)
        regulators = next((g for g in task.device_groups if isinstance(g, Regulators)), None)
        if inverters is None or inverters.mode != "share" or np.any(inverters.var_first):
            raise ValueError(
                f"linear needs inverters of mode share and priority watt; scenario {task.scenario.name!r} has none"
            )
        engine = open_engine(task.feeder, tolerance=_TOLERANCE)
        base = task.start.copy()
        base.kw[inverters.injections] = inverters.kva / 2.4
        at = engine.solve(base)
        rows = [list(row.nodes) for row in task.feeder.injections]
        scored_nodes = np.concatenate([zone.scored_nodes for zone in task.zones])
        volts, by_kw, losses = [], [], []
        for j, kva in zip(inverters.injections, inverters.kva, strict=True):
            other = base.copy()
            other.kvar[j] += _STEP * kva
            moved = engine.solve(other)
            volts.append((moved.v_alive - at.v_alive)[scored_nodes] / (_STEP * kva))
            losses.append(float(moved.loss_kw - at.loss_kw) / (_STEP * kva))
            other = base.copy()
            other.kw[j] += _STEP * kva
            rise = (engine.solve(other).v_alive - at.v_alive) / (_STEP * kva)
            by_kw.append([rise[row].mean() if row else 0.0 for row in rows])
        by_move = []
        for own in [] if regulators is None else _taps_of(regulators):
            other = base.copy()
            way = 1 if (other.tap[own] < np.array([task.feeder.taps[r].maximum for r in own])).all() else -1
            other.tap[own] += way
            moved = engine.solve(other)
            volts.append(way * (moved.v_alive - at.v_alive)[scored_nodes])
            by_move.append(way * float(moved.loss_kw - at.loss_kw))
        engine.close()
        resistance, n = np.array(by_kw).T, inverters.size
        own = resistance[inverters.injections, np.arange(n)]  # curvature of the losses within the step
        slopes = np.array(volts).T
        phase = np.array([int(name.rsplit(".", 1)[1]) for name in task.feeder.nodes])[scored_nodes]
        sizes = [] if regulators is None else [len(own) for own in _taps_of(regulators)]
        return cls(
            task=task,
            inverters=inverters,
            regulators=regulators,
            volts=slopes,
            by_kw=resistance,
            offset=np.array(losses) - own * _STEP * inverters.kva - 2 * resistance.T @ base.kvar,
            by_move=np.array(by_move),
            group=_alike(np.abs(slopes[:, :n]).argmax(axis=1), phase, *task.all_zones.scored_band.rows(len(phase))),
            tap_price=task.reward_model.weight(tap_moves) * np.array(sizes, dtype=float),
            kinks=ConverterKinks(task),
        )

    def requests(self, env: ZoneEnv, kvar: Array, reach: Array, moves: IntArray) -> Array:
        """(F) joint action for kvar (n) and moves (R); everything else holds."""
        assert env.now is not None
        joint_action = env.simulator.hold_action(env.now)
        action_layout = self.task.agents.action_layout
        for k, group in enumerate(self.task.device_groups):
            entries = joint_action[action_layout.parts[k]].reshape(action_layout.shapes[k])  # a view
            if group is self.inverters:
                entries[:, 0] = np.divide(kvar, reach, out=np.zeros_like(kvar), where=reach > 1e-9)
                entries[:, 1:] = 0.0
            elif group is self.regulators:
                here = self._position(env.now.setpoints)
                entries[:] = group.request(here, here + moves)
        return joint_action

    def _position(self, setpoints: Setpoints) -> IntArray:
        assert self.regulators is not None
        return setpoints.tap[self.regulators.taps][self.regulators.leading]

    def compromised(self, env: ZoneEnv) -> BoolArray:
        """(n) inverters that are compromised in the coming interval."""
        group, action_layout = self.inverters, self.task.agents.action_layout
        if env.attack is None or env.now is None:
            return np.zeros(group.size, bool)
        place = next(k for k, one in enumerate(self.task.device_groups) if one is group)
        entries = env.attack.entries(action_layout.entry_agent, env.now.step)[action_layout.parts[place]]
        return entries.reshape(action_layout.shapes[place])[:, 0]

    def move_limits(self, env: ZoneEnv) -> tuple[IntArray, IntArray]:
        """Per regulator (R), lowest and highest number of moves in the coming interval."""
        group, now = self.regulators, env.now
        if group is None or now is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        place = next(k for k, one in enumerate(self.task.device_groups) if one is group)
        may = env.simulator.fleet.can_act(now.step)[self.task.agents.action_layout.parts[place]]
        low, high = group.room(env.simulator.fleet.states(now.device_state)[place], now.setpoints)
        return np.where(may, low, 0), np.where(may, high, 0)

    def linearise(self, after: GridState, kvar: Array, settled: bool) -> LocalModel:
        """The interval's cost around a state with these kvar (n), in changes of kvar and moves."""
        n, count, model = len(kvar), len(self.tap_price), self.task.reward_model
        per_kw = model.weight(loss) / 1000 + float(model.drawn_price(after.price[..., 0], after.dt_h))
        per_kw = max(per_kw, 0.0)
        bend = 2 * self.by_kw[self.inverters.injections]
        bend = (bend + bend.T) / 2
        curvature = np.zeros((n + count, n + count))
        curvature[:n, :n] = per_kw * bend
        curvature[np.diag_indices(n + count)] += 1e-9
        gradient = per_kw * np.append(2 * self.by_kw.T @ after.setpoints.kvar + self.offset, self.by_move)
        kinks, (slope, bent) = self.kinks.rows(after, settled), self.kinks.smooth(after)
        own = np.arange(len(slope))  # of all inverters, or none
        gradient[own] += slope
        curvature[own, own] += bent
        value, rows, price = self._worst(after)
        moves, entries = np.eye(n + count)[n:], np.eye(n + count)[own] / kinks.reach[:, None]
        ends = self.task.all_zones.scored_band.at(rows).rows(len(rows), _MARGIN)
        return LocalModel(
            value=np.concatenate([value, kinks.value, np.zeros(count)]),
            slopes=np.vstack([self.volts[rows], entries, moves]),
            weight=np.concatenate([price, kinks.weight, self.tap_price / _PATIENCE]),
            band=np.hstack([ends, [-kinks.width, kinks.width], np.zeros((2, count))]),
            gradient=gradient,
            curvature=curvature,
        )

    def _worst(self, after: GridState) -> tuple[Array, IntArray, Array]:
        """Highest and lowest voltage of each group of nodes, their positions, and the cost of leaving the band."""
        scored_nodes = self.task.all_zones.scored_nodes
        v = after.solution.v_alive[scored_nodes]
        price = self.task.reward_model.excursion_price(v)
        rows, prices = [], []
        for sign in (1.0, -1.0):
            order = np.lexsort((-sign * v, self.group))
            first = order[np.append(True, np.diff(self.group[order]) > 0)]
            alike = np.abs(v - v[first][self.group]) < _ALIKE
            rows.append(first)
            prices.append(np.bincount(self.group, price * alike))
        every = np.concatenate(rows)
        return v[every], every, np.concatenate(prices)


def _alike(*columns: Array | IntArray) -> IntArray:
    """(N) group of each node: those that agree in all columns (N), numbered in the order of their values."""
    return np.asarray(np.unique(np.stack(columns), axis=1, return_inverse=True)[1]).ravel()


def _taps_of(regulators: Regulators) -> list[IntArray]:
    """Taps of each regulator."""
    return [regulators.taps[regulators.owner == r] for r in range(regulators.size)]
