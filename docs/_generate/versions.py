"""reference/versions.md: which versions are supported, and which are tested."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from _generate.markdown import table

ROOT = Path(__file__).resolve().parents[2]
HEAD = """# Versions

Supported are Python {python} and the ranges below; `constraints.txt` pins the versions that every test run uses, on Python {tested}.
This page is written from `pyproject.toml`, `constraints.txt` and the test workflow, so it says what they say.
`pip install -c constraints.txt -e ".[dev]"` installs exactly these. An empty cell: the package is not pinned for that Python, or is not
installed there.

"""


def pages() -> Iterator[tuple[str, str]]:
    """The one page."""
    yield "reference/versions.md", page()


def page() -> str:
    """A table for the core, and one for each extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    pythons = re.findall(r'"(3\.\d+)"', workflow)
    pins = _pins()
    parts = [HEAD.format(python=project["requires-python"].replace(",", ", "), tested=", ".join(pythons))]
    groups = {"Core": project["dependencies"]}
    groups |= {f"Extra `{name}`": rows for name, rows in project["optional-dependencies"].items()}
    for title, rows in groups.items():
        wanted = [Requirement(row) for row in rows]
        cells = [_row(one, pins, pythons) for one in wanted if one.name != "dss_marl"]
        inherited = [f"`{extra}`" for one in wanted if one.name == "dss_marl" for extra in sorted(one.extras)]
        note = f"Besides the extras {', '.join(inherited)}:\n\n" if inherited else ""
        heads = ("package", "range", *(f"tested on {python}" for python in pythons))
        parts.append(f"## {title}\n\n{note}{table(heads, cells)}")
    return "\n".join(parts)


def _pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def _row(wanted: Requirement, pins: list[Requirement], pythons: list[str]) -> tuple[str, ...]:
    cells = []
    for python in pythons:
        here = {"python_version": python}
        known = [
            str(pin.specifier).removeprefix("==")
            for pin in pins
            if canonicalize_name(pin.name) == canonicalize_name(wanted.name)
            and (pin.marker is None or pin.marker.evaluate(here))
            and (wanted.marker is None or wanted.marker.evaluate(here))
        ]
        cells.append(known[0] if known else "")
    return f"`{wanted.name}`", f"`{wanted.specifier}`" if wanted.specifier else "any", *cells
