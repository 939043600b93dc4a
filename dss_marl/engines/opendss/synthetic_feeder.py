"""Synthetic feeders: radial 12.47 kV networks of any size, from substation to house, as OpenDSS scripts."""

from __future__ import annotations

import getpass
import os
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dss_marl.engines.opendss.reader import read_feeder
from dss_marl.grid.feeder import Feeder

_KV = 12.47
_NODES_PER_FEEDER = 2800  # about 250 service transformers, 3 MW
_FEEDERS_PER_SUBSTATION = 5
_TRUNK_OHM_KM = (0.19, 0.39)  # 336 kcmil ACSR
_SEND_PU, _LOW_PU, _BOOSTED_PU, _STEP = 1.03, 0.997, 1.025, 0.00625
_POWER_FACTOR = 0.97
_RATING = 1.1  # PV inverter rating, kVA over peak kW

# Capacitances are in nF/km: linecode data are per unit length.
_CODES = """\
new linecode.trunk nphases=3 r1=0.19 x1=0.39 r0=0.47 x0=1.25 c1=11 c0=5 units=km normamps=530
new linecode.lateral nphases=1 r1=0.70 x1=0.75 r0=0.70 x0=0.75 c1=7 c0=7 units=km normamps=180
new linecode.drop nphases=2 rmatrix=[0.75 | 0.25 0.75] xmatrix=[0.45 | 0.35 0.45] cmatrix=[0 | 0 0]
~ units=km normamps=170
new linecode.transmission nphases=3 r1=0.06 x1=0.38 r0=0.25 x0=1.1 c1=11 c0=7 units=km normamps=900
"""


