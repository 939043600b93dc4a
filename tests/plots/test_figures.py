"""Figures for papers: the numbers drawn are those given, every label is in view, files hold fonts and vectors."""

import re
import zlib

import networkx as nx
import numpy as np
import pytest
from common import feeder_with_units, task_of
from test_day_figures import recorded
from test_plots import box, texts

pytest.importorskip("matplotlib")

from dss_marl import plots
from dss_marl.mdp.return_statistics import interquartile_mean, iqm_interval, score_distribution
from dss_marl.plots.learning_curves import KEPT
from dss_marl.plots.recorded_day import DayTables
from dss_marl.plots.tradeoffs import not_surpassed
from dss_marl.plots.voltage_profiles import buses_along, worst_by_bus
from dss_marl.zones.neighbours import zone_graph

FOOT_KM = 0.0003048


def in_view(figure):
    shown, beyond = texts(figure), set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not low <= tick.get_loc() <= high:
                beyond |= {tick.label1, tick.label2}
    for text in (text for text in shown if text not in beyond):
        own = box(text)
        assert figure.bbox.x0 - 1 <= own.x0 and own.x1 <= figure.bbox.x1 + 1, text.get_text()
        assert figure.bbox.y0 - 1 <= own.y0 and own.y1 <= figure.bbox.y1 + 1, text.get_text()


def names_in(legend):
    return [text.get_text() for text in legend.get_texts()]


# --- voltages along the feeder


def test_distances_are_those_of_the_published_lines():
    feeder = feeder_with_units("ieee34")
    km = plots.distances_km(feeder)
    published = {"802": 2580, "806": 2580 + 1730, "808": 2580 + 1730 + 32230, "810": 2580 + 1730 + 32230 + 5804}
    for bus, feet in published.items():
        assert km[feeder.bus_index[bus]] == pytest.approx(feet * FOOT_KM, rel=1e-4)
    assert km[feeder.bus_index[feeder.source_bus]] == 0 and np.isfinite(km).all()


def test_a_bus_behind_an_open_switch_has_no_distance():
    feeder = feeder_with_units("ieee123")
    row = next(s for s, one in enumerate(feeder.switches) if one.name.endswith("sw2"))
    closed = feeder.setpoints().closed
    closed[row] = False
    far = plots.distances_km(feeder, closed)
    assert np.isnan(far).any() and not np.isnan(plots.distances_km(feeder)).all()
    assert np.isnan(far).sum() > np.isnan(plots.distances_km(feeder)).sum()


def test_a_voltage_profile_has_each_live_node_at_its_distance_in_the_colour_of_its_phase():
    feeder = feeder_with_units("ieee13")
    v = np.linspace(0.94, 1.06, len(feeder.nodes))
    v[3] = 0.0  # de-energised
    figure = plots.voltage_profile_figure(feeder, v, title="a title")
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert len(dots) == 3 and len({line.get_color() for line in dots}) == 3
    drawn = np.concatenate([line.get_xydata() for line in dots])
    km = plots.distances_km(feeder)[feeder.node_bus]
    expected = np.stack([km, v], axis=1)[v > 0]
    np.testing.assert_allclose(drawn[np.argsort(drawn[:, 1])], expected)
    assert names_in(figure.axes[0].get_legend())[:3] == ["phase 1", "phase 2", "phase 3"]
    in_view(figure)
    with pytest.raises(ValueError, match="nodes; got voltages of shape"):
        plots.voltage_profile_figure(feeder, v[:-1])


