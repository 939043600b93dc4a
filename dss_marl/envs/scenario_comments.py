"""Scenario comments: the reasons given in a scenario's file, which YAML parsing drops."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from dss_marl._assets import data_folder, known_names

_ENTRY = re.compile(r"^(\s+)(?:- )?(\"?)([A-Za-z_][\w.:]*)\2(?::\s[^#]*|\s*)(?:#\s*(.*))?$")  # key: value, or - item


def reasons(name_or_path: str | Path, section: str) -> dict[str, str]:
    """Comment of each entry, next to it or above it, in a section of a scenario's file or else of its base.

    Args:
        name_or_path: a shipped scenario's name, or the path of a YAML file.
        section: a top-level key whose value is a mapping or a list, one line per entry.

    Returns:
        entry to comment, "" if there is none; {} if there is no such file or section.
    """
    path: Path | None = _file(name_or_path)
    seen: set[Path] = set()
    while path is not None and path not in seen:
        seen.add(path)
        text = path.read_text(encoding="utf-8")
        found = _section(text.splitlines(), section)
        if found:
            return found
        base = (yaml.safe_load(text) or {}).get("base")
        beside = path.parent / str(base)
        path = None if base is None else beside if beside.is_file() else _file(str(base))
    return {}


def _file(name_or_path: str | Path) -> Path | None:
    if str(name_or_path) in known_names("scenarios"):
        return data_folder("scenarios") / f"{name_or_path}.yaml"
    path = Path(name_or_path)
    return path if path.is_file() else None


def _section(lines: list[str], section: str) -> dict[str, str]:
    """A comment on its own line belongs to the key below, or, if indented further than the keys, to the key above."""
    result: dict[str, str] = {}
    inside, above, depth = False, [], 0
    for line in lines:
        if re.match(rf"^{re.escape(section)}:\s*(#.*)?$", line):
            inside = True
        elif inside and line and not line[0].isspace() and not line.startswith("#"):
            break
        elif inside and line.strip().startswith("#"):
            text = line.strip().lstrip("# ").strip()
            if result and len(line) - len(line.lstrip()) > depth:
                last = next(reversed(result))
                result[last] = f"{result[last]} {text}".strip()
            else:
                above.append(text)
        elif inside and (found := _ENTRY.match(line)):
            depth = len(found[1])
            result[found[3]] = " ".join([*above, found[4] or ""]).strip()
            above = []
    return result
