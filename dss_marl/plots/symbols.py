"""Symbols of a single-line diagram, as matplotlib markers: drawn upright, rotated on the map along their branch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path
from matplotlib.transforms import Affine2D

from dss_marl.plots.style import INK


def _circle(x: float, y: float, radius: float) -> Path:
    return Path.circle((x, y), radius)


def _line(*points: tuple[float, float]) -> Path:
    return Path(np.array(points))


def _box(half_width: float, half_height: float) -> Path:
    w, h = half_width, half_height
    return Path(np.array([(-w, -h), (w, -h), (w, h), (-w, h), (-w, -h)]), closed=True)


_join = Path.make_compound_path
_TRANSFORMER = _join(_circle(-0.3, 0, 0.45), _circle(0.3, 0, 0.45))
_REGULATOR = _join(_circle(0, 0, 0.62), _line((-0.85, -0.85), (0.9, 0.9)), _line((0.45, 0.9), (0.9, 0.9), (0.9, 0.45)))
_CAPACITOR = _join(
    _line((-0.9, 0), (-0.16, 0)),
    _line((-0.16, -0.75), (-0.16, 0.75)),
    _line((0.16, -0.75), (0.16, 0.75)),
    _line((0.16, 0), (0.9, 0)),
)
_INVERTER = _join(_box(0.75, 0.75), _line((-0.75, -0.75), (0.75, 0.75)))
_SOURCE = _join(
    _box(0.8, 0.8),
    *(_line((a, -0.8), (0.8, -a)) for a in (-0.8, -0.27, 0.27)),
    *(_line((-0.8, a), (-a, 0.8)) for a in (-0.27, 0.27)),
    *(_line((a, 0.8), (0.8, a)) for a in (-0.8, -0.27, 0.27)),
    *(_line((-0.8, -a), (-a, -0.8)) for a in (-0.27, 0.27)),
)
_BATTERY = _join(
    _box(0.85, 0.5), _line((-0.5, 0), (-0.1, 0)), _line((0.1, 0), (0.5, 0)), _line((0.3, -0.2), (0.3, 0.2))
)
_WAVE = np.linspace(-1, 1, 13)
_GENERATOR = _join(_circle(0, 0, 0.85), Path(np.stack([0.5 * _WAVE, 0.32 * np.sin(np.pi * _WAVE)], axis=1)))
_FEEDER_TIE = _join(_line((0, -0.95), (0.95, 0), (0, 0.95), (-0.95, 0), (0, -0.95)), _line((-0.45, 0), (0.45, 0)))
_OTHER = Path.unit_regular_polygon(6)


@dataclass(frozen=True)
class Symbol:
    """How a kind of element is drawn: outline, relative size, fill, and whether it is rotated."""

    label: str
    path: Path
    scale: float = 1.0
    fill: str = "white"
    turns: bool = True

    def marker(self, x: float, y: float, size: float, angle: float = 0.0, ink: str = INK) -> Line2D:
        """The symbol at a point, ``size`` [pt] wide, rotated by ``angle`` [rad]."""
        style = MarkerStyle(self.path, transform=Affine2D().rotate(angle if self.turns else 0.0))
        return Line2D(
            [x],
            [y],
            linestyle="none",
            marker=style,
            markersize=size * self.scale,
            markerfacecolor=self.fill,
            markeredgecolor=ink,
            markeredgewidth=float(np.clip(size / 11, 0.5, 1.0)),
            clip_on=False,
        )


SERIES = {  # where branches of several kinds are parallel, the first of these is shown
    "regulator": Symbol("regulator", _REGULATOR, 1.15, turns=False),
    "transformer": Symbol("transformer", _TRANSFORMER, 1.25),
    "switch": Symbol("switch, closed", _box(0.6, 0.6), 0.6, fill=INK),
    "reactor": Symbol("reactor", _box(0.9, 0.4), 0.9),
}
OPEN_SWITCH = Symbol("switch, open", _box(0.6, 0.6), 0.6)
SHUNT = {
    "source": Symbol("source", _SOURCE, 1.1, turns=False),
    "inverter": Symbol("inverter", _INVERTER, 0.9, fill="#ffd84d", turns=False),
    "battery": Symbol("battery", _BATTERY, 1.1, fill="#b9e3c6", turns=False),
    "generator": Symbol("generator", _GENERATOR, 1.0, fill="#cfe8f7", turns=False),
    "feeder_tie": Symbol("feeder tie", _FEEDER_TIE, 1.1, fill="#f3d9e6", turns=False),
    "capacitor": Symbol("capacitor", _CAPACITOR, 1.05, fill="none"),
}


def shunt_symbol(kind: str) -> Symbol:
    """The symbol of a kind of device at a bus; a hexagon for kinds without a symbol."""
    return SHUNT.get(kind) or Symbol(kind.replace("_", " "), _OTHER, 0.9, fill="#cfe8f7", turns=False)
