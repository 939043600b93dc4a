"""Profile sources by kind: their specs, and the objects that generate or read the days."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny
from pydantic_core import PydanticCustomError

from dss_marl._plugins import imported
from dss_marl.grid.feeder import Feeder
from dss_marl.profiles.base import ProfileSpec, Source
from dss_marl.profiles.circuit_loadshapes import LoadshapeProfiles
from dss_marl.profiles.mapdn import MapdnProfiles
from dss_marl.profiles.own_power import with_own_power
from dss_marl.profiles.simbench import SimbenchProfiles
from dss_marl.profiles.sliced_series import SlicedProfiles
from dss_marl.profiles.synthetic import Synthetic
from dss_marl.profiles.synthetic_settings import SyntheticProfiles
from dss_marl.profiles.table_profiles import CsvProfiles

PROFILE_KINDS: dict[str, type[ProfileSpec]] = {
    "synthetic": SyntheticProfiles,
    "csv": CsvProfiles,
    "simbench": SimbenchProfiles,
    "loadshapes": LoadshapeProfiles,
    "mapdn": MapdnProfiles,
    "sliced": SlicedProfiles,
}


def profile_kind(name: str) -> type[ProfileSpec]:
    """The spec of a kind of profiles, or your own by ``package.module:Class``; see ProfileSpec.

    Raises:
        ValueError: unknown kind; the message lists the known ones.
    """
    kind = PROFILE_KINDS.get(name) or imported(name, "kind of profiles", PROFILE_KINDS)
    if not (isinstance(kind, type) and issubclass(kind, ProfileSpec)):
        raise ValueError(f"kind of profiles {name!r} is not a subclass of dss_marl.profiles.ProfileSpec")
    return kind


def profile_kind_of(data: Any) -> type[ProfileSpec]:
    """The spec class of a scenario's ``profiles``, by default synthetic; errors as ``profile_kind``."""
    return profile_kind(str(data.get("kind", "synthetic") if isinstance(data, dict) else "synthetic"))


def _read_spec(data: Any) -> ProfileSpec:
    if isinstance(data, ProfileSpec):
        return data
    try:
        kind = profile_kind_of(data)
    except ValueError as error:
        raise PydanticCustomError("unknown_kind", "{reason}", {"reason": str(error)}) from error
    return kind.model_validate(data)


ProfilesSpec = Annotated[SerializeAsAny[ProfileSpec], BeforeValidator(_read_spec)]  # the field of a scenario


def open_source(spec: ProfileSpec, feeder: Feeder, minutes: int) -> Source:
    """The source of the days that a spec describes, at intervals of ``minutes``.

    Raises:
        ValueError: files are missing or do not fit the feeder.
    """
    if isinstance(spec, SyntheticProfiles):  # its settings stand apart from the generator, which reads them everywhere
        return with_own_power(Synthetic(spec, feeder, minutes), spec, feeder, minutes)
    return with_own_power(spec.open(feeder, minutes), spec, feeder, minutes)
