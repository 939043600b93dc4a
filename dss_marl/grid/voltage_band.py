"""The voltage band of a task: the limits of every node, by its level."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import V_HIGH, V_LOW, Array, BoolArray, beyond_band

ANSI_KV, IEC_KV = 0.6, 1.0  # up to which nominal line-to-line voltage a node counts as low voltage [kV]
EUROPEAN_V = 230.0  # nominal voltage of public low-voltage networks by EN 50160, phase to neutral [V]


class Limits(NamedTuple):
    """Lowest and highest voltage [pu]."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.4g} to {self.high:.4g}"


class Standard(NamedTuple):
    """Limits of a standard by level, of which ``kv`` is the boundary [kV]; source and meaning."""

    kv: float
    lv: Limits
    mv: Limits
    about: str


# ANSI C84.1-2020 states volts on a base of 120 V. Above 600 V its tables round to 10 V, which changes the third digit.
_A, _B = 126 / 120, 127 / 120
STANDARDS = {
    "ansi_a_service": Standard(
        ANSI_KV, Limits(114 / 120, _A), Limits(117 / 120, _A), "ANSI C84.1 range A, service voltage"
    ),
    "ansi_b_service": Standard(
        ANSI_KV, Limits(110 / 120, _B), Limits(114 / 120, _B), "ANSI C84.1 range B, service voltage"
    ),
    "ansi_a_utilization": Standard(
        ANSI_KV, Limits(108 / 120, _A), Limits(108 / 120, _A), "ANSI C84.1 range A, utilization voltage"
    ),
    "ansi_b_utilization": Standard(
        ANSI_KV, Limits(104 / 120, _B), Limits(104 / 120, _B), "ANSI C84.1 range B, utilization voltage"
    ),
    "en50160": Standard(IEC_KV, Limits(0.9, 1.1), Limits(0.9, 1.1), "EN 50160, supply voltage"),
}
BandName = Literal["ansi_a_service", "ansi_b_service", "ansi_a_utilization", "ansi_b_utilization", "en50160"]


def _in_order(limits: tuple[float, float]) -> tuple[float, float]:
    if not 0.5 <= limits[0] < limits[1] <= 1.5:
        raise ValueError(f"must be two voltages in pu, the lower first, from 0.5 to 1.5; got {list(limits)}")
    return limits


Pair = Annotated[tuple[float, float], AfterValidator(_in_order)]


