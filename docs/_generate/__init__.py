"""Pages of the site that are written from code and data each time it is built.

A module for each family of pages; its ``pages()`` yields (path below docs/, content). None of them is committed.
Imports are in functions, since conf.py needs names of this module before the extensions are there.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = "https://github.com/dss-marl/dss_marl"
SITE = "https://dss-marl.github.io/dss_marl"
_CODE = ("dss_marl/**/*.py", "feeders/**/*.*", "scenarios/*.yaml", "constraints.txt")  # of the package, and its data
_PAGES = (
    "results/*/*.*",
    "policies/*/*.*",
    "docs/_generate/*.py",
    "docs/make_*.py",
    "pyproject.toml",
    ".github/workflows/*.yml",
)


def connect(app: Any) -> None:
    """Write the pages when a builder starts, and finish each page's links when it is read."""
    from _generate.links import finish_source
    from _generate.mathml import add_renderer

    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir)))
    app.connect("source-read", finish_source)
    add_renderer(app)


def write_pages(docs: Path) -> None:
    """Write all pages, unless nothing that they are written from has changed since the last time."""
    stamp, now = docs / "_build" / "written-from", _digest(docs.parent, (*_CODE, *_PAGES))
    from _generate import chapters

    _remove_others(docs / "_extra" / "tutorial", _write(docs, chapters.pages(docs)))
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == now:
        return
    written = _write(docs, all_pages())
    for folder in ("scenarios", "policies", "reference/api"):
        _remove_others(docs / folder, written)
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(now, encoding="utf-8")


def _write(docs: Path, pages: Iterator[tuple[str, str | bytes]]) -> set[Path]:
    """Write pages; a file whose content is the same is left alone, so that Sphinx need not read it again."""
    written = set()
    for relative, content in pages:
        path, data = docs / relative, content.encode() if isinstance(content, str) else content
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != data:
            path.write_bytes(data)
        written.add(path)
    return written


def all_pages() -> Iterator[tuple[str, str | bytes]]:
    """(path below docs, content) of every page and file but those of chapters."""
    from _generate import (
        api,
        command_line,
        device_kinds,
        physics,
        policy_pages,
        run_files,
        scenario_file,
        scenario_pages,
        terms,
        training,
        unit_costs,
        versions,
    )

    families = (
        command_line,
        scenario_file,
        terms,
        unit_costs,
        device_kinds,
        training,
        api,
        run_files,
        physics,
        policy_pages,
        versions,
    )
    for family in families:
        yield from family.pages()
    yield from scenario_pages.pages()


def _remove_others(folder: Path, written: set[Path]) -> None:
    """Remove pages of scenarios, packages and chapters that are no more."""
    for path in folder.glob("*"):
        if path not in written:
            path.unlink()


def execution_cache(docs: Path) -> Path:
    """Folder of the executed chapters: another one for other code or data, of which jupyter-cache knows nothing."""
    folder = docs / "_build" / "executed" / _digest(docs.parent, _CODE)
    if folder.parent.is_dir():
        for other in folder.parent.iterdir():
            if other != folder:
                shutil.rmtree(other)
    return folder


def kernel_settings(docs: Path) -> Path:
    """Folder of IPython's settings for the kernels that execute chapters; they say errors only."""
    folder = docs / "_build" / "ipython"
    path = folder / "profile_default" / "ipython_kernel_config.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('c.IPKernelApp.log_level = "ERROR"\n', encoding="utf-8")
    return folder


def _digest(root: Path, patterns: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in root.glob(pattern) if path.is_file()):
        digest.update(f"{path.relative_to(root)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
