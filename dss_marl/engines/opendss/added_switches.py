"""Switches that a scenario adds to a circuit: new ties, and existing lines made switchable."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dss_marl.engines.opendss.allowed_commands import check_name
from dss_marl.engines.opendss.terminals import elements
from dss_marl.grid.elements import AddedSwitch, Bus

_TIE_OHM = 1e-3  # a few feet of cable; much less would cost numerical precision


def switchable(
    context: Any, new: Sequence[AddedSwitch], buses: Sequence[Bus], feeder: str
) -> tuple[set[str], list[str]]:
    """Names of the lines requested as switches, ties included, and the commands that create the ties.

    Raises:
        ValueError: a line does not exist, or a tie's name, buses or phases are not right.
    """
    lines = {f"line.{own}" for own in elements(context.Lines)}
    known = {bus.name: bus for bus in buses}
    requested: set[str] = set()
    commands: list[str] = []
    for row in new:
        name = f"line.{row.name.lower().removeprefix('line.')}"
        if bool(row.bus1) != bool(row.bus2):
            raise ValueError(f"tie {row.name!r} needs two buses; got bus1={row.bus1!r} and bus2={row.bus2!r}")
        if row.bus1:
            if name in lines | requested:
                raise ValueError(f"tie {row.name!r}: feeder {feeder!r} has a line of that name; choose another")
            commands += _tie(name, row, known, feeder)
        elif name not in lines:
            raise ValueError(f"line {row.name!r} does not exist on feeder {feeder!r}; known: {_some(lines)}")
        requested.add(name)
    return requested, commands


def _tie(name: str, new: AddedSwitch, buses: dict[str, Bus], feeder: str) -> list[str]:
    what = f"tie {new.name!r}"
    check_name(new.name, what)
    ends = [str(new.bus1).lower(), str(new.bus2).lower()]
    for end in ends:
        if end not in buses:
            raise ValueError(f"{what}: bus {end!r} does not exist on feeder {feeder!r}; known: {_some(buses)}")
    if ends[0] == ends[1]:
        raise ValueError(f"{what} joins bus {ends[0]!r} of feeder {feeder!r} to itself; name two buses")
    shared = [p for p in buses[ends[0]].phases if p in buses[ends[1]].phases and p <= 3]
    phases = new.phases or tuple(shared)
    if not phases or not set(phases) <= set(shared):  # OpenDSS would silently create phantom nodes
        there = " and ".join(f"{end!r} has phases {list(buses[end].phases)}" for end in ends)
        raise ValueError(f"{what}: phases {list(phases)} are not at both buses of feeder {feeder!r}: {there}")
    bus1, bus2 = (".".join([end, *map(str, phases)]) for end in ends)
    return [
        f'new "{name}" phases={len(phases)} bus1="{bus1}" bus2="{bus2}" switch=yes r1={_TIE_OHM:g} x1=0 '
        f"r0={_TIE_OHM:g} x0=0 c1=0 c0=0 length=1 units=none normamps={new.amps:g} emergamps={1.5 * new.amps:g}",
        f'open "{name}" 1',
    ]


def refuse_unequal(ties: Iterable[AddedSwitch], buses: Iterable[Bus], feeder: str) -> None:
    """Check that ties connect buses of equal base voltage.

    Raises:
        ValueError: one does not. To be called once the bases of de-energised buses are known.
    """
    kv = {bus.name: bus.kv_base for bus in buses}
    for row in ties:
        one, two = kv[str(row.bus1).lower()], kv[str(row.bus2).lower()]
        if abs(one - two) > 0.05 * max(one, two):
            raise ValueError(
                f"tie {row.name!r} of feeder {feeder!r} would join {one:.4g} kV at bus {row.bus1!r} to {two:.4g} kV at "
                f"bus {row.bus2!r}; join buses of one voltage"
            )


def _some(names: Iterable[str]) -> str:
    names = sorted(names)
    return (", ".join(names[:40]) + (", ..." if len(names) > 40 else "")) or "none"
