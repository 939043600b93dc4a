"""Plugins: your own object by ``package.module:name``, which every registry accepts."""

from __future__ import annotations

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

    The module is looked for where Python looks, then in the working folder. ``path/to/module.py:name`` names a file;
    scenario files use that form for modules in their folder, see ``locate_modules``.

    Args:
        name: of the object.
        what: the kind of thing that is looked for, for messages.
        known: names that the registry has itself, for messages.

    Raises:
        ValueError: not of that form, or nothing there; the message lists the known names.
    """
    module, _, attribute = str(name).rpartition(":")
    if not module or not attribute:
        raise ValueError(f"unknown {what} {name!r}; known: {', '.join(sorted(known))}, or {FORM}")
    try:
        found = _module(module)
    except Exception as error:  # whatever the module does as it is imported
        told = error if isinstance(error, ImportError | OSError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"{what} {name!r} cannot be imported: {told}") from error
    if not hasattr(found, attribute):
        raise ValueError(f"{what} {name!r} cannot be imported: {module} has no {attribute!r}")
    return getattr(found, attribute)


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
    """Data of a file with each ``module:name`` whose module lies in the file's folder named by that module's path."""
    if isinstance(data, dict):
        return {locate_modules(key, folder): locate_modules(value, folder) for key, value in data.items()}
    if isinstance(data, list):
        return [locate_modules(value, folder) for value in data]
    found = re.fullmatch(r"([A-Za-z_]\w*):([A-Za-z_]\w*)", data) if isinstance(data, str) else None
    if found is None or not (folder / f"{found[1]}.py").is_file():
        return data
    return f"{(folder / f'{found[1]}.py').resolve()}:{found[2]}"


def file_modules() -> list[ModuleType]:
    """The modules that were imported from files; another process cannot import them by name."""
    return [module for name, module in sys.modules.items() if name.startswith(_FROM_FILE)]


def _module(name: str) -> ModuleType:
    if name.endswith(".py"):
        return _from_file(Path(name).expanduser().resolve())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        here = Path(f"{name}.py")
        if error.name != name or not here.is_file():  # a console script's path lacks the working folder
            raise
        return _from_file(here.resolve())


def _from_file(path: Path) -> ModuleType:
    """Import a file once, under a name that no other module has; what it imports may lie in its folder."""
    name = f"{_FROM_FILE}{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(str(path.parent))
    return module
