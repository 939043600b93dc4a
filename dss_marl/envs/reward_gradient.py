"""RewardGradient: the slope of the coming step's team reward with respect to the entries of the joint action.

The chain has three links. Set points follow from the action by the devices, differentiated by differences of the
devices alone; the solution follows from the set points by the power flow, whose adjoint is solved; the reward follows
from both, by the slopes of its terms (``mdp.term_slopes``). That costs two power flows, an adjoint and no trial solves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from dss_marl.engines import setpoint_gradients
from dss_marl.envs.batch_simulator import BatchSimulator
from dss_marl.envs.simulator import Simulator
from dss_marl.envs.step_info import Request
from dss_marl.envs.task import Task
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray, Setpoints
from dss_marl.mdp.term_slopes import RewardSlopes

_STEP = 1e-5  # of an entry, of which 2 are its range
_STEP_KW = 1e-3


class RewardSlope(NamedTuple):
    """What ``env.gradient`` returns; A agents, W entries of their actions, F of the joint action.

    Attributes:
        reward: (...) team reward of the coming step with these actions; NaN where the power flow fails.
        by_entry: (..., F) its slope with respect to each entry of the joint action; NaN in entries that are choices by
            nature (taps, switches, steps), and where the reward is NaN. Where an encoding has levels of a continuous
            entry, it is the slope at the level.
        by_agent: (..., A, W) the same in the agents' actions; 0 where an entry is ignored.
    """

    reward: Array
    by_entry: Array
    by_agent: Array


class RewardGradient:
    """Differentiates the reward of a task.

    Args:
        task: its reward and devices.
        simulator: that operates it.
        margin_pu: see ``RewardSlopes``.

    Raises:
        ValueError: see ``check_differentiable``; or the circuit has an element without model in the batched engine.
    """

    def __init__(self, task: Task, simulator: Simulator, margin_pu: float = 0.0) -> None:
        self._task, self._simulator = task, simulator
        self._slopes = check_differentiable(task, margin_pu)
        self._power_flow = setpoint_gradients(task.feeder)
        levels = np.concatenate([np.asarray(group.n_levels()).ravel() for group in task.device_groups])
        switch = [row.grid_forming_switch for row in task.feeder.injections]
        self._forming = [switch.index(s) for s in task.feeder.grid_forming_units]
        self._continuous: IntArray = np.flatnonzero(levels == 0)

    def __call__(self, now: GridState, joint_action: Array, fixed: BoolArray | None = None) -> RewardSlope:
        """The slope at a joint action.

        Args:
            now: the coming interval.
            joint_action: (..., F) as requested of the devices.
            fixed: (..., F) True for entries that the agents do not decide, whose slope is 0.
        """
        after, failed = self._simulator.attempt(now, joint_action)
        if after is None:
            by_entry = np.full(joint_action.shape, np.nan)
            return RewardSlope(np.asarray(np.nan), by_entry, self._task.agents.action_layout.rows(by_entry))
        return self.of_step(now, after, joint_action, fixed, failed)

    def of_step(
        self,
        now: GridState,
        after: GridState,
        joint_action: Array,
        fixed: BoolArray | None = None,
        failed: bool | BoolArray = False,
    ) -> RewardSlope:
        """The slope at a joint action whose power flow is solved.

        Args:
            now, joint_action, fixed: as of a call.
            after: the interval as operated with it.
            failed: (...) True where its power flow failed.
        """
        layout = self._task.agents.action_layout
        by_entry = np.full(joint_action.shape, np.nan)
        reward = self._reward(now, after)
        slopes = self._by_setpoints(now, after)
        for entry in self._continuous.tolist():
            by_entry[..., entry] = self._entry(now, after, joint_action, entry, slopes)
        if fixed is not None:
            by_entry = np.where(fixed & ~np.isnan(by_entry), 0.0, by_entry)
        if np.any(failed):
            reward = np.where(failed, np.nan, reward)
            by_entry = np.where(np.asarray(failed)[..., None], np.nan, by_entry)
        return RewardSlope(reward, by_entry, layout.rows(by_entry))

    def _reward(self, now: GridState, after: GridState) -> Array:
        """(...) the team's reward."""
        model = self._task.reward_model
        return np.asarray(model.rewards_of(model.zones, model.all_zones, now, after).sum(axis=-1))

    def _by_setpoints(self, now: GridState, after: GridState) -> tuple[Array, Array]:
        """(..., J) slopes with respect to kW and kvar by way of the power flow; 0 where devices do not decide."""
        slopes, setpoints = self._slopes(now, after), self._simulator.solved_setpoints(after.setpoints)
        if self._slopes.direct.rewards:
            for unit, row in enumerate(self._forming):
                slopes.served_kw[..., row] += self._by_forming_kw(now, after, unit)
        if setpoints.kw.ndim == 1:
            both = self._power_flow(_with_axis(setpoints), _with_axis(slopes))
            kw, kvar = both[0][0], both[1][0]
        else:
            kw, kvar = self._power_flow(setpoints, slopes)
        asked = self._simulator.acted(now, after.action, after.solution)[0]  # from which tripped devices differ
        return np.where(asked.kw == setpoints.kw, kw, 0.0), np.where(asked.kvar == setpoints.kvar, kvar, 0.0)

    def _by_forming_kw(self, now: GridState, after: GridState, unit: int) -> Array:
        """(...) slope of the terms of devices by the output of a grid-forming unit, which takes it from its fuel."""
        found, solution = [], after.solution
        for change in (-_STEP_KW, _STEP_KW):
            forming_kw = solution.grid_forming_kw.copy()
            forming_kw[..., unit, :] += change / 3
            moved = replace(solution, grid_forming_kw=forming_kw)
            found.append(self._direct(now, after, self._simulator.acted(now, after.action, moved)))
        return np.asarray((found[1] - found[0]) / (2 * _STEP_KW))

    def _entry(
        self, now: GridState, after: GridState, joint_action: Array, entry: int, slopes: tuple[Array, Array]
    ) -> Array:
        """(...) the slope with respect to one entry, on the inner side at the ends of its range."""
        low, high = joint_action.copy(), joint_action.copy()
        low[..., entry] = np.maximum(joint_action[..., entry] - _STEP, -1.0)
        high[..., entry] = np.minimum(joint_action[..., entry] + _STEP, 1.0)
        one, two = (self._simulator.acted(now, action, after.solution, exact=True) for action in (low, high))
        changed = slopes[0] * (two[0].kw - one[0].kw)
        changed += slopes[1] * (two[0].kvar - one[0].kvar)
        total = np.add.reduce(changed, axis=-1)
        if self._slopes.direct.rewards:
            total = total + self._direct(now, after, two) - self._direct(now, after, one)
        return np.asarray(total / (high[..., entry] - low[..., entry]))

    def _direct(self, now: GridState, after: GridState, acted: tuple[Setpoints, Array, Array]) -> Array:
        """(...) the terms that depend on set points and devices, as they would be with the solution held."""
        model, (setpoints, device_state, unmet_kwh) = self._slopes.direct, acted
        fleet = self._simulator.fleet
        changed = after.replace(
            setpoints=setpoints,
            device_state=device_state,
            unmet_kwh=unmet_kwh,
            stored_kwh=fleet.stored_kwh(device_state),
            fuel_l=fleet.fuel_l(device_state),
            worn_kwh=fleet.worn_kwh(device_state),
            pv_kwh=self._simulator.fed_in(now, setpoints),
        )
        return np.asarray(model.rewards_of(model.zones, model.all_zones, now, changed).sum(axis=-1))


