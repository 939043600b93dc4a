"""The protocol of a profile source: the spec in a scenario, and the source of days that it opens."""

from __future__ import annotations

from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array
from dss_marl.profiles.day import Day
from dss_marl.profiles.outages import Outage


class Source(Protocol):
    """Makes or reads the days of one feeder, at intervals of so many minutes; columns are the feeder's injections.

    A source whose days have dates also has an attribute ``calendar``, see Calendar; without one, day 0 is a Monday.
    """

    @property
    def days(self) -> int:
        """How many days there are; splits take theirs from these, see ``own_days.own_split``."""

    @property
    def seed(self) -> int:
        """Seed of forecast errors and of the devices' initial states."""

    @property
    def nominal_kw(self) -> Array:
        """(J) base of each injection's relative power [kW]; ``feeder.nominal_kw`` unless the source changes it."""

    def rows(self, day: int, intervals: int) -> Day:
        """The first intervals of a day, each the mean over the interval; always the same for the same day."""

    def outages(self, day: int) -> tuple[Outage, ...]:
        """The outages that begin on a day."""


class ProfileSpec(BaseModel):
    """The keys under a scenario's ``profiles``, validated when the scenario is read.

    Your own kind is a subclass with its keys as fields and ``open``; a scenario names it as
    ``kind: package.module:Class``::

        class ConstantDays(ProfileSpec):
            share: float = Field(gt=0, description="of nominal power")

            def open(self, feeder, minutes):
                return MySource(self, feeder, minutes)  # a Source
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: str = Field(description="kind of profiles, or your own as package.module:Class")

    def open(self, feeder: Feeder, minutes: int) -> Source:
        """Open the days of a feeder at intervals of ``minutes``.

        Raises:
            ValueError: files are missing or do not fit the feeder.
        """
        raise NotImplementedError(f"{type(self).__name__} must define open(feeder, minutes)")

    def pv_peaks_kw(self) -> Array | None:
        """(n) highest power of each PV unit in the data, which rates the scenario's inverters [kW].

        None, the default: inverters have the ``kw`` and ``kva`` that the scenario gives them.

        Raises:
            ValueError: files are missing or wrong.
        """
        return None
