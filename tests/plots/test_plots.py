"""Pictures show what is there: every bus, each zone in its colour, voltages outside the band ringed, labels in view."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from common import SCENARIOS, feeder_with_units, task_of

pytest.importorskip("matplotlib")

from matplotlib.colors import to_hex
from matplotlib.text import Text

from dss_marl import plots
from dss_marl._assets import known_names
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.plots.bus_layout import completed, tree_layout
from dss_marl.plots.label_placement import OccupancyGrid
from dss_marl.plots.map_geometry import MANY, MARGIN, sheet_of
from dss_marl.plots.style import spread

NAME = "ieee34_volt_var"


@cache
def noon():
    """The first operated interval of a shipped scenario."""
    env = ZoneEnv(task_of(NAME))
    env.reset(seed=0, options={"day": 170})
    env.step({agent: np.zeros(env.action_space(agent).shape) for agent in env.agents})
    return env.after


def with_voltages(state, v_pu, energised=None):
    solution = state.solution
    changed = dict(vars(solution), v_pu=v_pu, energised=solution.energised if energised is None else energised)
    return state.replace(solution=type(solution)(**{k: changed[k] for k in solution.__dataclass_fields__}))


def test_a_notebook_shows_a_figure_without_pyplot():
    picture = plots.feeder_figure(task_of(NAME))._repr_png_()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"


def rings(figure):
    found = [artist for artist in figure.axes[0].collections if artist.get_gid() == "outside"]
    return np.asarray(found[0].get_offsets())


def texts(figure):
    """What can be read on the figure, its axes' tick labels included where these are shown."""
    figure.canvas.draw()  # a legend finds its place then
    shown = [text for legend in figure.legends for text in legend.get_texts()] + list(figure.texts)
    for axes in figure.axes:
        shown += [text for text in axes.findobj(Text) if axes.axison or text in (*axes.texts, axes.title)]
    return [text for text in shown if text.get_visible() and text.get_text().strip()]


def box(text):
    return text.get_window_extent(text.get_figure(root=True).canvas.get_renderer())


# --- where buses lie


@pytest.mark.parametrize("name", [name for name in known_names("feeders") if name != "ieee8500"])
def test_every_bus_has_a_finite_place_on_the_page(name):
    feeder = feeder_with_units(name)
    sheet = sheet_of(feeder)
    assert plots.bus_positions(feeder).shape == sheet.xy.shape == (len(feeder.buses), 2)
    assert np.isfinite(sheet.xy).all()
    assert (sheet.xy >= MARGIN - 1e-6).all()
    assert (sheet.xy <= np.array([sheet.width, sheet.height]) - MARGIN + 1e-6).all()


@pytest.mark.parametrize("name", ["ieee13", "ieee37", "ieee123"])
def test_a_symbol_between_two_buses_covers_neither(name):
    sheet = sheet_of(feeder_with_units(name))
    assert len(sheet.xy) <= MANY
    for edge in sheet.edges:
        if edge.kind in ("regulator", "transformer"):
            assert np.hypot(*(sheet.xy[edge.a] - sheet.xy[edge.b])) > sheet.symbol


def test_a_regulator_beside_a_jumper_is_shown_as_a_regulator():
    assert "regulator" in {edge.kind for edge in sheet_of(feeder_with_units("ieee37")).edges}


def test_buses_without_coordinates_go_evenly_between_their_neighbours_and_dead_ends_outward():
    graph = nx.path_graph(["a", "x", "y", "b", "c", "d"])
    known = {"a": np.array([0.0, 0.0]), "b": np.array([3.0, 0.0])}
    places = completed(graph, known)
    np.testing.assert_allclose(places["x"], [1, 0], atol=1e-9)
    np.testing.assert_allclose(places["y"], [2, 0], atol=1e-9)
    assert 3 < places["c"][0] < places["d"][0]


