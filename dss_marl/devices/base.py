"""The device protocol: a group is all devices of one kind, as arrays."""

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


class DeviceSpec(BaseModel):
    """What a scenario says of one device, or of several alike; each kind extends it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: str
    act_every: int = Field(default=1, ge=1, description="acts only at every so many-th step, the first included")


@dataclass(frozen=True)
class DeviceGroup:
    """All devices of one kind. Extend it with the kind's own arrays, ``act`` and, where something is kept, the rest.

    A kind also says how it is named in a scenario: ``Spec`` (its fields), ``new_injections`` (what it adds to the
    circuit) and ``build``.

    All that depends on the state takes arrays with any leading batch axes. For every state and action the three
    agree: ``limited`` counts a device if and only if one of its entries is not ``legal``, and acting on what
    ``present`` gives leaves the set points that ``hold`` would write.

    Attributes:
        names: (D) unique names.
        buses: (D) where each device sits; decides its zone.
        every: (D) each acts at every so many-th step; None: all at each. The environment sees to that.
        action_labels: (A) entries of one device's action, each in [-1, 1]. May be a property.
        memory_size: K, numbers kept for each device between steps.
        reading_labels: (M) entries of one device's readings, with their unit. May be a property.
        circuit_controls: True if the circuit's own controls may take this kind over.
        settles: True if set points follow the voltages that they cause; then ``respond`` is called between solves.
        joint: True if devices of the kind stand in each other's way, so that legal requests may be refused together;
            then what ``legal`` and ``limited`` say of each other holds for one request at a time.
        trips: True if ``check`` puts devices out of service at once: what follows is the interval without them.
        order: groups act in this order; those of one number in the scenario's.
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
    def size(self) -> int:
        """Number of devices D."""
        return len(self.names)

    def n_levels(self) -> IntArray:
        """(D, A) number of positions that an entry has by nature, evenly over [-1, 1]; 0 where it is continuous."""
        return np.zeros((self.size, len(self.action_labels)), np.int64)

    def initial(self) -> Array:
        """(D, K) memory at reset."""
        return np.zeros((self.size, self.state_size))

    def start(self, rng: np.random.Generator, weekend: bool, hour: float) -> Array:
        """(D, K) memory at reset where a day differs from another: arrivals of cars, say. By default ``initial``.

        Args:
            rng: the day's own stream.
            weekend: whether the day is a Saturday or Sunday.
            hour: time of day at which the episode starts [h].
        """
        return self.initial()

    def check_start(self, start: Setpoints) -> None:
        """Whether the devices can begin at these taps and switches.

        Raises:
            ValueError: they cannot; says why, and the cure.
        """

    def default_action(self) -> Array:
        """(D, A) the action of a device that nobody controls: zeros, unless the kind says otherwise."""
        return np.zeros((self.size, len(self.action_labels)))

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """Write the set points that the action asks for, within the limits.

        Args:
            action: (..., D, A) in [-1, 1].
            memory: (..., D, K) from the step before.
            setpoints: of the interval, before control: loads and available sun, taps and switches as they are; changed
                in place.
            interval: when.

        Returns:
            the new memory (..., D, K), and (..., D) 1 where a limit of the device cut the request, else 0.
        """
        raise TypeError(f"{type(self).__name__} must define act(action, memory, setpoints, interval)")

    def hold(self, state: Array, setpoints: Setpoints, interval: Interval) -> None:
        """Write the set points of devices that stay as they are; taps and switches do so by themselves.

        Args:
            memory: (..., D, K); not changed.
            setpoints: of the interval, before control; changed in place.
            interval: the one that comes.
        """

    def hold_action(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """(..., D, A) the action that keeps each device as it is, as far as the coming interval's limits allow.

        Args:
            memory, setpoints, interval: as in ``act``; not changed. How much a store can give depends on how long.
        """
        return np.zeros((*state.shape[:-1], len(self.action_labels)))

    def feasible(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> BoolArray:
        """(..., D, A) whether the device would do just what each entry asks, whatever the other entries are.

        Args:
            action: (..., D, A) in [-1, 1]; may have more leading axes than the state, to try many at once.
            memory, setpoints, interval: as in ``act``; not changed.
        """
        return np.ones(action.shape, bool)

    def respond(self, state: Array, setpoints: Setpoints, solution: Solution) -> Number:
        """Follow the voltages: move the set points towards what they call for; only where ``settles``.

        Args:
            memory: (..., D, K) after ``act`` or ``hold``.
            setpoints: changed in place.
            solution: of these set points.

        Returns:
            (...) how far the set points were from what the voltages call for, before the move, over rating [1].
        """
        return np.zeros(state.shape[:-2])

    def check(self, state: Array, setpoints: Setpoints, solution: Solution) -> tuple[Array, IntArray]:
        """After the last solve of an interval: the memory (..., D, K), and (..., D) 1 where a rating was exceeded."""
        return state, np.zeros(state.shape[:-1], np.int64)

    def telemetry(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """(..., D, M) what each device tells of itself, of order 1."""
        return np.zeros((*state.shape[:-1], len(self.telemetry_labels)))

    def unmet_kwh(self, before: Array, after: Array, interval: Interval) -> Array:
        """(..., D) energy owed in the interval and not delivered, times the device's priority [kWh].

        Args:
            before, after: (..., D, K) memory around the step.
            interval: the one between them.
        """
        return np.zeros(after.shape[:-1])

    def with_priorities(self, priorities: Priorities) -> DeviceGroup:
        """The group where loads have priorities; most kinds do not care."""
        return self

    def stored_kwh(self, state: Array) -> Array:
        """(..., D) energy in each store, negative where it still has to draw what it put off [kWh]; memory as kept."""
        return np.zeros(state.shape[:-1])

    @classmethod
    def added_units(cls, specs: Sequence[Any]) -> list[AddedUnit]:
        """Units that the kind adds to the circuit."""
        return []

    @classmethod
    def added_switches(cls, specs: Sequence[Any]) -> list[AddedSwitch]:
        """Ties that the kind adds to the circuit, and lines that it makes switches."""
        return []

    @classmethod
    def build(cls, specs: Sequence[Any], feeder: Feeder) -> DeviceGroup:
        """The group that the specs describe on this feeder.

        Raises:
            ValueError: a device that the feeder does not have; names the place and what is there.
        """
        raise TypeError(f"{cls.__name__} must define build(specs, feeder)")


KINDS: dict[str, type[DeviceGroup]] = {}


def device_kind(name: str) -> type[DeviceGroup]:
    """The kind of device called ``name``, or one's own as ``package.module:Class``.

    Raises:
        ValueError: unknown kind; the message lists the known ones.
    """
    kind = KINDS.get(name) or imported(name, "device kind", KINDS)
    if not (isinstance(kind, type) and issubclass(kind, DeviceGroup)):
        raise ValueError(f"device kind {name!r} is not a DeviceGroup")
    return kind


def act_periods(act_every: Sequence[int]) -> IntArray | None:
    """(D) for the group's ``every``; None where all act at each step."""
    return np.array(act_every, np.int64) if any(number != 1 for number in act_every) else None


def unique_names(names: Sequence[str], kind: str) -> tuple[str, ...]:
    """The names as a tuple.

    Raises:
        ValueError: one occurs twice.
    """
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise ValueError(f"{kind} {twice[0]!r} is given twice; give each device its own name")
    return tuple(names)
