"""The figures of a batch engine beside OpenDSS, as data."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class EngineMeasured(_Data):
    """One scenario with one number of copies: medians over rounds, of CPU time."""

    scenario: str = Field(description="Its name.")
    nodes: int = Field(description="Nodes of its feeder.")
    engine: str = Field(description="Name of the batch engine.")
    copies: int = Field(ge=1, description="Copies stepped together.")
    rounds: int = Field(ge=1, description="Blocks of each engine, in turns.")
    steps: int = Field(ge=1, description="Steps of a block.")
    env_steps_per_s: float = Field(
        description="Steps of one copy in a second of CPU time, its share of resets included."
    )
    solves_per_s: float = Field(description="Power flows in a second of the solver's CPU time.")
    solves_per_step: float = Field(description="Power flows of a step.")
    opendss_copies: int = Field(description="Copies on OpenDSS, each on a circuit of its own.")
    opendss_env_steps_per_s: float = Field(description="The same of OpenDSS, with the same actions and days.")
    opendss_solves_per_s: float = Field(description="The same of OpenDSS.")
    over_opendss: float = Field(description="Steps over those of OpenDSS, by round.")
    parts: dict[str, float] = Field(description="Share of CPU time by part, resets among them.")
    memory_kb: float | None = Field(description="Resident memory of a further copy [kB]; null where it is not known.")
    largest_off_pu: float = Field(
        description="Largest difference of a voltage from OpenDSS's at the ends of blocks [pu]."
    )
    same_positions: float = Field(
        description="Share of copies whose taps and switches are those of OpenDSS at these ends."
    )


class EngineBenchmark(_Data):
    """All scenarios and numbers of copies of one run."""

    format: Literal["dss_marl batched benchmark 1"] = "dss_marl batched benchmark 1"
    version: str = Field(description="Of dss_marl.")
    opendss: str = Field(description="Version of OpenDSSDirect.py.")
    numba: str = Field(description="Version of numba; empty where it is not installed.")
    python: str
    platform: str
    measured: list[EngineMeasured]
