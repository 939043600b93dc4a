"""The picture of a day shows the numbers of its recording, named, on a clock, and nothing else."""

from functools import cache

import numpy as np
import pytest
from test_plots import box, texts

pytest.importorskip("matplotlib")

import dss_marl
from dss_marl import plots
from dss_marl.plots.operation_day import MOST, fault_times
from dss_marl.plots.operation_panels import panels_of
from dss_marl.plots.recorded_day import DayTables, plain_name
from dss_marl.plots.style import clock


class OneBank:
    """Opens the first capacitor bank at six and closes it at six in the evening."""

    circuit_controls = False

    def reset(self, env):
        """Nothing."""

    def act(self, env, observations):
        """Every other device keeps its state."""
        task, flat = env.task, env.task.default_action.copy()
        banks = next(k for k, group in enumerate(task.device_groups) if type(group).__name__ == "Capacitors")
        list(task.agents.action_layout.by_group(flat))[banks][0] = {6: -1.0, 18: 1.0}.get(env.now.step, 0.0)
        return task.encoding.encode(flat)


ONE_BANK = OneBank()


@cache
def recorded(name, controller, day=184, **changes):
    env = dss_marl.make(name, split="test", **changes)
    try:
        return dss_marl.record(env, controller, days=day)
    finally:
        env.close()


def rows_of(figure):
    """Label of each row to its panels, left to right."""
    found = {}
    for axes in figure.axes:
        place = axes.get_subplotspec()
        found.setdefault(place.rowspan.start, []).append(axes)
    return {row[0].get_ylabel().replace("\n", " "): row for row in found.values()}


def stepped(line):
    """Values of a step line, without the end that repeats the last one."""
    return np.asarray(line.get_ydata())[:-1]


def legend_of(row):
    return [text.get_text() for text in row[-1].get_legend().get_texts()]


def test_each_line_is_a_column_of_the_recording():
    recordings = [recorded("ieee34_volt_var", name) for name in ("no_control", "tuned_droop")]
    rows = rows_of(plots.operation_figure(recordings))
    assert list(rows) == ["voltage [pu]", "power [kW]", "inverters [kvar]", "tap position"]
    for column, recording in enumerate(recordings):
        kvar = recording["kvar_set"]
        for line, name in zip(rows["inverters [kvar]"][column].lines, legend_of(rows["inverters [kvar]"]), strict=True):
            np.testing.assert_array_equal(stepped(line), kvar[f"generator.inverter_{name}"])
        for line, name in zip(rows["tap position"][column].lines, legend_of(rows["tap position"]), strict=False):
            np.testing.assert_array_equal(stepped(line), recording["taps"][f"transformer.{name}"])
        power = dict(zip(legend_of(rows["power [kW]"]), map(stepped, rows["power [kW]"][column].lines), strict=True))
        np.testing.assert_allclose(power["import"], recording["system"]["source_kw"])
        balance = power["import"] + power["PV"] - power["load"] - recording["system"]["loss_kw"]
        assert np.abs(balance).max() < 1.0


def test_the_band_is_that_of_the_scored_nodes():
    recording = recorded("ieee34_volt_var", "no_control")
    task = DayTables(recording).task
    scored = np.sort(np.concatenate([zone.scored_nodes for zone in task.zones]))
    band = panels_of(DayTables(recording))["voltage [pu]"].lines
    v = recording["voltages"].values[:, scored]
    np.testing.assert_allclose(band["lowest"], v.min(1))
    np.testing.assert_allclose(band["median"], np.median(v, axis=1))
    np.testing.assert_allclose(band["highest"], v.max(1))