class SyntheticSpec(BaseModel):
    """A generated feeder, as a scenario names it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    nodes: int = Field(default=10_000, ge=300, description="approximate number of nodes")
    seed: int = Field(default=0, ge=0, description="equal nodes, seed and plants give an equal feeder")
    plants: int = Field(default=0, ge=0, description="PV systems: every other at a trunk bus, the others on laterals")
    sun_share: float = Field(default=0.8, gt=0, le=3, description="total PV peak power over total load")


def synthetic_feeder(nodes: int = 10_000, seed: int = 0, folder: str | Path | None = None) -> Feeder:
    """A radial network of about so many nodes, generated and read.

    Each substation has an on-load tap changer and up to five feeders; a feeder is a three-phase trunk with branches,
    one-phase laterals, centre-tapped service transformers, triplex drops, houses, a few three-phase customers, one
    capacitor bank, and regulators where its voltage would fall too low. The taps are set for the load as written.

    Args:
        nodes: approximate number, at least 300.
        seed: equal nodes and seed give equal files.
        folder: for the .dss file and the coordinates; None uses a temporary folder.

    Raises:
        ValueError: fewer than 300 nodes.
    """
    if nodes < 300:
        raise ValueError(f"nodes must be at least 300, the size of a short feeder; got {nodes}")
    return read_feeder(synthetic_path(SyntheticSpec(nodes=nodes, seed=seed), folder))


def synthetic_path(spec: SyntheticSpec, folder: str | Path | None = None) -> Path:
    """Path of the master file of a synthetic feeder, which is written if it does not exist yet.

    Args:
        spec: the feeder.
        folder: for the .dss file and the coordinates; None uses a temporary folder.

    Raises:
        ValueError: too many PV systems for its size.
    """
    name = _name(spec)
    where = Path(folder) if folder is not None else Path(tempfile.gettempdir()) / f"dss_marl_{getpass.getuser()}"
    where.mkdir(parents=True, exist_ok=True)
    script, coordinates = _text(spec)
    _write(where / f"{name}_coordinates.csv", coordinates)
    _write(where / f"{name}.dss", script)
    return where / f"{name}.dss"


def synthetic_text(
    nodes: int, seed: int, plants: int = 0, sun_share: float = SyntheticSpec.model_fields["sun_share"].default
) -> tuple[str, str]:
    """The OpenDSS script of a synthetic feeder, and its coordinates file; see SyntheticSpec."""
    return _text(SyntheticSpec(nodes=nodes, seed=seed, plants=plants, sun_share=sun_share))


def _name(spec: SyntheticSpec) -> str:
    plants = f"_{spec.plants}_{spec.sun_share:g}" if spec.plants else ""
    return f"synthetic_{spec.nodes}_{spec.seed}{plants}"


@cache
def _text(spec: SyntheticSpec) -> tuple[str, str]:
    nodes, seed, name = spec.nodes, spec.seed, _name(spec)
    rng = np.random.default_rng([seed, nodes])
    count = max(1, round(nodes / _NODES_PER_FEEDER))
    feeders = [_Trunk.grown(f"f{k + 1}", nodes / count - 12, rng, k) for k in range(count)]
    lines = ["clear", f"new circuit.{name} phases=3 basekv=115 pu=1.0 mvasc3=20000 mvasc1=15000", _CODES]
    places = [("sourcebus", 0.0, 0.0)]
    for s, first in enumerate(range(0, count, _FEEDERS_PER_SUBSTATION)):
        group = feeders[first : first + _FEEDERS_PER_SUBSTATION]
        lines += _substation(f"s{s + 1}", f"s{s}_hv" if s else "sourcebus", group)
        places += [(f"s{s + 1}_hv", 12.0 * s, 0.5), (f"s{s + 1}", 12.0 * s, 0.0)]
        for trunk in group:
            trunk.write(f"s{s + 1}", 12.0 * s)
            lines += trunk.lines
            places += trunk.places
    lines += _plants(spec, feeders)
    lines += [f"set voltagebases=[115 {_KV} 0.48 0.208]", "calcvoltagebases", f"buscoords {name}_coordinates.csv"]
    return "\n".join(lines) + "\n", "".join(f"{bus}, {x:.4f}, {y:.4f}\n" for bus, x, y in places)


def _plants(spec: SyntheticSpec, feeders: list[_Trunk]) -> list[str]:
    """PV systems, alternating between trunk buses and ends of laterals, anywhere but near the feeder head.

    A PV system on a lateral has a third of the power of one on a trunk.
    """
    if not spec.plants:
        return []
    rng = np.random.default_rng([spec.seed, spec.nodes, spec.plants])
    trunks = [rng.permutation(np.arange(len(f.parent) // 3, len(f.parent))).tolist() for f in feeders]
    ends = [[(i, k) for i, row in enumerate(f.laterals) for k, _ in enumerate(row)] for f in feeders]
    laterals = [[own[j] for j in rng.permutation(len(own))] for own in ends]
    places: list[tuple[str, int]] = []  # bus and phase; 0 for all three
    for p in range(spec.plants):
        k = p // 2 % len(feeders)
        trunk = feeders[k]
        if p % 2 == 0 and trunks[k]:
            places.append((f"{trunk.name}_{trunks[k].pop()}", 0))
        elif laterals[k]:
            i, row = laterals[k].pop()
            lateral = trunk.laterals[i][row]
            places.append((f"{trunk.name}_{i}_{row + 1}_{len(lateral.houses)}", lateral.phase))
    if len(places) < spec.plants:
        raise ValueError(
            f"a synthetic feeder of {spec.nodes} nodes has room for {len(places)} PV systems; request fewer"
        )
    parts = np.array([1 / 3 if phase else 1.0 for _, phase in places])
    sizes = np.round(parts * spec.sun_share * sum(f.kw.sum() for f in feeders) / parts.sum())
    return [
        f"new pvsystem.{bus} phases=1 bus1={bus}.{phase} kv=7.2 pmpp={kw:g} kva={_RATING * kw:g}"
        if phase
        else f"new pvsystem.{bus} phases=3 bus1={bus} kv={_KV} pmpp={kw:g} kva={_RATING * kw:g}"
        for (bus, phase), kw in zip(places, sizes, strict=True)
    ]


def _write(path: Path, text: str) -> None:
    """Write atomically: other processes may be reading the file."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _substation(name: str, before: str, feeders: list[_Trunk]) -> list[str]:
    """A transformer with on-load tap changer, set for the feeders' load."""
    kw, kvar = sum(f.kw.sum() for f in feeders), sum(f.kvar_after_capacitor for f in feeders)
    kva = 5000.0 * max(1, round(1.5 * kw / 5000))
    sag = (0.005 * kw + 0.08 * kvar) / kva + 0.5 * (0.08 * kw / kva) ** 2
    tap = int(np.clip(round((_SEND_PU - 1 + sag) / _STEP), 0, 16))
    return [
        f"new line.{name}_in bus1={before} bus2={name}_hv linecode=transmission length=2 units=km",
        f"new transformer.{name} phases=3 windings=2 buses=[{name}_hv {name}] conns=[delta wye] kvs=[115 {_KV}] "
        f"kvas=[{kva:g} {kva:g}] xhl=8 %loadloss=0.5 %noloadloss=0.06 taps=[1 {1 + tap * _STEP:.5f}]",
        f"new regcontrol.{name} transformer={name} winding=2 vreg={120 * _SEND_PU:g} band=2 ptratio=60 delay=30",
    ]


