"""What a new project is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SCHEMA_LINE = "# yaml-language-server: $schema=scenario.schema.json\n"
OWN_REWARD, OWN_COST, OWN_FEATURE = "own_terms:voltage_steps", "own_terms:voltage_spread", "own_terms:feeder_load"
OWN_WEIGHT = 10
OWN_REASON = "your own term: moving all voltages by 0.01 pu costs as much as 0.001 pu outside the band"
COST_REASON = "your own cost, in the infos only"


@dataclass(frozen=True)
class Source:
    """The parts of a project that depend on its circuit and its scenario.

    Attributes:
        about: a sentence or two for the README.
        texts: files of the project and what is in them.
        copies: files of the project and the files that they are copies of.
        master: the circuit's master file in the project; "" where it is generated.
        feeder: what is in the feeder's folder.
        load: name of a load, for the device of one's own.
        nodes: of the feeder.
        zones: their number.
        controllers: reference controllers that fit and are quick.
        remarks: choices made for the user.
    """

    about: str
    texts: Mapping[str, str]
    copies: Mapping[Path, Path]
    master: str
    feeder: str
    load: str
    nodes: int
    zones: int
    controllers: Sequence[str]
    remarks: Sequence[str] = ()
