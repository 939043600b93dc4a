"""Reads series elements: lines, transformers, series reactors and capacitors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dss_marl.engines.opendss.switchgear import is_series
from dss_marl.engines.opendss.terminals import NOWHERE, Terminal, activate, elements, openness, terminals
from dss_marl.grid.elements import Branch

_KM_PER_UNIT = {0: 0.0, 1: 1.609344, 2: 0.3048, 3: 1.0, 4: 1e-3, 5: 3.048e-4, 6: 2.54e-5, 7: 1e-5, 8: 1e-6}
_BY_KVAR = 1  # of a reactor's specification types
# Elements between buses that have no interface of their own in OpenDSS.
_RARE = {"autotrans": "transformer",  # also "regulator"
         "gictransformer": "transformer", "gicline": "line", "upfc": "line",
         "vsconverter": "line", "fault": "reactor"}  # fmt: skip


@dataclass(frozen=True)
class Marks:
    """Known properties of branches: regulators, switches, protection."""

    regulators: frozenset[str]
    switches: Mapping[str, int]
    protection: Mapping[str, str]


def read_branches(
    context: Any, places: Sequence[int], marks: Marks, present: Mapping[str, list[str]]
) -> tuple[tuple[Branch, ...], list[str]]:
    """The branches, and the names of permanently open elements, which are not branches."""
    rows: list[Branch] = []
    opened: list[str] = []
    for own in elements(context.Lines):
        rows += _line(context, f"line.{own}", places, marks)
    for own in elements(context.Transformers):
        if openness(context) == "open":
            opened.append(f"transformer.{own}")
        else:
            rows += _transformer(context, f"transformer.{own}", places, marks)
    for kind, collection in (("reactor", context.Reactors), ("capacitor", context.Capacitors)):
        for own in elements(collection):
            if not is_series(context) and (kind == "capacitor" or not _may_be_a_jumper(context)):
                continue
            if openness(context) == "open" or (kind == "capacitor" and not any(context.Capacitors.States())):
                opened.append(f"{kind}.{own}")
            else:
                amps = _reactor_amps(context) if kind == "reactor" else None
                rows += _two_ended(context, f"{kind}.{own}", "reactor", places, marks, amps=amps)
    for kind, role in _RARE.items():
        for own in present.get(kind, ()):
            activate(context, f"{kind}.{own}")
            if kind == "autotrans":
                rows += _autotransformer(context, f"{kind}.{own}", places, marks)
            elif is_series(context):
                rows += _two_ended(context, f"{kind}.{own}", role, places, marks)
    return tuple(rows), opened


def _joined(ends: Sequence[Terminal]) -> list[tuple[int, int, int, int]]:
    """Position, node number and the two node indices of each conductor connected at both ends."""
    one, two = ends[0], ends[1]
    both = zip(one.numbers, one.nodes, two.nodes, strict=True)
    return [(k, p, a, b) for k, (p, a, b) in enumerate(both) if a != NOWHERE and b != NOWHERE]


def _autotransformer(context: Any, name: str, places: Sequence[int], marks: Marks) -> list[Branch]:
    """One branch per secondary bus; the common winding's conductors are the first ones of the second terminal."""
    kind = "regulator" if name in marks.regulators else "transformer"
    ends = terminals(context, places)
    phases = context.CktElement.NumPhases()
    cut = [Terminal(end.bus, end.numbers[:phases], end.nodes[:phases]) for end in ends]
    amps, rows = context.CktElement.NormalAmps(), []
    z = _series_impedance(context, list(range(phases)))
    for k, end in enumerate(cut[1:]):
        joined = _joined([cut[0], end])
        if joined:
            _, numbers, nodes1, nodes2 = zip(*joined, strict=True)
            own = name if k == 0 else f"{name}:{k + 2}"
            z = z if k == 0 else 0j
            rows.append(
                Branch(own, kind, cut[0].bus, end.bus, numbers, nodes1, nodes2, 0.0, z.real, z.imag, amps, element=name)
            )
    return rows


def _line(context: Any, name: str, places: Sequence[int], marks: Marks) -> list[Branch]:
    line = context.Lines
    index = marks.switches.get(name, -1)
    km = line.Length() * _KM_PER_UNIT.get(int(line.Units()), 0.0)
    return _two_ended(context, name, "line" if index < 0 else "switch", places, marks, km, line.NormAmps())


