"""Profile sources by kind: their specs, and the objects that generate or read the days."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from pydantic import Discriminator, Tag

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import Array
from dss_marl.profiles.circuit_loadshapes import LoadshapeProfiles, loadshape_days
from dss_marl.profiles.day import Day
from dss_marl.profiles.outages import Outage
from dss_marl.profiles.simbench import SimbenchProfiles, simbench_days
from dss_marl.profiles.synthetic import Synthetic
from dss_marl.profiles.synthetic_settings import SyntheticProfiles
from dss_marl.profiles.table_profiles import CsvProfiles, csv_days

PROFILE_KINDS: dict[str, type[Any]] = {
    "synthetic": SyntheticProfiles,
    "csv": CsvProfiles,
    "simbench": SimbenchProfiles,
    "loadshapes": LoadshapeProfiles,
}


def _kind(data: Any) -> str:
    return str(data.get("kind", "synthetic") if isinstance(data, dict) else getattr(data, "kind", "synthetic"))


ProfilesSpec = Annotated[  # what a scenario says of its days, of one kind or another
    Annotated[SyntheticProfiles, Tag("synthetic")]
    | Annotated[CsvProfiles, Tag("csv")]
    | Annotated[SimbenchProfiles, Tag("simbench")]
    | Annotated[LoadshapeProfiles, Tag("loadshapes")],
    Discriminator(
        _kind,
        custom_error_type="unknown_kind",
        custom_error_message=f"unknown kind of profiles; known: {', '.join(PROFILE_KINDS)}",
    ),
]


class Source(Protocol):
    """Generates or reads the days of one feeder."""

    @property
    def days(self) -> int:
        """Number of days."""

    @property
    def seed(self) -> int:
        """Seed of all random quantities."""

    @property
    def nominal_kw(self) -> Array:
        """(J) base of each injection's relative power [kW]."""

    def rows(self, day: int, intervals: int) -> Day:
        """The first intervals of a day."""

    def outages(self, day: int) -> tuple[Outage, ...]:
        """The outages that begin on a day."""


def open_source(spec: ProfilesSpec, feeder: Feeder, minutes: int) -> Source:
    """The source of the days that a spec describes, at intervals of ``minutes``.

    Raises:
        ValueError: files are missing or do not fit the feeder.
    """
    if isinstance(spec, CsvProfiles):
        return csv_days(spec, feeder, minutes)
    if isinstance(spec, SimbenchProfiles):
        return simbench_days(spec, feeder, minutes)
    if isinstance(spec, LoadshapeProfiles):
        return loadshape_days(spec, feeder, minutes)
    return Synthetic(spec, feeder, minutes)
