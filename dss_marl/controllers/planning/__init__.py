"""Whole days with full foresight."""
