"""Closed rules: droop, time of use, valley filling, load rationing, nearest tie."""
