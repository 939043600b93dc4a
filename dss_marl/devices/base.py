"""The device interface: a group holds all devices of one kind as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dss_marl._plugins import imported
from dss_marl.grid.feeder import AddedSwitch, AddedUnit, Feeder
from dss_marl.grid.load_priorities import Priorities
from dss_marl.grid.state import Array, BoolArray, IntArray, Interval, Number, Setpoints, Solution
from dss_marl.grid.voltage_band import VoltageBand


class DeviceSpec(BaseModel):
    """Scenario settings of one device, or of several equal ones; each kind extends it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: str = Field(description="kind of device, or your own as package.module:Class")
    act_every: int = Field(default=1, ge=1, description="acts only at every n-th step, starting with the first")


@dataclass(frozen=True)
class Goal:
    """Where another play of an interval left the devices, to be approached from another state.

    Attributes:
        action: (..., D, A) what was requested there.
        state: (..., D, K) device state after it.
        setpoints: after it; taps and switches count.
    """

    action: Array
    state: Array
    setpoints: Setpoints


@dataclass(frozen=True)
class DeviceGroup:
    """All devices of one kind. Subclasses add the kind's own arrays, ``act`` and, for devices with a state, the rest.

    A kind also defines its settings in a scenario, ``Spec``, the units and switches that it adds to the circuit,
    ``added_units`` and ``added_switches``, and ``build``.

    Everything that depends on the state accepts leading batch axes. For every state and action: a device is counted
    as limited if and only if one of its entries is not ``feasible``, and acting on ``hold_action`` gives the set points
    that ``hold`` would write.

    Attributes:
        names: (D) unique names.
        buses: (D) bus of each device, which decides its zone.
        act_every: (D) each acts at every n-th step; None: all at every step. The environment enforces it.
        action_labels: (A) entries of one device's action, each in [-1, 1]. May be a property.
        state_size: K, number of state variables of each device.
        telemetry_labels: (M) entries of one device's telemetry, with units. May be a property.
        circuit_controls: True if the circuit's own controls may operate this kind.
        voltage_dependent: True if set points depend on the resulting voltages; ``respond`` is then called between
            solves.
        coupled: True if devices of the kind interact, so that individually feasible requests may be refused together;
            feasibility and limits then agree for one request at a time.
        trips: True if ``check`` may trip devices at once; the interval is then solved again without them.
        dispatch_order: groups act in this order; equal numbers in the order of the scenario. See ``order_of``.
    """

    names: tuple[str, ...]
    buses: tuple[str, ...]
    act_every: IntArray | None = field(default=None, kw_only=True)

    action_labels: ClassVar[tuple[str, ...]] = ()
    state_size: ClassVar[int] = 0
    telemetry_labels: ClassVar[tuple[str, ...]] = ()
    circuit_controls: ClassVar[bool] = False
    voltage_dependent: ClassVar[bool] = False
    coupled: ClassVar[bool] = False
    trips: ClassVar[bool] = False
    dispatch_order: ClassVar[int] = 0
    Spec: ClassVar[type[DeviceSpec]] = DeviceSpec

    @property
    def has_check(self) -> bool:
        """Whether ``check`` has anything to do; calls are saved where it has not."""
        return type(self).check is not DeviceGroup.check

    @property
    def size(self) -> int:
        """Number of devices D."""
        return len(self.names)

    def n_levels(self) -> IntArray:
        """(D, A) number of positions of each entry, evenly spaced over [-1, 1]; 0 if continuous."""
        return np.zeros((self.size, len(self.action_labels)), np.int64)

    def initial(self) -> Array:
        """(D, K) device state at reset."""
        return np.zeros((self.size, self.state_size))

    def start(self, rng: np.random.Generator, weekend: bool, hour: float) -> Array:
        """(D, K) device state at reset if it depends on the day, such as arrivals of EVs. By default ``initial``.

        Args:
            rng: random stream of the day.
            weekend: whether the day is a Saturday or Sunday.
            hour: time of day at which the episode starts [h].
        """
        return self.initial()

    def at_start(self, start: Setpoints) -> DeviceGroup:
        """The group if an episode starts with these taps and switches; unchanged for most kinds."""
        return self

    def check_start(self, start: Setpoints) -> None:
        """Check that the devices can start with these taps and switches.

        Raises:
            ValueError: they cannot; gives the reason and the remedy.
        """

    def default_action(self) -> Array:
        """(D, A) action of an uncontrolled device: zeros unless the kind overrides it."""
        return np.zeros((self.size, len(self.action_labels)))

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """Write the set points that the action requests, within limits.

        Args:
            action: (..., D, A) in [-1, 1].
            state: (..., D, K) device state from the previous step.
            setpoints: of the interval, before control: loads and available PV power, current taps and switches;
                modified in place.
            interval: the time step.

        Returns:
            the new device state (..., D, K), and (..., D) 1 where a device limit cut the request, else 0.
        """
        raise TypeError(f"{type(self).__name__} must define act(action, state, setpoints, interval)")

    def hold(self, state: Array, setpoints: Setpoints, interval: Interval) -> None:
        """Write the set points of devices that hold; taps and switches need no action to hold.

        Args:
            state: (..., D, K) device state; not modified.
            setpoints: of the interval, before control; modified in place.
            interval: the coming time step.
        """

    def hold_action(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """(..., D, A) the action that keeps each device unchanged, within the limits of the coming interval.

        Args:
            state, setpoints, interval: as in ``act``; not modified. Limits of energy depend on the interval's length.
        """
        return np.zeros((*state.shape[:-1], len(self.action_labels)))

    def feasible(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """(..., D, A) whether the device would execute each entry exactly, for any values of the other entries.

        Args:
            action: (..., D, A) in [-1, 1]; may have more leading axes than the state, to test many actions at once.
            state, setpoints, interval: as in ``act``; not modified.
        """
        return np.ones(action.shape, bool)

    def action_towards(self, goal: Goal, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """(..., D, A) the action that brings each device from its present state as near to the goal as one action may.

        By default the action of the goal, which suits kinds whose actions do not count from the present state. Kinds
        that the circuit's own controls may operate, ``circuit_controls``, must define it by the set points alone.

        Args:
            goal: of the same interval.
            state, setpoints, interval: as in ``act``; not modified.
        """
        return goal.action

    def respond(self, state: Array, setpoints: Setpoints, solution: Solution) -> Number:
        """Follow the voltages: move the set points towards what they call for; only where ``settles``.

        Args:
            state: (..., D, K) device state after ``act`` or ``hold``.
            setpoints: modified in place.
            solution: of these set points.

        Returns:
            (...) how far the set points were from what the voltages call for, before the move, over rating [1].
        """
        return np.zeros(state.shape[:-2])

    def settle(self, state: Array, setpoints: Setpoints, solution: Solution, shift_pu: Array | float = 0.0) -> None:
        """Write at once the set points to which ``respond`` leads at these voltages; for slopes of the reward.

        A kind that follows the voltage needs it only where ``env.gradient`` is asked for; it then also has ``places``,
        whose ``nodes`` and ``weights`` say which mean voltage each device follows, see ``volt_var_curve.Places``.

        Args:
            state: (..., D, K) device state after ``act``; not modified.
            setpoints: after ``act``; modified in place.
            solution: whose voltages count.
            shift_pu: (D) added to the voltage that each device measures [pu].
        """

    def starts(self, setpoints: Setpoints) -> BoolArray | None:
        """(..., D, W) entries that now decide whether something runs at all, which no slope of a reward shows.

        ``env.gradient`` is 0 there, and slope-guided learning leaves them to PPO. None: there are none.
        """
        return None

    def check(self, state: Array, setpoints: Setpoints, solution: Solution) -> tuple[Array, IntArray]:
        """After the last solve: the device state (..., D, K), and (..., D) 1 where a rating was exceeded."""
        return state, np.zeros(state.shape[:-1], np.int64)

    def telemetry(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """(..., D, M) telemetry of each device, scaled to order 1."""
        return np.zeros((*state.shape[:-1], len(self.telemetry_labels)))

    def unmet_kwh(self, before: Array, after: Array, interval: Interval) -> Array:
        """(..., D) energy owed in the interval and not delivered, times the device's priority [kWh].

        Args:
            before, after: (..., D, K) device state around the step.
            interval: the time step.
        """
        return np.zeros(after.shape[:-1])

    def with_band(self, band: VoltageBand) -> DeviceGroup:
        """The group with what it does near the limits of the task's voltage band; unchanged for most kinds."""
        return self

    def with_priorities(self, priorities: Priorities) -> DeviceGroup:
        """The group with load priorities applied; unchanged for most kinds."""
        return self

    def stored_kwh(self, state: Array) -> Array:
        """(..., D) energy stored in each device, negative for deferred energy still to be drawn [kWh]."""
        return np.zeros(state.shape[:-1])

    def fuel_l(self, state: Array) -> Array:
        """(..., D) fuel burned by each device in the last interval [l]."""
        return np.zeros(state.shape[:-1])

    @property
    def wears(self) -> bool:
        """Whether ``worn_kwh`` may be above 0; calls are saved where it cannot."""
        return type(self).worn_kwh is not DeviceGroup.worn_kwh

    def worn_kwh(self, state: Array) -> Array:
        """(..., D) battery throughput of the last interval that is not read from set points [kWh].

        Exchanged either way with an island that the battery formed, or lent by an EV and charged again.
        """
        return np.zeros(state.shape[:-1])

    def barred(self, state: Array) -> BoolArray:
        """(..., N) nodes that must not be energised, because of what the devices know or have not done yet."""
        raise TypeError(f"{type(self).__name__} bars no node")

    def opened(self, state: Array) -> BoolArray:
        """(..., S) switches that are open at the start of an episode because of the devices' state; with ``barred``."""
        raise TypeError(f"{type(self).__name__} opens no switch")

    @classmethod
    def order_of(cls, specs: Sequence[Any]) -> int:
        """``dispatch_order`` of devices with these settings."""
        return cls.dispatch_order

    @classmethod
    def added_units(cls, specs: Sequence[Any]) -> list[AddedUnit]:
        """Units that the kind adds to the circuit."""
        return []

    @classmethod
    def added_switches(cls, specs: Sequence[Any]) -> list[AddedSwitch]:
        """Ties that the kind adds to the circuit, and lines that it makes switchable."""
        return []

    @classmethod
    def build(cls, specs: Sequence[Any], feeder: Feeder) -> DeviceGroup:
        """The group described by the specs, on this feeder.

        Raises:
            ValueError: a device does not exist on the feeder; the message lists the known ones.
        """
        raise TypeError(f"{cls.__name__} must define build(specs, feeder)")


def clipped(x: Array, low: Array | float, high: Array | float) -> Array:
    """As ``np.clip``, at half the cost for small arrays."""
    return np.minimum(np.maximum(x, low), high)


def columns(*parts: Array) -> Array:
    """(..., D, n) from n arrays (..., D); as ``np.stack`` along the last axis, at half the cost for small arrays."""
    result = np.empty((*parts[0].shape, len(parts)))
    for k, part in enumerate(parts):
        result[..., k] = part
    return result


KINDS: dict[str, type[DeviceGroup]] = {}


def device_kind(name: str) -> type[DeviceGroup]:
    """The kind of device called ``name``, or your own as ``package.module:Class``.

    Raises:
        ValueError: unknown kind; the message lists the known ones.
    """
    kind = KINDS.get(name) or imported(name, "device kind", KINDS)
    if not (isinstance(kind, type) and issubclass(kind, DeviceGroup)):
        raise ValueError(f"device kind {name!r} is not a DeviceGroup")
    return kind


def act_periods(act_every: Sequence[int]) -> IntArray | None:
    """(D) values for the group's ``act_every``; None if all devices act at every step."""
    return np.array(act_every, np.int64) if any(number != 1 for number in act_every) else None


def unique_names(names: Sequence[str], kind: str) -> tuple[str, ...]:
    """The names as a tuple.

    Raises:
        ValueError: a name occurs twice.
    """
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise ValueError(f"{kind} {twice[0]!r} is defined twice; give each device a unique name")
    return tuple(names)
