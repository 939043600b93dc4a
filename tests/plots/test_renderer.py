"""Frames of a running environment: drawn once, then changed; what they show is what the state says."""

import copy
import pickle

import numpy as np
import pytest
from common import task_of

pytest.importorskip("matplotlib")

from gymnasium.wrappers import RenderCollection
from matplotlib.artist import Artist
from matplotlib.text import Text
from pettingzoo.test import render_test

import dss_marl
from dss_marl import plots
from dss_marl.envs.zone_env import ZoneEnv
from dss_marl.plots.window import Window

NAME = "ieee13_volt_var"


def running(name=NAME, steps=1, **options):
    """An environment with a renderer, some steps into a day, and its renderer."""
    env = ZoneEnv(task_of(name), render_mode="rgb_array", renderer=plots.Renderer("droop"))
    env.reset(seed=0, options={"day": 170, **options})
    for _ in range(steps):
        step(env)
    return env, env.renderer


def step(env, value=0.0):
    return env.step(env.task.encoding.encode(np.full(env.task.agents.action_layout.size, value)))


def page_of(env):
    env.render()
    return env.renderer._page


def artists(page, gid):
    return [artist for artist in page._figure.axes[0].get_children() if artist.get_gid() == gid]


def texts(page):
    return [text.get_text() for text in page._figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


# --- frames


def test_a_frame_is_1200_by_800_and_differs_after_a_step():
    env, _ = running()
    first = env.render()
    assert first.shape == (800, 1200, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(env.render(), first)
    step(env)
    assert (env.render() != first).any()
    np.testing.assert_array_equal(first[0, 0], [255, 255, 255])


def test_frames_create_no_artists(monkeypatch):
    env, _ = running("ieee123_hybrid", steps=0)
    env.render()
    made = []
    original = Artist.__init__
    monkeypatch.setattr(Artist, "__init__", lambda self: (made.append(type(self).__name__), original(self))[1])
    for value in (1.0, -1.0, 0.3):  # everything moves
        step(env, value)
        env.render()
    assert made == []


def test_a_frame_is_that_of_an_environment_rendered_from_the_start():
    """What is drawn once does not depend on when it was drawn."""
    early, _ = running(steps=0)
    late, _ = running(steps=0)
    for value in (0.5, -0.5, 1.0):
        early.render()
        step(early, value)
        step(late, value)
    np.testing.assert_array_equal(early.render(), late.render())


def test_the_head_says_scenario_controller_date_time_step_and_return():
    env, _ = running(steps=2)
    shown = " ".join(texts(page_of(env)))
    for part in (f"{NAME}, droop", "20 June", "00:15", "interval 2 of 96", "return"):
        assert part in shown, part
    assert f"{env.renderer._day.reward.sum():.4g}".replace("-", "\N{MINUS SIGN}") in shown


def test_before_a_reset_there_is_no_picture():
    env = ZoneEnv(task_of(NAME), render_mode="rgb_array", renderer=plots.Renderer())
    assert env.render() is None
    with pytest.raises(RuntimeError, match="call reset first"):
        env.renderer.frame(env)


# --- what the map shows


@pytest.fixture(scope="module")
def broken():
    """A feeder with a broken branch, and switches of both states."""
    env, _ = running("ieee123_restoration", faults=["line.l53"])
    return env


def test_switches_are_filled_where_closed(broken):
    (squares,) = artists(page_of(broken), "switches")
    edges = broken.renderer._page._map._switches._edges
    closed = np.array([edge.closed(broken.after.solution.closed) for edge in edges])
    assert closed.any() and not closed.all()
    np.testing.assert_array_equal(squares.get_facecolor()[:, 0] < 0.5, closed)


def test_faults_are_crosses_on_the_broken_branches(broken):
    env = broken
    (cross,) = artists(page_of(env), "faults")
    feeder, sheet = env.task.feeder, env.renderer._page._map._chart.sheet
    branch = next(row for row in feeder.branches if row.name == "line.l53")
    ends = sheet.xy[[feeder.bus_index[branch.bus1], feeder.bus_index[branch.bus2]]]
    np.testing.assert_allclose(cross.get_offsets(), [ends.mean(0)])
    env.reset(seed=0, options={"day": 170, "faults": []})
    assert len(artists(page_of(env), "faults")[0].get_offsets()) == 0


def test_taps_are_numbers_in_bold_where_they_just_moved():
    env, _ = running(steps=0)
    readings = page_of(env)._map._taps
    ((text, rows, _),) = readings._readings
    step(env, 1.0)
    env.render()
    moved = env.after.setpoints.tap[rows] != env.before.setpoints.tap[rows]
    assert moved.any() and text.get_fontweight() == "bold"
    assert text.get_text().replace("\N{MINUS SIGN}", "-").split() == [f"{t:+d}" if t else "0" for t in
                                                                      env.after.setpoints.tap[rows]]  # fmt: skip
    step(env, 0.0)
    env.render()
    assert text.get_fontweight() == "normal"


def test_readings_are_the_power_delivered_and_gauges_the_reactive_power():
    env, _ = running(steps=0)
    for _ in range(40):
        step(env, 0.8)
    devices = page_of(env)._map._devices
    assert devices._gauged
    for device in devices._gauged:
        if device.text is not None:
            kw = env.after.solution.served_kw[device.rows].sum()
            assert float(device.text.get_text().removesuffix(" kW")) == pytest.approx(kw, abs=0.51)
        (foot, top), _ = devices._level(device, env.after)
        kvar = env.after.setpoints.kvar[device.rows].sum()
        assert (top - foot)[1] * kvar > 0


def test_branches_are_as_wide_as_they_are_loaded():
    env, _ = running()
    lines = page_of(env)._map._branches
    widths, loading = np.array(lines.lines.get_linewidth()), env.after.solution.loading
    edges = lines._edge
    most, least = edges[np.argmax(loading)], edges[np.argmin(np.where(loading > 0, loading, np.inf))]
    assert widths[most] == widths.max() > widths[least]


def test_agents_have_their_reward_and_their_limited_requests():
    env, _ = running("ieee13_legacy", steps=0)
    env.render()
    _, rewards, _, _, infos = step(env, 1.0)
    page = page_of(env)
    for row, agent in zip(page._agents._rows, env.possible_agents, strict=True):
        assert row.texts[0].get_text() == f"{rewards[agent]:.3g}".replace("-", "\N{MINUS SIGN}")
        limited = infos[agent]["limited"]
        assert row.texts[1].get_text().startswith(f"{int(limited)} limited" if limited else "")
    bars = np.array(page._agents._bars.get_segments())
    assert len(bars) == env.task.agents.action_layout.size


def test_the_strip_is_complete_without_a_frame_in_each_step():
    env, _ = running(steps=5)
    day = env.renderer._day
    assert np.isfinite(day.low[:5]).all() and np.isnan(day.low[5:]).all()
    scored = env.task.all_zones.scored_nodes
    assert day.low[4] == env.after.solution.v_pu[scored].min()
    env.reset(seed=0, options={"day": 171})
    assert np.isnan(env.renderer._day.low).all()


@pytest.mark.parametrize("name", ["ieee34_volt_var", "ieee123_restoration", "ieee13_microgrid"])
def test_no_text_covers_another_or_leaves_the_frame(name):
    env, _ = running(name)
    figure = page_of(env)._figure
    shown = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    shown += [text for axes in figure.axes for text in (*axes.texts, axes.title)]
    renderer = figure.canvas.get_renderer()
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in shown if text.get_text().strip()]
    for i, (one, a) in enumerate(boxes):
        assert figure.bbox.x0 <= a.x0 and a.x1 <= figure.bbox.x1 and figure.bbox.y0 <= a.y0 and a.y1 <= figure.bbox.y1
        for other, b in boxes[:i]:
            inner = min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 3
            assert not inner, (one, other)


# --- copies, other environments, windows


def test_a_copy_draws_for_itself_and_goes_on_with_the_day():
    env, renderer = running(steps=3)
    picture = env.render()
    other = pickle.loads(pickle.dumps(env))
    assert other.renderer is not renderer and other.renderer._page is None
    other.reset(seed=0, options={"day": 170})
    np.testing.assert_array_equal(env.render(), picture)
    assert copy.deepcopy(env).renderer._day.reward[2] == renderer._day.reward[2]


def test_a_loaded_state_forgets_what_came_after():
    env, renderer = running(steps=2)
    saved = env.save_state()
    step(env)
    env.load_state(saved)
    env.render()
    assert np.isfinite(renderer._day.low[:2]).all() and np.isnan(renderer._day.low[2:]).all()
    fresh = ZoneEnv(env.task, render_mode="rgb_array", renderer=plots.Renderer())
    fresh.load_state(saved)
    step(fresh)
    assert fresh.render().shape == (800, 1200, 3)


def test_the_views_for_one_agent_and_for_turns_give_frames():
    single = RenderCollection(dss_marl.gym_env(NAME, steps=3, render_mode="rgb_array"))
    single.reset(seed=0)
    for _ in range(2):
        single.step(single.action_space.sample())
    assert [frame.shape for frame in single.render()] == [(800, 1200, 3)] * 3
    turns = dss_marl.env(NAME, max_cycles=2, render_mode="rgb_array")
    turns.reset(seed=0)
    assert turns.render().shape == (800, 1200, 3)


def test_pettingzoo_accepts_every_render_mode(capsys):
    render_test(lambda render_mode: dss_marl.env(NAME, max_cycles=9, render_mode=render_mode))


def test_without_a_display_the_table_is_printed(capsys):
    env = dss_marl.make(NAME, render_mode="human")
    env.reset(seed=0)
    assert env.render() is None
    assert "zone_1: " in capsys.readouterr().out


def test_a_backend_without_a_display_opens_no_window(monkeypatch):
    from matplotlib import pyplot

    def refuse(**_):
        raise ImportError("requires the 'tk' interactive framework, as 'headless' is currently running")

    monkeypatch.setattr(pyplot, "figure", refuse)
    window = Window(np.zeros((80, 120, 3), np.uint8), "a title")
    assert not window.opened
    window.close()


def test_a_window_shows_the_frame(monkeypatch):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    monkeypatch.setattr(FigureCanvasAgg, "required_interactive_framework", "test")  # as if there were a display
    frame = np.zeros((80, 120, 3), np.uint8)
    window = Window(frame, "a title")
    assert window.opened
    frame[..., 0] = 209
    window.update(frame)
    window._figure.canvas.draw()
    shown = np.asarray(window._figure.canvas.buffer_rgba())
    np.testing.assert_array_equal(shown[40, 60, :3], [209, 0, 0])
    window.close()
    window.update(frame)  # the user may have closed it