def check_differentiable(task: Task, margin_pu: float = 0.0) -> RewardSlopes:
    """The slopes of a task's reward terms.

    Raises:
        ValueError: a reward term has no known slope, or devices follow the voltage; names it.
    """
    follows = [type(group).__name__ for group in task.device_groups if group.voltage_dependent]
    if follows:
        raise ValueError(
            f"scenario {task.scenario.name!r} has no reward gradient: its {', '.join(follows)} follow the voltage; "
            "use another mode of them"
        )
    return RewardSlopes(task.reward_model, len(task.feeder.branches), margin_pu)


class Differentiable:
    """The methods ``gradient`` and ``last_gradient`` of ZoneEnv and BatchZoneEnv."""

    task: Task
    simulator: Any
    attack: Any
    _check_running: Callable[[str], None]
    _check_thread: Callable[[], None]
    _request: Callable[[Any], Request]
    _gradients: Mapping[float, RewardGradient] = {}  # by margin; replaced, never changed

    def gradient(self, actions: Any, margin_pu: float = 0.0) -> RewardSlope:
        """The slope of the coming step's team reward with respect to the actions; commits nothing.

        It costs two power flows and an adjoint, and is exact but for rounding. Rewards have kinks, where it is
        the slope of one side, and steps, such as those of ``violating_share``, which it does not see; nor what comes
        after the step, such as the worth of stored energy, beyond what the reward says of it.

        Args:
            actions: as of ``step``.
            margin_pu: how far inside the band's limits terms that price leaving it begin to have a slope; with one,
                ``violating_share`` has a slope too, and a learner has a reason to keep away from the limit.

        Returns:
            see RewardSlope; of a BatchZoneEnv with a leading axis B.

        Raises:
            ValueError: as of ``step``; or the scenario has no slope: devices follow the voltage, that of a term is not
                known (see ``with_slopes``), or the circuit has an element without model in the batched engine.
            RuntimeError: as of ``step``.
        """
        self._check_running("gradient")
        now: Any = self.now  # type: ignore[attr-defined]  # a property of one environment, an attribute of the other
        request = self._request(actions)
        gradient = self._gradient_with(margin_pu)
        if isinstance(self.simulator, BatchSimulator):
            self.simulator.resume()
        attacked = request.attacked[..., self.task.agents.action_layout.entry_agent]
        return gradient(now, request.joint_action, attacked)

    def last_gradient(self, margin_pu: float = 0.0) -> RewardSlope:
        """The slope of the last step's team reward with respect to the actions that were played; see ``gradient``.

        It costs one power flow less, as that of the step is known.

        Args:
            margin_pu: as of ``gradient``.

        Returns:
            see RewardSlope; of a BatchZoneEnv with a leading axis B, where rows of copies that ended in the last step
            are without meaning. Of a ZoneEnv it is that of the last step whose power flow did not fail.

        Raises:
            ValueError: the scenario has no slope, see ``gradient``.
            RuntimeError: before a step.
        """
        self._check_thread()
        before: Any = self.before  # type: ignore[attr-defined]
        after: Any = self.after  # type: ignore[attr-defined]
        if before is None or after is None:
            raise RuntimeError("last_gradient needs a step that was played; call step first")
        fixed = None
        if self.attack is not None:
            fixed = self.attack.compromised(before.step)[..., self.task.agents.action_layout.entry_agent]
        return self._gradient_with(margin_pu).of_step(before, after, after.action, fixed)

    def check_gradient(self, margin_pu: float = 0.0) -> None:
        """Whether the scenario has slopes, for those who need them later.

        Raises:
            ValueError: it has none, see ``gradient``.
        """
        self._gradient_with(margin_pu)

    def _gradient_with(self, margin_pu: float) -> RewardGradient:
        """The gradient with this margin, built once."""
        if margin_pu not in self._gradients:
            own = RewardGradient(self.task, self.simulator, margin_pu)
            self._gradients = {**self._gradients, margin_pu: own}
        return self._gradients[margin_pu]


def _with_axis(bundle: Any) -> Any:
    """Arrays of one state as those of a batch of one."""
    return type(bundle)(*(None if value is None else np.asarray(value)[None] for value in vars(bundle).values()))
