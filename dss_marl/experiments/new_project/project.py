"""Writes the files of a new project; the texts that do not depend on its circuit are in ``templates/``."""

from __future__ import annotations

import keyword
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from string import Template

from dss_marl._assets import known_names, replacing, write_text
from dss_marl.envs.scenario_files import load_scenario
from dss_marl.envs.scenario_schema import schema_text
from dss_marl.envs.task import build_task
from dss_marl.experiments.new_project.circuit_scenario import circuit_scenario
from dss_marl.experiments.new_project.shipped_scenario import shipped_scenario
from dss_marl.experiments.new_project.source import Source
from dss_marl.grid.feeder_report import feeder_report

_TEMPLATES = Path(__file__).with_name("templates")
_PLAIN = ("own_terms.py", "own_device.py", "own_controller.py", "train.py")
_LONGEST = 40  # letters of a name; files and runs are named by it
_BRIEF, _QUICK, _WHOLE = 500, 2000, "300000"  # agent-steps of a first try on a large and on a small circuit


@dataclass(frozen=True)
class Project:
    """What was written.

    Attributes:
        folder: of the project.
        files: all that was written, relative to it.
        scenario: its YAML file.
        remarks: choices made for the user, and what to look at.
        report: what is in the circuit, see ``feeder_report``; "" for a shipped scenario.
    """

    folder: Path
    files: tuple[Path, ...]
    scenario: Path
    remarks: tuple[str, ...]
    report: str


def new_project(folder: str | Path, source: str | Path = "", overwrite: bool = False) -> Project:
    """Write a small working project.

    Args:
        folder: to write into; its last part names the project.
        source: a shipped scenario's name, the path of an OpenDSS master file or of its folder, or "": a village feeder.
        overwrite: replace files of an earlier project; others in the folder stay.

    Raises:
        ValueError: the name is no module's, a file is there, there is no such source, or its circuit cannot be used;
            nothing is written.
    """
    if not str(folder).strip():
        raise ValueError("a project needs a folder; got an empty name; try 'my_project'")
    folder = Path(folder)
    name = checked_name(folder.resolve().name)
    made = _source(name, source)
    texts = {**_texts(name, made), **made.texts}
    files = tuple(sorted([*made.copies, *map(Path, texts)]))
    _check_free(folder, files, overwrite)
    with tempfile.TemporaryDirectory() as place:  # built before anything is written: what fails, fails here
        draft = Path(place) / name
        for path, origin in made.copies.items():
            (draft / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(origin, draft / path)
        for path_name, text in texts.items():
            write_text(draft / path_name, text)
        build_task(load_scenario(draft / f"{name}.yaml"))
        for path in files:
            with replacing(folder / path) as part:
                shutil.copyfile(draft / path, part)
    scenario = folder / f"{name}.yaml"
    shipped = str(source) in known_names("scenarios")
    report = "" if shipped else feeder_report(build_task(load_scenario(scenario)).feeder)
    return Project(folder, files, scenario, tuple(made.remarks), report)


def checked_name(name: str) -> str:
    """The name of a project, which is that of a Python module.

    Raises:
        ValueError: it cannot be one; proposes another.
    """
    usable = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name).strip("_").lower()
    usable = usable if usable and not usable[0].isdigit() else f"my_{usable}".rstrip("_")
    if keyword.iskeyword(name) or not name.isascii() or not name.isidentifier():
        usable = f"my_{usable}" if keyword.iskeyword(usable) else usable
        raise ValueError(
            f"{name!r} is no name of a project: as that of a Python module, it has letters, digits and '_', does not "
            f"begin with a digit and is no word of Python's; try {usable!r}"
        )
    if len(name) > _LONGEST:
        raise ValueError(f"the name of a project has at most {_LONGEST} letters; {name[:20]!r}... has {len(name)}")
    if find_spec(name) is not None and not (Path.cwd() / name).is_dir():
        raise ValueError(f"a Python module {name!r} is installed, which the project would hide; try 'my_{name}'")
    return name


def _source(name: str, source: str | Path) -> Source:
    if not str(source):
        texts = {
            "feeder/village.dss": _template("feeder.dss"),
            "feeder/buscoords.csv": _template("buscoords.csv"),
        }
        return circuit_scenario(name, texts)
    if str(source) in known_names("scenarios"):
        return shipped_scenario(name, str(source))
    path = Path(source).expanduser()
    if path.is_file() and path.suffix.lower() in (".yaml", ".yml"):
        raise ValueError(f"--from takes a shipped scenario or a circuit; {str(source)!r} is already a scenario's file")
    if not path.exists() and path.suffix.lower() != ".dss":
        load_scenario(source)  # its message knows the names and the nearest
    return circuit_scenario(name, path)


def _texts(name: str, made: Source) -> dict[str, str]:
    """Files that every project has, and their texts."""
    values: Mapping[str, str] = {
        "name": name,
        "scenario": f"{name}.yaml",
        "about": made.about,
        "load": made.load,
        "feeder_row": f"| `feeder/` | {made.feeder} |" if made.feeder else "| | the circuit is generated |",
        "zones_command": f"dss-marl zones {made.master} --count {made.zones}\n" if made.master else "",
        "controllers": ",".join([*made.controllers, "own_controller:VoltageSupport"]),
        "first_steps": str(_BRIEF if made.nodes > 1000 else _QUICK),
        "full_steps": _WHOLE,
        "tune_line": f"dss-marl tune {name}.yaml\n" if "droop" in made.controllers else "",
    }
    texts = {file: Template(_template(file)).substitute(values) for file in _PLAIN}
    return {
        **texts,
        "README.md": Template(_template("README.md")).substitute(values),
        f"test_{name}.py": Template(_template("test_project.py")).substitute(values),
        ".gitignore": _template("gitignore"),
        "scenario.schema.json": schema_text(),
    }


def _template(name: str) -> str:
    return (_TEMPLATES / f"{name}.txt").read_text(encoding="utf-8")


def _check_free(folder: Path, files: Iterable[Path], overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{str(folder)!r} is a file; name a folder")
    there = sorted(str(path) for path in files if (folder / path).exists())
    if there and not overwrite:
        more = ", ..." if len(there) > 5 else ""
        raise ValueError(
            f"{str(folder)!r} already has {', '.join(there[:5])}{more}; choose another name, or replace these files "
            "with --overwrite"
        )