def test_the_heat_map_shows_the_worst_phase_of_each_bus_along_the_feeder():
    recording = recorded("ieee34_volt_var", "no_control")
    figure = plots.voltage_heat_map_figure(recording)
    feeder = DayTables(recording).task.feeder
    drawn = np.asarray(figure.axes[0].collections[0].get_array())
    order = buses_along(feeder)
    assert sorted(order) == list(range(len(feeder.buses))) and feeder.buses[order[0]].name == feeder.source_bus
    v, nodes = recording["voltages"].values, recording["voltages"].names
    for row in (0, 5, len(order) - 1):
        own = v[:, [n for n, node in enumerate(nodes) if node.rsplit(".", 1)[0] == feeder.buses[order[row]].name]]
        worst = own[np.arange(len(own)), np.abs(own - 1).argmax(1)]
        np.testing.assert_allclose(drawn[row], worst)
    assert figure.get_suptitle() == "ieee34_volt_var, no_control, test day 184"
    assert len(np.unique(np.diff(figure.axes[0].get_yticks()))) == 1, "names at equal distances do not overlap"
    in_view(figure)


def test_buses_of_a_lateral_stay_together():
    feeder = feeder_with_units("ieee123")
    order = [feeder.buses[b].name for b in buses_along(feeder)]
    tree = nx.bfs_tree(feeder.graph(), feeder.source_bus)
    closed = plots.bus_layout.spanning_tree(feeder.graph(), feeder.source_bus)
    assert set(tree) == set(order)
    for bus in list(closed)[:40]:
        below = {bus, *nx.descendants(closed, bus)}
        places = sorted(order.index(one) for one in below)
        assert places == list(range(places[0], places[0] + len(below)))


def test_a_de_energised_bus_is_grey_and_the_legend_says_so():
    recording = recorded("ieee123_restoration", "no_control", day=211)
    figure = plots.voltage_heat_map_figure(recording)
    assert np.ma.is_masked(figure.axes[0].collections[0].get_array())
    assert names_in(figure.axes[0].get_legend()) == ["de-energised"]
    assert np.isnan(worst_by_bus(feeder_with_units("ieee13"), np.full((2, 41), np.nan))).all()


# --- zones


@pytest.mark.parametrize("name", ["ieee34_volt_var", "ieee123_restoration", "case33_reconfiguration"])
def test_the_zone_graph_has_every_zone_and_every_border(name):
    task = task_of(name)
    figure = plots.zone_graph_figure(task.feeder, task.zones, name)
    graph = zone_graph(task.feeder.graph(), task.zones)
    lines = [line for line in figure.axes[0].lines if line.get_marker() == "None"]
    assert len(lines) == graph.number_of_edges()
    assert sum(line.get_linestyle() == "--" for line in lines) == sum(
        not e["closed"] for *_, e in graph.edges(data=True)
    )
    words = [text.get_text() for text in figure.axes[0].texts]
    for zone in task.zones:
        assert zone.name.removeprefix("zone_") in words
        assert any(
            f"{len(zone.buses)} buses, {graph.nodes[zone.name]['load_kw']:,.0f} kW load" in word for word in words
        )
    assert ("border of open switches" in names_in(figure.axes[0].get_legend())) == any(
        not e["closed"] for *_, e in graph.edges(data=True)
    )
    in_view(figure)


# --- learning curves


def test_the_interquartile_mean_leaves_out_the_outer_quarters():
    assert interquartile_mean(np.array([0.0, 1, 2, 100])) == 1.5
    assert interquartile_mean(np.array([1.0, 2, 6])) == 3
    mean, low, high = iqm_interval(np.array([[1.0, 2, 3, 4, 5], [7.0, 7, 7, 7, 7]]))
    np.testing.assert_allclose(mean, [3, 7])
    assert low[0] < 3 < high[0] and low[1] == high[1] == 7


def test_several_seeds_have_a_mean_an_interval_and_a_ring_where_each_is_best():
    steps = np.arange(4) * 1e4
    runs = np.array([[-8.0, -6, -3, -4], [-9.0, -5, -4, -4.5], [-7.0, -5.5, -5, -3.5], [-8.5, -6.5, -4.5, np.nan]])
    figure = plots.learning_curve_figure(steps, runs, {"droop": -5.0}, title="ieee34_volt_var, 4 seeds")
    axes = figure.axes[0]
    mean = next(line for line in axes.lines if line.get_label() == "interquartile mean")
    np.testing.assert_allclose(mean.get_ydata(), interquartile_mean(runs[:, :3].T))  # where all have a value
    rings = next(one for one in axes.collections if one.get_label() == "policy kept")
    np.testing.assert_allclose(rings.get_offsets(), [[20, -3], [20, -4], [30, -3.5], [20, -4.5]])
    assert names_in(figure.legends[0]) == ["4 seeds", "95 % interval of the mean", "interquartile mean", "policy kept"]
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert [line.get_ydata()[0] for line in dashed] == [-5.0]
    assert figure.get_suptitle() == "ieee34_volt_var, 4 seeds"


