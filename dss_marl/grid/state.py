"""Set points, power-flow solutions, and the grid state that rewards and observations are computed from.

Axes: J injections, R taps, S switches and capacitor steps, N nodes, M branches, all in the Feeder's order.
Every array may carry leading batch axes; code indexes from the right (``v_pu[..., nodes]``), or, where an answer has
no such axes, refuses them with a ValueError; see ``batch_axes``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from dss_marl.grid.voltage_band import VoltageBand

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
V_LOW, V_HIGH = 0.95, 1.05  # the band of a scenario that sets none [pu]; see voltage_band
DEAD_V_PU = 1.0  # what a de-energised node, of 0 pu, counts as where limits are checked
V_SCALE = 20.0  # of observed voltages, whatever the band: 0.95 and 1.05 pu are -1 and 1
Number = NDArray[np.float64] | np.float64  # a scalar, or a batch of them
_Frozen = TypeVar("_Frozen")


def beyond_band(v_pu: Any, low: Any, high: Any) -> Any:
    """How far voltages lie outside these limits [pu], >= 0."""
    return np.maximum(np.maximum(v_pu - high, low - v_pu), 0.0)


@dataclass
class Setpoints:
    """Inputs of a power flow.

    Attributes:
        kw: (..., J) injected active power, + into the grid [kW]; a load is negative.
        kvar: (..., J) injected reactive power, + into the grid [kvar].
        tap: (..., R) integer tap position, 0 = neutral.
        closed: (..., S) True where a switch or a capacitor step is closed.
        converter_kw: (..., J) what the converters of units lose because of their reactive power, already taken off
            ``kw`` [kW]; None where no unit has such losses. Engines do not read it.
    """

    kw: Array
    kvar: Array
    tap: IntArray
    closed: BoolArray
    converter_kw: Array | None = None

    def copy(self) -> Setpoints:
        """A deep copy."""
        lost = None if self.converter_kw is None else self.converter_kw.copy()
        return Setpoints(self.kw.copy(), self.kvar.copy(), self.tap.copy(), self.closed.copy(), lost)

    @property
    def lost_kw(self) -> Array:
        """(..., J) ``converter_kw``, zeros where it is None; not to be changed."""
        return np.zeros(self.kw.shape, self.kw.dtype) if self.converter_kw is None else self.converter_kw

    def put_converter_kw(self, rows: Any, lost_kw: Array) -> None:
        """Set ``converter_kw`` of some injections."""
        if self.converter_kw is None:
            self.converter_kw = np.zeros(self.kw.shape, self.kw.dtype)
        self.converter_kw[..., rows] = lost_kw


@dataclass(frozen=True)
class Solution:
    """Results of a power flow.

    Attributes:
        v_pu: (..., N) node voltage magnitude [pu]; 0 where de-energised.
        loss_kw: (...) total losses [kW].
        source_kw, source_kvar: (...) power drawn from the source, positive on import [kW, kvar].
        served_kw: (..., J) injection as delivered, + into the grid [kW]; differs from the set point where a load's
            power depends on its voltage and where a node is de-energised.
        energised: (..., N) True where the node has a path to the source.
        tap: (..., R) positions after the solve; differ from the set points only if the circuit's own controls ran.
        closed: (..., S) states after the solve, likewise.
        currents: computes ``loading`` on first access; most tasks never need it. With ``by_conductor=True`` it
            returns the loading of every conductor instead of the highest of each branch. It may have a method
            ``highest`` that computes ``highest_loading`` alone at less cost. Its method ``angle_rad`` gives the
            voltages' angles.
        grid_forming_kw, grid_forming_kvar: (..., G, 3) output of each grid-forming unit per phase, + into the grid
            [kW, kvar]; 0 where it is off. It is part of ``served_kw`` of the unit's injection, not of ``source_kw``.
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
    _judged_by = None  # of an instance: the band of its ``_excursion``; no fields, and so without types
    _excursion = np.zeros(0)

    @cached_property
    def all_energised(self) -> bool:
        """Whether every node is, in all states of a batch."""
        return bool(self.energised.all())

    @cached_property
    def v_alive(self) -> Array:
        """(..., N) ``v_pu`` with 1 where de-energised, so that such a node violates no limit [pu]."""
        return self.v_pu if self.all_energised else np.where(self.energised, self.v_pu, self.v_pu.dtype.type(DEAD_V_PU))

    @cached_property
    def v_scaled(self) -> Array:
        """(..., N) ``v_alive`` as observed: 0 at 1 pu, -1 and 1 at 0.95 and 1.05 pu, whatever the band."""
        scaled = self.v_alive - 1
        scaled *= V_SCALE
        return scaled

    def excursion(self, band: VoltageBand) -> Array:
        """(..., N) how far each energised voltage lies outside the band [pu], >= 0; that of ``zone.band`` in a task."""
        if self._judged_by is not band:
            self.__dict__.update(_judged_by=band, _excursion=beyond_band(self.v_alive, band.low, band.high))
        return self._excursion

    @cached_property
    def loading(self) -> Array:
        """(..., M) current over normal rating [1]; 0 where a branch has no rating."""
        return self.currents()

    @cached_property
    def angle_rad(self) -> Array:
        """(..., N) angle of each voltage, relative to its phase at the source [rad]; 0 where de-energised.

        Raises:
            ValueError: the engine gives no angles.
        """
        angle_rad = getattr(self.currents, "angle_rad", None)
        if angle_rad is None:
            raise ValueError("voltage angles are asked for, and the engine gives none; remove observation bus_angle")
        return angle_rad() if self.all_energised else np.where(self.energised, angle_rad(), 0.0)

    @cached_property
    def highest_loading(self) -> Number:
        """(...) highest loading of any branch [1]; 0 on a feeder without branches."""
        highest = getattr(self.currents, "highest", None)
        return self.loading.max(-1, initial=0.0) if highest is None or "loading" in self.__dict__ else highest()


