"""The parameters of generated profiles."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from dss_marl.profiles.base import ProfileSpec


class SyntheticProfiles(ProfileSpec):
    """Generated days: load shapes by class with noise, PV under moving clouds, temperature, price, outages."""

    model_config = ConfigDict(coerce_numbers_to_str=True)  # buses may be numbers

    kind: Literal["synthetic"] = Field(default="synthetic", description="kind of profiles")
    seed: int = Field(ge=0, lt=2**32, description="of the year; another seed is another year")
    load_scale: tuple[float, float] = Field(
        default=(0.5, 0.9),
        description="range over the days of each class's working-day peak over nominal; classes peak at different "
        "hours, so the feeder's own peak is about 0.85 of it; heat pumps and air conditioning are added",
    )
    commercial_share: float = Field(default=0.3, ge=0, le=1, description="share of loads that are shops and offices")
    industrial_share: float = Field(default=0.0, ge=0, le=1, description="share of loads that are factories")
    homes_at: tuple[str, ...] = Field(default=(), description="buses whose loads are homes, regardless of the shares")
    shops_at: tuple[str, ...] = Field(default=(), description="buses whose loads are shops and offices")
    factories_at: tuple[str, ...] = Field(default=(), description="buses whose loads are factories")
    kw_per_load: float | None = Field(
        default=None,
        gt=0,
        description="nominal power of every load [kW], where the circuit's is a snapshot; null: its own",
    )
    noise: float = Field(default=1.0, ge=0, le=2, description="of the loads' fluctuation; 0: smooth class shapes")
    latitude: float = Field(default=34.0, ge=-66, le=66, description="degrees north")
    longitude: float = Field(default=0.0, ge=-30, le=30, description="degrees east of the time zone's meridian")
    climate: Literal["temperate", "maritime", "cold", "dry", "tropical"] = Field(
        default="temperate", description="clouds and temperature over the year"
    )
    heat_pump_share: float = Field(default=0.1, ge=0, le=1, description="share of homes")
    air_conditioning: float = Field(default=0.2, ge=0, le=1, description="share of homes and shops")
    pv_scale: float = Field(
        default=1.0, ge=0, le=3, description="PV modules relative to those that give an inverter its peak power"
    )
    tariff: Literal["day_ahead", "time_of_use", "flat"] = Field(
        default="day_ahead", description="how the price varies: hourly with the market, by blocks of hours, or not"
    )
    mean_price: float = Field(default=0.1, ge=0, description="mean, before the effect of PV [currency/kWh]")
    chain_days: int = Field(
        default=1,
        ge=1,
        le=60,
        description="most days of an episode; from 2, validation and test have years of their own, as chained days "
        "would overlap those of other splits",
    )
    outages_per_km: float = Field(default=0.1, ge=0, description="failures per kilometre of line and year")

    @field_validator("load_scale")
    @classmethod
    def _in_order(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= limits[0] <= limits[1]:
            raise ValueError(f"must be two numbers from 0, the lower first; got {list(limits)}")
        return limits

    @model_validator(mode="after")
    def _shares_add_up(self) -> SyntheticProfiles:
        total = self.commercial_share + self.industrial_share
        if total > 1 + 1e-9:
            raise ValueError(
                f"commercial_share and industrial_share add up to {total:g}; at most 1, homes are the rest"
            )
        return self

    @model_validator(mode="after")
    def _of_one_class(self) -> SyntheticProfiles:
        named = [*self.homes_at, *self.shops_at, *self.factories_at]
        twice = sorted({bus for bus in named if named.count(bus) > 1})
        if twice:
            raise ValueError(f"bus {twice[0]!r} is named twice in homes_at, shops_at and factories_at; keep one")
        return self

    @property
    def southern(self) -> bool:
        """Whether the place is in the southern hemisphere."""
        return self.latitude < 0
