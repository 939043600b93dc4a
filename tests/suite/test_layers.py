"""The floor plan, where import-linter's contracts in pyproject.toml cannot see it."""

import ast
import re

import networkx as nx
import pytest
from common import ROOT

PACKAGE = ROOT / "dss_marl"
FAMILIES = sorted(path for path in (PACKAGE / "controllers" / "planning").iterdir() if (path / "plan.py").is_file())

# OpenDSS's vocabulary: command text, "Class.name" of elements that only a circuit's file has, and the API's objects.
OPENDSS_TEXT = re.compile(
    r"\bbatchedit\b|\b(vsource|regcontrol|capcontrol|swtcontrol|loadshape|circuit|energymeter)\.\w"
    r"|^\s*(edit|new|redirect|compile|clear|calcvoltagebases|solve mode|set (mode|controlmode|tolerance))\b [\w.]+=?",
    re.IGNORECASE,
)
OPENDSS_API = {"ActiveCircuit", "CktElement", "NewContext", "RegControls", "CapControls", "PDElements", "Vsources"}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}


def imports(node):
    """Modules that a piece of code imports, inside functions too, and for type checkers alone not."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            for alias in child.names:
                full = f"{child.module}.{alias.name}"
                yield full if full in MODULES else child.module
        yield from imports(child)


def test_no_modules_import_each_other_in_a_circle():
    graph = nx.DiGraph((name, other) for name, tree in MODULES.items() for other in imports(tree) if other in MODULES)
    assert graph.number_of_edges() > 500
    assert [sorted(circle) for circle in nx.strongly_connected_components(graph) if len(circle) > 1] == []


def test_no_import_is_relative_or_hidden_in_text():
    """What import-linter and the test above read is all that there is."""
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            assert not (isinstance(node, ast.ImportFrom) and node.level), (name, node.lineno)
            if isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
                assert name in ("dss_marl._plugins", "dss_marl.integrations.sb3"), (name, node.lineno)


def test_the_root_has_few_entries():
    entries = [path.name for path in PACKAGE.iterdir() if path.name not in ("__pycache__", "_data")]
    assert len(entries) <= 16, sorted(entries)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda path: path.name)
def test_planner_families_are_small(family):
    assert len(FAMILIES) >= 4
    files = sorted(path.name for path in family.glob("*.py") if path.name != "__init__.py")
    assert len(files) <= 7, files


def docstrings(tree):
    """The nodes that are docstrings: they may name what they like."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            yield node.body[0].value


def opendss_words(tree):
    told = set(docstrings(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if node.attr in OPENDSS_API or ast.unparse(node).endswith("Text.Command"):
                yield node.lineno, node.attr
        elif isinstance(node, ast.Constant) and node not in told and OPENDSS_TEXT.search(str(node.value)):
            yield node.lineno, node.value


def test_opendss_is_spoken_in_its_own_package_alone():
    spoken = {name: list(opendss_words(tree)) for name, tree in MODULES.items()}
    there = {name for name, words in spoken.items() if words}
    assert sum(name.startswith("dss_marl.engines.opendss") for name in there) >= 3  # the test knows the words
    assert {name: spoken[name] for name in there if not name.startswith("dss_marl.engines.opendss")} == {}
