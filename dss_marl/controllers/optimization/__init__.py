"""Optimization solvers independent of power grids."""
