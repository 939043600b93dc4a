"""Engines: set points in, solution out."""
