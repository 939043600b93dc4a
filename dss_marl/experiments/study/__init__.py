"""Benchmarks of learning: scenarios x recipes x seeds, trained, played on test days, and summarised with intervals.

What a step costs is measured elsewhere: ``experiments.benchmark`` and ``dss-marl bench``.
"""
