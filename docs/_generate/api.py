"""reference/api/*.md: the public names of each package, by autodoc."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from types import ModuleType

import make_api

from _generate.markdown import code, table

DIRECTIVES = {"class": "autoclass", "exception": "autoexception", "function": "autofunction"}
HEAD = """# Python API

What is listed here is public; everything else may change without notice. `help(dss_marl.make)` prints the same.

"""


def pages() -> Iterator[tuple[str, str]]:
    """An overview, and a page for each package."""
    packages = [importlib.import_module(name) for name in make_api.PACKAGES]
    rows = [(f"[`{one.__name__}`]({one.__name__}.md)", code(make_api.first_line(one))) for one in packages]
    names = "\n".join(make_api.PACKAGES)
    toctree = f"```{{toctree}}\n:hidden:\n\n{names}\n```\n"
    yield "reference/api/index.md", f"{HEAD}{table(('package', 'content'), rows)}\n{toctree}"
    homes: dict[int, str] = {}
    for package in packages:
        yield f"reference/api/{package.__name__}.md", _page(package, homes)


def _page(package: ModuleType, homes: dict[int, str]) -> str:
    """Names of a package; those that an earlier package has too are described there.

    Args:
        package: whose names are listed.
        homes: identity of each object described so far to its package; gets those of this page.
    """
    names = sorted(package.__all__, key=str.lower)
    elsewhere = {name: homes[id(getattr(package, name))] for name in names if id(getattr(package, name)) in homes}
    parts = [f"# {package.__name__}\n\n{code(inspect.getdoc(package) or '')}\n"]
    if elsewhere:
        links = ", ".join(f"[`{name}`]({home}.md#{name.lower()})" for name, home in elsewhere.items())
        parts.append(f"Also here: {links}.\n")
    for name in names:
        if name not in elsewhere:
            parts.append(_entry(package, name))
            if make_api.described(package, name)[0] in DIRECTIVES:
                homes[id(getattr(package, name))] = package.__name__
    return "\n".join(parts)


def _entry(package: ModuleType, name: str) -> str:
    """A heading and the directive of a name, or its content if it is data."""
    kind, text = make_api.described(package, name)
    directive = DIRECTIVES.get(kind)
    if directive is None:
        return f"## {name}\n\n{kind}: {code(text)}\n"
    members = "\n   :members:" if kind == "class" else ""
    return f"## {name}\n\n```{{eval-rst}}\n.. {directive}:: {package.__name__}.{name}{members}\n```\n"
