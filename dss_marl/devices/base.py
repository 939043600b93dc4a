"""The device protocol: a group is all devices of one kind, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from dss_marl.feeder import Feeder, NewInjection
from dss_marl.state import Array, IntArray, Setpoints
from dss_marl.zones import imported


class DeviceSpec(BaseModel):
    """What a scenario says of one device, or of several alike; each kind extends it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: str


@dataclass(frozen=True)
class DeviceGroup:
    """All devices of one kind. Extend it with the kind's own arrays, ``act`` and, where something is kept, ``hold``.

    A kind also says how it is named in a scenario: ``Spec`` (its fields), ``new_injections`` (what it adds to the
    circuit) and ``build``.

    Attributes:
        names: (D) unique names.
        buses: (D) where each device sits; decides its zone.
        action_labels: (A) entries of one device's action, each in [-1, 1]; 0 is the neutral one. May be a property.
        memory_size: K, numbers kept for each device between steps.
        circuit_controls: True if the circuit's own controls may take this kind over.
    """

    names: tuple[str, ...]
    buses: tuple[str, ...]

    action_labels: ClassVar[tuple[str, ...]] = ()
    memory_size: ClassVar[int] = 0
    circuit_controls: ClassVar[bool] = False
    Spec: ClassVar[type[DeviceSpec]] = DeviceSpec

    @property
    def size(self) -> int:
        """Number of devices D."""
        return len(self.names)

    def initial(self) -> Array:
        """(D, K) memory at reset."""
        return np.zeros((self.size, self.memory_size))

    def act(self, action: Array, memory: Array, setpoints: Setpoints, dt_h: float) -> tuple[Array, IntArray]:
        """Write the set points that the action asks for, within the limits.

        Args:
            action: (..., D, A) in [-1, 1].
            memory: (..., D, K) from the step before.
            setpoints: of the interval, before control: loads and available sun, taps and switches as they are; changed
                in place.
            dt_h: length of the interval [h].

        Returns:
            the new memory (..., D, K), and (..., D) 1 where a limit of the device cut the request, else 0.
        """
        raise TypeError(f"{type(self).__name__} must define act(action, memory, setpoints, dt_h)")

    def hold(self, memory: Array, setpoints: Setpoints) -> None:
        """Write the set points of devices that stay as they are; taps and switches do so by themselves."""

    @classmethod
    def new_injections(cls, specs: Sequence[Any]) -> list[NewInjection]:
        """Units that the kind adds to the circuit."""
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


def unique(names: Sequence[str], kind: str) -> tuple[str, ...]:
    """The names as a tuple.

    Raises:
        ValueError: one occurs twice.
    """
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise ValueError(f"{kind} {twice[0]!r} is given twice; give each device its own name")
    return tuple(names)