def test_what_never_changes_has_no_panel_and_is_counted():
    recordings = [recorded("ieee13_legacy", one) for one in ("no_control", ONE_BANK)]
    rows = rows_of(plots.operation_figure(recordings))
    closed = np.concatenate([one["switches"].values for one in recordings])
    moving = [plain_name(c.name) for c, column in zip(recordings[0]["switches"].columns, closed.T, strict=True)
              if np.ptp(column) and c.kind == "capacitor"]  # fmt: skip
    assert [label.get_text() for label in rows["capacitors"][0].get_yticklabels()] == moving
    assert moving == ["cap1"] and "+ 1 constant" in legend_of(rows["capacitors"])
    assert "switches" not in rows  # the only one never moves
    for axes in (axes for row in rows.values() for axes in row):
        assert axes.lines or axes.collections or axes is rows["capacitors"][1]


def test_bars_are_where_a_state_is_1():
    recording = recorded("ieee13_legacy", ONE_BANK)
    rows = rows_of(plots.operation_figure([recorded("ieee13_legacy", "no_control"), recording]))
    name = rows["capacitors"][0].get_yticklabels()[0].get_text()
    spans = [path.get_extents() for bars in rows["capacitors"][1].collections for path in bars.get_paths()]
    closed = recording["switches"][f"capacitor.{name}"]
    hours = np.arange(len(closed)) + 0.5
    drawn = np.any([(span.x0 < hours) & (hours < span.x1) & (span.y0 < 0 < span.y1) for span in spans], axis=0)
    np.testing.assert_array_equal(drawn, closed == 1)
    np.testing.assert_array_equal(closed, (hours < 6) | (hours > 18))


def test_counts_have_ticks_at_whole_numbers_only():
    figure = plots.operation_figure(recorded("ieee34_volt_var", "tuned_droop"))
    figure.canvas.draw()
    axes = rows_of(figure)["tap position"][0]
    low, high = axes.get_ylim()
    ticks = [tick for tick in axes.get_yticks() if low <= tick <= high]
    assert len(ticks) >= 2 and all(float(tick).is_integer() for tick in ticks)


def test_hours_past_midnight_read_as_a_clock():
    figure = plots.operation_figure(recorded("ieee13_volt_var", "no_control", start_hour=12.0))
    figure.canvas.draw()
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == ["12", "18", "0", "6", "12"]
    whole = plots.operation_figure(recorded("ieee13_volt_var", "no_control"))
    assert [label.get_text() for label in whole.axes[-1].get_xticklabels()] == ["0", "6", "12", "18", "24"]
    assert (clock(25.5, 0.5), clock(24.0), clock(24.0, 1, whole_day=True), clock(9)) == ("1:30", "0", "24", "9")


def test_of_many_devices_those_that_vary_most_are_named_and_the_rest_counted():
    recording = recorded("ieee123_state_estimation", "typical_loads", steps=8)
    row = rows_of(plots.operation_figure(recording))["error of a node [pu]"]
    errors = recording["estimate_errors"]
    vary = dict(zip(errors.names, np.ptp(errors.values, axis=0), strict=True))
    *named, note = legend_of(row)
    assert len(named) <= MOST and note == f"+ {len(vary) - len(named)} more"
    assert set(named) == set(sorted(vary, key=lambda name: -vary[name])[: len(named)])


def test_restoration_shows_the_fault_the_moves_and_what_each_class_is_served():
    recording = recorded("ieee123_restoration", "nearest_tie", day=211)
    figure = plots.operation_figure([recorded("ieee123_restoration", "no_control", day=211), recording])
    day = DayTables(recording)
    assert fault_times(day) == [(0, 7, ["l69"])]
    words = " ".join(text.get_text() for text in texts(figure))
    assert "l69 faulted 14:00 to 17:30" in words
    lasting = recorded("ieee123_restoration", "no_control", day=211, repair_h=None)
    assert fault_times(DayTables(lasting)) == [(0, 16, ["l69"])]
    assert "l69 faulted throughout" in plots.operation_figure(lasting).get_suptitle()
    assert f"{recording.figures[0]['switch_moves']:.0f} switch move" in words
    rows = rows_of(figure)
    served = -recording["kw_served"].values
    names = [name.partition(".")[2] for name in recording["kw_served"].names]
    of, loads = day.task.priorities.of, day.task.feeder.loads
    assert len(names) == len(of)
    lines = panels_of(day)["served load [kW]"].lines
    for number, name in enumerate(("critical", "important", "normal")):
        np.testing.assert_allclose(lines[name], served[:, [j for j in loads if of[j] == number]].sum(1))
    assert legend_of(rows["served load [kW]"]) == ["critical", "important", "normal", "demand"]


