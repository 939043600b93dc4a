"""OpenDSS commands that a scenario may give without consent: those that change the circuit and touch no file.

What is not known to be harmless is refused, also what is merely written in an unusual way: OpenDSS takes abbreviations
of commands and properties, values without names, and text from variables, under any of which a file can be written
(``export``, ``set recorder``, ``action=dblsave``, ``debugtrace``), read (``redirect``, ``csvfile``, ``[file=...]``) or
code be loaded (``usermodel``, ``dynadll``).
"""

from __future__ import annotations

import re

VERBS = ("new", "edit", "batchedit", "open", "close", "enable", "disable", "set", "calcvoltagebases", "setkvbase")
OPTIONS = (
    *("%growth", "%mean", "%normal", "%stddev", "algorithm", "basefrequency", "cktmodel", "controlmode"),
    *("defaultdaily", "defaultyearly", "earthmodel", "emergvmaxpu", "emergvminpu", "frequency", "genkw", "genmult"),
    *("genpf", "h", "harmonics", "hour", "keepload", "loadmodel", "loadmult", "longlinecorrection"),
    *("maxcontroliter", "maxiterations", "miniterations", "mode", "neglectloady", "normvmaxpu", "normvminpu", "number"),
    *("pricecurve", "pricesignal", "random", "sec", "stepsize", "time", "tolerance", "trapezoidal", "voltagebases"),
    *("year", "zmag", "zonelock"),
)
# Properties that name a file or a library, or that make an element write one. Any abbreviation of one is refused too.
FILE_PROPERTIES = (
    "action",
    "csvfile",
    "dblfile",
    "debugtrace",
    "dynadata",
    "dynadll",
    "file",
    "pqcsvfile",
    "shaftdata",
    "shaftmodel",
    "sngfile",
    "userdata",
    "usermodel",
)
_ACTION_SWITCHES = ("fuse", "recloser", "relay", "swtcontrol")  # their "action" opens and closes
# OpenDSS's quotes and brackets group only where a word begins, and end at the first closing one.
_QUOTED = re.compile(r"(?<![^\s,=])(?:\"[^\"]*\"|'[^']*'|\([^)]*\)|\[[^\]]*\]|\{[^}]*\})(?=[\s,]|$)")
_LEFT_OPEN = re.compile(r"(?<![^\s,=])[\"'(\[{]")
_QUOTED_NAME = re.compile(r"[\"')\]}]\s*=")
_NAMED = re.compile(r"([^\s,=\"'()\[\]{}|]+)\s*=")
_ELEMENT = re.compile(r"([a-z]\w*)\.[^=]*\.[%\w-]+=.*", re.IGNORECASE)


def check_command(command: str) -> None:
    """Check that a command is known to touch no file and load no code.

    Raises:
        ValueError: it is not; says why, what is allowed, and how to consent.

    >>> check_command("batchedit load..* vminpu=0.8")
    """
    why = _refusal(command)
    if why:
        raise ValueError(
            f"OpenDSS command {command!r}: {why}; if you trust the scenario, allow it with --allow-code "
            "(allow_code=True)"
        )


def check_name(name: str, what: str) -> None:
    """Check that a name of a scenario stays a name inside the quotes of the commands that add its element.

    Raises:
        ValueError: it holds a quotation mark, a control character or a line break, after which more could follow.
    """
    if '"' in name or not name.isprintable():
        raise ValueError(f"{what}: a name must not hold quotation marks or line breaks")


def _refusal(command: str) -> str:
    """Why a command is refused; "" if it is not."""
    if not command.isprintable():
        return "it has more than one line, or control characters"
    if "@" in command:
        return "'@' stands for a variable, whose content is not known here"
    flat = re.sub(r"\s*=\s*", "=", _QUOTED.sub("_", command))
    if _LEFT_OPEN.search(flat) or _QUOTED_NAME.search(command):
        return "its quotes or brackets are nested, do not match, or stand around a name"
    first, *rest = re.split(r"[\s,]+", flat.strip()) if flat.strip() else [""]
    element = _ELEMENT.fullmatch(first)
    if "=" in first:
        why = "" if element else "only element.name.property=value is a change without a command"
        target = element[1] if element else ""
    elif first.lower() not in VERBS:
        return (
            f"{first!r} is not among the commands that only change the circuit ({', '.join(VERBS)}, or "
            "element.name.property=value)"
        )
    else:
        why, target, rest = _of_verb(first.lower(), rest)
    return why or _unnamed(rest) or _file_property(command, target)


def _of_verb(verb: str, words: list[str]) -> tuple[str, str, list[str]]:
    """Why a known command is refused, the class that it changes, and the words that must be name=value."""
    if verb == "set":
        unknown = [word for word in words if word.split("=")[0].lower() not in OPTIONS]
        why = f"option {unknown[0].split('=')[0]!r} is not among {', '.join(OPTIONS)}" if unknown else ""
        return why, "", words
    target = words[0].split("=")[-1].split(".")[0].lower() if words else ""
    return "", target, words[1:] if verb in ("new", "edit", "batchedit") else []


def _unnamed(words: list[str]) -> str:
    bare = [word for word in words if "=" not in word]
    return f"value {bare[0]!r} has no name; write name=value" if bare else ""


def _file_property(command: str, target: str) -> str:
    """Looks at every name=value at any depth of brackets, as arrays take ``file=`` too."""
    for name in _NAMED.findall(command):
        prop = name.rsplit(".", maxsplit=1)[-1].lower()
        if prop == "action" and target.lower() in _ACTION_SWITCHES:
            continue
        if any(one.startswith(prop) for one in FILE_PROPERTIES):
            return f"{prop!r} can name a file or a library, or write a file"
    return ""
