"""Moves that improve a plan."""
