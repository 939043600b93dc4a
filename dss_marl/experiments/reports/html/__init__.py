"""The report: runs on one self-contained HTML page. Needs ``pip install 'dss_marl[report]'``."""

from importlib.util import find_spec

_MISSING = [name for name in ("plotly", "jinja2", "matplotlib") if find_spec(name) is None]
if _MISSING:  # checked here, since the modules below import them
    raise ImportError(f"a report needs {', '.join(_MISSING)}: pip install 'dss_marl[report]'")

from dss_marl.experiments.reports.html.report import write_report  # noqa: E402

__all__ = ["write_report"]
