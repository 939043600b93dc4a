"""Solvers that know nothing of grids."""
