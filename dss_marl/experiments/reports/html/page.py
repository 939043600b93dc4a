"""The page: templates filled with data, everything within one file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs


def page(content: Mapping[str, Any], figures: Mapping[str, Figure], data: Mapping[str, Any]) -> str:
    """The whole page.

    Args:
        content: what the template prints.
        figures: name to figure; the template places them with ``plot(name)``.
        data: name to further data for the page's script.
    """
    env = Environment(
        loader=PackageLoader("dss_marl.experiments.reports.html"),
        autoescape=True,  # names of scenarios and devices are data, not markup
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_unbroken,
    )
    stored = {f"figure-{name}": figure.to_json() for name, figure in figures.items()}
    stored |= {f"data-{name}": json.dumps(value, allow_nan=False) for name, value in data.items()}
    return env.get_template("report.html").render(
        **content,
        figures=set(figures),
        heights={name: int(figure.layout.height) for name, figure in figures.items()},
        stored={name: _in_script(text) for name, text in stored.items()},
        plotly=Markup(get_plotlyjs().replace("</script", r"<\/script")),  # noqa: S704  # the library's own code
    )


def _unbroken(value: Any) -> Any:
    """A text in which a number and its percent sign stay on one line."""
    return value.replace(" %", "\N{NO-BREAK SPACE}%") if type(value) is str else value


def _in_script(text: str) -> Markup:
    """JSON as the content of a script element: nothing in it can end the element."""
    escaped = text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")
    return Markup(escaped)  # noqa: S704  # no markup left
