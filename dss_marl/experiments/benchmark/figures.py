"""The figures of a benchmark as data, and what moved against a baseline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

RATIO_NAMES = ("engine_over_floor", "step_over_floor", "reset_over_step")
TOLERANCE = 0.2  # a ratio that differs by more has moved; below, it is noise of a busy machine


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Measured(_Data):
    """One scenario: medians over days, per step of one copy."""

    scenario: str = Field(description="Its name.")
    copies: int = Field(ge=1, description="Number of copies stepped together; 1 is the environment of make.")
    days: int = Field(ge=1, description="Number of days, each measured once.")
    steps: int = Field(ge=1, description="Steps of a day.")
    solves_per_step: float = Field(description="Power flows of a step.")
    floor_us: float = Field(description="CPU time of the floor: the same writes and solves, all voltages read [us].")
    step_us: float = Field(description="CPU time of a step [us].")
    steps_per_s: float = Field(description="Steps of an environment in a second of CPU time.")
    engine_over_floor: float = Field(description="The engine's solves over the floor.")
    step_over_floor: float = Field(description="A step over the floor.")
    reset_over_step: float = Field(description="A reset over a step.")
    parts: dict[str, float] = Field(description="Share of the step's CPU time by part; the engine's holds the floor.")
    memory_mb: float | None = Field(description="Resident memory of a further copy [MB]; null where it is not known.")

    @property
    def ratios(self) -> dict[str, float]:
        """Those of RATIO_NAMES."""
        return {name: getattr(self, name) for name in RATIO_NAMES}


class Ratios(_Data):
    """The ratios of a benchmark, which depend little on the machine: a baseline."""

    format: Literal["dss_marl benchmark ratios 1"] = "dss_marl benchmark ratios 1"
    ratios: dict[str, dict[str, float]] = Field(description="Ratios by name, for each scenario and number of copies.")


class Benchmark(_Data):
    """All scenarios of one run."""

    format: Literal["dss_marl benchmark 1"] = "dss_marl benchmark 1"
    version: str = Field(description="Of dss_marl.")
    opendss: str = Field(description="Version of OpenDSSDirect.py.")
    python: str
    platform: str
    measured: list[Measured]

    def ratios(self) -> Ratios:
        """The baseline that these figures make."""
        return Ratios(
            ratios={
                measured_key(one): {name: round(value, 3) for name, value in one.ratios.items()}
                for one in self.measured
            }
        )


class Moved(NamedTuple):
    """A ratio that differs from the baseline's."""

    key: str
    name: str
    before: float
    now: float

    @property
    def change(self) -> float:
        """Relative; above 0 it costs more than before."""
        return self.now / self.before - 1


def measured_key(one: Measured) -> str:
    """Under which its ratios are in a baseline."""
    return one.scenario if one.copies == 1 else f"{one.scenario} x {one.copies}"


def moved(now: Ratios, baseline: Ratios, tolerance: float = TOLERANCE) -> list[Moved]:
    """The ratios that differ by more than the tolerance, of what both have."""
    pairs = [
        Moved(key, name, before, now.ratios[key][name])
        for key, own in baseline.ratios.items()
        for name, before in own.items()
        if name in now.ratios.get(key, {})
    ]
    return [one for one in pairs if abs(one.change) > tolerance]


def read_ratios(path: Path) -> Ratios:
    """A baseline, or the ratios of a benchmark's file.

    Raises:
        ValueError: the file is neither.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, Mapping) and "measured" in data:
            return Benchmark.model_validate(data).ratios()
        return Ratios.model_validate(data)
    except (OSError, ValidationError, json.JSONDecodeError, UnicodeDecodeError) as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[:3])
        raise ValueError(
            f"{str(path)!r} is no baseline and no result of 'dss-marl bench --out FILE.json': {reason}"
        ) from None
