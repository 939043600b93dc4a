"""tutorial/index.md, and the notebook and script of each chapter, to download beside its page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import jupytext
from make_scripts import chapters, script

HEAD = """# Tutorial

From the first training run to a task of your own, in chapters. All code in them is run when this site is built, and each chapter can be
downloaded as a notebook or a script.

"""


def pages(docs: Path) -> Iterator[tuple[str, str | bytes]]:
    """The overview; files of the chapters below the site's tutorial folder, copied as they are."""
    found = chapters(docs / "tutorial")
    yield "tutorial/index.md", overview(found)
    for path in found:
        yield f"_extra/tutorial/{path.stem}.ipynb", jupytext.writes(jupytext.read(path), fmt="ipynb")
        yield f"_extra/tutorial/{path.stem}.py", script(path)


def overview(found: list[Path]) -> str:
    """A list of the chapters, each with its first paragraph."""
    if not found:
        return f"{HEAD}This version has no chapters.\n"
    rows = []
    for path in found:
        cells = jupytext.read(path).cells
        paragraphs = [
            part.strip() for cell in cells if cell.cell_type == "markdown" for part in cell.source.split("\n\n")
        ]
        title = next(part.removeprefix("# ") for part in paragraphs if part.startswith("# "))
        text = next((part for part in paragraphs if re.match(r"[\w*]", part)), "")
        rows.append(f"* [{title.splitlines()[0]}]({path.name}): {' '.join(text.split())}")
    names = "\n".join(path.stem for path in found)
    return f"{HEAD}{chr(10).join(rows)}\n\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"
