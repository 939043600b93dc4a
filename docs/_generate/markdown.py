"""Tables and texts of docstrings as MyST Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence

_SECTION = re.compile(r"^(Args|Returns|Raises|Attributes|Yields):\n((    .*)?\n)*", re.MULTILINE)
_EXAMPLE = re.compile(r"^>>> .*(\n.+)*", re.MULTILINE)
FORMULA = re.compile(r"^Formula: (\$.+\$)$", re.MULTILINE)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; line breaks and bars within cells are kept."""
    lines = [tuple(heads), ("---",) * len(heads), *(tuple(map(_cell, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", "<br>").strip()


def text_of(thing: object) -> str:
    """A docstring's paragraphs, without its sections, examples and formula, as Markdown."""
    doc = (inspect.getdoc(thing) or "") + "\n"
    for pattern in (_SECTION, _EXAMPLE, FORMULA):
        doc = pattern.sub("", doc)
    return code(re.sub(r"\n{3,}", "\n\n", doc)).strip()


def formula_of(thing: object) -> str:
    """The formula that a docstring gives, or ""."""
    found = FORMULA.search(inspect.getdoc(thing) or "")
    return found[1] if found else ""


def code(text: str) -> str:
    """Literals of a docstring, in double quotes of reStructuredText, as those of Markdown."""
    return text.replace("``", "`")


def unit_of(text: str, name: str = "") -> str:
    """The last [unit] of a text, else the one that a name's suffix states, else ""."""
    units = re.findall(r"\[([^\[\]]+)\]", text)
    if units:
        return units[-1]
    return next((unit for suffix, unit in _SUFFIXES.items() if re.search(rf"(^|_){suffix}$", name)), "")


_SUFFIXES = {"kw": "kW", "kvar": "kvar", "kva": "kVA", "kwh": "kWh", "pu": "pu", "h": "h", "hour": "h"}


def yaml(text: str) -> str:
    """A block of YAML."""
    return f"```yaml\n{text.strip()}\n```\n"


def details(title: str, body: str) -> str:
    """A part that opens on a click."""
    return f":::{{dropdown}} {title}\n{body}\n:::\n"
