"""The report: runs on one self-contained HTML page. Needs ``pip install 'dss_marl[report]'``."""

from dss_marl.experiments.reports.html.report import write_report

__all__ = ["write_report"]