def _two_ended(
    context: Any, name: str, kind: str, places: Sequence[int], marks: Marks, km: float = 0.0, amps: float | None = None
) -> list[Branch]:
    """The active element as a branch; none if it joins no two nodes, of which it may lead to one and the same."""
    ends = terminals(context, places)
    joined = [row for row in _joined(ends) if row[2] != row[3]]
    if not joined:
        return []
    conductors, phases, nodes1, nodes2 = zip(*joined, strict=True)
    z = _series_impedance(context, list(conductors))
    amps = context.CktElement.NormalAmps() if amps is None else amps
    switch, protection = marks.switches.get(name, -1), marks.protection.get(name, "")
    bus1, bus2 = ends[0].bus, ends[1].bus
    return [
        Branch(
            name, kind, bus1, bus2, phases, nodes1, nodes2, km, z.real, z.imag, amps, switch, protection, element=name
        )
    ]


def _may_be_a_jumper(context: Any) -> bool:
    """Whether the active reactor leads, within a bus, from phases to nodes above 3, which may be phases too."""
    order, width = context.CktElement.NodeOrder(), context.CktElement.NumConductors()
    pairs = list(zip(order[:width], order[width : 2 * width], strict=False))
    return bool(pairs) and all(min(pair) > 0 and (pair[0] > 3) != (pair[1] > 3) for pair in pairs)


def _reactor_amps(context: Any) -> float:
    """Rating of the active reactor [A]; 0 if the file gives none.

    OpenDSS then derives one from a reactor's kvar, which is 100 at 12.47 kV, or 4.6 A, where it is given by R and X.
    """
    reactor, amps = context.Reactors, context.CktElement.NormalAmps()
    derived = reactor.kvar() / (reactor.kV() * 3**0.5)
    return 0.0 if reactor.SpecType() != _BY_KVAR and abs(amps - derived) < 1e-6 * derived else float(amps)


def _series_impedance(context: Any, conductors: list[int]) -> complex:
    """Positive-sequence series impedance of the active element [ohm]: the coupling block of Yprim is -1/Z."""
    parts = context.CktElement.YPrim()  # real and imaginary, alternating
    if len(parts) == 8:  # one phase: by far the most common
        return -1 / complex(parts[2], parts[3]) if parts[2] or parts[3] else 0j
    order = round((len(parts) // 2) ** 0.5)
    block = -np.asarray(parts).view(complex).reshape(order, order)[: order // 2, order // 2 :]
    kept = np.flatnonzero(np.abs(block).sum(axis=1))  # an open conductor has no entry
    n = len(conductors)
    if not set(conductors) <= set(kept.tolist()):
        return 0j
    if len(kept) == 1:
        return complex(1 / block[kept[0], kept[0]])
    try:
        z = np.linalg.inv(block[np.ix_(kept, kept)])
    except np.linalg.LinAlgError:  # for example a delta reactor, whose phases have no impedance of their own
        return 0j
    at = np.searchsorted(kept, conductors)
    z = z[np.ix_(at, at)]
    mutual = (z.sum() - np.trace(z)) / (n * (n - 1)) if n > 1 else 0.0
    return complex(np.trace(z) / n - mutual)


def _transformer(context: Any, name: str, places: Sequence[int], marks: Marks) -> list[Branch]:
    """One branch per secondary bus; the two halves of a centre-tapped winding are one.

    What windings lead to other nodes of the primary bus is a branch within it, the last.
    """
    transformer = context.Transformers
    transformer.Wdg(1)
    kv, kva, r_percent, x_percent = transformer.kV(), transformer.kVA(), transformer.R(), transformer.Xhl()
    z = complex(r_percent * transformer.NumWindings(), x_percent) / 100 * kv**2 / (kva / 1000)
    ends = terminals(context, places)
    bus1, primary = ends[0].bus, ends[0].ends
    amps = kva / (kv * (3**0.5 if context.CktElement.NumPhases() == 3 else 1.0))
    secondary: dict[str, dict[int, int]] = {}
    for end in ends[1:]:
        secondary.setdefault(end.bus, {}).update({n: n for n in end.ends.values()})
    kind = "regulator" if name in marks.regulators else "transformer"
    within = secondary.pop(bus1, {})
    nodes1 = tuple(dict.fromkeys([*primary.values(), *within]))
    further = tuple(n for n in within if n not in primary.values())  # an autotransformer of two windings at one bus
    sides = [(bus2, nodes1, tuple(nodes2)) for bus2, nodes2 in secondary.items()]
    if further and primary:
        sides.append((bus1, tuple(primary.values()), further))
    return [
        Branch(
            name=name if k == 0 else f"{name}:{k + 2}",
            kind=kind,
            bus1=bus1,
            bus2=bus2,
            phases=tuple(primary),
            nodes1=one,
            nodes2=two,
            length_km=0.0,
            r_ohm=z.real,
            x_ohm=z.imag,
            normal_amps=amps,
            protection=marks.protection.get(name, ""),
            element=name,
        )
        for k, (bus2, one, two) in enumerate(sides)
        if one and two
    ]