@dataclass(frozen=True)
class Interval:
    """Time step of an episode, and the faults present in it.

    Attributes:
        step: number of the interval within the episode, from 0; (...) where the states of a batch are at several.
        hour: time of day at the start of the interval [h], 0 to 24; likewise.
        dt_h: length of the interval [h].
        faulted: (..., N) True at nodes that must not be energised; (N) where it is the same in all states of a batch,
            None without faults.
        last: whether the episode ends with this interval; (...) where the states of a batch are in several.
    """

    step: Any  # an int, or integers (...)
    hour: Any  # a float, or floats (...)
    dt_h: float
    faulted: BoolArray | None = None
    last: Any = False  # a bool, or booleans (...)

    def step_in(self, state: tuple[int, ...]) -> int:
        """The step of one state of a batch, by its position."""
        return int(self.step[state]) if isinstance(self.step, np.ndarray) else self.step

    def faulted_in(self, state: tuple[int, ...]) -> BoolArray | None:
        """(N) what is broken in one state of a batch, by its position."""
        return self.faulted if self.faulted is None or self.faulted.ndim == 1 else self.faulted[state]


@dataclass(frozen=True)
class GridState(Interval):
    """Everything that a reward, a cost or an observation may depend on, for one interval.

    Attributes:
        setpoints: as operated in the interval.
        solution: of these set points.
        device_state: (..., K) internal state of the devices other than taps and switches, group after group.
        forecast: (..., H, J) uncontrolled injections of the next H intervals, starting with this one [kW]: loads
            negative, available PV power positive.
        price: (..., H) price of energy in the same intervals [1/kWh].
        action: (..., F) last joint action in [-1, 1], with the equivalent of holding where an entry was infeasible; the
            default action of each kind at reset.
        telemetry: (..., M) quantities that the devices report; see DeviceGroup.telemetry.
        unmet_kwh: (..., D) energy that each device owed in the interval and did not deliver, times its priority [kWh].
        stored_kwh: (..., D) energy stored in each device at the end of an operated interval, or at the beginning of a
            coming one; negative for deferred energy still to be drawn [kWh]. Empty if no device stores energy.
        fuel_l: (..., D) fuel that each device burned in the last operated interval [l]. Empty if none burns any.
        worn_kwh: (..., D) battery throughput in the last operated interval that is not read from set points [kWh]: with
            an island that a battery formed, or lent by an EV. Empty if there is no such device.
        import_limit_kw: limit of the feeder's import from the source [kW]; infinite unless the scenario sets it.
        pv_kwh: (..., 2, U) energy that each PV unit of the feeder had available, and fed in, since the episode began,
            up to the end of an operated interval or the beginning of a coming one [kWh]. (..., 2, 0) unless a term,
            cost or feature of the scenario reads it.
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
    fuel_l: Array = field(default_factory=lambda: np.zeros(0), kw_only=True)
    worn_kwh: Array = field(default_factory=lambda: np.zeros(0), kw_only=True)
    import_limit_kw: float = field(default=np.inf, kw_only=True)
    pv_kwh: Array = field(default_factory=lambda: np.zeros((2, 0)), kw_only=True)

    @property
    def available(self) -> Array:
        """(..., J) the forecast of this interval, which is exact: loads negative, available PV positive [kW]."""
        return self.forecast[..., 0, :]

    def replace(self, **changes: object) -> GridState:
        """The same state with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


def assembled(kind: type[_Frozen], /, **fields: object) -> _Frozen:
    """An instance of a frozen dataclass, at a third of the cost of its constructor, which sets fields one by one.

    Args:
        kind: the dataclass.
        fields: all of its fields, without exception, and values of cached properties that are known already.
    """
    made = object.__new__(kind)
    made.__dict__.update(fields)
    return made
