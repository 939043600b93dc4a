"""Neighbouring zones have colours that every reader can tell apart: CIEDE2000 under normal vision and deuteranopia."""

import numpy as np
import pytest
from common import QUICK, task_of

pytest.importorskip("matplotlib")

from matplotlib.colors import to_rgb

from dss_marl import plots
from dss_marl.plots.colours import TINT
from dss_marl.plots.map_geometry import edges_of
from dss_marl.plots.style import mixed

NORMAL = np.eye(3)
# Viénot, Brettel and Mollon 1999: what a deuteranope sees, in linear RGB; the package uses another model
DEUTERANOPIA = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])


def lab(colour, vision):
    """CIELAB (D65) of a colour as seen."""
    rgb = np.array(to_rgb(colour))
    linear = np.clip(vision @ np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4), 0, 1)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]]
    xyz = np.array(to_xyz) @ linear / [0.95047, 1, 1.08883]
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def ciede2000(one, two):
    """Colour difference of Sharma, Wu and Dalal 2005."""
    (l1, a1, b1), (l2, a2, b2) = one, two
    mean7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(mean7 / (mean7 + 25.0**7))
    c1, c2 = np.hypot(stretch * a1, b1), np.hypot(stretch * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, stretch * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    m, c, h = (l1 + l2) / 2, (c1 + c2) / 2, (h1 + turn / 2) % 360 if c1 * c2 else h1 + h2

    def cos(angle):
        return np.cos(np.radians(angle))

    t = 1 - 0.17 * cos(h - 30) + 0.24 * cos(2 * h) + 0.32 * cos(3 * h + 6) - 0.2 * cos(4 * h - 63)
    lightness = (l2 - l1) / (1 + 0.015 * (m - 50) ** 2 / np.sqrt(20 + (m - 50) ** 2))
    chroma = (c2 - c1) / (1 + 0.045 * c)
    hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * c * t)
    rotation = -2 * np.sqrt(c**7 / (c**7 + 25.0**7)) * np.sin(np.radians(60 * np.exp(-(((h - 275) / 25) ** 2))))
    return float(np.sqrt(lightness**2 + chroma**2 + hue**2 + rotation * chroma * hue))


@pytest.mark.parametrize(
    ("one", "two", "published"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((50, 2.5, 0), (58, 24, 15), 19.4535),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ],
)
def test_the_colour_difference_is_the_published_one(one, two, published):
    assert ciede2000(one, two) == pytest.approx(published, abs=1e-4)


def difference(one, two):
    """The smaller difference of the two kinds of vision."""
    return min(ciede2000(lab(one, vision), lab(two, vision)) for vision in (NORMAL, DEUTERANOPIA))


def borders_of(task):
    zone = {bus: z for z, part in enumerate(task.zones) for bus in part.buses}
    names = [bus.name for bus in task.feeder.buses]
    pairs = {(zone[names[edge.a]], zone[names[edge.b]]) for edge in edges_of(task.feeder)}
    return {(a, b) for a, b in pairs if a != b}


@pytest.mark.parametrize("name", [*QUICK, "ieee8500_volt_var"])
def test_neighbouring_zones_are_told_apart(name):
    task = task_of(name)
    borders = borders_of(task)
    colours = plots.zone_colours(len(task.zones), borders)
    assert len(set(colours)) == len(colours) == len(task.zones)
    for a, b in borders:
        assert difference(colours[a], colours[b]) > 15, (a, b)
        tints = [mixed(colours[zone], "white", TINT) for zone in (a, b)]
        assert difference(*tints) > 4, (a, b)


def test_neighbours_among_many_zones_differ_more_than_any_two():
    ring = {(z, (z + 1) % 30) for z in range(30)}
    colours = plots.zone_colours(30, ring)
    assert len(set(colours)) == 30
    near = min(difference(colours[a], colours[b]) for a, b in ring)
    anywhere = min(difference(colours[a], colours[b]) for a in range(30) for b in range(a))
    assert near > 15 > anywhere


def test_the_order_of_borders_does_not_matter_and_equal_calls_agree():
    first = plots.zone_colours(5, [(0, 1), (1, 2), (2, 3), (3, 4)])
    assert first == plots.zone_colours(5, [(4, 3), (2, 1), (1, 0), (3, 2), (1, 1)])
