"""Flexibility request: active and reactive power that the transmission operator asks for at the feeder's source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import ConfigDict, Field, field_validator

from dss_marl.devices.base import DeviceGroup, DeviceSpec, columns
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array, IntArray, Interval, Setpoints, Solution

_MOST = 6  # activations of a day that the state has room for
_BEGIN, _END, _KW, _KVAR = range(4)  # columns of an activation: hours since the start of the episode, and powers
_ACTIVE, _TARGET_KW, _TARGET_KVAR, _MISSED_KW, _MISSED_KVAR = (4 * _MOST + k for k in range(5))
_NEVER = 1e6  # [h]


class FlexibilityRequestSpec(DeviceSpec):
    """Requests of the transmission operator, drawn for each day."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    kw: float = Field(gt=0, description="largest change of the import that is asked for, up or down [kW]")
    kvar: tuple[float, float] = Field(description="range of the reactive import that is asked for [kvar]")
    count: int = Field(default=4, ge=1, le=_MOST, description="activations per day")
    hours: tuple[float, float] = Field(default=(1.0, 3.0), description="range of the length of an activation [h]")
    tolerance_kw: float = Field(default=25.0, ge=0, description="deviation that costs nothing [kW]")
    tolerance_kvar: float = Field(default=25.0, ge=0, description="deviation that costs nothing [kvar]")
    kvar_weight: float = Field(default=0.1, ge=0, description="kWh that a missed kvarh counts as")
    loss_share: float = Field(default=0.03, ge=0, lt=1, description="of losses in the baseline, over the net load")
    bus: str = Field(default="", description="bus whose zone it belongs to; empty: that of the source")
    name: str = Field(default="flexibility_request", description="of the device")

    @field_validator("kvar", "hours")
    @classmethod
    def _in_order(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not limits[0] <= limits[1]:
            raise ValueError(f"must be two numbers, the lower first; got {list(limits)}")
        return limits

    @field_validator("hours")
    @classmethod
    def _positive(cls, hours: tuple[float, float]) -> tuple[float, float]:
        if not 0 < hours[0] <= hours[1] <= 24:
            raise ValueError(f"must lie above 0 and within 24 h; got {list(hours)}")
        return hours


@dataclass(frozen=True)
class FlexibilityRequests(DeviceGroup):
    """Activations at random times of the day: a change of the import from its baseline, and a reactive import.

    The baseline is what the feeder would import without control: the loads' nominal power minus the available PV
    power, plus a share for losses. Outside activations nothing is asked for. The energy by which the feeder misses the
    request beyond the tolerance is owed, see ``unmet_kwh``; the reward term ``unserved_device_energy`` prices it.
    The next activation of the day is announced at all times.

    It has no action and does not affect the power flow. It acts before all others, as it reads the loads and the
    available power of the interval from the set points. Device state: the activations, the targets of the last
    interval and what was missed in it.

    Attributes:
        kw, tolerance_kw, tolerance_kvar, kvar_weight, loss_share: (D) as in the settings.
        kvar, hours: (D, 2) likewise.
        count: (D) activations per day.
    """

    kw: Array
    kvar: Array
    count: IntArray
    hours: Array
    tolerance_kw: Array
    tolerance_kvar: Array
    kvar_weight: Array
    loss_share: Array

    state_size: ClassVar[int] = 4 * _MOST + 5
    telemetry_labels: ClassVar[tuple[str, ...]] = (
        "request active",
        "change of import asked for [MW]",
        "reactive import asked for [Mvar]",
        "time until the next request begins, 1 if there is none [24 h]",
        "length of the next request [24 h]",
        "change of import of the next request [MW]",
        "reactive import of the next request [Mvar]",
    )
    missed_column: ClassVar[int] = _MISSED_KW  # of the state; that of kvar follows, the targets stand before
    dispatch_order: ClassVar[int] = -1
    Spec: ClassVar[type[DeviceSpec]] = FlexibilityRequestSpec

    def initial(self) -> Array:
        """See DeviceGroup.initial: no activation."""
        state = np.zeros((self.size, self.state_size))
        state[:, _BEGIN : 4 * _MOST : 4] = state[:, _END : 4 * _MOST : 4] = _NEVER
        return state

    def start(self, rng: np.random.Generator, weekend: bool, hour: float) -> Array:
        """See DeviceGroup.start: activations one after the other, on the quarter of an hour, with pauses between them.

        The day is divided into equal parts, one for each activation, which lies anywhere in its part.
        """
        state = self.initial()
        for d in range(self.size):
            part = 24.0 / self.count[d]
            for k in range(self.count[d]):
                length = np.round(4 * min(rng.uniform(*self.hours[d]), part)) / 4
                begin = k * part + np.round(4 * rng.uniform(0, part - length)) / 4
                kw = np.round(self.kw[d] * rng.choice([-1.0, 1.0]) * rng.uniform(0.3, 1.0))
                state[d, 4 * k : 4 * k + 4] = begin, begin + length, kw, np.round(rng.uniform(*self.kvar[d]))
        return state

    def asked(self, state: Array, hour: Array | float, dt_h: float) -> Array:
        """(..., D, 3) whether an activation covers the middle of an interval, its change of import and kvar.

        Args:
            state: (..., D, K)
            hour: (...) since the start of the episode at which the interval begins [h].
            dt_h: its length [h].
        """
        middle = np.asarray(hour, float)[..., None, None] + dt_h / 2
        windows = state[..., : 4 * _MOST].reshape(*state.shape[:-1], _MOST, 4)
        inside = (windows[..., _BEGIN] <= middle) & (middle < windows[..., _END])
        asked = np.add.reduce(windows[..., _KW : _KVAR + 1] * inside[..., None], axis=-2)
        return np.concatenate([inside.any(-1).astype(float)[..., None], asked], axis=-1)

    def act(self, action: Array, state: Array, setpoints: Setpoints, interval: Interval) -> tuple[Array, IntArray]:
        """See DeviceGroup.act; writes no set point, keeps the targets of the interval."""
        asked, state = self.asked(state, interval.step * interval.dt_h, interval.dt_h), state.copy()
        baseline = -np.add.reduce(setpoints.kw, axis=-1)[..., None] * (1 + self.loss_share)
        state[..., _ACTIVE] = asked[..., 0]
        state[..., _TARGET_KW] = asked[..., 0] * (baseline + asked[..., 1])
        state[..., _TARGET_KVAR] = asked[..., 2]
        return state, np.zeros(state.shape[:-1], np.int64)

    def check(self, state: Array, setpoints: Setpoints, solution: Solution) -> tuple[Array, IntArray]:
        """See DeviceGroup.check: what the import misses of the targets."""
        state = state.copy()
        for drawn, target, tolerance, missed in (
            (solution.source_kw, _TARGET_KW, self.tolerance_kw, _MISSED_KW),
            (solution.source_kvar, _TARGET_KVAR, self.tolerance_kvar, _MISSED_KVAR),
        ):
            off = np.abs(np.asarray(drawn, float)[..., None] - state[..., target]) - tolerance
            state[..., missed] = np.maximum(off, 0.0) * state[..., _ACTIVE]
        return state, np.zeros(state.shape[:-1], np.int64)

    def unmet_kwh(self, before: Array, after: Array, interval: Interval) -> Array:
        """See DeviceGroup.unmet_kwh: active energy missed, and reactive energy with its weight."""
        return (after[..., _MISSED_KW] + self.kvar_weight * after[..., _MISSED_KVAR]) * interval.dt_h

    def targets(self, state: Array) -> Array:
        """(..., D, 3) whether a request was active in the last interval, and the import asked for [kW, kvar]."""
        return state[..., [_ACTIVE, _TARGET_KW, _TARGET_KVAR]]

    def telemetry(self, state: Array, setpoints: Setpoints, interval: Interval) -> Array:
        """See DeviceGroup.telemetry."""
        hour = np.asarray(interval.step * interval.dt_h, float)
        active, kw, kvar = np.moveaxis(self.asked(state, hour, interval.dt_h), -1, 0)
        windows = state[..., : 4 * _MOST].reshape(*state.shape[:-1], _MOST, 4)
        wait = windows[..., _BEGIN] - (hour[..., None, None] + interval.dt_h / 2)
        first = np.argmin(np.where(wait > 0, wait, _NEVER), axis=-1)[..., None, None]
        begin, end, next_kw, next_kvar = np.moveaxis(np.take_along_axis(windows, first, axis=-2)[..., 0, :], -1, 0)
        until = begin - hour[..., None]
        coming = (until > 0) & (begin < _NEVER)
        ahead = (
            np.where(coming, until / 24, 1.0),
            *(coming * x for x in ((end - begin) / 24, next_kw / 1000, next_kvar / 1000)),
        )
        return columns(active, kw / 1000, kvar / 1000, *ahead)

    @classmethod
    def build(cls, specs: Sequence[FlexibilityRequestSpec], feeder: Feeder) -> FlexibilityRequests:
        """See DeviceGroup.build.

        Raises:
            ValueError: more than one, or a bus that the feeder does not have.
        """
        if len(specs) > 1:
            raise ValueError(f"flexibility_request: {len(specs)} would ask for the same import; keep one")
        source = feeder.buses[feeder.node_bus[feeder.source_nodes[0]]].name
        return cls(
            names=tuple(spec.name for spec in specs),
            buses=tuple(feeder.bus(spec.bus).name if spec.bus else source for spec in specs),
            count=np.array([spec.count for spec in specs], np.int64),
            **{
                name: np.array([getattr(spec, name) for spec in specs], float)
                for name in ("kw", "kvar", "hours", "tolerance_kw", "tolerance_kvar", "kvar_weight", "loss_share")
            },
        )
