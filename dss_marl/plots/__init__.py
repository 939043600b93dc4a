"""Figures: maps, days, voltages, profiles, learning curves, comparisons. Needs ``pip install 'dss_marl[plots]'``."""

from __future__ import annotations

try:
    import matplotlib  # noqa: F401
except ImportError as error:
    raise ImportError("plots need matplotlib: pip install 'dss_marl[plots]'") from error

from dss_marl.plots.bus_layout import bus_positions
from dss_marl.plots.colours import zone_colours
from dss_marl.plots.feeder_map import feeder_figure, feeder_image, zones_figure
from dss_marl.plots.learning_curves import learning_curve_figure
from dss_marl.plots.operation_day import operation_figure
from dss_marl.plots.partition_maps import comparison_figure
from dss_marl.plots.profile_days import days_figure
from dss_marl.plots.recipe_figures import recipe_curves_figure, score_intervals_figure
from dss_marl.plots.renderer import Renderer
from dss_marl.plots.search_history import search_figure
from dss_marl.plots.step_costs import step_cost_figure
from dss_marl.plots.style import COLUMN_IN, PAGE_IN, PALETTE, save
from dss_marl.plots.tradeoffs import pareto_figure, performance_profile_figure
from dss_marl.plots.voltage_bands import voltage_band_figure
from dss_marl.plots.voltage_profiles import distances_km, voltage_heat_map_figure, voltage_profile_figure
from dss_marl.plots.zone_graphs import zone_graph_figure

__all__ = [
    "COLUMN_IN",
    "PAGE_IN",
    "PALETTE",
    "Renderer",
    "bus_positions",
    "comparison_figure",
    "days_figure",
    "distances_km",
    "feeder_figure",
    "feeder_image",
    "learning_curve_figure",
    "operation_figure",
    "pareto_figure",
    "performance_profile_figure",
    "recipe_curves_figure",
    "save",
    "score_intervals_figure",
    "search_figure",
    "step_cost_figure",
    "voltage_band_figure",
    "voltage_heat_map_figure",
    "voltage_profile_figure",
    "zone_colours",
    "zone_graph_figure",
    "zones_figure",
]
