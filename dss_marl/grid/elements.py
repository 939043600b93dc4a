"""Elements of a feeder: buses, branches, injections, tap changers and switches, in OpenDSS's order."""

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
    """A load (kw < 0) or a device's unit (kw is its rating). kv is the element's rated voltage in OpenDSS [kV].

    ``nodes`` are the indices of the nodes that it connects to. ``grid_forming_switch`` is the index in Feeder.switches
    of the row that lets the unit form an island, or -1. ``v_pu`` of a unit is the range of its voltage over ``kv`` in
    which it delivers its set point, see AddedUnit; None: at any voltage.
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
    v_pu: tuple[float, float] | None = None


PROFILE_DRIVEN = "profiles"  # kind of an AddedUnit that no device controls
UNIT_V_PU = (0.4, 1.6)  # range in which a unit without limits of its own delivers its set point; no flow leaves it [pu]


@dataclass(frozen=True)
class AddedUnit:
    """A unit that a scenario adds to the circuit: its connection and maximum injection.

    ``phases`` empty means all phases of the bus. With ``replaces`` the unit replaces the circuit's own PVSystem,
    Generator or Storage of that name (``"pvsystem.roof1"``), or one unit replaces each of a class (``"pvsystem.*"``) or
    each that is left (``"*"``); what it replaces is disabled and the unit takes over its name, bus, phases and power.
    Of kind ``PROFILE_DRIVEN`` it is no device: the day's profiles move it. With ``forms`` it can also form an island,
    see Switch; it then needs all three phases.

    With ``v_pu`` it delivers its set point only while its voltage over ``kv`` is in this range [pu]; beyond, it is the
    impedance that delivers the set point at the limit, as OpenDSS's generators are. ``kv`` is its rated voltage, line
    to line if it has three phases [kV]; 0: that of the bus.
    """

    name: str = ""
    bus: str = ""
    kw: float = 0.0
    phases: tuple[int, ...] = ()
    kind: str = "inverter"
    replaces: str = ""
    forms: bool = False
    kv: float = 0.0
    v_pu: tuple[float, float] | None = None


@dataclass(frozen=True)
class AddedSwitch:
    """A line of the circuit that a scenario makes switchable, or, with ``bus1`` and ``bus2``, a new normally open tie.

    A line keeps its impedance and opens at both ends. ``phases`` empty means all that the two buses share; ``amps`` is
    the rating of a tie [A].
    """

    name: str
    bus1: str = ""
    bus2: str = ""
    phases: tuple[int, ...] = ()
    amps: float = 600.0


@dataclass(frozen=True)
class CircuitUnit:
    """A PVSystem, Storage or Generator of the circuit itself.

    It keeps its power as compiled unless the injection named here replaces it, which ``moved_by`` then says: the kind
    of device, or "profiles". kw is the rated power (Pmpp of a PVSystem), kva the rating, kwh the capacity of a Storage.

    ``shapes`` are the property and the name of each shape that it follows in OpenDSS, see ``shape``. ``run_kw`` and
    ``run_kvar`` are what it delivers at a multiplier of 1: full sun, a generator running, a battery idling;
    ``power_factor`` says that kvar go with kW. ``soc`` and ``soc_minimum`` are the state of charge and its reserve [1].
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
    moved_by: str = ""
    shapes: tuple[tuple[str, str], ...] = ()
    run_kw: float = 0.0
    run_kvar: float = 0.0
    power_factor: bool = False
    charge_efficiency: float = 1.0
    discharge_efficiency: float = 1.0
    soc: float = 0.0
    soc_minimum: float = 0.0

    def shape(self, which: str = "daily") -> str:
        """Name of its ``daily``, ``yearly`` or ``duty`` LoadShape; another of these stands in; "" for none."""
        names = dict(self.shapes)
        return next((names[key] for key in (which, "daily", "yearly", "duty") if key in names), "")


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
    """An element with an open or closed state.

    ``kind`` is switch, a switchable line; capacitor, a step of a bank (``step`` from 1, its kvar); or grid_forming:
    closed where the unit of that name sets voltage and frequency of an island, a stiff source at 1 pu on its bus. No
    engine limits the output of a grid-forming unit, and none allows one in parallel with another source.
    """

    name: str
    kind: str
    element: str
    bus: str
    phases: tuple[int, ...]
    closed: bool
    step: int = 1
    kvar: float = 0.0


_NAMING = {"regulator": "; a regulator has the name of its transformer, not of its RegControl or Bank"}
_Row = TypeVar("_Row", Branch, Injection, TapChanger, Switch, Bus)


def find(rows: Iterable[_Row], name: str, what: str, feeder: str) -> int:
    """Index of the row called ``name`` (case-insensitive; the class prefix may be omitted).

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
    raise ValueError(
        f"{what} {name!r} does not exist on feeder {feeder!r}; known: {shown or 'none'}{_NAMING.get(what, '')}"
    )
