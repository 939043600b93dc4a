"""Measurement model: noise, missing data and delay."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dss_marl.grid.state import Array, BoolArray, GridState
from dss_marl.mdp.random_streams import copied


class SensingSpec(BaseModel):
    """Quality of measurements. All zero: agents observe the true state."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    noise_v_pu: float = Field(default=0.0, ge=0, le=0.2, description="standard deviation of voltages [pu]")
    noise_power: float = Field(default=0.0, ge=0, le=1, description="relative standard deviation of powers [1]")
    missing: float = Field(default=0.0, ge=0, le=1, description="share of measurements missing in an interval")
    delay: int = Field(default=0, ge=0, le=1000, description="delay of voltage and power measurements [intervals]")

    @property
    def perfect(self) -> bool:
        """Whether measurements are exact and timely."""
        return not (self.noise_v_pu or self.noise_power or self.missing or self.delay)


Readings = tuple[Array, Array, Array]  # (N) voltages [pu], (J) load or PV [kW], (J) served [kW]


@dataclass
class SensingState:
    """What changes in the meters through an episode; arrays are replaced, never written, so copies may share them.

    Attributes:
        rng: of noise and lost readings.
        last: the readings that stand where one is lost; None before the first.
        arriving: those that are under way, oldest first.
    """

    rng: np.random.Generator
    last: Readings | None = None
    arriving: tuple[Readings, ...] = ()

    def copy(self) -> SensingState:
        """The same with a random stream of its own."""
        return replace(self, rng=copied(self.rng))


class Sensing:
    """The meters of a feeder during an episode.

    Every node has a voltage meter and every injection a power meter (of uncontrolled and of served power). A
    measurement is taken with noise, may be lost, in which case the last one is kept (1 pu and 0 kW before the first),
    and arrives ``delay`` intervals late. Quantities known to devices (set points, device state, taps) are exact.

    Args:
        spec: how well they measure.

    Attributes:
        state: of the running episode.
    """

    def __init__(self, spec: SensingSpec) -> None:
        self.spec = spec
        self.reset(np.random.default_rng(0))

    def reset(self, rng: np.random.Generator) -> None:
        """Forget all measurements; noise is drawn from this stream from now on."""
        self.state = SensingState(rng)

    def measured(self, state: GridState) -> GridState:
        """The state as measured; call once per interval."""
        solution = state.solution
        seen = self.read(solution.v_pu, state.available, solution.served_kw, solution.energised)
        return as_read(state, seen)

    def read(self, v_pu: Array, power: Array, served: Array, energised: BoolArray) -> Readings:
        """The readings of an interval as they arrive.

        Args:
            v_pu: (N) true voltages [pu].
            power: (J) true load or available PV [kW].
            served: (J) true power as delivered [kW].
            energised: (N) which nodes are.
        """
        spec = self.spec
        v_pu = v_pu + spec.noise_v_pu * self._noise(v_pu) * energised
        power = power * (1 + spec.noise_power * self._noise(power))
        served = served * (1 + spec.noise_power * self._noise(served))
        taken = tuple(
            self._received(k, x, blank) for k, (x, blank) in enumerate(((v_pu, 1.0), (power, 0.0), (served, 0.0)))
        )
        self.state.last = (taken[0], taken[1], taken[2])
        self.state.arriving = (*self.state.arriving, self.state.last)[-1 - spec.delay :]
        return self.state.arriving[0]  # until the first arrives late, it is all there is

    def _noise(self, x: Array) -> Array:
        return self.state.rng.standard_normal(x.shape)

    def _received(self, which: int, x: Array, blank: float) -> Array:
        """The measurements, replaced by the last ones where lost."""
        lost = self.state.rng.random(x.shape) < self.spec.missing
        before = np.full_like(x, blank) if self.state.last is None else self.state.last[which]
        return np.where(lost, before, x)


def as_read(state: GridState, seen: Readings) -> GridState:
    """The state with the readings (..., N), (..., J) and (..., J) in place of the true values."""
    seen_v, seen_power, seen_served = seen
    forecast = state.forecast.copy()
    forecast[..., 0, :] = seen_power
    return state.replace(
        forecast=forecast,
        solution=replace(
            state.solution,
            v_pu=np.where(state.solution.energised, seen_v, 0.0),
            served_kw=seen_served,
        ),
    )
