"""Myopic search: one interval ahead, evaluated on the engine."""
