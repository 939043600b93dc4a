"""Links of pages to files of the repository outside docs/, and of chapters to their notebook and script."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from _generate import REPOSITORY

_LINK = re.compile(r"(?<=\]\()(\.\.?/[^)#\s]+)")
_SCENARIO = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)


def finish_source(app: Any, docname: str, source: list[str]) -> None:
    """Point links that leave docs/ to the repository, if the file is there; any other is left for Sphinx to report."""
    docs = Path(app.srcdir)
    source[0] = with_repository_links(source[0], (docs / docname).parent, docs)
    if docname == "suite":
        source[0] = _SCENARIO.sub(r"| [`\1`](scenarios/\1.md) |", source[0])
    if re.match(r"tutorial/\d", docname):
        source[0] += _downloads(docname.removeprefix("tutorial/"))


def with_repository_links(text: str, folder: Path, docs: Path) -> str:
    """The text of a page in ``folder``, with links to other parts of the repository in full."""

    def in_full(link: re.Match[str]) -> str:
        path = Path(os.path.normpath(folder / link[1]))
        inside = path.is_relative_to(docs)
        if inside or not path.is_relative_to(docs.parent) or not path.exists():
            return link[1]
        return f"{REPOSITORY}/blob/main/{path.relative_to(docs.parent).as_posix()}"

    return _LINK.sub(in_full, text)


def _downloads(name: str) -> str:
    return (
        f'\n\n---\n\n<p class="downloads">This chapter as a <a href="{name}.ipynb" download>notebook</a> or as a '
        f'<a href="{name}.py" download>script</a>.</p>\n'
    )
