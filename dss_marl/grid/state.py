"""The values that travel: Setpoints are written, a Solution is read, a GridState is what rewards and observations see.

Axes: J injections, R taps, S switches and capacitor steps, N nodes, M branches, all in the Feeder's order.
Every array may carry leading batch axes; code indexes from the right (``v_pu[..., nodes]``), or, where an answer has
no such axes, refuses them with a ValueError; see ``batches``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
V_LOW, V_HIGH = 0.95, 1.05  # ANSI C84.1 range A, service voltage [pu]
Number = NDArray[np.float64] | np.float64  # a batch of numbers, or one


@dataclass
class Setpoints:
    """What may be written before a solve.

    Attributes:
        kw: (..., J) injected active power, + into the grid [kW]; a load is negative.
        kvar: (..., J) injected reactive power, + into the grid [kvar].
        tap: (..., R) integer tap position, 0 = neutral.
        closed: (..., S) True where a switch or a capacitor step is closed.
    """

    kw: Array
    kvar: Array
    tap: IntArray
    closed: BoolArray

    def copy(self) -> Setpoints:
        """Set points that share no array with these."""
        return Setpoints(self.kw.copy(), self.kvar.copy(), self.tap.copy(), self.closed.copy())


@dataclass(frozen=True)
class Solution:
    """What may be read after a solve.

    Attributes:
        v_pu: (..., N) node voltage magnitude [pu]; 0 where de-energised.
        loss_kw: (...) loss of all branches [kW].
        source_kw, source_kvar: (...) drawn from the source, + is import [kW, kvar].
        served_kw: (..., J) injection as delivered, + into the grid [kW]; differs from the set point where a load's
            power depends on its voltage and where a node is de-energised.
        energised: (..., N) True where the node has a path to the source.
        tap: (..., R) positions after the solve; differ from the set points only if the circuit's own controls ran.
        closed: (..., S) states after the solve, likewise.
        currents: gives ``loading`` when it is first asked for; most tasks never ask. Called with
            ``by_conductor=True`` it gives each conductor's instead of the highest of each branch.
        former_kw, former_kvar: (..., G, 3) what each former gives on each phase, + into the grid [kW, kvar]; 0 where it
            is off. It counts as served by the former's injection, and not as drawn from the source.
    """

    v_pu: Array
    loss_kw: Number
    source_kw: Number
    source_kvar: Number
    served_kw: Array
    energised: BoolArray
    tap: IntArray
    closed: BoolArray
    currents: Callable[..., Array] = field(repr=False, compare=False)
    grid_forming_kw: Array = field(default_factory=lambda: np.zeros((0, 3)))
    grid_forming_kvar: Array = field(default_factory=lambda: np.zeros((0, 3)))

    @cached_property
    def v_alive(self) -> Array:
        """(..., N) ``v_pu`` with 1 where de-energised, so that a dead node is neither low nor high [pu]."""
        return self.v_pu if self.energised.all() else np.where(self.energised, self.v_pu, 1.0)

    @cached_property
    def excursion(self) -> Array:
        """(..., N) how far each energised voltage lies outside V_LOW to V_HIGH [pu], >= 0."""
        v = self.v_alive
        return np.maximum(np.maximum(v - V_HIGH, V_LOW - v), 0.0)

    @cached_property
    def loading(self) -> Array:
        """(..., M) current over normal rating [1]; 0 where a branch has no rating."""
        return self.currents()


@dataclass(frozen=True)
class Interval:
    """When devices act, and what is broken then. Step and hour are one for all states of a batch.

    Attributes:
        step: number of the interval within the episode, from 0.
        hour: time of day at the start of the interval [h], 0 to 24.
        dt_h: length of the interval [h].
        faulted: (..., N) True at nodes that must not be energised; (N) where it is the same in all states of a batch,
            None where nothing is broken.
    """

    step: int
    hour: float
    dt_h: float
    faulted: BoolArray | None = None

    def faulted_in(self, state: tuple[int, ...]) -> BoolArray | None:
        """(N) what is broken in one state of a batch, by its position."""
        return self.faulted if self.faulted is None or self.faulted.ndim == 1 else self.faulted[state]


@dataclass(frozen=True)
class GridState(Interval):
    """All that a reward, a cost or an observation may see: an interval, and what happened in it.

    Attributes:
        setpoints: as operated in the interval.
        solution: of these set points.
        memory: (..., K) state of the devices beside taps and switches, group after group.
        forecast: (..., H, J) injections before any control in the coming H intervals, the first being this one [kW]:
            loads negative, available sun positive.
        price: (..., H) price of energy in the same intervals [1/kWh].
        action: (..., F) what all entries of all devices were last asked, in [-1, 1], or what holding meant where that
            was not possible; each kind's neutral at reset.
        readings: (..., M) what the devices tell of themselves; see DeviceGroup.readings.
        unmet_kwh: (..., D) energy that each device owed in the interval and did not deliver, times its priority [kWh].
        stored_kwh: (..., D) energy in each device's store at the end of the interval as operated, or at the beginning
            of a coming one; negative where it still has to draw what it put off [kWh]. Empty where nothing stores.
        import_limit_kw: what the feeder may draw from the source [kW]; infinite where the scenario says nothing.
    """

    setpoints: Setpoints = field(kw_only=True)
    solution: Solution = field(kw_only=True)
    device_state: Array = field(kw_only=True)
    forecast: Array = field(kw_only=True)
    price: Array = field(kw_only=True)
    action: Array = field(kw_only=True)
    telemetry: Array = field(kw_only=True)
    unmet_kwh: Array = field(kw_only=True)
    stored_kwh: Array = field(default_factory=lambda: np.zeros(0), kw_only=True)
    import_limit_kw: float = field(default=np.inf, kw_only=True)

    def replace(self, **changes: object) -> GridState:
        """The same state with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]
