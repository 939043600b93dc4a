"""DeviceFleet: all device groups of a task as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dss_marl.devices.base import DeviceGroup, Goal
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Number, Setpoints, Solution

Entry = TypeVar("Entry", bound=np.generic)


class DeviceFleet:
    """What the groups do together, group after group: one action, one state and one telemetry vector for all devices.

    Axes: D devices, F entries of their actions, K numbers of their state, M of their telemetry. All that depends on the
    state takes arrays with any leading batch axes. A state vector may be longer than K; what follows is left alone.

    Args:
        groups: the devices, in the order in which they act.
        action_parts: per group, where the entries of its actions lie in the joint action.

    Attributes:
        size: number of devices D.
        state_size: length of the device state K.
        coupled: (D) True for devices whose requests can exclude each other.
        voltage_dependent: whether some set points depend on the resulting voltages.
        trips: whether some devices may trip within an interval.
    """

    def __init__(self, groups: Sequence[DeviceGroup], action_parts: Sequence[slice]) -> None:
        self.groups = tuple(groups)
        self._action_parts = tuple(action_parts)
        self._action_shapes = [(group.size, len(group.action_labels)) for group in groups]
        self._state_parts = _slices([group.size * group.state_size for group in groups])
        self._state_shapes = [(group.size, group.state_size) for group in groups]
        self._state_places = list(zip(self._state_parts, self._state_shapes, strict=True))
        self._rows = _slices([group.size for group in groups])
        self.size, self.state_size = self._rows[-1].stop, self._state_parts[-1].stop
        self.coupled: BoolArray = np.concatenate([np.full(group.size, group.coupled) for group in groups])
        periods = [_act_periods(group) for group in groups]
        self._periods = np.concatenate(periods)  # (F)
        self._waiting = [(k, sorted(set(own.tolist()) - {1})) for k, own in enumerate(periods) if (own != 1).any()]
        # Most kinds have nothing to check, to owe, to store or to report; calling them costs more than these lists.
        self._responding = [k for k, group in enumerate(groups) if group.voltage_dependent]
        self._tripping = [k for k, group in enumerate(groups) if group.trips]
        self._holding = [(k, g) for k, g in enumerate(groups) if type(g).hold is not DeviceGroup.hold]
        self._checking = [k for k, g in enumerate(groups) if g.has_check and not g.trips]
        self._owing = [k for k, g in enumerate(groups) if type(g).unmet_kwh is not DeviceGroup.unmet_kwh]
        self._storing = [k for k, g in enumerate(groups) if type(g).stored_kwh is not DeviceGroup.stored_kwh]
        self._burning = [k for k, g in enumerate(groups) if type(g).fuel_l is not DeviceGroup.fuel_l]
        self._wearing = [k for k, g in enumerate(groups) if g.wears]
        self._barring = [k for k, g in enumerate(groups) if type(g).barred is not DeviceGroup.barred]
        self._telling = [k for k, group in enumerate(groups) if len(group.telemetry_labels)]
        self.voltage_dependent, self.trips = bool(self._responding), bool(self._tripping)
        self._nothing = np.zeros(self.size)
        self._nothing.flags.writeable = False  # shared by the states
        self._of_none = self._nothing[:0]

    # --- vectors by group --------------------------------------------------------------------------------------------

    def states(self, device_state: Array) -> list[Array]:
        """Per group, its (..., D, K) state; views."""
        return split_groups(device_state, self._state_parts, self._state_shapes)

    def _state(self, k: int, device_state: Array) -> Array:
        """(..., D, K) state of one group; a view."""
        part, shape = self._state_places[k]
        if device_state.ndim == 1:  # the same in half the time
            return device_state[part].reshape(shape)
        return device_state[..., part].reshape(*device_state.shape[:-1], *shape)

    def actions(self, joint_action: Array) -> list[Array]:
        """Per group, its (..., D, A) entries of a joint action (..., F); views."""
        return split_groups(joint_action, self._action_parts, self._action_shapes)

    # --- acting ------------------------------------------------------------------------------------------------------

    def start(self, rng: np.random.Generator, weekend: bool, hour: float) -> Array:
        """(K) state at reset; see DeviceGroup.start."""
        streams = rng.spawn(len(self.groups))
        return np.concatenate(
            [group.start(own, weekend, hour).ravel() for group, own in zip(self.groups, streams, strict=True)]
        )

    def act(
        self, joint_action: Array, device_state: Array, setpoints: Setpoints, interval: Interval
    ) -> tuple[Array, IntArray]:
        """Write the set points that a joint action requests, within the limits.

        Args:
            joint_action: (..., F) in [-1, 1].
            device_state: (..., K) from the step before; not changed.
            setpoints: of the interval, before control; changed in place.
            interval: in which they act.

        Returns:
            the new state, and (..., D) 1 where a limit of the device cut the request.
        """
        after, limited = device_state.copy(), []
        both = zip(self.groups, self.actions(joint_action), self.states(after), strict=True)
        for group, action, state in both:
            state[...], cut = group.act(action, state, setpoints, interval)
            limited.append(cut)
        return after, np.concatenate(limited, axis=-1)

    def hold(self, device_state: Array, setpoints: Setpoints, interval: Interval) -> None:
        """Write the set points of held devices; see DeviceGroup.hold."""
        for k, group in self._holding:
            group.hold(self._state(k, device_state), setpoints, interval)

    def hold_action(self, device_state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """(..., F) the joint action that keeps every device at its set point."""
        return _joined(
            [
                group.hold_action(state, setpoints, interval)
                for group, state in zip(self.groups, self.states(device_state), strict=True)
            ]
        )

    def can_act(self, step: int | IntArray) -> BoolArray:
        """(..., F) False where the entry's device cannot act in this step (...)."""
        return (step[..., None] if isinstance(step, np.ndarray) else step) % self._periods == 0

    def hold_waiting(self, joint_action: Array, device_state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """(..., F) the joint action, with devices held that cannot act in this step."""
        if not self._waiting:
            return joint_action
        steps = set(interval.step.ravel().tolist()) if isinstance(interval.step, np.ndarray) else (interval.step,)
        waiting = [k for k, periods in self._waiting if any(step % period for step in steps for period in periods)]
        if not waiting:
            return joint_action
        can_act, action = self.can_act(interval.step), joint_action.copy()
        for k in waiting:
            own = self._action_parts[k]
            held = self.groups[k].hold_action(self._state(k, device_state), setpoints, interval)
            held = held.reshape(*held.shape[:-2], held.shape[-2] * held.shape[-1])
            action[..., own] = np.where(can_act[..., own], action[..., own], held)
        return action

    def feasible(self, values: Array, device_state: Array, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """(..., F, L) True where the devices would execute the value without limiting it.

        Args:
            values: (F, L) values to try in each entry, level by level; NaN where there is no such level.
            device_state, setpoints, interval: as in ``act``; not changed.
        """
        tried = np.nan_to_num(values).T  # (L, F)
        batch = device_state.shape[:-1]
        if batch:
            rows = tried.reshape(len(tried), *(1 for _ in batch), tried.shape[-1])
            tried = np.broadcast_to(rows, (len(tried), *batch, tried.shape[-1]))
        found = [
            group.feasible(action, state, setpoints, interval)
            for group, action, state in zip(self.groups, self.actions(tried), self.states(device_state), strict=True)
        ]
        return np.moveaxis(_joined(found), 0, -1)

    def action_towards(self, goal: Goal, device_state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """(..., F) the joint action that brings every device as near to a goal as one action may.

        Devices with positions hold where they cannot approach it now, and those hold that cannot act in this step.

        Args:
            goal: joint action (..., F), device state (..., K) and set points after the same interval of another play.
            device_state, setpoints, interval: as in ``act``; not changed.
        """
        parts = []
        both = zip(self.actions(goal.action), self.states(goal.state), self.states(device_state), strict=True)
        for group, (action, reached, state) in zip(self.groups, both, strict=True):
            asked = group.action_towards(Goal(action, reached, goal.setpoints), state, setpoints, interval)
            by_nature = group.n_levels() > 0
            if by_nature.any():
                able = group.feasible(asked, state, setpoints, interval) | ~by_nature
                asked = np.where(able, asked, group.hold_action(state, setpoints, interval))
            parts.append(np.broadcast_to(asked, action.shape))
        return self.hold_waiting(_joined(parts), device_state, setpoints, interval)

    # --- after a power flow ------------------------------------------------------------------------------------------

    def respond(self, device_state: Array, setpoints: Setpoints, solution: Solution) -> Number:
        """Move voltage-dependent devices; see DeviceGroup.respond.

        Args:
            device_state, setpoints: changed in place.
            solution: of these set points.

        Returns:
            (...) largest deviation of the set points from what the voltages require, over rating [1].
        """
        off: Number = np.zeros(device_state.shape[:-1])
        for k in self._responding:
            off = np.maximum(off, self.groups[k].respond(self._state(k, device_state), setpoints, solution))
        return off

    def settle(
        self, device_state: Array, setpoints: Setpoints, solution: Solution, shift_pu: Array | None = None
    ) -> None:
        """Set voltage-dependent devices to what voltages call for; see DeviceGroup.settle.

        Args:
            device_state: (..., K)
            setpoints: changed in place.
            solution: whose voltages count.
            shift_pu: (D) added to the voltage that each device measures [pu]; None: nothing.
        """
        for k in self._responding:
            shift = 0.0 if shift_pu is None else shift_pu[self._rows[k]]
            self.groups[k].settle(self._state(k, device_state), setpoints, solution, shift)

    def trip(self, device_state: Array, setpoints: Setpoints, solution: Solution, limited: IntArray) -> BoolArray:
        """Trip devices that are overloaded in a power flow; returns (...) whether there were any.

        Args:
            device_state: (..., K); changed in place.
            setpoints, solution: of the interval.
            limited: (..., D); becomes 1 where a rating was exceeded.
        """
        return self._check(self._tripping, device_state, setpoints, solution, limited)

    def hold_tripping(self, device_state: Array, setpoints: Setpoints, interval: Interval) -> None:
        """As ``hold``, for the groups that may trip, which are fewer after each trip."""
        for k in self._tripping:
            self.groups[k].hold(self._state(k, device_state), setpoints, interval)

    def check(self, device_state: Array, setpoints: Setpoints, solution: Solution, limited: IntArray) -> None:
        """Check the ratings of groups that do not trip; arguments as in ``trip``."""
        self._check(self._checking, device_state, setpoints, solution, limited)

    def _check(
        self, which: Sequence[int], device_state: Array, setpoints: Setpoints, solution: Solution, limited: IntArray
    ) -> BoolArray:
        """Check some groups; returns (...) whether a rating was exceeded."""
        found = np.zeros(device_state.shape[:-1], bool)
        for k in which:
            state = self._state(k, device_state)
            checked, exceeded = self.groups[k].check(state, setpoints, solution)
            if checked is not state:
                state[...] = checked
            own = limited[..., self._rows[k]]  # a view
            np.maximum(own, exceeded, out=own)
            found = found | exceeded.any(axis=-1)
        return found

    # --- nodes that must stay de-energised ---------------------------------------------------------------------------

    def barred(self, device_state: Array, faulted: BoolArray | None) -> BoolArray | None:
        """(..., N) nodes that must not be energised: the faulted ones (..., N), and those that devices bar."""
        for k in self._barring:
            own = self.groups[k].barred(self._state(k, device_state))
            faulted = own if faulted is None else faulted | own
        return faulted

    def with_opened(self, device_state: Array, start: Setpoints) -> Setpoints:
        """The initial set points, with the switches open that devices open; see DeviceGroup.opened."""
        for k in self._barring:
            start = replace(start, closed=start.closed & ~self.groups[k].opened(self._state(k, device_state)))
        return start

    # --- telemetry -------------------------------------------------------------------------------------------------

    def telemetry(self, device_state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """(..., M) telemetry of all devices, of order 1."""
        if not self._telling:
            return self.zeros(device_state)[..., :0]
        told = [self.groups[k].telemetry(self._state(k, device_state), setpoints, interval) for k in self._telling]
        return _joined(told)

    def unmet_kwh(self, before: Array, after: Array, interval: Interval) -> Array:
        """(..., D) energy owed and not delivered in an interval [kWh]; may be read-only.

        Args:
            before, after: (..., K) state around the interval.
            interval: the one between them.
        """
        zeros = self.zeros(after)
        if not self._owing:
            return zeros
        unmet = zeros.copy()
        for k in self._owing:
            own = self.groups[k].unmet_kwh(self._state(k, before), self._state(k, after), interval)
            unmet[..., self._rows[k]] = own
        return unmet

    def stored_kwh(self, device_state: Array) -> Array:
        """(..., D) energy in the devices' stores [kWh]; (..., 0) if no device stores energy. May be read-only."""
        return self._told(self._storing, "stored_kwh", device_state)

    def fuel_l(self, device_state: Array) -> Array:
        """(..., D) fuel burned in the last interval [l]; (..., 0) if no device burns any. May be read-only."""
        return self._told(self._burning, "fuel_l", device_state)

    def worn_kwh(self, device_state: Array) -> Array:
        """(..., D) see DeviceGroup.worn_kwh; (..., 0) if no device wears so. May be read-only."""
        return self._told(self._wearing, "worn_kwh", device_state)

    def _told(self, which: Sequence[int], method: str, device_state: Array) -> Array:
        """(..., D) what some groups return from a method of their state, and 0 of the others; (..., 0) of no groups."""
        if not which:
            return self._of_none if device_state.ndim == 1 else self.zeros(device_state)[..., :0]
        told = self.zeros(device_state).copy()
        for k in which:
            told[..., self._rows[k]] = getattr(self.groups[k], method)(self._state(k, device_state))
        return told

    def zeros(self, device_state: Array) -> Array:
        """(..., D) zeros with the batch axes of a state; read-only."""
        if device_state.ndim == 1:
            return self._nothing
        return np.broadcast_to(self._nothing, (*device_state.shape[:-1], self.size))


def split_groups(values: Array, parts: Sequence[slice], shapes: Sequence[tuple[int, int]]) -> list[Array]:
    """Per group, its entries of (..., n) as (..., rows, columns); views.

    Args:
        values: of all groups.
        parts: per group, slice of its entries.
        shapes: per group, (rows, columns).
    """
    if values.ndim == 1:  # the same in half the time
        return [values[part].reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
    batch = values.shape[:-1]
    return [values[..., part].reshape(*batch, *shape) for part, shape in zip(parts, shapes, strict=True)]


def _joined(parts: Sequence[NDArray[Entry]]) -> NDArray[Entry]:
    """(..., n) the (..., D, A) parts of all groups, one after the other."""
    return np.concatenate([x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1]) for x in parts], axis=-1)


def _slices(sizes: Sequence[int]) -> list[slice]:
    """Slices of consecutive parts of these sizes."""
    ends = np.cumsum(sizes).tolist()
    return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]


def _act_periods(group: DeviceGroup) -> IntArray:
    """(D A) number of steps after which each entry's device may act again."""
    every = np.ones(group.size, np.int64) if group.act_every is None else group.act_every
    return np.repeat(every, len(group.action_labels))
