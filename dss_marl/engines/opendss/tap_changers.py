"""Tap changers: reads the windings that a RegControl moves, and moves them.

OpenDSS's interface of transformers does not know autotransformers: these are read and written by property.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from dss_marl.engines.opendss.script import quoted
from dss_marl.engines.opendss.terminals import activate, elements, is_enabled
from dss_marl.grid.elements import TapChanger

_TRANSFORMER, _AUTO = "transformer.", "autotrans."


class _Winding(NamedTuple):
    element: str
    number: int


def read_taps(context: Any) -> tuple[TapChanger, ...]:
    """The windings that RegControls move: a row for each, however many controls it has.

    Raises:
        ValueError: several windings of an autotransformer move, whose currents depend on both ratios at once.
    """
    windings = dict.fromkeys(winding for _, winding in _controls(context) if winding)
    rows: list[TapChanger] = []
    for winding in windings:
        others = [row.name for row in rows if row.element == winding.element]
        if others and winding.element.startswith(_AUTO):
            raise ValueError(f"controls move several windings of {winding.element}; disable all but one of them")
        rows.append(_tap(context, winding, f"{winding.element}:{winding.number}" if others else winding.element))
    return tuple(rows)


def idle_controls(context: Any) -> list[str]:
    """RegControls whose transformer is out of service."""
    return [name for name, winding in _controls(context) if winding is None]


def _controls(context: Any) -> list[tuple[str, _Winding | None]]:
    """Each enabled RegControl with the winding that it moves; None where that is out of service."""
    controls = context.RegControls
    asked = [(own, controls.Transformer().lower(), int(controls.TapWinding())) for own in elements(controls)]
    rows: list[tuple[str, _Winding | None]] = []
    for own, moved, number in asked:
        names = [moved] if moved.startswith((_TRANSFORMER, _AUTO)) else [_TRANSFORMER + moved, _AUTO + moved]
        there = next((name for name in names if is_enabled(context, name)), None)
        rows.append((f"regcontrol.{own}", _Winding(there, number) if there else None))
    return rows


def _tap(context: Any, winding: _Winding, name: str) -> TapChanger:
    low, high, steps, tap = _range(context, winding)
    step = (high - low) / steps
    initial = round((tap - 1) / step)
    offset = tap - 1 - initial * step
    if abs(offset) < 1e-5:  # rounded in the file
        offset = 0.0
    element = activate(context, winding.element)
    order, width = element.NodeOrder(), element.NumConductors()
    buses = [bus.split(".")[0].lower() for bus in element.BusNames()]
    own = slice((winding.number - 1) * width, winding.number * width)
    within = 1e-3  # of a step: limits are rounded too
    return TapChanger(
        name=name,
        winding=winding.number,
        bus1=buses[0 if winding.number != 1 else 1],
        bus2=buses[winding.number - 1],
        phases=tuple(dict.fromkeys(int(p) for p in order[own] if 0 < p <= 3)),
        minimum=min(_ceil((low - 1 - offset) / step - within), initial),
        maximum=max(-_ceil(-(high - 1 - offset) / step - within), initial),
        step_pu=step,
        initial=initial,
        offset_pu=offset,
        element=winding.element,
    )


def _range(context: Any, winding: _Winding) -> tuple[float, float, int, float]:
    """Lowest and highest ratio, number of steps, and present ratio."""
    if winding.element.startswith(_AUTO):
        _select(context, winding)
        value = context.Properties.Value
        return float(value("mintap")), float(value("maxtap")), int(value("numtaps")), float(value("tap"))
    transformers = context.Transformers
    transformers.Name(winding.element.removeprefix(_TRANSFORMER))
    transformers.Wdg(winding.number)
    return transformers.MinTap(), transformers.MaxTap(), transformers.NumTaps(), transformers.Tap()


def _select(context: Any, winding: _Winding) -> None:
    context.Text.Command(f"edit {quoted(winding.element)} wdg={winding.number}")
    activate(context, winding.element)


def _ceil(x: float) -> int:
    return -int(-x // 1)


class TapWriter:
    """Reads and writes the ratios of the Feeder's taps in a compiled circuit."""

    def __init__(self, context: Any, taps: Sequence[TapChanger]) -> None:
        self._context, self._lib = context, context.dss_lib
        place = {f"{_TRANSFORMER}{own.lower()}": i + 1 for i, own in enumerate(context.Transformers.AllNames())}
        self._windings = [_Winding(row.element, row.winding) for row in taps]
        self._index = [place.get(row.element, 0) for row in taps]  # 0: an autotransformer

    def write(self, row: int, ratio: float) -> None:
        """Set the ratio of a tap; an error shows in the next checked call."""
        index = self._index[row]
        if not index:
            _select(self._context, self._windings[row])
            self._context.Text.Command(f"edit {quoted(self._windings[row].element)} tap={ratio!r}")
            self._context.YMatrix.SystemYChanged(True)
            return
        self._lib.Transformers_Set_idx(index)
        self._lib.Transformers_Set_Wdg(self._windings[row].number)
        self._lib.Transformers_Set_Tap(ratio)

    def read(self, row: int) -> float:
        """The ratio of a tap."""
        if not self._index[row]:
            _select(self._context, self._windings[row])
            return float(self._context.Properties.Value("tap"))
        transformers = self._context.Transformers
        transformers.Idx(self._index[row])
        transformers.Wdg(self._windings[row].number)
        return float(transformers.Tap())
