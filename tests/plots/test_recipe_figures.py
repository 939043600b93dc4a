"""Recipes side by side: what is drawn is what the data say."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from dss_marl import plots
from dss_marl.mdp.return_statistics import interquartile_mean

STEPS = np.array([0.0, 50_000, 100_000])


def test_each_scenario_has_a_panel_and_each_recipe_one_colour_everywhere():
    a = np.array([[-9.0, -5, -3], [-8, -4, -2], [-9, -6, -3], [-7, -3, -2]])
    figure = plots.recipe_curves_figure(
        {"x": {"ppo": (STEPS, a), "mine": (STEPS, a + 1)}, "y": {"mine": (STEPS, a[0])}}
    )
    first, second = figure.axes
    assert (first.get_title(), second.get_title()) == ("x", "y")
    ppo, mine = first.lines[:2]
    np.testing.assert_allclose(ppo.get_xdata(), STEPS / 1000)
    np.testing.assert_allclose(ppo.get_ydata(), interquartile_mean(a.T))
    assert second.lines[0].get_color() == mine.get_color() != ppo.get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ppo", "mine"]


def test_returns_over_orders_of_magnitude_get_a_logarithmic_axis_that_says_so():
    wide = np.array([[-900.0, -30, -3], [-800, -20, -2]])
    axes = plots.recipe_curves_figure({"x": {"ppo": (STEPS, wide)}}).axes[0]
    assert axes.get_yscale() == "symlog" and "log scale" in [text.get_text() for text in axes.texts]


def test_aggregates_have_a_panel_each_and_recipes_the_same_line():
    own = {"ppo": (0.5, 0.4, 0.6), "mine": (0.8, 0.7, 0.85)}
    figure = plots.score_intervals_figure({"mean": own, "gap (lower is better)": own})
    assert [axes.get_title() for axes in figure.axes] == ["mean", "gap\n(lower is better)"]
    bar, point = figure.axes[0].lines[2:4]
    assert list(bar.get_xdata()) == [0.7, 0.85] and list(point.get_xdata()) == [0.8]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["ppo", "mine"]


def test_nothing_to_draw_is_an_error():
    for wrong in ({}, {"x": {}}):
        with pytest.raises(ValueError, match="at least one scenario"):
            plots.recipe_curves_figure(wrong)
    with pytest.raises(ValueError, match=r"recipe 'ppo': steps must be \(E\)"):
        plots.recipe_curves_figure({"x": {"ppo": (STEPS, np.zeros((2, 2)))}})
    with pytest.raises(ValueError, match="at least one recipe"):
        plots.score_intervals_figure({})
