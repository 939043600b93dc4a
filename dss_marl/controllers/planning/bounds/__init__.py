"""Bounds: what no controller of a task can exceed on a day, by relaxations that are cheap to solve."""

from dss_marl.controllers.planning.bounds.registry import BOUNDS, Bound, bound_of, optimum_of

__all__ = ["BOUNDS", "Bound", "bound_of", "optimum_of"]
