"""Scenario settings of PV inverters."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from dss_marl.devices.converters import ConverterSpec
from dss_marl.devices.guard import GuardSpec
from dss_marl.devices.unit_specs import named_or_placed, placed_in_circuit
from dss_marl.devices.volt_watt_curve import VoltWattSpec


class InverterSpec(ConverterSpec):
    """A PV inverter. ``phases`` empty means all of the bus; ``kva`` defaults to 1.2 times ``kw``.

    ``names: circuit`` instead controls every PVSystem of the circuit, and a list the named ones, each with its own bus,
    phases, peak power and rating.
    """

    model_config = ConfigDict(json_schema_extra=named_or_placed)

    bus: str = Field(coerce_numbers_to_str=True, description="bus of the feeder that it is connected to")
    kw: float = Field(gt=0, description="PV peak power [kW]")
    kva: float = Field(default=0.0, ge=0, description="rating [kVA]; 0 means 1.2 kw")
    phases: tuple[int, ...] = Field(default=(), description="phases of the bus, such as [1, 3]; empty: all of them")
    name: str = Field(default="", description="of the device; empty: derived from kind, bus and phases")
    curtail: bool = Field(default=False, description="allow active-power curtailment")
    mode: Literal["share", "power_factor", "volt_var"] = Field(default="share", description="meaning of the entries")
    priority: Literal["watt", "var"] = Field(default="watt", description="power with precedence within the rating")
    volt_watt: bool | VoltWattSpec = Field(
        default=False, description="autonomous reduction of active power by the voltage of the own bus; true: defaults"
    )
    night: bool = Field(default=True, description="reactive power also without active power")
    power_factor_min: float = Field(default=0.9, gt=0, le=1, description="minimum power factor in mode power_factor")
    names: tuple[str, ...] | Literal["circuit"] | None = Field(default=None, description="PV systems of the circuit")
    action_scale: float = Field(
        default=1.0, gt=0, le=1, description="share of the available reactive power at action 1, in mode share"
    )
    guard: bool | GuardSpec = Field(
        default=False,
        description="steep volt-var response near the limits of the band, added to the kvar asked for in mode share; "
        "true: defaults",
    )

    rest_share: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="without sun, a smaller share leaves the converter off, which then has no standby losses; "
        "in mode share",
    )

    @model_validator(mode="before")
    @classmethod
    def _place(cls, data: dict[str, object]) -> dict[str, object]:
        if not isinstance(data, dict):
            return data
        return placed_in_circuit(data, ("bus", "kw", "kva", "phases", "name"), {"kw": 1.0})

    @model_validator(mode="after")
    def _fits_mode(self) -> InverterSpec:
        if self.action_scale != 1 and self.mode != "share":
            raise ValueError(f"action_scale is for mode share; in mode {self.mode} leave it out")
        if self.rest_share and self.mode != "share":
            raise ValueError(f"rest_share is for mode share; in mode {self.mode} leave it out")
        if self.guard is not False and self.mode != "share":
            raise ValueError(f"guard is for mode share; in mode {self.mode} leave it out")
        if self.guard is not False and self.priority == "var":
            raise ValueError("guard: reactive power that follows the voltage needs priority watt; leave priority out")
        return self

    @property
    def label(self) -> str:
        """The name; by default derived from bus and phases."""
        return self.name or "_".join(["inverter", self.bus, *map(str, self.phases)]).lower()

    @property
    def rating_kva(self) -> float:
        """The rating [kVA]."""
        return self.kva or 1.2 * self.kw