class BandSpec(BaseModel):
    """Limits of all nodes, or of those at low and at medium voltage [pu]."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    low: float | None = Field(default=None, description="lowest voltage of every node [pu]")
    high: float | None = Field(default=None, description="highest voltage of every node [pu]")
    lv: Pair | None = Field(default=None, description="lowest and highest voltage of nodes up to 1 kV [pu]")
    mv: Pair | None = Field(default=None, description="lowest and highest voltage of nodes above 1 kV [pu]")

    @model_validator(mode="after")
    def _one_way(self) -> BandSpec:
        by_level = self.lv is not None or self.mv is not None
        if by_level == (self.low is not None or self.high is not None):
            raise ValueError("give low and high, or limits by level: lv, mv or both, such as {lv: [0.9, 1.1]}")
        if not by_level:
            if self.low is None or self.high is None:
                raise ValueError("give both low and high")
            _in_order((self.low, self.high))
        return self


Band = Annotated[  # a tag in brackets is left out of error messages
    Annotated[BandName, Tag("[name]")] | Annotated[BandSpec, Tag("[limits]")],
    Discriminator(lambda given: "[name]" if isinstance(given, str) else "[limits]"),
]
DEFAULT = BandSpec(low=V_LOW, high=V_HIGH)


@dataclass(frozen=True, eq=False)
class VoltageBand:
    """Limits of nodes.

    Attributes:
        low, high: lowest and highest voltage [pu]; numbers where they are equal at all nodes, else (N).
        about: the standard's name; "" for limits of one's own.
        levels: the limits that occur, by level ("low voltage", "medium voltage"; "" where there is one).
    """

    low: Any = V_LOW
    high: Any = V_HIGH
    about: str = ""
    levels: tuple[tuple[str, Limits], ...] = (("", Limits(V_LOW, V_HIGH)),)

    @cached_property
    def uniform(self) -> bool:
        """Whether all nodes have the same limits."""
        return not isinstance(self.low, np.ndarray)

    @cached_property
    def limits(self) -> tuple[float, ...]:
        """The numbers that occur as a limit, ascending [pu]; lines of a figure."""
        return tuple(sorted({limit for _, pair in self.levels for limit in pair}))

    @cached_property
    def widest(self) -> Limits:
        """Lowest and highest of the limits: beyond them any node is outside [pu]."""
        return Limits(self.limits[0], self.limits[-1])

    def __str__(self) -> str:
        said = "; ".join(f"{pair} pu" + (f" at {level}" if level else "") for level, pair in self.levels)
        return f"{said} ({self.about})" if self.about else said

    @property
    def limits_text(self) -> str:
        """The limits that occur, for the legend of lines."""
        *most, last = (f"{limit:.4g}" for limit in self.limits)
        return f"{', '.join(most)} and {last}"

    @property
    def text(self) -> str:
        """The numbers alone, for a legend or a heading."""
        pairs = list(dict.fromkeys(str(pair) for _, pair in self.levels))
        return " or ".join(pairs) + " pu"

    def beyond(self, v_pu: Any) -> Any:
        """How far voltages (..., N) lie outside [pu], >= 0."""
        return beyond_band(v_pu, self.low, self.high)

    def outside(self, v_pu: Array) -> BoolArray:
        """Which voltages (..., N) lie outside; NaN does not."""
        return np.asarray((v_pu < self.low) | (v_pu > self.high))

    def buses_outside(self, feeder: Feeder, v_pu: Array) -> BoolArray:
        """(B) buses of which a node is outside, by their voltages (N) [pu], NaN where de-energised."""
        found = np.zeros(len(feeder.buses), bool)
        found[feeder.node_bus[self.outside(v_pu)]] = True
        return found

    def to_limit(self, v_pu: Array) -> Array:
        """Distance of voltages (..., N) from the nearer limit, within or outside [pu], >= 0."""
        return np.asarray(np.minimum(np.abs(v_pu - self.low), np.abs(v_pu - self.high)))

    def at(self, nodes: Any) -> VoltageBand:
        """The band of some nodes, by their positions (n) or a mask (N)."""
        if self.uniform:
            return self
        return VoltageBand(self.low[nodes], self.high[nodes], self.about, self.levels)

    def rows(self, count: int, margin: float = 0.0) -> Array:
        """(2, count) lower and upper limits, moved inwards by a margin [pu]."""
        return np.stack([np.full(count, self.low + margin), np.full(count, self.high - margin)])


def voltage_band(spec: Band, feeder: Feeder, excluded_buses: Iterable[str] = ()) -> VoltageBand:
    """The limits of a feeder's nodes.

    A node's level is that of its bus's nominal voltage line to line, sqrt(3) times its base: low voltage up to 600 V by
    ANSI C84.1, else up to 1 kV. By EN 50160, low voltage is 207 to 253 V whatever the base of the circuit.

    Args:
        spec: a standard's name, or limits.
        feeder: whose base voltages decide.
        excluded_buses: that are not judged, like the source bus: their levels need no limits.

    Raises:
        ValueError: nodes at a level without limits, or at a low voltage that is not EN 50160's; names a bus.
    """
    if isinstance(spec, BandSpec) and spec.low is not None and spec.high is not None:
        return _everywhere(Limits(spec.low, spec.high))
    standard = STANDARDS.get(spec) if isinstance(spec, str) else None
    out = {feeder.source_bus} | {feeder.bus(bus).name for bus in excluded_buses}
    judged = np.array([feeder.buses[bus].name not in out for bus in feeder.node_bus])
    is_low = feeder.kv_base * np.sqrt(3) <= (IEC_KV if standard is None else standard.kv) * 1.01
    limits = np.full((2, len(feeder.nodes)), np.nan)
    levels: dict[tuple[str, Limits], None] = {}
    for level, short, own in (("low voltage", "lv", is_low), ("medium voltage", "mv", ~is_low)):
        pair = getattr(standard or spec, short)
        if pair is None and (own & judged).any():
            raise ValueError(
                f"band: no limits for {level}, at which {_bus_at(own & judged, feeder)}; add {short}: [lowest, highest]"
            )
        if pair is not None:
            limits[:, own] = np.array(pair)[:, None] * _scale(spec, level, feeder, own, judged)
        found = limits[:, own & judged].round(9).T.tolist()
        levels |= {(level, Limits(*row)): None for row in found}
    about = "" if standard is None else standard.about
    if len({pair for _, pair in levels}) == 1:
        return _everywhere(next(iter(levels))[1], about)
    limits = np.where(np.isnan(limits), limits[:, judged][:, :1], limits)  # of nodes that are not judged
    return VoltageBand(limits[0], limits[1], about, tuple(levels))


def narrowed(spec: Band, feeder: Feeder, excluded_buses: Iterable[str], margin_pu: float) -> BandSpec:
    """Limits that are closer together by a margin at both ends.

    Args:
        spec, feeder, excluded_buses: as of ``voltage_band``.
        margin_pu: at each end [pu].

    Raises:
        ValueError: no voltage is left between the limits, or the standard's limits cannot be said by level.
    """
    band = voltage_band(spec, feeder, excluded_buses)
    closer = [(level, (pair.low + margin_pu, pair.high - margin_pu)) for level, pair in band.levels]
    if any(low >= high for _, (low, high) in closer):
        raise ValueError(f"a margin of {margin_pu:g} pu leaves nothing of the band {band.text}")
    by_level = dict(closer)
    if len(set(by_level.values())) == 1 and len(by_level) == len(closer):
        low, high = closer[0][1]
        return BandSpec(low=low, high=high)
    found = BandSpec(lv=by_level.get("low voltage"), mv=by_level.get("medium voltage"))
    made = voltage_band(found, feeder, excluded_buses)
    if not (np.allclose(made.low - band.low, margin_pu) and np.allclose(band.high - made.high, margin_pu)):
        raise ValueError(f"limits by level cannot narrow the band {band}; give the scenario limits by level")
    return found


def _everywhere(pair: Limits, about: str = "") -> VoltageBand:
    return VoltageBand(pair.low, pair.high, about, (("", pair),))


def _bus_at(nodes: BoolArray, feeder: Feeder) -> str:
    """Words for the bus of the first of some nodes (N)."""
    bus = feeder.buses[feeder.node_bus[np.flatnonzero(nodes)[0]]]
    return f"bus {bus.name!r} of feeder {feeder.name!r} is (base {1000 * bus.kv_base:.4g} V line to neutral)"


def _scale(spec: Band, level: str, feeder: Feeder, own: BoolArray, judged: BoolArray) -> Array:
    """(n) base by which the limits of a level are stated, over the circuit's base at its nodes [1]."""
    if spec != "en50160" or level != "low voltage":
        return np.ones(int(own.sum()))
    scale = EUROPEAN_V / (1000 * feeder.kv_base)
    wrong = own & judged & (np.abs(scale - 1) > 0.1)
    if wrong.any():
        raise ValueError(
            "band: EN 50160 states its limits at low voltage for 230 V line to neutral, far from which "
            f"{_bus_at(wrong, feeder)}; choose another standard, or give limits by level: lv: [lowest, highest]"
        )
    return np.asarray(scale[own])
