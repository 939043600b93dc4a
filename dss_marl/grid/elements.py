"""The rows of a Feeder: one noun each, in OpenDSS's order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar


@dataclass(frozen=True)
class Bus:
    """A place. ``kv_base`` is line to neutral [kV]; x, y are map coordinates in the circuit's own unit, or None.

    ``neutral`` is the number of its neutral conductor, to which voltages are then measured; 0: to earth.
    """

    name: str
    phases: tuple[int, ...]
    kv_base: float
    x: float | None = None
    y: float | None = None
    neutral: int = 0


@dataclass(frozen=True)
class Branch:
    """A series element. Impedance is positive sequence or the phase's own [ohm]; normal_amps 0 means no rating.

    ``kind`` is line, switch, transformer, regulator or reactor (a series capacitor is one with negative x_ohm);
    ``switch`` is its index in Feeder.switches, or -1; ``protection`` is fuse, recloser, relay or swtcontrol where the
    circuit has one on this branch. ``nodes1[k]`` and ``nodes2[k]`` are the node indices joined by conductor k (all to
    all in a transformer). ``element`` is what OpenDSS calls it: a transformer of several secondary buses is several
    branches. ``bus1`` and ``bus2`` are the same where a branch joins nodes within a bus, as a jumper does.
    """

    name: str
    kind: str
    bus1: str
    bus2: str
    phases: tuple[int, ...]
    nodes1: tuple[int, ...]
    nodes2: tuple[int, ...]
    length_km: float
    r_ohm: float
    x_ohm: float
    normal_amps: float
    switch: int = -1
    protection: str = ""
    element: str = ""


@dataclass(frozen=True)
class Injection:
    """A load (kw < 0) or a device's unit (kw is its rating). kv is the element's own, as OpenDSS takes it [kV].

    ``nodes`` are the indices of the nodes that it connects to. ``former`` is the index in Feeder.switches of the row
    that lets the unit feed an island by itself, or -1.
    """

    name: str
    kind: str
    bus: str
    phases: tuple[int, ...]
    kw: float
    kvar: float
    kv: float
    delta: bool = False
    nodes: tuple[int, ...] = ()
    grid_forming_switch: int = -1


@dataclass(frozen=True)
class AddedUnit:
    """A unit that a scenario adds to the circuit: where it is and what it can inject at most.

    ``phases`` empty means all phases of the bus. With ``replaces`` the unit takes the place of the circuit's own
    PVSystem of that name (``"pvsystem.roof1"``), or one unit that of each (``"pvsystem.*"``), which is then disabled;
    name, bus, phases and power are the PVSystem's. With ``forms`` it may also feed an island by itself, see Switch; it
    then needs all three phases.
    """

    name: str = ""
    bus: str = ""
    kw: float = 0.0
    phases: tuple[int, ...] = ()
    kind: str = "inverter"
    replaces: str = ""
    forms: bool = False


@dataclass(frozen=True)
class AddedSwitch:
    """A line of the circuit that a scenario lets open and close, or, with ``bus1`` and ``bus2``, a new tie: open.

    A line keeps its impedance, and opens at both ends. ``phases`` empty means all that the two buses share; ``amps`` is
    a tie's rating [A].
    """

    name: str
    bus1: str = ""
    bus2: str = ""
    phases: tuple[int, ...] = ()
    amps: float = 600.0


@dataclass(frozen=True)
class CircuitUnit:
    """A PVSystem, Storage or Generator that the circuit brings along.

    It keeps its own dispatch, unless an injection (its name) took its place. kw is the rated power (Pmpp of a
    PVSystem), kva the rating, kwh a Storage's capacity.
    """

    name: str
    kind: str
    bus: str
    phases: tuple[int, ...]
    kw: float
    kva: float
    kv: float
    kwh: float = 0.0
    injection: str = ""


@dataclass(frozen=True)
class TapChanger:
    """A tap-changing transformer winding: its ratio is 1 + position * step_pu + offset_pu, the position an integer.

    ``offset_pu`` is 0 unless the circuit was written with a tap between two steps. ``element`` is the transformer,
    which may have several rows, one for each winding that moves.
    """

    name: str
    winding: int
    bus1: str
    bus2: str
    phases: tuple[int, ...]
    minimum: int
    maximum: int
    step_pu: float
    initial: int
    offset_pu: float = 0.0
    element: str = ""


@dataclass(frozen=True)
class Switch:
    """What is open or closed.

    ``kind`` is switch, a line that opens; capacitor, a step of a bank (``step`` from 1, kvar of it); or former: closed
    where the unit of that name holds voltage and frequency of an island, a stiff source at 1 pu on its bus. No engine
    limits what a former gives, and none allows a former beside another source.
    """

    name: str
    kind: str
    element: str
    bus: str
    phases: tuple[int, ...]
    closed: bool
    step: int = 1
    kvar: float = 0.0


_Row = TypeVar("_Row", Branch, Injection, TapChanger, Switch, Bus)


def find(rows: Iterable[_Row], name: str, what: str, feeder: str) -> int:
    """Index of the row called ``name`` (case does not matter; the class prefix may be left out).

    Raises:
        ValueError: no such row; the message lists the known names.
    """
    wanted = str(name).lower()
    rows = list(rows)
    for index, row in enumerate(rows):
        if row.name == wanted or (row.name.endswith(wanted) and row.name.split(".", 1)[-1] == wanted):
            return index
    names = [row.name for row in rows]
    shown = ", ".join(names[:40]) + (", ..." if len(names) > 40 else "")
    raise ValueError(f"{what} {name!r} does not exist on feeder {feeder!r}; known: {shown or 'none'}")