def test_one_run_has_neither_interval_nor_mean_in_its_legend():
    figure = plots.learning_curve_figure(np.arange(3), np.array([-3.0, -1, -2]), {})
    assert names_in(figure.legends[0]) == ["evaluations of one run", "policy kept"]
    ring = next(one for one in figure.axes[0].collections if one.get_label() == "policy kept")
    np.testing.assert_allclose(ring.get_offsets(), [[0.001, -1]])
    assert plots.colours.mixed(KEPT, "white", 0) == plots.colours.mixed(KEPT, "black", 0)


@pytest.mark.parametrize("dpi", [80, 100, 160, 300])
def test_names_of_references_are_whole_at_every_resolution(dpi):
    references = {"opendss_controls": -7.498, "droop": -5.97, "tuned_droop": -3.77, "no_control": -226.0}
    figure = plots.learning_curve_figure(np.arange(9) * 1e4, np.linspace(-8, -3, 9), references, title="a scenario")
    figure.set_dpi(dpi)
    in_view(figure)
    names = [text.get_text().replace("\N{MINUS SIGN}", "-") for text in figure.axes[0].texts]
    assert names[:2] == ["opendss_controls  -7.50", "droop  -5.97"] and "no_control  -226 (below the axis)" in names[3]


# --- comparisons


def days(*pairs):
    return [{"loss_kwh": loss, "violation_node_h": violation} for loss, violation in pairs]


def test_the_trade_off_shows_means_intervals_and_who_is_not_surpassed():
    figures = {
        "none": days((900, 40), (1100, 60)),
        "droop": days((1000, 4), (1200, 6)),
        "worse": days((1150, 10), (1250, 12)),
        "best": days((950, 0), (1000, 1)),
    }
    figure = plots.pareto_figure(figures, title="a scenario")
    places = {c.get_label(): c.lines[0].get_xydata()[0] for c in figure.axes[0].containers}
    np.testing.assert_allclose(places["none"], [1000, 50])
    np.testing.assert_allclose(places["best"], [975, 0.5])
    assert figure.axes[0].get_yscale() == "symlog" and "log scale" in figure.axes[0].get_ylabel()
    assert figure.axes[0].get_xscale() == "linear"
    assert "not surpassed" not in names_in(figure.axes[0].get_legend())  # one controller surpasses all
    in_view(figure)
    with pytest.raises(ValueError, match="'none' needs at least one day with the figures 'loss_kwh' and 'price'"):
        plots.pareto_figure(figures, y="price")


def test_the_front_is_sorted_and_free_of_surpassed_points():
    points = {"a": (1.0, 5.0), "b": (2.0, 2.0), "c": (2.0, 3.0), "d": (4.0, 1.0), "e": (5.0, 1.0)}
    assert not_surpassed(points) == ["a", "b", "d"]
    figure = plots.pareto_figure({name: days(point, point) for name, point in points.items()})
    line = next(one for one in figure.axes[0].lines if one.get_label() == "not surpassed")
    np.testing.assert_allclose(line.get_xydata(), [[1, 5], [2, 2], [4, 1]])


