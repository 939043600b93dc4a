"""Write docs/api.md: the public names of each package, from its ``__all__``. Run it in a checkout."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

PAGE = Path(__file__).with_name("api.md")
PACKAGES = (
    "dss_marl",
    "dss_marl.controllers",
    "dss_marl.devices",
    "dss_marl.engines",
    "dss_marl.engines.batched.torch_backend.torch_power_flow",
    "dss_marl.experiments",
    "dss_marl.experiments.reports.html",
    "dss_marl.experiments.study",
    "dss_marl.grid.export",
    "dss_marl.integrations.minari_datasets",
    "dss_marl.integrations.sb3",
    "dss_marl.integrations.vector",
    "dss_marl.mdp.actions",
    "dss_marl.plots",
    "dss_marl.profiles",
    "dss_marl.zones",
)
HEAD = """# Public names

Written by `docs/make_api.py`. What stands here is public; everything else may change without notice.
Arguments, shapes, units and errors are in the docstrings: `help(dss_marl.make)`.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(_section(importlib.import_module(name)) for name in PACKAGES)])


def _section(package: ModuleType) -> str:
    lines = [
        f"## {package.__name__}\n",
        f"{first_line(package)}\n",
        "| name | kind | what it is |",
        "| --- | --- | --- |",
    ]
    for name in sorted(package.__all__, key=str.lower):
        kind, text = described(package, name)
        lines.append(f"| `{name}` | {kind} | {text.replace('|', '/')} |")
    return "\n".join([*lines, ""])


def described(package: ModuleType, name: str) -> tuple[str, str]:
    """Kind of a name and what it is: the first line of its docstring, or what is in it."""
    value: Any = getattr(package, name)
    if inspect.isclass(value):
        return ("exception" if issubclass(value, Exception) else "class"), first_line(value)
    if inspect.isroutine(value):
        return "function", first_line(value)
    if isinstance(value, Mapping):
        return "mapping", ", ".join(f"`{key}`" for key in value)
    if isinstance(value, tuple):
        return "tuple", ", ".join(f"`{key}`" for key in value)
    if isinstance(value, int):
        return "constant", str(value)
    return ("type", _comment(package, name)) if _is_alias(value) else ("constant", f"`{value!r}`")


def _is_alias(value: Any) -> bool:
    return hasattr(value, "__origin__") or hasattr(value, "__args__")


def first_line(value: Any) -> str:
    """First line of a docstring."""
    return (inspect.getdoc(value) or "").partition("\n")[0]


def _comment(package: ModuleType, name: str) -> str:
    """The comment behind the line that defines a type, in the module that the package has it from."""
    tree = ast.parse(inspect.getsource(package))
    origins = [
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == name for alias in node.names)
    ]
    source = inspect.getsource(importlib.import_module(origins[0]) if origins else package)
    lines = [line for line in source.splitlines() if line.startswith((f"{name} =", f"{name}:"))]
    return lines[0].partition("  # ")[2] if lines else ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
