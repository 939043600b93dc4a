"""RewardGradient: the slope of the coming step's team reward with respect to the entries of the joint action.

The chain has three links. Set points follow from the action by the devices, differentiated by differences of the
devices alone; the solution follows from the set points by the power flow, whose adjoint is solved; the reward follows
from both, by the slopes of its terms (``mdp.term_slopes``). That costs two power flows, an adjoint and no trial solves.
Devices that follow the voltage close the loop; each that responds at the present voltages costs one more of both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from dss_marl.devices import DeviceGroup
from dss_marl.engines import setpoint_gradients
from dss_marl.envs.batch_simulator import BatchSimulator
from dss_marl.envs.followers import Followers
from dss_marl.envs.simulator import Simulator
from dss_marl.envs.step_info import Request
from dss_marl.envs.task import Task
from dss_marl.grid.solution_slopes import SolutionSlopes
from dss_marl.grid.state import Array, BoolArray, GridState, IntArray, Setpoints
from dss_marl.mdp.term_slopes import RewardSlopes

_STEP = 1e-5  # of an entry, of which 2 are its range
_STEP_KW = 1e-3
_STEP_PU = 1e-6


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
        self._followers = Followers.of(task.device_groups, len(task.feeder.nodes))
        self._branches = len(task.feeder.branches)
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
        if self._followers is not None:
            slopes = self._with_responses(self._followers, now, after, slopes)
        for entry in self._continuous.tolist():
            by_entry[..., entry] = self._entry(now, after, joint_action, entry, slopes)
        starts = self._starts(after)
        if starts is not None:
            by_entry = np.where(starts & ~np.isnan(by_entry), 0.0, by_entry)
        if fixed is not None:
            by_entry = np.where(fixed & ~np.isnan(by_entry), 0.0, by_entry)
        if np.any(failed):
            reward = np.where(failed, np.nan, reward)
            by_entry = np.where(np.asarray(failed)[..., None], np.nan, by_entry)
        return RewardSlope(reward, by_entry, layout.rows(by_entry))

    def _starts(self, after: GridState) -> BoolArray | None:
        """(..., F) entries that decide whether a device runs; None: there are none."""
        groups = self._task.device_groups
        found = [group.starts(after.setpoints) for group in groups]
        if all(own is None for own in found):
            return None
        batch = after.setpoints.kw.shape[:-1]
        return np.concatenate(
            [
                np.zeros((*batch, group.n_levels().size), bool) if own is None else own.reshape(*batch, -1)
                for group, own in zip(groups, found, strict=True)
            ],
            axis=-1,
        )

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
        kw, kvar = self._adjoint(setpoints, slopes)
        asked = self._simulator.acted(now, after.action, after.solution)[0]  # from which tripped devices differ
        decided_kw, decided_kvar = asked.kw == setpoints.kw, asked.kvar == setpoints.kvar
        if self._followers is not None:  # settled to a tolerance
            decided_kw[..., self._followers.rows] = decided_kvar[..., self._followers.rows] = True
        return np.where(decided_kw, kw, 0.0), np.where(decided_kvar, kvar, 0.0)

    def _adjoint(self, setpoints: Setpoints, slopes: SolutionSlopes) -> tuple[Array, Array]:
        """(..., J) slopes with respect to kW and kvar, of those with respect to the solution."""
        if setpoints.kw.ndim > 1:
            return self._power_flow(setpoints, slopes)
        kw, kvar = self._power_flow(_with_axis(setpoints), _with_axis(slopes))
        return kw[0], kvar[0]

    def _with_responses(
        self, followers: Followers, now: GridState, after: GridState, slopes: tuple[Array, Array]
    ) -> tuple[Array, Array]:
        """Slopes as ``_by_setpoints`` gives them, with what devices that follow the voltage make of each change.

        What they follow settles where response and power flow agree, so that by the implicit function theorem the
        slopes of the closed loop follow from those of the open one: m = rho + M m for the worth m of a change of each
        voltage that is followed, where rho is what the response to it is worth with all else held, and M says how it
        changes the voltages again.
        """
        low, high = (
            self._simulator.acted(now, after.action, after.solution, True, np.full(followers.count, step))[0]
            for step in (-_STEP_PU, _STEP_PU)
        )
        rows = followers.rows
        by_kw, by_kvar = ((b - a)[..., rows] / (2 * _STEP_PU) for a, b in ((low.kw, high.kw), (low.kvar, high.kvar)))
        at = followers.responding(by_kw, by_kvar)
        if not at.size:
            return slopes
        by_kw, by_kvar, rows = by_kw[..., at], by_kvar[..., at], rows[at]
        worth = by_kw * slopes[0][..., rows] + by_kvar * slopes[1][..., rows]
        if self._slopes.direct.rewards:
            worth = worth + np.stack([self._direct_by_voltage(now, after, place) for place in followers.places[at]], -1)
        setpoints = self._simulator.solved_setpoints(after.setpoints)
        of_volts = [self._adjoint(setpoints, followers.voltage(k, after.solution, self._branches)) for k in at]
        again = np.stack([by_kw * kw[..., rows] + by_kvar * kvar[..., rows] for kw, kvar in of_volts], axis=-1)
        total = np.linalg.solve(np.eye(len(at)) - again, worth[..., None])[..., 0]
        changes = [sum(total[..., k, None] * both[part] for k, both in enumerate(of_volts)) for part in (0, 1)]
        return slopes[0] + changes[0], slopes[1] + changes[1]

    def _direct_by_voltage(self, now: GridState, after: GridState, place: int) -> Array:
        """(...) slope of ``_direct`` by the voltage that one device follows, at its place among all devices [1/pu]."""
        found = []
        for step in (-_STEP_PU, _STEP_PU):
            shift = np.zeros(self._simulator.fleet.size)
            shift[place] = step
            found.append(
                self._direct(now, after, self._simulator.acted(now, after.action, after.solution, True, shift))
            )
        return np.asarray((found[1] - found[0]) / (2 * _STEP_PU))

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
        ValueError: a reward term has no known slope, or devices of one's own follow the voltage in a way that they do
            not tell; names it.
    """
    groups = task.device_groups
    untold = [type(g).__name__ for g in groups if g.voltage_dependent and type(g).settle is DeviceGroup.settle]
    if untold:
        raise ValueError(
            f"scenario {task.scenario.name!r} has no reward gradient: its {', '.join(untold)} follow the voltage; "
            "define their settle and places, see DeviceGroup.settle"
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

        It costs two power flows and an adjoint, and one more of each for every device that responds to its voltage,
        such as an inverter beyond the edge of its guard. It is exact but for rounding and, where devices follow the
        voltage, the tolerance to which they settle; taps and switches that the circuit's own controls move count as
        they stand, and the share of an inverter with ``rest_share`` has none at night, when it decides whether the
        converter runs. Rewards and responses have kinks, where it is the slope of one side, and rewards steps, such as
        those of ``violating_share``, which it does not see; nor what comes after the step, such as the worth of stored
        energy, beyond what the reward says of it.

        Args:
            actions: as of ``step``.
            margin_pu: how far inside the band's limits terms that price leaving it begin to have a slope; with one,
                ``violating_share`` has a slope too, and a learner has a reason to keep away from the limit.

        Returns:
            see RewardSlope; of a BatchZoneEnv with a leading axis B.

        Raises:
            ValueError: as of ``step``; or the scenario has no slope: that of a term is not known (see ``with_slopes``),
                devices of one's own follow the voltage without ``settle``, or the circuit has an element without model
                in the batched engine.
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