def test_the_layout_of_a_tree_has_no_crossings():
    graph = nx.random_labeled_tree(60, seed=3)
    places = tree_layout(graph, 0)
    edges = [(places[a], places[b]) for a, b in graph.edges]

    def side(p, q, r):
        return np.sign((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    for i, (a, b) in enumerate(edges):
        for c, d in edges[:i]:
            crosses = side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
            assert not crosses
    assert len({tuple(place) for place in places.values()}) == len(graph)


# --- the map


def test_each_zone_has_its_own_colour():
    for count in (1, 6, 8, 24, 60):
        assert len(set(plots.zone_colours(count))) == count
    task = task_of(NAME)
    figure = plots.feeder_figure(task)
    buses = figure.axes[0].collections[-1].get_facecolors()
    colours = [to_hex(colour) for colour in buses]
    found = {zone.name: {colours[task.feeder.bus_index[bus]] for bus in zone.buses} for zone in task.zones}
    assert all(len(colour) == 1 for colour in found.values())
    assert len(set.union(*found.values())) == len(task.zones)


@pytest.mark.parametrize("name", SCENARIOS)
def test_all_labels_are_in_view_and_none_covers_another(name):
    figure = plots.feeder_figure(task_of(name), title="a map")
    boxes = {text.get_text(): box(text) for text in texts(figure)}
    assert {zone.name.replace("_", " ") for zone in task_of(name).zones} <= set(boxes)
    for one, a in boxes.items():
        assert figure.bbox.x0 <= a.x0 and a.x1 <= figure.bbox.x1, one
        assert figure.bbox.y0 <= a.y0 and a.y1 <= figure.bbox.y1, one
        for other, b in boxes.items():
            inner = min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 3
            assert one == other or not inner, (one, other)


def test_buses_outside_the_band_are_ringed_and_no_others():
    task, state = task_of(NAME), noon()
    v = np.full(len(task.feeder.nodes), 1.0)
    assert len(rings(plots.feeder_figure(task, with_voltages(state, v)))) == 0
    for bus, value in (("840.2", 1.051), ("822.1", 0.949)):
        v[task.feeder.node_index[bus]] = value
    places = sheet_of(task.feeder).xy[[task.feeder.bus_index["840"], task.feeder.bus_index["822"]]]
    found = rings(plots.feeder_figure(task, with_voltages(state, v)))
    assert {tuple(place) for place in found} == {tuple(place) for place in places}


def test_a_de_energised_bus_is_not_a_voltage_violation():
    task, state = task_of(NAME), noon()
    v, energised = np.ones(len(task.feeder.nodes)), np.ones(len(task.feeder.nodes), bool)
    dead = task.feeder.node_bus == task.feeder.bus_index["890"]
    v[dead], energised[dead] = 0.0, False
    assert len(rings(plots.feeder_figure(task, with_voltages(state, v, energised)))) == 0


def test_the_image_is_rgb_bytes_and_keeps_its_even_size_for_films():
    task, state = task_of(NAME), noon()
    image = plots.feeder_image(task, state)
    other = plots.feeder_image(task, with_voltages(state, np.full(len(task.feeder.nodes), 1.2)))
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    assert image.shape == other.shape and not np.array_equal(image, other)
    assert image.shape[0] % 2 == image.shape[1] % 2 == 0
    assert 0.01 < (image.min(-1) < 128).mean() < 0.5


def test_a_batch_of_states_is_refused():
    with pytest.raises(ValueError, match="one state"):
        plots.feeder_figure(task_of(NAME), with_voltages(noon(), np.ones((2, 3))))


# --- voltage bands and learning curves


def test_voltage_bands_share_the_axis_and_name_the_hours_outside():
    flat = np.tile([0.97, 1.0, 1.04], (96, 1))
    high = flat.copy()
    high[40:50, 2] = 1.06
    figure = plots.voltage_band_figure({"tame": flat, "wild": high, "two": flat[:, [0, 2]]}, 0.25, "a day")
    assert len(figure.axes) == 3 and len({axes.get_ylim() for axes in figure.axes}) == 1
    assert list(figure.axes[0].get_xticks()) == [0, 6, 12, 18, 24]
    words = [text.get_text() for text in texts(figure)]
    assert "2.5 h outside" in words and words.count("never outside") == 2
    for text in texts(figure):
        assert figure.bbox.x0 <= box(text).x0 and box(text).x1 <= figure.bbox.x1 + 1, text.get_text()
    with pytest.raises(ValueError, match="wrong"):
        plots.voltage_band_figure({"wrong": np.ones((96, 4))}, 0.25)


def test_reference_labels_do_not_cover_each_other_and_far_ones_are_named_at_the_edge():
    steps, returns = np.arange(10) * 1e4, np.linspace(-8, -3, 10)
    references = {"one": -4.0, "two": -4.01, "three": -4.02, "nothing": -102.3}
    figure = plots.learning_curve_figure(steps, returns, references)
    assert figure.axes[0].get_ylim()[0] > -20
    boxes = [box(text) for text in figure.axes[0].texts]
    assert len(boxes) == 4
    for i, a in enumerate(boxes):
        assert a.x1 <= figure.bbox.x1
        assert not any(min(a.y1, b.y1) - max(a.y0, b.y0) > 1 for b in boxes[:i])
    assert any("below the axis" in text.get_text() for text in figure.axes[0].texts)


def test_a_curve_over_orders_of_magnitude_gets_a_logarithmic_axis_and_says_so():
    figure = plots.learning_curve_figure(np.arange(5), np.array([-300.0, -80, -20, -6, -3]), {"droop": -4.0})
    assert figure.axes[0].get_yscale() == "symlog"
    assert "log scale" in figure.axes[0].get_ylabel()


def test_spread_moves_only_what_is_too_close():
    np.testing.assert_allclose(spread([0.5, 0.1, 0.9], 0.1, 0, 1), [0.5, 0.1, 0.9])
    moved = spread([0.5, 0.5, 0.5, 1.0], 0.1, 0, 1)
    assert (np.diff(np.sort(moved)) > 0.1 - 1e-9).all() and moved.max() <= 1
    assert abs(moved[:3].mean() - 0.5) < 1e-9


def test_a_room_counts_what_a_box_would_cover():
    room = OccupancyGrid(100, 50)
    room.take_lines(np.array([[10.0, 10.0]]), np.array([[90.0, 10.0]]))
    covered = room.covered(np.array([[50.0, 10.0], [50.0, 30.0], [99.0, 30.0]]), 10, 6)
    assert covered[0] > 0 and covered[1] == 0 and np.isinf(covered[2])


def test_save_makes_folders_and_writes_a_png(tmp_path):
    path = plots.save(plots.learning_curve_figure(np.arange(3), np.arange(3.0), {}), tmp_path / "a" / "b.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_pictures_leave_pyplot_alone():
    sources = list(Path(plots.__file__).parent.glob("*.py"))
    assert len(sources) > 5
    assert not any("matplotlib.pyplot" in source.read_text(encoding="utf-8") for source in sources)


@pytest.mark.parametrize(("closed", "listed"), [(True, {"capacitor"}), (False, {"capacitor, off"})])
def test_the_legend_lists_only_the_banks_that_are_drawn(closed, listed):
    state = noon()
    banks = np.full(len(state.solution.closed), closed)  # both of this feeder's switches are banks
    figure = plots.feeder_figure(task_of(NAME), replace(state, solution=replace(state.solution, closed=banks)))
    names = {text.get_text() for text in figure.findobj(Text)}
    assert {name for name in names if name.startswith("capacitor")} == listed


@pytest.mark.parametrize("v_pu", [1.0, 1.1, 0.0])
def test_the_legend_lists_bad_voltages_only_where_there_are_some(v_pu):
    state = noon()
    v = np.full_like(state.solution.v_pu, v_pu)
    solution = replace(state.solution, v_pu=v, energised=v > 0)
    names = {
        text.get_text() for text in plots.feeder_figure(task_of(NAME), replace(state, solution=solution)).findobj(Text)
    }
    assert ("outside 0.95 to 1.05 pu" in names, "de-energised" in names) == (v_pu == 1.1, v_pu == 0)
