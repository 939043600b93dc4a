"""Do the tests notice a broken line? Breaks the package in one place at a time, and runs the tests of that folder.

A seeded sample of mutants: a file is drawn by its length, then a kind of break (a comparison, a number, an operator,
...), then a place. Each is tested in a copy of the checkout, and counts as killed if the tests fail or take too long.

    python benchmarks/mutants.py --count 60 --seed 0

Needs the extra ``mutants``.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

FOLDERS = ("devices", "engines", "grid", "mdp", "envs", "profiles", "zones")
# Unions in annotations, which nothing evaluates, are all that "|" is used for; NoOp changes nothing.
LEFT_OUT = ("BitOr", "NoOp")
EQUIVALENT = ("strict=False", "frozen=False")  # guards that sound code never meets
ROOT = Path(__file__).resolve().parents[1]
TIMES, SLACK_S = 4, 20  # a mutant may take so many times as long as sound code, and a constant more


@dataclass(frozen=True)
class Mutant:
    """One break: an operator of cosmic-ray, applied to its k-th place in a file."""

    path: Path
    operator: str
    occurrence: int
    line: int
    code: str

    @property
    def folder(self) -> str:
        """The package's folder, whose tests must notice."""
        return self.path.relative_to(ROOT / "dss_marl").parts[0]


def drawn(count: int, seed: int, folders: Sequence[str]) -> list[Mutant]:
    """So many different mutants of these folders."""
    chance = random.Random(seed)  # noqa: S311 - a sample, no secret
    files = [path for folder in folders for path in sorted((ROOT / "dss_marl" / folder).rglob("*.py"))]
    lengths = [path.stat().st_size for path in files]
    found: dict[tuple[Path, int, str], Mutant] = {}
    while len(found) < count:
        path = chance.choices(files, lengths)[0]
        mutant = one_of(path, chance)
        if mutant is not None:
            found.setdefault((path, mutant.line, mutant.operator), mutant)
    return list(found.values())


def one_of(path: Path, chance: random.Random) -> Mutant | None:
    """A mutant of a file; None where the kind of break that was drawn has no place in it."""
    source = path.read_text(encoding="utf-8")
    nodes = list(ast_nodes(get_ast(source)))
    kinds: dict[str, list[str]] = {}
    for name in operator_names():
        if not any(word in name for word in LEFT_OUT) and not get_operator(name).arguments():
            kinds.setdefault(name.split("_")[0], []).append(name)
    name = chance.choice(kinds[chance.choice(sorted(kinds))])
    operator = get_operator(name)()
    places = [start for node in nodes for start, _ in operator.mutation_positions(node)]
    if not places:
        return None
    k = chance.randrange(len(places))
    code = mutate_code(source, operator, k)
    if code in (None, source) or any(code.count(word) > source.count(word) for word in EQUIVALENT):
        return None
    return Mutant(path, name.removeprefix("core/"), k, places[k][0], code)


class Tests:
    """The tests of a folder in a copy of the checkout, without those that fail on sound code."""

    def __init__(self, folder: str, copy: Path) -> None:
        self.folder, self.copy = folder, copy
        begun = time.perf_counter()
        told = self._run(None, "-rfE").stdout
        self.limit_s = TIMES * (time.perf_counter() - begun) + SLACK_S
        self.failing = re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", told, re.MULTILINE)
        if self.failing:
            print(f"left out, as they fail on sound code: {', '.join(self.failing)}", flush=True)

    def notice(self, mutant: Mutant) -> bool:
        """Whether they fail, or run past the limit, with the mutant in place."""
        target = self.copy / mutant.path.relative_to(ROOT)
        sound = target.read_text(encoding="utf-8")
        target.write_text(mutant.code, encoding="utf-8")
        try:
            left_out = [f"--deselect={test}" for test in self.failing]
            return self._run(self.limit_s, "-x", *left_out).returncode != 0
        except subprocess.TimeoutExpired:
            return True
        finally:
            target.write_text(sound, encoding="utf-8")

    def _run(self, limit_s: float | None, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, f"tests/{self.folder}"]
        env = {**os.environ, "PYTHONPATH": str(self.copy), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            command, cwd=self.copy, env=env, capture_output=True, text=True, timeout=limit_s, check=False
        )


def changed_line(mutant: Mutant) -> str:
    """The broken line, before and after."""
    before = mutant.path.read_text(encoding="utf-8").splitlines()
    pairs = zip(before, mutant.code.splitlines(), strict=False)
    old, new = next((pair for pair in pairs if pair[0] != pair[1]), ("", ""))
    return f"    {old.strip()}\n    {new.strip()}"


def main() -> None:
    """Draw, test and report."""
    parser = argparse.ArgumentParser(description="Sampled mutation test.")
    parser.add_argument("--count", type=int, default=60, help="mutants")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folders", nargs="+", default=list(FOLDERS), choices=FOLDERS)
    asked = parser.parse_args()
    mutants = drawn(asked.count, asked.seed, asked.folders)
    survivors = []
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "copy"
        left_behind = shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, copy, ignore=left_behind)
        tests = {folder: Tests(folder, copy) for folder in sorted({mutant.folder for mutant in mutants})}
        for mutant in mutants:
            survived = not tests[mutant.folder].notice(mutant)
            where = f"{mutant.path.relative_to(ROOT)}:{mutant.line}"
            print(f"{'SURVIVED' if survived else 'killed  '} {where} {mutant.operator}", flush=True)
            if survived:
                print(changed_line(mutant), flush=True)
                survivors.append(mutant)
    print(f"{len(mutants) - len(survivors)} of {len(mutants)} killed")


if __name__ == "__main__":
    main()
