"""Benchmarks of learning: scenarios x recipes x seeds, trained, played on test days, and summarised with intervals.

What a step costs is measured elsewhere: by ``dss-marl bench``.
"""

from dss_marl.experiments.study.report import write_report
from dss_marl.experiments.study.results import StudyResults, load_results
from dss_marl.experiments.study.study import Study
from dss_marl.experiments.study.suite import Suite, plan_of, read_suite
from dss_marl.experiments.study.summary import lines, overall

__all__ = [
    "Study",
    "StudyResults",
    "Suite",
    "lines",
    "load_results",
    "overall",
    "plan_of",
    "read_suite",
    "write_report",
]
