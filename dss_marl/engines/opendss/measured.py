"""What controls measure: positions of voltages, and admittances from which currents and powers follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dss_marl.engines.opendss.script import quoted
from dss_marl.engines.opendss.tap_changers import TapWriter
from dss_marl.engines.opendss.terminals import activate, openness
from dss_marl.grid.feeder import Feeder
from dss_marl.grid.state import IntArray

_LINEAR = ("line", "transformer", "autotrans", "reactor")
_SAMPLES = (0.9, 1.0, 1.1)


@dataclass(frozen=True, eq=False)
class Conductors:
    """Currents I = Y V into conductors of an element.

    Attributes:
        at: (W) positions of the conductors' nodes in the engine's voltage vector, 0 for ground.
        columns: (P) positions of V.
        y: (W, P) admittances [S], with its taps at neutral.
        column_tap, row_tap: (P), (W) what divides: a ratio (R), nothing (R), or the square of a ratio (R), in this
            order, as in Flows.
        switch: row of Feeder.switches that the element is; S if none.
    """

    at: IntArray
    columns: IntArray
    y: NDArray[np.complex128]
    column_tap: IntArray
    row_tap: IntArray
    switch: int


@dataclass(frozen=True)
class Winding:
    """A winding as a control sees it.

    Attributes:
        plus, minus: (phases) positions of the ends of each phase.
        base_volts: rated voltage of a phase [V].
        delta: whether phases are between conductors; ``next_phase`` is then that of the first one's other end.
        conductors: all of its terminal, among those of the transformer.
    """

    plus: tuple[int, ...]
    minus: tuple[int, ...]
    base_volts: float
    delta: bool
    next_phase: int
    conductors: tuple[int, ...]


def winding(context: Any, name: str, number: int, control: str) -> Winding:
    """A winding of a transformer, counted from 1.

    Raises:
        ValueError: it is in series with another one, or its phases end nowhere; the message names the control.
    """
    asked = [_winding_texts(context, name, k) for k in (1, 2)]
    conn, kv = asked[number - 1] if number <= 2 else _winding_texts(context, name, number)
    if conn.startswith("ser"):
        raise ValueError(f"{control}: winding={number} is in series with another; let it measure at the common winding")
    element = activate(context, name)
    nodes, width, phases = list(element.NodeRef()), element.NumConductors(), element.NumPhases()
    lead = context.Properties.Value("leadlag").lower().startswith(("lead", "eur"))
    first = (number - 1) * width
    own = tuple(range(first, first + width))
    plus = tuple(int(nodes[first + k]) for k in range(phases))
    if not conn.startswith(("d", "ll")):
        line_to_neutral = kv * 1000 / np.sqrt(3) if phases in (2, 3) else kv * 1000
        return Winding(plus, (int(nodes[first + phases]),) * phases, float(line_to_neutral), False, 0, own)
    ends = [first + _next_phase(k, phases, _direction(asked, lead)) for k in range(phases)]
    if max(ends) >= len(nodes):
        raise ValueError(f"{control}: winding={number} has a phase without a second conductor")
    minus = tuple(int(nodes[k]) for k in ends)
    return Winding(plus, minus, kv * 1000, True, ends[0] - first, own)


def _winding_texts(context: Any, name: str, number: int) -> tuple[str, float]:
    context.Text.Command(f"edit {quoted(name)} wdg={number}")
    activate(context, name)
    value = context.Properties.Value
    return value("conn").lower(), float(value("kv"))


def ratio_limits(context: Any, name: str, number: int) -> tuple[float, float]:
    """Lowest and highest ratio of a winding."""
    _winding_texts(context, name, number)  # selects it
    return float(context.Properties.Value("mintap")), float(context.Properties.Value("maxtap"))


def _direction(asked: list[tuple[str, float]], lead: bool) -> int:
    """Which conductor ends a phase in delta: the following one, 1, or the one before, -1."""
    (conn1, kv1), (conn2, kv2) = asked
    delta1, delta2 = (conn.startswith(("d", "ll")) for conn in (conn1, conn2))
    if delta1 == delta2 or conn1.startswith("ser"):
        return 1
    high_is_delta = delta1 if kv1 >= kv2 else delta2
    return 1 if high_is_delta == lead else -1


def _next_phase(k: int, phases: int, direction: int) -> int:
    following = k + direction
    if phases > 2:
        return following % phases
    return 2 if following < 0 else following


def nodes_of_terminal(context: Any, name: str, terminal: int) -> tuple[list[int], int]:
    """Positions of the conductors of a terminal, and how many of them are phases."""
    element = activate(context, name)
    width = element.NumConductors()
    refs = [int(n) for n in element.NodeRef()]
    return refs[(terminal - 1) * width : terminal * width], element.NumPhases()


def nodes_of_bus(context: Any, bus: str) -> list[int]:
    """Positions of the nodes of a bus, in the order in which OpenDSS made them."""
    order = [name.lower().split(".")[0] for name in context.Circuit.YNodeOrder()]
    return [k + 1 for k, name in enumerate(order) if name == bus]


def conductors(context: Any, feeder: Feeder, name: str, rows: Sequence[int], control: str) -> Conductors:
    """Conductors of a line, transformer or reactor, counted through its terminals from 0.

    The circuit must be in snapshot mode, its switches closed and its taps as in the Feeder.

    Raises:
        ValueError: the currents are no linear function of the voltages; the message names the control.
    """
    if name.split(".", maxsplit=1)[0] not in _LINEAR:
        raise ValueError(
            f"{control}: element={name} is no line, transformer or reactor, so its current cannot be computed; monitor "
            "a line, disable the control, or solve with OpenDSS"
        )
    element = activate(context, name)
    if max(rows) >= len(element.NodeRef()):
        raise ValueError(f"{control}: element={name} has no conductor {max(rows) + 1}")
    if openness(context) != "closed":
        raise ValueError(f"{control}: element={name} is partly open; close or open it whole, or monitor another")
    nodes, none = np.array(element.NodeRef(), np.int64), len(feeder.taps)
    width, chosen = element.NumConductors(), np.array(rows, np.int64)
    switch = next((s for s, row in enumerate(feeder.switches) if row.element == name), len(feeder.switches))
    moving = [r for r, row in enumerate(feeder.taps) if row.element == name]
    if name.startswith("autotrans.") and moving:
        y = np.hstack([part[chosen] for part in _by_ratio(context, feeder, moving[0])])
        by = np.repeat([none, moving[0], none + 1 + moving[0]], len(nodes))
        return Conductors(nodes[chosen], np.tile(nodes, 3), y, by, np.full(len(chosen), none), switch)
    y, by = _yprim(context), np.full(len(nodes), none)
    for r in moving:
        row = feeder.taps[r]
        at = np.arange(len(nodes)) // width == row.winding - 1
        by[at] = r
        ratio = np.where(at, 1 + row.initial * row.step_pu + row.offset_pu, 1.0)
        y = y * ratio[:, None] * ratio[None, :]
    return Conductors(nodes[chosen], nodes, y[chosen], by, by[chosen], switch)


def _yprim(context: Any) -> NDArray[np.complex128]:
    """Of the active element, for the currents that OpenDSS reports [S]."""
    element = context.CktElement
    flat = np.asarray(element.YPrim())
    order = round((len(flat) // 2) ** 0.5)
    y = (flat[::2] + 1j * flat[1::2]).reshape(order, order).T  # stored by columns
    if element.Name().lower().startswith("autotrans."):  # the second terminal's are of both its windings
        phases, width = element.NumPhases(), element.NumConductors()
        y = y.copy()
        y[width : width + phases] += y[phases : 2 * phases]
    return y


def _by_ratio(context: Any, feeder: Feeder, tap: int) -> NDArray[np.complex128]:
    """(3, P, P) coefficients of 1, 1 / ratio and 1 / ratio**2 in an autotransformer's admittances [S]."""
    row, writer = feeder.taps[tap], TapWriter(context, feeder.taps)
    samples = []
    for ratio in (*_SAMPLES, 1 + row.initial * row.step_pu + row.offset_pu):  # the last leaves it as it was
        writer.write(tap, ratio)
        context.Solution.Solve()
        activate(context, row.element)
        samples.append(_yprim(context))
    powers = np.array([[1.0, 1 / ratio, 1 / ratio**2] for ratio in _SAMPLES])
    return np.einsum("ab,bij->aij", np.linalg.inv(powers), np.array(samples[:-1]))
