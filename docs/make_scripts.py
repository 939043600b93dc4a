"""Write examples/tutorial/NN_name.py: the code of each chapter of the tutorial as a script. Run it in a checkout."""

from __future__ import annotations

import re
from pathlib import Path

import jupytext

TUTORIAL = Path(__file__).with_name("tutorial")
SCRIPTS = TUTORIAL.parent.parent / "examples" / "tutorial"
_HEADING = re.compile(r"^(```|~~~|:::).*?^\1|^#+ (?P<title>[^\n]+)$", re.MULTILINE | re.DOTALL)


def chapters(folder: Path = TUTORIAL) -> list[Path]:
    """The chapters, in order."""
    return sorted(folder.glob("[0-9]*.md"))


def script(chapter: Path) -> str:
    """The code of a chapter, cell after cell under the headings; what only a notebook understands becomes a comment."""
    notebook = jupytext.read(chapter)
    metadata = {"notebook_metadata_filter": "-all", "cell_metadata_filter": "-all", "comment_magics": True}
    notebook.metadata = {"jupytext": metadata}
    title, cells = chapter.stem, []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cells.append(cell)
            continue
        titles = [found["title"] for found in _HEADING.finditer(cell.source) if found["title"]]
        if titles:
            cell.source = titles[-1].replace("`", "")
            cells.append(cell)
            title = title if len(cells) > 1 else titles[0].replace("`", "")
    notebook.cells = [cell for cell, after in zip(cells, [*cells[1:], None], strict=True) if _leads(cell, after)]
    text = jupytext.writes(notebook, fmt="py:percent")
    body = re.sub(r"^# %%( \[markdown\])?\n", "", text, flags=re.MULTILINE).strip()
    return f'"""{title}: the code of docs/tutorial/{chapter.name}, written by docs/make_scripts.py."""\n\n{body}\n'


def _leads(cell: dict[str, str], after: dict[str, str] | None) -> bool:
    """Whether it is code, or a heading with code below it."""
    return cell["cell_type"] == "code" or (after is not None and after["cell_type"] == "code")


def write() -> list[Path]:
    """Write all scripts, and remove those whose chapter is no more."""
    SCRIPTS.mkdir(parents=True, exist_ok=True)
    scripts = {SCRIPTS / f"{chapter.stem}.py": script(chapter) for chapter in chapters()}
    for path in SCRIPTS.glob("*.py"):
        if path not in scripts:
            path.unlink()
    for path, text in scripts.items():
        path.write_text(text, encoding="utf-8")
    return list(scripts)


if __name__ == "__main__":
    for written in write():
        print(written)
