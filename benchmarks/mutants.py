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
SLACK_S, TIMES = 20, 4  # a mutant may take so many times as long as the tests do without one, and a constant more


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


def tests_fail(folder: str, copy: Path, limit_s: float | None) -> bool:
    """Whether the tests of a folder fail in the copy, or run past the limit."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/{folder}"]
    paths = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, check=False, cwd=copy, env={**os.environ, **paths}, capture_output=True, timeout=limit_s
        )
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def survives(mutant: Mutant, copy: Path, limit_s: float) -> bool:
    """Whether the tests pass in spite of the mutant."""
    target = copy / mutant.path.relative_to(ROOT)
    sound = target.read_text(encoding="utf-8")
    target.write_text(mutant.code, encoding="utf-8")
    try:
        return not tests_fail(mutant.folder, copy, limit_s)
    finally:
        target.write_text(sound, encoding="utf-8")


def seconds_needed(folders: Sequence[str], copy: Path) -> dict[str, float]:
    """Folder to the time of its tests [s]; they must pass without a mutant."""
    needed = {}
    for folder in folders:
        begun = time.perf_counter()
        if tests_fail(folder, copy, None):
            sys.exit(f"tests/{folder} fail without a mutant; see to that first")
        needed[folder] = time.perf_counter() - begun
    return needed


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
        needed = seconds_needed(sorted({mutant.folder for mutant in mutants}), copy)
        for mutant in mutants:
            survived = survives(mutant, copy, TIMES * needed[mutant.folder] + SLACK_S)
            where = f"{mutant.path.relative_to(ROOT)}:{mutant.line}"
            print(f"{'SURVIVED' if survived else 'killed  '} {where} {mutant.operator}", flush=True)
            if survived:
                print(changed_line(mutant), flush=True)
                survivors.append(mutant)
    print(f"{len(mutants) - len(survivors)} of {len(mutants)} killed")


if __name__ == "__main__":
    main()
