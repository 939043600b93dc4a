"""Plugins: your own object by ``package.module:name``, which every registry accepts."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import Any

FORM = "'package.module:name'"
_FROM_FILE = "_dss_marl_plugin_"  # begins the names under which files are imported


def imported(name: str, what: str, known: Iterable[str]) -> Any:
    """The object that ``package.module:name`` refers to.

    The module is looked for where Python looks, then in the working folder and in the folders of scenario files that
    were read. ``path/to/module.py:name`` names a file; a scenario file's own modules are named so once it is read, see
    ``locate_modules``.

    Args:
        name: of the object.
        what: the kind of thing that is looked for, for messages.
        known: names that the registry has itself, for messages.

    Raises:
        ValueError: not of that form, or nothing there; the message lists the known names, or where it was looked for.
    """
    module, _, attribute = str(name).rpartition(":")
    if not module or not attribute:
        known = sorted(known)
        close = difflib.get_close_matches(str(name), known, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ";"
        raise ValueError(f"unknown {what} {name!r}{hint} known: {', '.join(known)}, or {FORM}")
    try:
        found = _module(module)
    except Exception as error:  # whatever the module does as it is imported
        raise ValueError(f"{what} {name!r} cannot be imported: {_reason(error, module)}") from error
    if not hasattr(found, attribute):
        own = [key for key in vars(found) if not key.startswith("_")]
        close = difflib.get_close_matches(attribute, own, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"{what} {name!r} cannot be imported: {module} has no {attribute!r}{hint}")
    return getattr(found, attribute)


def _reason(error: Exception, module: str) -> str:
    """Why a module cannot be imported, and what to do about it."""
    if isinstance(error, ModuleMissingError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        return f"{module} imports {error.name!r}, which is neither installed nor beside it"
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    return str(error) if isinstance(error, ImportError | OSError) else f"{type(error).__name__}: {error}"


def imported_function(name: str, what: str, known: Iterable[str], arguments: tuple[str, ...]) -> Any:
    """As ``imported``, of a function that takes these arguments.

    Raises:
        ValueError: as ``imported``; or what is there is no function, or takes other arguments.
    """
    found = imported(name, what, known)
    form = f"{what} {name!r} must be a function ({', '.join(arguments)})"
    if not callable(found):
        raise ValueError(f"{form}, but is {type(found).__name__}")
    try:
        signature(found).bind(*arguments)
    except TypeError as error:
        raise ValueError(f"{form}: {error}") from None
    except ValueError:  # a function written in C may not tell its arguments
        pass
    return found


def locate_modules(data: Any, folder: Path) -> Any:
    """Data of a file with each ``package.module:name`` whose module lies in the file's folder named by its path."""
    if isinstance(data, dict):
        return {locate_modules(key, folder): locate_modules(value, folder) for key, value in data.items()}
    if isinstance(data, list):
        return [locate_modules(value, folder) for value in data]
    found = re.fullmatch(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", data) if isinstance(data, str) else None
    path = None if found is None else _file_in(folder, found[1])
    return data if path is None or found is None else f"{path.resolve()}:{found[2]}"


def also_look_in(folder: Path) -> None:
    """Look for modules in a folder too, after the working folder: that of a scenario file."""
    folder = folder.resolve()
    if folder in _folders:
        _folders.remove(folder)
    _folders.insert(0, folder)


def file_modules() -> list[ModuleType]:
    """The modules that were imported from files; another process cannot import them by name."""
    return [module for name, module in sys.modules.items() if name.startswith(_FROM_FILE)]


class ModuleMissingError(ImportError):
    """No module of this name; the message says where it was looked for, and what to do."""


_folders: list[Path] = []  # of scenario files, the last one read first


def _module(name: str) -> ModuleType:
    if name.endswith(".py"):
        path = Path(name).expanduser().resolve()
        if not path.is_file():
            raise ModuleMissingError(
                f"there is no file {str(path)!r}; put {path.name} there, or, for a run whose project moved, into the "
                "working folder"
            )
        return _from_file(path)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name and not name.startswith(f"{error.name}."):
            raise
        for folder in (Path.cwd(), *_folders):  # a console script's path lacks the working folder
            found = _file_in(folder, name)
            if found is not None:
                return _from_file(found.resolve())
        raise ModuleMissingError(_where_missing(name)) from None


def _where_missing(name: str) -> str:
    places = list(dict.fromkeys([Path.cwd(), *_folders]))
    there = {path.stem for folder in places for path in folder.glob("*.py")}
    close = difflib.get_close_matches(name, there, 1)
    hint = f"did you mean {close[0]!r}? Else " if close else ""
    file = name.replace(".", "/") + ".py"
    return (
        f"there is no module {name!r} in Python's path nor in {', '.join(map(str, places))}; {hint}put {file} beside "
        "the scenario's YAML file or into the working folder, or add its folder to PYTHONPATH"
    )


def _file_in(folder: Path, module: str) -> Path | None:
    """The file of a module, or of a package, below a folder."""
    base = folder.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _from_file(path: Path) -> ModuleType:
    """Import a file once, under a name that no other module has; what it imports may lie in its folder.

    A file of a package is imported as a part of it. The folder stays the last of Python's path: for what is imported
    when a function is called, and for worker processes, which get this path.
    """
    name, top = _own_name(path)
    if name in sys.modules:
        return sys.modules[name]
    inside = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=inside)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(top))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(str(top))
    if str(top) not in sys.path:
        sys.path.append(str(top))
    return module


def _own_name(path: Path) -> tuple[str, Path]:
    """Name under which a file is imported, and the folder from which its own imports start; imports its packages."""
    folder = path.parent
    if path.name == "__init__.py":
        folder = folder.parent
    elif (folder / "__init__.py").is_file():
        package = _from_file(folder / "__init__.py")
        return f"{package.__name__}.{path.stem}", _own_name(folder / "__init__.py")[1]
    stem = path.parent.name if path.name == "__init__.py" else path.stem
    return f"{_FROM_FILE}{stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}", folder
