"""reference/cli.md: every command with its arguments, options and defaults, from the program itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from _generate.markdown import code, table
from dss_marl.cli.app import app

HEAD = """# Command line

`dss-marl COMMAND --help` prints the same. Errors name the item, its place and the remedy, and end with
exit status 2; 1 is a proof that fails or a run that is not reproduced, 130 an interruption, and 70 a defect of the package, whose message names the file
with the traceback. Each command checks its arguments and outputs before any long work.

"""


def pages() -> Iterator[tuple[str, str]]:
    """The one page."""
    yield "reference/cli.md", page()


def page() -> str:
    """All commands in alphabetical order, after a table of what they do."""
    program = typer.main.get_command(app)
    commands: dict[str, Any] = dict(sorted(program.commands.items()))  # type: ignore[attr-defined]
    rows = [(f"[`dss-marl {name}`](#{anchor(name)})", _first(one.help)) for name, one in commands.items()]
    parts = [HEAD, table(("command", "what it does"), rows)]
    return "\n".join([*parts, *(_command(name, one) for name, one in commands.items())])


def anchor(name: str) -> str:
    """Name of the place of a command."""
    return f"command-{name}"


def _command(name: str, command: Any) -> str:
    context = typer.Context(command, info_name=name)
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and one.name != "help"]
    usage = " ".join(["dss-marl", name, *map(_in_usage, arguments), *(["[OPTIONS]"] if options else [])])
    parts = [f"({anchor(name)})=\n## {name}\n\n{code(command.help or '')}\n", f"```\n{usage}\n```\n"]
    for head, rows in (("argument", arguments), ("option", options)):
        if rows:
            cells = [(_flags(one, context), _default(one), _option_names(code(one.help or ""))) for one in rows]
            parts.append(table((head, "default", "meaning"), cells))
    return "\n".join(parts)


def _option_names(text: str) -> str:
    """Names of options as code, whose hyphens stay two."""
    return re.sub(r"(?<![`\w-])(--[a-z][a-z-]*)", r"`\1`", text)


def _first(text: str | None) -> str:
    return code((text or "").strip().split("\n\n")[0].replace("\n", " "))


def _in_usage(argument: Any) -> str:
    name = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _flags(parameter: Any, context: typer.Context) -> str:
    """The option's names and its type in words."""
    given = parameter.get_help_record(context)[0]
    names, _, kind = given.partition(" <")
    word = _TYPES.get(kind.removesuffix(">"), kind.removesuffix(">"))
    if parameter.param_type_name == "argument":
        return f"`{names.upper()}`"
    several = ", may be repeated" if parameter.multiple else ""
    return f"`{names}` {_limits(parameter, word)}{several}".strip()


_TYPES = {
    "str": "TEXT",
    "int": "NUMBER",
    "int range": "NUMBER",
    "float": "NUMBER",
    "float range": "NUMBER",
    "path": "PATH",
    "list[str]": "TEXT",
}


def _limits(parameter: Any, word: str) -> str:
    low, high = getattr(parameter, "min", None), getattr(parameter, "max", None)
    if low is None and high is None:
        return word
    return f"{word} from {low}" if high is None else f"{word} from {low} to {high}"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "**required**"
    if getattr(parameter, "is_flag", False):
        return "on" if parameter.default is True else "off"
    shown = parameter.default
    return "" if shown in (None, (), [], "") or callable(shown) else f"`{shown}`"
