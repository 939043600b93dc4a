"""Reads a circuit's file, and what it includes, into the commands that make the circuit.

What the file would show, write or run besides is left out, and so are its solves through time: a circuit is read in
seconds, moves no process and writes nothing. See ``commands`` for what becomes of each command and setting.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dss_marl.engines.opendss import commands as table

_QUOTES = {'"': '"', "'": "'", "(": ")", "[": "]", "{": "}"}
_TRACE = re.compile(r"\b(deb\w*\s*=\s*)(\"?)[yt]\w*", re.IGNORECASE)
# Save and zonedump of an energy meter, dblsave and sngsave of a shape; all other actions are of a switch.
_SAVE = re.compile(r"(?:^\s*[\w.]+\.)?\baction\s*=\s*[\"'([{]?\s*(s|z|d)\w*\s*[\"')\]}]?", re.IGNORECASE)
_LIBRARY = re.compile(r"\b((?:user|shaft)model|dynadll)\s*=\s*[^\s,]", re.IGNORECASE)


class Line(NamedTuple):
    """One command, where it stands, and the folder that its file names start from."""

    text: str
    place: str
    folder: Path


class Token(NamedTuple):
    """A parameter of a command: its name, or "", its value, and the value as written, with its quotes."""

    name: str
    value: str
    written: str


@dataclass
class Script:
    """The commands of one circuit, in order.

    Attributes:
        lines: what OpenDSS is given.
        left_out: how often each command that writes or steps through time stands in the file.
        notes: settings that are not followed, and why.
        files: that were read, the master first, and those of coordinates.
        folder: that the file names of the next command start from.
    """

    lines: list[Line] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: dict[str, None] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    folder: Path = field(default_factory=Path)
    _mode: str = "snapshot"  # no other begins with an s
    _open: list[tuple[Path, str]] = field(default_factory=list)  # files being read, and where each was named
    _variables: dict[str, str] = field(default_factory=dict)

    def all_notes(self) -> list[str]:
        """What the file asks for and does not get."""
        rows = list(self.notes)
        if self.left_out:
            counted = ", ".join(f"{name} ({count})" for name, count in self.left_out.items())
            rows.append(f"left out of the file, because a circuit is read and not run: {counted}")
        return rows

    def include(self, path: Path, place: str = "") -> None:
        """Append the commands of a file.

        Raises:
            ValueError: it includes itself, directly or not, or what it needs is not there.
        """
        real = path.resolve()
        opened = [file for file, _ in self._open]
        if real in opened:
            circle = [f"{file.name} ({where})" if where else file.name for file, where in self._open]
            raise ValueError(
                f"{str(real)!r} includes itself: {' -> '.join([*circle, f'{real.name} ({place})'])}; "
                "take one of these lines out"
            )
        self._open.append((real, place))
        self.files.append(path)
        self.folder = path.parent
        in_comment = False
        for number, text in enumerate(_text_of(path).splitlines(), start=1):
            in_comment = in_comment or text.startswith("/*")
            if in_comment:
                in_comment = "*/" not in text
            elif text and not text.isspace():
                self.add(text, f"{path}, line {number}")
        self._open.pop()

    def add(self, text: str, place: str) -> None:
        """Append one command, or what it includes."""
        first = text.split(None, 1)[0].lower()
        if first[0] == "!" or first.startswith("//"):
            return
        kind = table.COMMANDS.get(first)
        if kind is None:
            head = next(_tokens(text), None)
            if head is None:
                return
            name = None if head.name else table.complete(head.value, table.COMMANDS)
            if name is None:  # an element's property, or a word that OpenDSS will refuse
                self._keep(text, place)
                return
            first, kind = name, table.COMMANDS[name]
        if kind == table.RUN:
            self._keep(text, place)
        elif kind == table.WRITE:
            self.left_out[first] += 1
        elif kind == table.REFUSE:
            raise ValueError(f"{place}: {text.strip()!r} is not carried out: {table.WHY_REFUSED[first]}")
        elif kind != table.ASK:
            self._follow(first, kind, text, place)

    def _follow(self, name: str, kind: str, text: str, place: str) -> None:
        """A command that names files, changes settings or solves."""
        tokens = list(_tokens(text))[1:]
        if kind == table.INCLUDE and tokens:
            before = self.folder
            self.include(self._found(tokens[0].value, name, place), place)
            if name == "redirect":  # a compiled file's folder stays
                self.folder = before
        elif kind == table.FOLDER and tokens:
            self._move(tokens[0].value, place)
        elif kind == table.COORDINATES and tokens:
            self._coordinates(self._found(tokens[0].value, name, place), name, text, place)
        elif kind in (table.SET, table.SOLVE):
            self._set(tokens, text if kind == table.SET else "", place)
            if kind == table.SOLVE and self._mode.startswith("s"):
                self._keep("solve", place)
            elif kind == table.SOLVE:
                self.left_out[f"solve in mode {self._mode}"] += 1

    def _set(self, tokens: list[Token], text: str, place: str) -> None:
        kept, whole = [], bool(text)
        for token in tokens:
            name = table.complete(token.name, table.SETTINGS) if token.name else None
            verdict, why = table.SETTINGS[name] if name else (table.KEEP, "")
            if name == "mode":
                self._mode = token.value.lower() or self._mode
                verdict = table.KEEP if self._mode.startswith("s") else verdict
            elif name == "cktmodel" and not token.value.lower().startswith("m"):
                raise ValueError(f"{place}: cktmodel={token.value}: {why}")
            elif verdict == table.FOLDER:
                self._move(token.value, place)
            elif verdict == table.DROP_NOTED and token.value.lower()[:1] in ("a", "y", "t"):
                self.notes[f"not followed: set {name}={token.value} ({why})"] = None
            passed = verdict not in (table.DROP, table.DROP_NOTED, table.FOLDER)
            whole &= passed
            if passed:
                kept.append(f"{token.name}={token.written}" if token.name else token.written)
        if whole and kept:
            self._keep(text, place)  # to the letter
        elif kept:
            self._keep("set " + " ".join(kept), place)

    def _keep(self, text: str, place: str) -> None:
        lower = text.lower()
        if "deb" in lower:
            text = _TRACE.sub(r"\g<1>\g<2>no", text)
        if "action" in lower:
            text = _SAVE.sub("", text)
            if not text.strip():
                return
        if ("model" in lower or "dynadll" in lower) and (found := _LIBRARY.search(text)):
            raise ValueError(f"{place}: {found[1]} loads a program library, which is not done; leave it out")
        if lower.lstrip().startswith("var") and table.complete(lower.split()[0], table.COMMANDS) == "var":
            self._variables |= {token.name.lower(): token.value for token in _tokens(text) if token.name}
        if not text.isascii() and "file" not in lower:  # OpenDSS compares other letters as they are written
            text = "".join(c if c.isascii() else c.lower() for c in text)
        self.lines.append(Line(text, place, self.folder))

    def _move(self, folder: str, place: str) -> None:
        path = self.folder / self._local(folder)
        if not path.is_dir():
            raise ValueError(f"{place}: folder {str(path)!r} does not exist")
        self.folder = path

    def _found(self, name: str, command: str, place: str) -> Path:
        path = self.folder / self._local(name)
        if path.is_file():
            return path
        there = path.parent.iterdir() if path.parent.is_dir() else ()
        alike = [other.name for other in there if other.name.lower() == path.name.lower()]
        cure = f"; there is {alike[0]!r}" if alike else ""
        raise ValueError(f"{place}: {command} names {str(path)!r}, which does not exist{cure}")

    def _local(self, name: str) -> str:
        for variable, value in self._variables.items():
            name = value.join(re.split(re.escape(variable), name, flags=re.IGNORECASE))
        return name if os.sep == "\\" else name.replace("\\", "/")

    def _coordinates(self, path: Path, command: str, text: str, place: str) -> None:
        self.files.append(path)
        raw = path.read_bytes()
        try:
            raw.decode("utf-8")
            self._keep(text.replace("\\", os.sep) if os.sep == "/" else text, place)
        except UnicodeDecodeError:  # OpenDSS would look for the names as they are written
            for number, row in enumerate(_text_of(path).splitlines(), start=1):
                cells = [token.value for token in _tokens(row)]
                if len(cells) >= 3:
                    bus, x, y = cells[0], *(cells[1:3] if command == "buscoords" else cells[2:0:-1])
                    self._keep(f"setbusxy bus={quoted(bus)} x={x} y={y}", f"{path}, line {number}")


def read_script(path: Path) -> Script:
    """The commands of a master file and of what it includes.

    Raises:
        ValueError: with file and line: a circle, a missing file, or a command that is not carried out.
    """
    script = Script()
    script.include(path)
    return script


def quoted(text: str) -> str:
    """The text so that OpenDSS takes it as one word.

    Raises:
        ValueError: it holds every closing quote.
    """
    for opening, closing in _QUOTES.items():
        if opening not in text and closing not in text:
            return f"{opening}{text}{closing}"
    raise ValueError(f"the name {text!r} has all kinds of quotes and brackets in it; rename the element")


def _text_of(path: Path) -> str:
    """UTF-8 or, where it is none, what Windows writes in the west."""
    raw = path.read_bytes()
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            return raw.decode("cp1252")
        except UnicodeDecodeError:
            return raw.decode("latin-1")


def _tokens(text: str) -> Iterator[Token]:
    """Parameters as OpenDSS takes them apart: by blanks, commas and equal signs, outside quotes; up to a comment."""
    at, name = 0, ""
    while True:
        while at < len(text) and text[at] in " \t,":
            at += 1
        if at >= len(text) or text[at] == "!" or text.startswith("//", at):
            return
        start = at
        if text[at] in _QUOTES:
            end = text.find(_QUOTES[text[at]], at + 1)
            end = len(text) if end < 0 else end
            value, at = text[start + 1 : end], end + 1
        else:
            while at < len(text) and text[at] not in " \t,=!" and not text.startswith("//", at):
                at += 1
            value = text[start:at]
        written = text[start:at]
        while at < len(text) and text[at] in " \t":
            at += 1
        if at < len(text) and text[at] == "=" and not name:
            name, at = value, at + 1
            continue
        if at < len(text) and text[at] == "=":
            at += 1
        yield Token(name, value, written)
        name = ""