@dataclass
class _Lateral:
    """A one-phase line of service transformers; houses are their loads [kW]."""

    phase: int
    spans_km: list[float]
    houses: list[list[float]]


@dataclass
class _Trunk:
    """One feeder: trunk bus i is fed from bus parent[i]; bus 0 is the first one outside the substation."""

    name: str
    parent: list[int] = field(default_factory=lambda: [-1])
    length_km: list[float] = field(default_factory=lambda: [0.3])
    laterals: list[list[_Lateral]] = field(default_factory=lambda: [[]])
    customers: list[float] = field(default_factory=lambda: [0.0])  # load of a three-phase customer at each bus [kW]
    place: list[tuple[float, float]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    places: list[tuple[str, float, float]] = field(default_factory=list)
    angle: float = 0.0
    stretch: float = 1.0  # span length factor, urban to rural
    x0: float = 0.0  # x coordinate of its substation

    @classmethod
    def grown(cls, name: str, nodes: float, rng: np.random.Generator, number: int) -> _Trunk:
        """Add buses and laterals until the number of nodes is reached."""
        trunk = cls(name)
        k = number % _FEEDERS_PER_SUBSTATION
        trunk.angle = np.pi * (0.15 + 0.35 * k)
        trunk.stretch = float(rng.uniform(1.3, 3.0))
        trunk.place = [(0.3 * np.cos(trunk.angle), 0.3 * np.sin(trunk.angle))]
        by_phase = np.zeros(3)
        grown = 3
        heading = [trunk.angle]
        while grown < nodes:
            grown += 3 + trunk._extend(rng, heading)
            for _ in range(int(rng.choice(4, p=[0.15, 0.4, 0.3, 0.15]))):
                if grown < nodes:
                    lateral = _lateral(rng, by_phase, most=int((nodes - grown) / 11) + 1)
                    trunk.laterals[-1].append(lateral)
                    grown += sum(3 + 2 * len(houses) for houses in lateral.houses)
        return trunk

    def _extend(self, rng: np.random.Generator, heading: list[float]) -> int:
        """Add a trunk bus, occasionally on a new branch; returns the number of nodes of its three-phase customer."""
        count = len(self.parent)
        at = count - 1 if rng.random() < 0.88 else int(rng.integers(0, count))
        turn = rng.normal(0, 0.25) + (0.0 if at == count - 1 else rng.choice([-1.0, 1.0]))
        heading.append(heading[at] + turn)
        km = self.stretch * float(rng.uniform(0.12, 0.4))
        x, y = self.place[at]
        self.place.append((x + km * np.cos(heading[-1]), y + km * np.sin(heading[-1])))
        self.parent.append(at)
        self.length_km.append(km)
        self.laterals.append([])
        customer = float(rng.uniform(30, 90)) if rng.random() < 0.12 else 0.0
        self.customers.append(customer)
        return 3 if customer else 0

    @property
    def kw(self) -> np.ndarray:
        """(trunk buses) load connected at each, laterals included [kW]."""
        houses = [sum(sum(sum(h) for h in lateral.houses) for lateral in row) for row in self.laterals]
        return np.array(houses) + np.array(self.customers)

    @property
    def _capacitor_kvar(self) -> int:
        """The size that leaves a third of the reactive power to the substation."""
        return 150 * max(1, round(0.65 * self.kw.sum() * np.tan(np.arccos(_POWER_FACTOR)) / 150))

    @property
    def kvar_after_capacitor(self) -> float:
        """Reactive power drawn by the feeder [kvar]."""
        return float(self.kw.sum() * np.tan(np.arccos(_POWER_FACTOR)) - self._capacitor_kvar)

    def write(self, substation: str, x0: float) -> None:
        """Write its elements as OpenDSS text, and the coordinates of its buses."""
        self.x0 = x0
        beyond = self.kw.copy()  # [kW]
        for i in range(len(self.parent) - 1, 0, -1):
            beyond[self.parent[i]] += beyond[i]
        v = np.full(len(self.parent), _SEND_PU)
        capacitor = self._capacitor_at(beyond)
        self.lines += [
            f"new line.{self.name}_breaker bus1={substation} bus2={self.name}_out switch=yes normamps=600",
            f"new line.{self.name}_0 bus1={self.name}_out bus2={self.name}_0 linecode=trunk "
            f"length={self.length_km[0]:.4f} units=km",
        ]
        x, y = self.place[0]
        self.places.append((f"{self.name}_out", x0 + 0.1 * x, 0.1 * y))
        for i, (x, y) in enumerate(self.place):
            self.places.append((f"{self.name}_{i}", x0 + x, y))
            if i:
                v[i] = self._span(i, v[self.parent[i]], beyond[i])
            for k, lateral in enumerate(self.laterals[i]):
                _Services(self, i, k).write(lateral)
            if self.customers[i]:
                self._customer(i)
        kvar = self._capacitor_kvar
        self.lines.append(f"new capacitor.{self.name} bus1={self.name}_{capacitor} kv={_KV} kvar={kvar}")

    def _capacitor_at(self, beyond: np.ndarray) -> int:
        """The bus with about half of the load downstream."""
        return int(np.argmin(np.abs(beyond - 0.5 * beyond[0])))

    def _span(self, i: int, v: float, kw: float) -> float:
        """Add a trunk span, with a regulator where the voltage is low; returns the estimated voltage at its end."""
        r, reactance = _TRUNK_OHM_KM
        kvar = 0.7 * kw * np.tan(np.arccos(_POWER_FACTOR))
        # The phases are unequally loaded.
        v -= 1.2 * self.length_km[i] * (r * kw + reactance * kvar) / 1000 / _KV**2
        a, b = f"{self.name}_{self.parent[i]}", f"{self.name}_{i}"
        if v < _LOW_PU and kw > 150:
            tap = int(np.ceil((_BOOSTED_PU - v) / _STEP))
            self.lines += _regulators(a, f"{b}r", kw, tap)
            x, y = self.place[self.parent[i]]
            self.places.append((f"{b}r", self.x0 + x, y + 0.02))
            a, v = f"{b}r", v + tap * _STEP
        self.lines.append(f"new line.{b} bus1={a} bus2={b} linecode=trunk length={self.length_km[i]:.4f} units=km")
        return v

    def _customer(self, i: int) -> None:
        bus, kw = f"{self.name}_{i}c", self.customers[i]
        x, y = self.place[i]
        self.places.append((bus, self.x0 + x + 0.03, y + 0.03))
        self.lines += [
            f"new transformer.{bus} phases=3 windings=2 buses=[{self.name}_{i} {bus}] conns=[delta wye] "
            f"kvs=[{_KV} 0.48] kvas=[150 150] xhl=4 %loadloss=1.1 %noloadloss=0.2",
            f"new load.{bus} bus1={bus} kv=0.48 kw={kw:.3f} pf=0.95 vminpu=0.85 vmaxpu=1.15",
        ]


def _lateral(rng: np.random.Generator, by_phase: np.ndarray, most: int) -> _Lateral:
    """A lateral, mostly on the least loaded phase."""
    phase = int(np.argmin(by_phase)) if rng.random() < 0.8 else int(rng.integers(0, 3))
    count = int(np.clip(rng.geometric(0.16), 1, min(18, most)))
    houses = [np.round(rng.lognormal(0.75, 0.45, int(rng.integers(2, 7))), 3).tolist() for _ in range(count)]
    by_phase[phase] += sum(sum(row) for row in houses)
    return _Lateral(phase + 1, np.round(rng.uniform(0.04, 0.14, count), 4).tolist(), houses)


def _regulators(a: str, b: str, kw: float, tap: int) -> list[str]:
    """Three one-phase units."""
    kva = 100.0 * max(5, round(0.6 * kw / 100))
    lines = []
    for phase in (1, 2, 3):
        lines += [
            f"new transformer.{b}{phase} phases=1 windings=2 buses=[{a}.{phase} {b}.{phase}] kvs=[7.2 7.2] "
            f"kvas=[{kva:g} {kva:g}] xhl=0.5 %loadloss=0.05 taps=[1 {1 + tap * _STEP:.5f}]",
            f"new regcontrol.{b}{phase} transformer={b}{phase} winding=2 vreg={120 * _BOOSTED_PU:g} band=2 ptratio=60 "
            "delay=60",
        ]
    return lines


@dataclass
class _Services:
    """Writes the elements of one lateral: poles, service transformers, drops and houses."""

    trunk: _Trunk
    bus: int
    number: int

    def write(self, lateral: _Lateral) -> None:
        """Write pole after pole, away from the trunk."""
        trunk = self.trunk
        x, y = trunk.place[self.bus]
        away = trunk.angle + np.pi / 2 * (1 if self.number % 2 else -1) + 0.15 * self.number
        before = f"{trunk.name}_{self.bus}"
        for j, (km, houses) in enumerate(zip(lateral.spans_km, lateral.houses, strict=True)):
            x, y = x + km * np.cos(away), y + km * np.sin(away)
            pole = f"{trunk.name}_{self.bus}_{self.number + 1}_{j + 1}"
            trunk.lines.append(
                f"new line.{pole} phases=1 bus1={before}.{lateral.phase} bus2={pole}.{lateral.phase} linecode=lateral "
                f"length={km:g} units=km"
            )
            trunk.places.append((pole, trunk.x0 + x, y))
            self._service(pole, lateral.phase, houses, trunk.x0 + x, y)
            before = pole

    def _service(self, pole: str, phase: int, houses: list[float], x: float, y: float) -> None:
        """A centre-tapped transformer of the next size above the load, and a triplex drop to each house."""
        kva = next((size for size in (15, 25, 37.5, 50) if size > 1.2 * sum(houses)), 75)
        lines = self.trunk.lines
        lines.append(
            f"new transformer.{pole} phases=1 windings=3 buses=[{pole}.{phase} {pole}x.1.0 {pole}x.0.2] "
            f"kvs=[7.2 0.12 0.12] kvas=[{kva} {kva} {kva}] %rs=[0.7 1.4 1.4] xhl=2.04 xht=2.04 xlt=1.36 %noloadloss=0.4"
        )
        self.trunk.places.append((f"{pole}x", x + 0.005, y))
        for h, kw in enumerate(houses, start=1):
            house = f"{pole}h{h}"
            km = 0.012 + 0.004 * h
            lines += [
                f"new line.{house} phases=2 bus1={pole}x.1.2 bus2={house}.1.2 linecode=drop length={km:g} units=km",
                f"new load.{house} phases=1 bus1={house}.1.2 conn=delta kv=0.24 kw={kw:g} pf={_POWER_FACTOR} "
                "vminpu=0.85 vmaxpu=1.15",
            ]
            self.trunk.places.append((house, x + 0.005 + km * np.cos(h), y + km * np.sin(h)))