def test_a_performance_profile_counts_the_runs_above_each_threshold():
    scores = np.array([[0.2, 0.8], [0.4, 0.9], [0.6, 1.0]])
    share, low, high = score_distribution(scores, np.array([0.0, 0.5, 0.85, 1.0]))
    np.testing.assert_allclose(share, [1, 4 / 6, 2 / 6, 0])
    assert (low <= share).all() and (share <= high).all() and low[0] == high[0] == 1
    assert low[1] == pytest.approx(0.5) and high[1] == pytest.approx(1.0)  # task 2 is always above 0.5
    figure = plots.performance_profile_figure({"ours": scores, "theirs": scores - 0.1}, title="two tasks")
    lines = [line for line in figure.axes[0].lines if line.get_label() in ("ours", "theirs")]
    for line, shift in zip(lines, (0.0, 0.1), strict=True):
        above = [(scores - shift > tau).mean() for tau in line.get_xdata()]
        np.testing.assert_allclose(line.get_ydata(), above)
    assert "3 runs of 2 tasks" in figure.axes[0].get_ylabel()
    in_view(figure)
    with pytest.raises(ValueError, match="'bad'"):
        plots.performance_profile_figure({"bad": np.array([[np.nan]])})


# --- files


def test_files_hold_embedded_fonts_and_vectors_and_are_repeatable(tmp_path):
    def figure():
        return plots.learning_curve_figure(np.arange(3), np.arange(3.0), {"droop": 1.0}, title="a title")

    made = {kind: plots.save(figure(), tmp_path / f"a.{kind}").read_bytes() for kind in ("png", "pdf", "svg")}
    assert made["png"][:4] == b"\x89PNG" and made["pdf"][:4] == b"%PDF" and b"<svg" in made["svg"][:600]
    plain = made["pdf"] + b"".join(
        map(unpacked, re.findall(rb"stream\r?\n(.*?)\r?\nendstream", made["pdf"], re.DOTALL))
    )
    assert b"/FontFile2" in plain and b"/Type3" not in plain  # TrueType, as publishers ask for
    assert b"<image" not in made["svg"]
    for kind in ("pdf", "svg"):
        assert plots.save(figure(), tmp_path / f"b.{kind}").read_bytes() == made[kind]
    with pytest.raises(ValueError, match=r"\.png, \.pdf, \.svg; got"):
        plots.save(figure(), tmp_path / "a.jpg")


def unpacked(stream):
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


def test_figures_for_print_are_as_wide_as_a_page_of_two_columns():
    figures = [
        plots.learning_curve_figure(np.arange(3), np.arange(3.0), {}),
        plots.operation_figure([recorded("ieee13_legacy", name) for name in ("no_control", "time_of_use")]),
        plots.voltage_heat_map_figure(recorded("ieee13_legacy", "no_control")),
    ]
    assert {figure.get_size_inches()[0] for figure in figures} == {plots.PAGE_IN}


def test_figures_of_nothing_are_refused():
    task = task_of("ieee13_volt_var")
    with pytest.raises(ValueError, match="'blank' has no value"):
        plots.voltage_band_figure({"blank": np.full((4, 2), np.nan)}, 0.25)
    with pytest.raises(ValueError, match="needs at least one zone"):
        plots.zones_figure(task.feeder, [])
    with pytest.raises(ValueError, match="of 'ieee13' are in none"):
        plots.zone_graph_figure(task.feeder, task.zones[:1])


# --- costs of a step --------------------------------------------------------------------------------------------------


def test_bars_of_a_step_end_at_its_cost_and_begin_with_the_floor():
    costs = {"a": {"decode": 0.5, "engine": 1.5, "rest": 1.0}, "b x 16": {"decode": 0.1, "engine": 1.25, "rest": 0.15}}
    axes = plots.step_cost_figure(costs, "costs").axes[0]
    first, *_, last = axes.containers
    assert [bar.get_width() for bar in first] == [1.0, 1.0]
    assert [bar.get_x() + bar.get_width() for bar in last] == pytest.approx([3.0, 1.5])
    assert [text.get_text() for text in axes.texts] == ["3.00", "1.50"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b x 16"]


@pytest.mark.parametrize(("costs", "wrong"), [({}, "at least one"), ({"a": {"rest": 1.0}}, "'a' must have the parts")])
def test_costs_without_the_engine_are_an_error(costs, wrong):
    with pytest.raises(ValueError, match=wrong):
        plots.step_cost_figure(costs)