def test_a_fault_within_the_day_is_named_with_its_time():
    recording = recorded("ieee123_restoration", "no_control", day=211)
    table = recording["faults"]
    values = np.zeros_like(table.values)
    values[2:7, table.names.index("line.l53" if "line.l53" in table.names else table.names[0])] = 1
    name = plain_name(table.names[int(values.any(0).argmax())])
    changed = type(recording)(**{**vars(recording), "tables": {**recording.tables, "faults": replaced(table, values)}})
    figure = plots.operation_figure(changed)
    assert f"{name} faulted 15:00 to 17:30" in figure.get_suptitle()
    marks = [line for line in figure.axes[0].lines if len(set(line.get_xdata())) == 1]
    assert sorted(line.get_xdata()[0] for line in marks) == [15.0, 17.5]


def replaced(table, values):
    return type(table)(**{**vars(table), "values": values})


def test_open_points_are_named_where_they_are():
    recording = recorded("case33_reconfiguration", "branch_exchange")
    panel = panels_of(DayTables(recording))["open point"]
    switches = recording["switches"]
    for line in panel.lines.values():
        for k, index in enumerate(line):
            assert switches[f"line.{panel.texts[int(index)]}"][k] == 0
    figure = plots.operation_figure(recording)
    words = {text.get_text() for text in rows_of(figure)["open point"][0].texts}
    assert words <= set(panel.texts) and len(words) >= 5


def test_the_estimation_error_is_measured_against_what_agents_could_see():
    recording = recorded("ieee123_state_estimation", "typical_loads", steps=8)
    errors = recording["estimate_errors"].values
    lines = panels_of(DayTables(recording))["estimation error [pu]"].lines
    np.testing.assert_allclose(lines["worst node"], np.abs(errors).max(1))
    rms = np.sqrt((lines["root mean square"] ** 2).mean())
    assert rms == pytest.approx(recording.figures[0]["estimation_error_pu"], rel=1e-9)
    assert np.abs(errors).max() == pytest.approx(recording.figures[0]["estimation_worst_pu"])


@pytest.mark.parametrize("name", ["ieee13_microgrid", "ieee123_hybrid", "eulv_ev"])
def test_nothing_is_cut_off_and_columns_do_not_overlap(name):
    recordings = [recorded(name, controller, day=211, steps=24) for controller in ("no_control", "random")]
    figure = plots.operation_figure(recordings)
    for text in texts(figure):
        own = box(text)
        assert figure.bbox.x0 - 1 <= own.x0 and own.x1 <= figure.bbox.x1 + 1, text.get_text()
        assert figure.bbox.y0 - 1 <= own.y0 and own.y1 <= figure.bbox.y1 + 1, text.get_text()
    heads = [box(axes._left_title) for axes in figure.axes[:2]]
    assert heads[0].x1 < heads[1].x0


def test_recordings_of_two_scenarios_are_refused_and_an_unknown_day_too():
    one, other = recorded("ieee13_legacy", "no_control"), recorded("ieee34_volt_var", "no_control")
    with pytest.raises(ValueError, match="one scenario"):
        plots.operation_figure([one, other])
    with pytest.raises(ValueError, match="no day 3; it has 184"):
        plots.operation_figure(one, day=3)


def test_a_day_of_one_interval_shows_its_voltages():
    figure = plots.operation_figure(recorded("ieee13_volt_var", "no_control", day=4, steps=1, start_hour=10))
    assert list(rows_of(figure)) == ["voltage [pu]"]
